#include "landing.h"

#include "err.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The running state, and how far it is from what flash shows. */
struct walk {
	const struct landing_flash *flash;
	uint8_t *state;
	size_t differing; /* bytes in which state and after differ */
	size_t room;
};

/* Flash was read where the operation happened; elsewhere (another memory) it changes nothing seen.
 */
static bool is_visible(const struct walk *walk, const struct oplog_op *op)
{
	return op->address >= walk->flash->base && op->size <= walk->flash->size &&
	       op->address - walk->flash->base <= walk->flash->size - op->size;
}

/* Offset of the operation's first byte in flash. */
static size_t offset_of(const struct walk *walk, const struct oplog_op *op)
{
	return op->address - walk->flash->base;
}

/* What the operation makes of the byte at index i of its range. */
static uint8_t byte_after(const struct oplog_op *op, uint8_t before, size_t i)
{
	if (op->kind == OPLOG_ERASE)
		return 0xff;
	return before & (uint8_t)(op->value >> 8 * i);
}

/*
 * Whether after is the state with strictly part of op done: not none of it and not all of it, every
 * bit that changed being one that op changes, and nothing different elsewhere.
 */
static bool is_partial(const struct walk *walk, const struct oplog_op *op)
{
	size_t at = offset_of(walk, op), differing = 0, missing = 0;

	if (walk->differing == 0 || walk->differing > op->size || !is_visible(walk, op))
		return false;
	for (size_t i = 0; i < op->size; i++) {
		uint8_t before = walk->state[at + i], seen = walk->flash->after[at + i];
		uint8_t whole = byte_after(op, before, i);

		if ((seen ^ before) & ~(whole ^ before))
			return false; /* a bit changed that op does not change */
		differing += seen != before;
		missing += seen != whole;
	}
	return missing > 0 && differing == walk->differing;
}

static void apply(struct walk *walk, const struct oplog_op *op)
{
	size_t at = offset_of(walk, op);

	if (!is_visible(walk, op))
		return;
	for (size_t i = 0; i < op->size; i++) {
		uint8_t before = walk->state[at + i], seen = walk->flash->after[at + i];
		uint8_t now = byte_after(op, before, i);

		walk->differing -= before != seen;
		walk->differing += now != seen;
		walk->state[at + i] = now;
	}
}

static int add_range(struct landing *landing, struct walk *walk, uint32_t done, bool torn)
{
	struct landing_range *last = landing->count ? &landing->ranges[landing->count - 1] : NULL;

	if (last && !torn && !last->torn && last->last + 1 == done) {
		last->last = done;
		return 0;
	}
	if (!landing->ranges || landing->count == walk->room) {
		size_t room = walk->room ? walk->room * 2 : 8;
		struct landing_range *grown = realloc(landing->ranges, room * sizeof(*grown));

		if (!grown)
			return -1;
		landing->ranges = grown;
		walk->room = room;
	}
	landing->ranges[landing->count++] =
		(struct landing_range){.first = done, .last = done, .torn = torn};
	return 0;
}

static uint32_t first_difference(const struct walk *walk)
{
	size_t i = 0;

	while (i < walk->flash->size && walk->state[i] == walk->flash->after[i])
		i++;
	return walk->flash->base + (uint32_t)i;
}

static int walk_log(struct landing *landing, struct walk *walk, const struct oplog *log)
{
	size_t nearest = SIZE_MAX;

	for (size_t done = 0;; done++) {
		const struct oplog_op *next = done < log->count ? &log->ops[done] : NULL;

		if (walk->differing < nearest) {
			nearest = walk->differing;
			landing->nearest_done = (uint32_t)done;
		}
		if (walk->differing == 0 && add_range(landing, walk, (uint32_t)done, false))
			return -1;
		if (!next)
			break;
		if (is_partial(walk, next) && add_range(landing, walk, (uint32_t)done, true))
			return -1;
		apply(walk, next);
	}
	landing->nearest_bytes = nearest;
	return 0;
}

/* Goes to the nearest state once more, to say where it differs. */
static void locate(struct landing *landing, struct walk *walk, const struct oplog *log)
{
	memcpy(walk->state, walk->flash->before, walk->flash->size);
	for (uint32_t i = 0; i < landing->nearest_done; i++)
		apply(walk, &log->ops[i]);
	landing->nearest_address = first_difference(walk);
}

int landing_find(struct landing *landing, const struct landing_flash *flash,
	const struct oplog *log, struct err *e)
{
	struct walk walk = {.flash = flash};
	int code = 0;

	memset(landing, 0, sizeof(*landing));
	walk.state = malloc(flash->size ? flash->size : 1);
	if (!walk.state)
		return err_set(e, ERR_NOMEM, "landing: out of memory");
	if (flash->size)
		memcpy(walk.state, flash->before, flash->size);
	for (size_t i = 0; i < flash->size; i++)
		walk.differing += flash->before[i] != flash->after[i];
	if (walk_log(landing, &walk, log) != 0) {
		landing_finish(landing);
		code = err_set(e, ERR_NOMEM, "landing: out of memory");
	} else if (landing->count == 0) {
		locate(landing, &walk, log);
	}
	free(walk.state);
	return code;
}

