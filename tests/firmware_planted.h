/*
 * What the test of the planted builds needs of each: a board with it, an uncut update, and a judge
 * by hand of what a cut of that update comes to.
 */
#ifndef TESTS_FIRMWARE_PLANTED_H
#define TESTS_FIRMWARE_PLANTED_H

#include "firmware_cuts.h"

enum { V100, V110, V120, V200, VERSIONS };
static const char *const versions[] = {"1.0.0", "1.1.0", "1.2.0", "2.0.0"};

static struct blob releases[VERSIONS];
static const char owner[] = "somebody";

/* What a cut of a planted build must show. */
enum expected { PASSES, MAY_FAIL, FAILS };

struct scene;

struct build {
	const char *name;
	int from, to; /* the update that is cut by default */
	/* Fills in what cuts of the scene's trace must show. NULL: has a test of its own. */
	void (*expect)(struct scene *s);
	int version; /* of its application; -1: a bootloader */
	bool retry;  /* the defect shows only when the same update is tried again */
};

/* A board with one build, and an uncut update of it. */
struct scene {
	struct dut *d;
	const struct build *build; /* NULL: the good one */
	char bootloader[64];
	struct blob images[VERSIONS], own;
	int from, to;
	struct trace trace;
	size_t commit;     /* the operation that makes the request whole */
	uint8_t *expected; /* enum expected, by operation: [2 n] clean, [2 n + 1] torn */
	uint8_t *passed;   /* the same, for the good build: cuts that were tried already */
	uint8_t *began;    /* flash that the boot under judgement began with */
	bool retry;
	int runs; /* the release that must run; -1: from or to, whole */
};

/* --- a board -----------------------------------------------------------------------------------
 */

static inline void scene_begin(struct scene *s, const struct build *b, int from, int to)
{
	char name[64];

	*s = (struct scene){.d = dut_create(),
		.build = b,
		.bootloader = "bootloader.hex",
		.from = from,
		.to = to,
		.retry = b && b->retry};
	memcpy(s->images, releases, sizeof(releases));
	s->began = malloc(FLASH_BYTES);
	assert_non_null(s->began);
	if (!b)
		return;
	if (b->version >= 0) {
		snprintf(name, sizeof(name), "planted/%s/%s", b->name, versions[b->version]);
		s->own = s->images[b->version] = firmware_image(name);
		return;
	}
	bool first = strcmp(b->name, "lost-status") == 0; /* it was there before the others */
	snprintf(s->bootloader, sizeof(s->bootloader), "%s%s/bootloader.hex",
		first ? "" : "planted/", first ? "broken" : b->name);
}

static inline void scene_finish(struct scene *s)
{
	dut_destroy(s->d);
	free(s->own.bytes);
	free(s->began);
	free(s->expected);
	free(s->passed);
	if (s->trace.before)
		trace_finish(&s->trace);
}

/* It runs a release and holds a setting, at rest. */
static inline void start(struct scene *s, int version)
{
	dut_load(s->d, s->bootloader, &s->images[version]);
	assert_true(dut_boot(s->d));
	assert_runs(s->d, versions[version]);
	assert_int_equal(setting_write(s->d, "owner", owner, sizeof(owner)), 0);
}

static inline bool runs(struct scene *s, int version)
{
	char line[64];

	snprintf(line, sizeof(line), "app %s ready\r\n", versions[version]);
	return dut_said(s->d, line) && slot_holds(s->d, PRIMARY, &s->images[version]);
}

static inline bool is_intact(struct scene *s, int version)
{
	return runs(s, version) && setting_is(s->d, "owner", owner, sizeof(owner));
}

static const struct vboard_op *op_of(const struct scene *s, size_t n)
{
	return &s->trace.ops[n - 1];
}

/* The first operation from n on of that kind in that range; 0: there is none. */
static inline size_t op_find(
	const struct trace *t, size_t n, enum vboard_op_kind kind, uint32_t at, uint32_t size)
{
	for (; n <= t->count; n++)
		if (t->ops[n - 1].kind == kind && t->ops[n - 1].address - at < size)
			return n;
	return 0;
}

/* The operation that writes a word of a trailer, given by its offset from the slot's end. */
static inline size_t field_op(const struct scene *s, size_t n, uint32_t slot, uint32_t offset)
{
	return op_find(&s->trace, n, VBOARD_PROGRAM, slot + SLOT_BYTES - offset, 4);
}

