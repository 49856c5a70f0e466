/*
 * Cutting the power at every operation of something, cheaply: RAM is lost at a cut, so the flash at
 * any cut follows from the flash before and the log of one uncut run, and only the boots that
 * recover are run. The tears are made here, and are more kinds than the virtual board makes itself.
 */
#ifndef TESTS_FIRMWARE_CUTS_H
#define TESTS_FIRMWARE_CUTS_H

#include "firmware_bench.h"

/* One uncut run. */
struct trace {
	uint8_t *before; /* flash when it began */
	struct vboard_op *ops;
	size_t count;
};

/* Call with the power off, before the run. */
static inline void trace_begin(struct trace *t, struct dut *d)
{
	*t = (struct trace){.before = malloc(FLASH_BYTES)};
	assert_non_null(t->before);
	memcpy(t->before, vboard_flash(d->vb), FLASH_BYTES);
	vboard_mark(d->vb);
}

static inline void trace_end(struct trace *t, struct dut *d)
{
	t->count = vboard_op_count(d->vb);
	t->ops = calloc(t->count + 1, sizeof(*t->ops));
	assert_non_null(t->ops);
	memcpy(t->ops, vboard_op_log(d->vb), t->count * sizeof(*t->ops));
}

static inline void trace_finish(struct trace *t)
{
	free(t->before);
	free(t->ops);
}

static inline void op_apply(uint8_t *flash, const struct vboard_op *op)
{
	uint32_t word;

	if (op->kind == VBOARD_ERASE) {
		memset(flash + op->address, 0xff, op->value);
		return;
	}
	memcpy(&word, flash + op->address, 4);
	word &= op->value;
	memcpy(flash + op->address, &word, 4);
}

static inline uint32_t noise(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	uint64_t x = *state ^ *state >> 31;
	x *= 0x9e3779b97f4a7c15u;
	return (uint32_t)(x >> 32);
}

/* How an operation that was under way left its word or page. */
enum tear {
	TEAR_CLEAN,       /* it had not begun */
	TEAR_HALF,        /* about half the bits, anywhere */
	TEAR_ALL_BUT_BIT, /* program: all bits but one; erase: all words but one */
	TEAR_START,       /* erase: the page's first words only; program: as TEAR_HALF */
	TEAR_END,         /* erase: its last words only */
	TEAR_WORDS,       /* erase: whole words here and there */
	TEAR_COUNT
};

static const char *const tear_names[TEAR_COUNT] = {
	"clean", "half", "all-but-one", "start", "end", "words"};

static inline void op_tear(
	uint8_t *flash, const struct vboard_op *op, enum tear tear, uint64_t seed)
{
	uint32_t word;

	if (tear == TEAR_CLEAN)
		return;
	if (op->kind == VBOARD_PROGRAM) {
		memcpy(&word, flash + op->address, 4);
		uint32_t fall = word & ~op->value;
		if (tear != TEAR_ALL_BUT_BIT)
			fall &= noise(&seed);
		else if (fall)
			fall &= fall - 1;
		word &= ~fall;
		memcpy(flash + op->address, &word, 4);
		return;
	}
	uint32_t words = op->value / 4, at = noise(&seed) % words;
	for (uint32_t i = 0; i < words; i++) {
		uint32_t rise = UINT32_MAX;
		memcpy(&word, flash + op->address + 4 * i, 4);
		switch (tear) {
		case TEAR_ALL_BUT_BIT:
			rise = i == at ? 0 : UINT32_MAX;
			break;
		case TEAR_START:
			rise = i < at ? UINT32_MAX : 0;
			break;
		case TEAR_END:
			rise = i > at ? UINT32_MAX : 0;
			break;
		case TEAR_WORDS:
			rise = noise(&seed) & 1 ? UINT32_MAX : 0;
			break;
		case TEAR_CLEAN:
		case TEAR_HALF:
		case TEAR_COUNT:
		default:
			rise = noise(&seed);
			break;
		}
		word |= rise;
		memcpy(flash + op->address + 4 * i, &word, 4);
	}
}

/* Where a trace is cut. */
struct cut_at {
	size_t op; /* from 1; count + 1: after the last */
	enum tear tear;
	uint64_t seed;
};

/*
 * Of the operations of the bulk, where neighbours differ in nothing, one in so many is cut:
 * RIG_CUT_STRIDE from the environment, where 1 means every one; else fallback.
 */
static inline size_t cuts_stride(size_t fallback)
{
	const char *text = getenv("RIG_CUT_STRIDE");
	size_t stride = text ? strtoul(text, NULL, 10) : fallback;

	return stride ? stride : fallback;
}

/* Whether somebody wants more than the sample of make check. */
static inline bool cuts_thorough(void)
{
	return getenv("RIG_CUT_STRIDE") != NULL;
}

/*
 * Boots from the flash that a cut leaves. judge says whether the device is well (power on, at
 * rest), and why not. Returns whether it is.
 */
struct cuts {
	struct dut *d;
	const struct trace *trace;
	bool (*judge)(struct dut *d, void *arg, const struct cut_at *at, char why[200]);
	void *arg;
	uint8_t *now;   /* flash before operation next */
	uint8_t *began; /* unless NULL: filled with the flash that the boot began with */
	size_t next;
	size_t tried;
};

static inline void cuts_begin(struct cuts *c)
{
	c->now = malloc(FLASH_BYTES);
	assert_non_null(c->now);
	memcpy(c->now, c->trace->before, FLASH_BYTES);
	c->next = 1;
	c->tried = 0;
}

static inline void cuts_finish(struct cuts *c)
{
	free(c->now);
}

/* Cuts come in ascending order of operations. */
static inline bool cuts_try(struct cuts *c, const struct cut_at *at, char why[200])
{
	for (; c->next < at->op; c->next++)
		op_apply(c->now, &c->trace->ops[c->next - 1]);
	vboard_power(c->d->vb, false);
	uint8_t *flash = vboard_flash(c->d->vb);
	memcpy(flash, c->now, FLASH_BYTES);
	if (at->op <= c->trace->count)
		op_tear(flash, &c->trace->ops[at->op - 1], at->tear, at->seed);
	if (c->began)
		memcpy(c->began, flash, FLASH_BYTES);
	vboard_mark(c->d->vb);
	c->tried++;
	why[0] = '\0';
	if (!dut_boot(c->d)) {
		snprintf(why, 200, "does not come to rest");
		return false;
	}
	return c->judge(c->d, c->arg, at, why);
}

static inline bool op_is_on_trailer(const struct vboard_op *op)
{
	return op->address - (PRIMARY + TRAILER) < PAGE_BYTES ||
	       op->address - (SECONDARY + TRAILER) < PAGE_BYTES;
}

/* Whether an operation is one of the few that decide: an erase, or one on a trailer. */
static inline bool op_decides(const struct vboard_op *op)
{
	return op->kind == VBOARD_ERASE || op_is_on_trailer(op);
}

/* Whether a sample with one bulk operation in stride holds operation n (from 1, to count + 1). */
static inline bool cuts_sampled(const struct trace *t, size_t n, size_t stride)
{
	return n % stride == stride / 2 || n == t->count + 1 || op_decides(&t->ops[n - 1]) ||
	       (n > 1 && op_decides(&t->ops[n - 2]));
}

#endif