void landing_finish(struct landing *landing)
{
	free(landing->ranges);
	memset(landing, 0, sizeof(*landing));
}

/* Whole operations that a cut leaves done. */
static uint32_t done_by(const struct cut *cut, size_t operations)
{
	return cut->op == CUT_END ? (uint32_t)operations : cut->op - 1;
}

/*
 * How far a range is from done operations (and part of one more, if torn): 0 when it holds that
 * place. A torn cut that changed no bit, or all, looks like a clean one before or behind it.
 */
static long distance(const struct landing_range *range, uint32_t done, bool torn)
{
	uint32_t last = done + (torn && !range->torn);

	if (range->last < done)
		return (long)range->last - (long)done;
	if (range->first > last)
		return (long)range->first - (long)last;
	/* what was to be clean cannot be half done */
	return range->torn && !torn ? 1 : 0;
}

static const struct landing_range *closest(
	const struct landing *landing, uint32_t done, bool torn, long *skew)
{
	const struct landing_range *best = NULL;

	for (size_t i = 0; i < landing->count; i++) {
		long d = distance(&landing->ranges[i], done, torn);

		if (!best || labs(d) < labs(*skew)) {
			best = &landing->ranges[i];
			*skew = d;
		}
	}
	return best;
}

static void describe(struct landing_check *check, const struct cut *requested,
	const struct landing *landing, const struct landing_range *range, const struct cut *board)
{
	char want[CUT_TEXT_MAX], said[CUT_TEXT_MAX + 16] = "the board cannot tell",
						     cut[CUT_TEXT_MAX];
	char shown[96];

	if (board)
		snprintf(said, sizeof(said), "the board says %s", cut_format(board, cut));
	if (!range)
		snprintf(shown, sizeof(shown),
			"no state of the log (%zu bytes from operation %u on, first at 0x%08x)",
			landing->nearest_bytes, (unsigned)landing->nearest_done,
			(unsigned)landing->nearest_address);
	else if (range->first != range->last)
		snprintf(shown, sizeof(shown), "%u to %u operations done", (unsigned)range->first,
			(unsigned)range->last);
	else
		snprintf(shown, sizeof(shown), "%u operations done%s", (unsigned)range->first,
			range->torn ? " and part of the next" : "");
	snprintf(check->text, sizeof(check->text), "requested %s; flash shows %s; %s%s%s",
		cut_format(requested, want), shown, said, board ? ": " : "",
		board ? landing_agreement_name(check->agreement) : "");
}

void landing_compare(struct landing_check *check, const struct cut *requested,
	const struct landing *landing, const struct cut *board, size_t operations)
{
	const struct cut *expected = board ? board : requested;
	bool torn = expected->tear != TEAR_CLEAN;
	uint32_t done = done_by(expected, operations);
	const struct landing_range *range;
	long skew = 0;

	memset(check, 0, sizeof(*check));
	range = closest(landing, done, torn, &skew);
	if (!range) {
		check->agreement = LANDING_UNKNOWN;
	} else if (skew == 0 && torn == range->torn) {
		/* of several places that look the same, the one that was meant */
		check->landed = *expected;
		check->done = done;
		check->torn = torn;
	} else {
		/* elsewhere; or a tear that changed none of the bits, or all */
		check->done = done < range->first  ? range->first
			      : done > range->last ? range->last
						   : done;
		check->torn = range->torn;
		check->landed = (struct cut){.op = check->done + 1,
			.tear = range->torn ? TEAR_TORN : TEAR_CLEAN,
			.seed = range->torn ? expected->seed : 0};
		if (check->done == operations)
			check->landed.op = CUT_END;
		check->skew = board ? skew : 0;
		check->agreement = board && skew ? LANDING_SKEWED : LANDING_AGREES;
	}
	check->as_requested = range && cut_compare(&check->landed, requested) == 0;
	describe(check, requested, landing, range, board);
}

const char *landing_agreement_name(enum landing_agreement agreement)
{
	static const char *const names[] = {[LANDING_AGREES] = "agrees",
		[LANDING_SKEWED] = "skewed",
		[LANDING_UNKNOWN] = "unknown"};

	return names[agreement];
}

json_t *landing_check_to_json(const struct landing_check *check)
{
	char cut[CUT_TEXT_MAX];
	bool known = check->agreement != LANDING_UNKNOWN;

	return json_pack("{s:s, s:I, s:o, s:b, s:s?, s:b, s:s}", "agreement",
		landing_agreement_name(check->agreement), "skew", (json_int_t)check->skew, "done",
		known ? json_integer(check->done) : json_null(), "torn", check->torn, "cut",
		known ? cut_format(&check->landed, cut) : NULL, "as_requested", check->as_requested,
		"text", check->text);
}