/* The operation that writes status record i; 0: it is not written. */
static inline size_t record_op(const struct scene *s, uint32_t i)
{
	return field_op(s, s->commit, PRIMARY, PAGE_BYTES - 4 * i);
}

static inline size_t copy_done_op(const struct scene *s)
{
	size_t n = field_op(s, s->commit, PRIMARY, 24);

	assert_true(n > 0);
	return n;
}

/* Traces an uncut update; the power is off afterwards. */
static inline void scene_trace(struct scene *s)
{
	start(s, s->from);
	vboard_power(s->d->vb, false);
	trace_begin(&s->trace, s->d);
	assert_true(dut_boot(s->d));
	assert_true(dut_update(s->d, &s->images[s->to]));
	assert_runs(s->d, versions[s->to]);
	trace_end(&s->trace, s->d);
	assert_true(is_intact(s, s->to));
	s->commit = field_op(s, 1, SECONDARY, 4);
	assert_true(s->commit > 0);
	s->expected = calloc(s->trace.count + 2, 2);
	s->passed = calloc(s->trace.count + 2, 2);
	assert_non_null(s->expected);
	assert_non_null(s->passed);
	if (s->build && s->build->expect)
		s->build->expect(s);
}

/* --- the judge ---------------------------------------------------------------------------------
 */

/* Whether what the last boot wrote may be written. */
static inline bool wrote_well(struct scene *s, char why[200])
{
	const struct vboard_op *ops = vboard_op_log(s->d->vb);

	for (size_t i = 0; i < vboard_op_count(s->d->vb); i++) {
		uint32_t word;
		if (ops[i].address < PRIMARY) {
			snprintf(why, 200, "wrote-outside: at 0x%" PRIx32, ops[i].address);
			return false;
		}
		memcpy(&word, s->began + ops[i].address, 4);
		if (ops[i].kind == VBOARD_PROGRAM && (word & ops[i].value) != ops[i].value) {
			snprintf(why, 200, "programmed-unerased: at 0x%" PRIx32, ops[i].address);
			return false;
		}
		op_apply(s->began, &ops[i]);
	}
	return true;
}

/* The old or the new release, whole, as it must be; *is_new is which. */
static inline bool runs_well(struct scene *s, bool *is_new, char why[200])
{
	*is_new = runs(s, s->to);
	if (!*is_new && !runs(s, s->from)) {
		snprintf(why, 200, "bricked: neither %s nor %s runs", versions[s->from],
			versions[s->to]);
		return false;
	}
	if (s->runs >= 0 && *is_new != (s->runs == s->to)) {
		snprintf(why, 200, "wrong-version: %s runs", versions[*is_new ? s->to : s->from]);
		return false;
	}
	if (!setting_is(s->d, "owner", owner, sizeof(owner))) {
		snprintf(why, 200, "data-lost: the setting is gone");
		return false;
	}
	return true;
}

/* The device is up after a cut: everything that must hold. */
static inline bool judge(struct dut *d, void *arg, const struct cut_at *at, char why[200])
{
	struct scene *s = arg;
	bool is_new;

	(void)at;
	if (!wrote_well(s, why) || !runs_well(s, &is_new, why))
		return false;
	if (is_new && !slot_holds(d, SECONDARY, &s->images[s->from])) {
		snprintf(why, 200, "fallback-lost: the second slot does not hold %s",
			versions[s->from]);
		return false;
	}
	vboard_mark(d->vb);
	if (!dut_boot(d) || !is_intact(s, is_new ? s->to : s->from) || vboard_op_count(d->vb)) {
		snprintf(why, 200, "late-revert: another boot changes something");
		return false;
	}
	if (s->retry && !is_new && (!dut_update(d, &s->images[s->to]) || !is_intact(s, s->to))) {
		snprintf(why, 200, "retry-fails: the same update does not work any more");
		return false;
	}
	return true;
}

/* Cuts a scene's update there, and judges what comes of it. */
static inline bool cut_passes(struct scene *s, struct cuts *c, size_t op, bool torn, char why[200])
{
	/* of an erase the start, which is where a resume looks first */
	struct cut_at at = {op, torn ? TEAR_START : TEAR_CLEAN, op * 7919};

	s->runs = op == s->commit && torn ? -1 : op > s->commit ? s->to : s->from;
	if (cuts_try(c, &at, why))
		return true;
	if (!why[0] || strncmp(why, "does not", 8) == 0)
		snprintf(why, 200, "%s",
			dut_loops(s->d) ? "boot-loop: it resets for ever" : "bricked: no rest");
	return false;
}

#endif
