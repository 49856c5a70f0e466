#include "coverage.h"

#include "cuts.h"
#include "err.h"
#include "judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the operations of a trace are; of all but the first nobody knows what they do to flash. */
enum source {
	SOURCE_OPERATIONS,
	SOURCE_LINES,
	SOURCE_EDGES,
	SOURCE_BREAKPOINTS,
	SOURCE_TIME,
	SOURCE_COUNT
};

static const struct {
	const char *name, *one, *of; /* in the journal; one of them; how many there are */
} sources[] = {
	[SOURCE_OPERATIONS] = {"operations", "operation", ""},
	[SOURCE_LINES] = {"lines", "line", " of progress"},
	[SOURCE_EDGES] = {"edges", "edge", " of progress"},
	[SOURCE_BREAKPOINTS] = {"breakpoints", "breakpoint", " of progress"},
	[SOURCE_TIME] = {"time", "step", " of time"},
};

/* What is known of a position. */
enum {
	LANDED_CLEAN = 1, /* or, of a source that knows no tears: landed */
	LANDED_TORN = 2,
	PASSED_CLEAN = 4, /* a trial with that cut alone passed */
	PASSED_TORN = 8,
	TEARLESS = 16, /* a tear was asked for, and the flash shows none */
};

struct class
{
	const char *name; /* in the trace */
	uint32_t operations;
	bool is_metadata;
};

struct coverage {
	json_t *trace;
	enum source source;
	uint32_t operations;
	struct class *classes;
	size_t class_count;
	uint32_t *class_of; /* by position: index of the class + 1; 0: none */
	uint8_t *at;        /* by position: 1 … operations, and the end */
	struct cut *cuts;   /* distinct, rising: where first cuts landed */
	size_t count, room;
	uint64_t trials, failed, inconclusive, second, fired, unplaced;
	uint64_t by_count; /* placed, and flash does not show where */
	size_t depth;
	uint64_t error_max, error_sum; /* |landed − requested| over the placed */
};

/* --- the trace -------------------------------------------------------------------------------- */

static int refuse(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(e, ERR_PROTOCOL, fmt, ap);
	va_end(ap);
	return err_prefix(e, "coverage");
}

/* A field that is not there, and null, are NULL. */
static const json_t *get(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return json_is_null(value) ? NULL : value;
}

/* Lua cannot tell an empty list from an empty table. */
static bool is_list(const json_t *value)
{
	return json_is_array(value) || (json_is_object(value) && !json_object_size(value));
}

static bool in_range(const json_t *value, json_int_t min, json_int_t max)
{
	return json_is_integer(value) && json_integer_value(value) >= min &&
	       json_integer_value(value) <= max;
}

static int take_source(struct coverage *c, const json_t *source, struct err *e)
{
	const char *name = source ? json_string_value(source) : sources[SOURCE_OPERATIONS].name;
	int i = 0;

	while (name && i < SOURCE_COUNT && strcmp(sources[i].name, name) != 0)
		i++;
	if (!name || i == SOURCE_COUNT)
		return refuse(e, "trace: source: expected operations, lines, edges, "
				 "breakpoints or time");
	c->source = (enum source)i;
	return 0;
}

static int take_range(struct coverage *c, size_t index, const json_t *range, struct err *e)
{
	const json_t *first = json_array_get(range, 0), *last = json_array_get(range, 1);

	if (json_array_size(range) != 2 || !in_range(first, 1, c->operations) ||
		!in_range(last, json_integer_value(first), c->operations))
		return refuse(e,
			"trace: classes[%zu].ranges: expected [first, last] in 1 to %" PRIu32,
			index + 1, c->operations);
	for (json_int_t op = json_integer_value(first); op <= json_integer_value(last); op++) {
		if (c->class_of[op])
			return refuse(e, "trace: operation %lld is in two classes", (long long)op);
		c->class_of[op] = (uint32_t)index + 1;
		c->classes[index].operations++;
	}
	return 0;
}

static int take_class(struct coverage *c, size_t index, const json_t *class, struct err *e)
{
	const json_t *ranges = get(class, "ranges"), *range, *count = get(class, "operations");
	const char *size = json_string_value(get(class, "size"));
	struct class *into = &c->classes[index];
	int code = 0;
	size_t i;

	into->name = json_string_value(get(class, "name"));
	if (!into->name || !size || !json_is_integer(count) || !is_list(ranges))
		return refuse(e, "trace: classes[%zu]: expected name, size, operations and ranges",
			index + 1);
	into->is_metadata = strcmp(size, "metadata") == 0;
	json_array_foreach (ranges, i, range)
		if ((code = take_range(c, index, range, e)) != 0)
			return code;
	if (json_integer_value(count) != into->operations)
		return refuse(e,
			"trace: classes[%zu]: operations is %lld, but its ranges have %" PRIu32,
			index + 1, (long long)json_integer_value(count), into->operations);
	return 0;
}

static int take_classes(struct coverage *c, const json_t *classes, struct err *e)
{
	const json_t *class;
	int code = 0;
	size_t i;

	if (classes && !is_list(classes))
		return refuse(e, "trace: classes: expected a list");
	c->class_count = json_array_size(classes);
	c->classes = calloc(c->class_count + 1, sizeof(*c->classes));
	if (!c->classes)
		return err_set(e, ERR_NOMEM, "coverage: out of memory");
	json_array_foreach (classes, i, class)
		if ((code = take_class(c, i, class, e)) != 0)
			return code;
	return 0;
}

static int take_trace(struct coverage *c, const json_t *trace, struct err *e)
{
	const json_t *operations = get(trace, "operations");
	int code;

	c->trace = json_incref((json_t *)trace);
	if (!in_range(operations, 0, COVERAGE_OPERATIONS_MAX))
		return refuse(e, "trace: operations: expected 0 to %u", COVERAGE_OPERATIONS_MAX);
	c->operations = (uint32_t)json_integer_value(operations);
	code = take_source(c, get(trace, "source"), e);
	if (code)
		return code;
	c->class_of = calloc((size_t)c->operations + 2, sizeof(*c->class_of));
	c->at = calloc((size_t)c->operations + 2, 1);
	if (!c->class_of || !c->at)
		return err_set(e, ERR_NOMEM, "coverage: out of memory");
	return take_classes(c, get(trace, "classes"), e);
}

struct coverage *coverage_create(const json_t *trace, struct err *e)
{
	struct coverage *c = calloc(1, sizeof(*c));

	if (!c) {
		err_set(e, ERR_NOMEM, "coverage: out of memory");
		return NULL;
	}
	if (take_trace(c, trace, e) != 0) {
		coverage_destroy(c);
		return NULL;
	}
	return c;
}

void coverage_destroy(struct coverage *c)
{
	if (!c)
		return;
	json_decref(c->trace);
	free(c->classes);
	free(c->class_of);
	free(c->at);
	free(c->cuts);
	free(c);
}

/* --- the trials ------------------------------------------------------------------------------- */

/* What is taken from a trial before anything of it is added. */
struct taken {
	enum verdict verdict;
	size_t fired;
	const json_t *first; /* its first cut */
	struct cut requested, landed;
	bool is_placed, is_by_count;
};

static uint32_t position_of(const struct coverage *c, const struct cut *cut)
{
	return cut->op == CUT_END ? c->operations + 1 : cut->op;
}

static int take_verdict(enum verdict *verdict, const json_t *value, struct err *e)
{
	const char *name = json_string_value(value);
	int i = 0;

	while (name && i < VERDICT_COUNT && strcmp(verdict_name((enum verdict)i), name) != 0)
		i++;
	if (!name || i == VERDICT_COUNT)
		return refuse(e, "trial: verdict: expected pass, fail, error or inconclusive");
	*verdict = (enum verdict)i;
	return 0;
}

/* One cut of the grammar in a field of a cut record. */
static int take_cut(struct cut *cut, const json_t *record, const char *field, struct err *e)
{
	const char *text = json_string_value(get(record, field));
	struct cuts cuts;
	struct err why;

	if (!text)
		return refuse(e, "trial: cut: %s: expected a cut as text", field);
	if (cuts_parse(&cuts, text, &why) != 0)
		return refuse(e, "trial: cut: %s: %s", field, why.msg);
	if (cuts.count != 1)
		return refuse(e, "trial: cut: %s: expected one cut", field);
	*cut = cuts.list[0];
	return 0;
}

/* Where flash shows it. */
static int take_landed(const struct coverage *c, struct taken *t, struct err *e)
{
	int code;

	if (!get(t->first, "landed_as"))
		return 0;
	code = take_cut(&t->landed, t->first, "landed_as", e);
	if (code)
		return code;
	if (t->landed.op == c->operations + 1 && t->landed.tear == TEAR_CLEAN)
		t->landed.op = CUT_END;
	if (t->landed.op > c->operations && t->landed.op != CUT_END)
		return refuse(e, "trial: cut: landed_as: the trace has only %" PRIu32 " operations",
			c->operations);
	t->is_placed = true;
	return 0;
}

/*
 * Where it was counted, in lines, edges, breakpoints or time. An update may show more of them than
 * the traced one did: where it was cut then is not known. The rig cuts at the end by itself, and
 * nobody counts.
 */
static int take_counted(const struct coverage *c, struct taken *t, struct err *e)
{
	const json_t *counted = get(t->first, "counted");

	if (counted && !in_range(counted, 1, UINT32_MAX - 1))
		return refuse(e, "trial: cut: counted: expected a number from 1");
	t->landed = (struct cut){.op = CUT_END};
	t->is_placed = !counted ? t->requested.op == CUT_END
				: json_integer_value(counted) <= (json_int_t)c->operations + 1;
	if (counted && json_integer_value(counted) <= c->operations)
		t->landed.op = (uint32_t)json_integer_value(counted);
	t->is_by_count = t->is_placed;
	return 0;
}

/* Where it is taken to have landed: as flash shows it, else by count, unless flash shows another
 * place than was counted. */
static int take_place(const struct coverage *c, struct taken *t, struct err *e)
{
	const char *agreement = json_string_value(get(t->first, "agreement"));
	int code;

	if (c->source == SOURCE_OPERATIONS)
		return take_landed(c, t, e);
	if (agreement && strcmp(agreement, "skewed") == 0)
		return 0;
	if (!get(t->first, "landed_as"))
		return take_counted(c, t, e);
	code = take_landed(c, t, e);
	t->landed.tear = TEAR_CLEAN; /* nobody knows */
	t->landed.seed = 0;
	return code;
}

static int take_trial(const struct coverage *c, struct taken *t, const json_t *trial, struct err *e)
{
	const json_t *cuts = get(trial, "cuts"), *cut;
	int code = take_verdict(&t->verdict, get(trial, "verdict"), e);
	size_t i;

	if (code)
		return code;
	if (cuts && !is_list(cuts))
		return refuse(e, "trial: cuts: expected a list");
	json_array_foreach (cuts, i, cut) {
		if (!json_is_object(cut))
			return refuse(e, "trial: cuts[%zu]: expected a table", i + 1);
		if (json_is_true(get(cut, "again")))
			continue;
		if (t->fired++ == 0)
			t->first = cut;
	}
	if (!t->first)
		return 0;
	code = take_cut(&t->requested, t->first, "requested", e);
	if (code)
		return code;
	return take_place(c, t, e);
}

/* Keeps cuts distinct and rising. */
static int add_cut(struct coverage *c, const struct cut *cut, struct err *e)
{
	size_t low = 0, high = c->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (cut_compare(&c->cuts[mid], cut) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < c->count && cut_compare(&c->cuts[low], cut) == 0)
		return 0;
	if (c->count == c->room) {
		size_t room = c->room ? c->room * 2 : 64;
		struct cut *grown = realloc(c->cuts, room * sizeof(*grown));

		if (!grown)
			return err_set(e, ERR_NOMEM, "coverage: out of memory");
		c->cuts = grown;
		c->room = room;
	}
	memmove(&c->cuts[low + 1], &c->cuts[low], (c->count - low) * sizeof(*c->cuts));
	c->cuts[low] = *cut;
	c->count++;
	return 0;
}

static void add_placed(struct coverage *c, const struct taken *t)
{
	uint32_t asked = position_of(c, &t->requested), fell = position_of(c, &t->landed);
	uint64_t error = fell > asked ? fell - asked : asked - fell;
	bool torn = t->landed.tear == TEAR_TORN;
	uint8_t *at = &c->at[fell];

	*at |= torn ? LANDED_TORN : LANDED_CLEAN;
	/* a second cut changes what the first one leads to */
	if (t->verdict == VERDICT_PASS && t->fired == 1)
		*at |= torn ? PASSED_TORN : PASSED_CLEAN;
	if (t->requested.tear == TEAR_TORN && !torn && error == 0)
		*at |= TEARLESS;
	c->by_count += t->is_by_count;
	c->error_sum += error;
	if (error > c->error_max)
		c->error_max = error;
}

int coverage_trial(struct coverage *c, const json_t *trial, struct err *e)
{
	struct taken t = {.verdict = VERDICT_ERROR};
	int code = take_trial(c, &t, trial, e);

	if (code || t.verdict == VERDICT_ERROR)
		return code;
	if (t.is_placed) {
		code = add_cut(c, &t.landed, e);
		if (code)
			return code;
		add_placed(c, &t);
	}
	c->trials++;
	c->failed += t.verdict == VERDICT_FAIL;
	c->inconclusive += t.verdict == VERDICT_INCONCLUSIVE;
	c->fired += t.fired > 0;
	c->unplaced += t.fired > 0 && !t.is_placed;
	c->second += t.fired > 1;
	if (t.fired > c->depth)
		c->depth = t.fired;
	return 0;
}

/* --- the figures ------------------------------------------------------------------------------ */

struct stretch {
	uint32_t first, count;
};

struct figures {
	uint32_t clean, torn; /* distinct cuts */
	bool end;
	uint32_t positions;
	uint32_t metadata, before, meta_torn, meta_tearless, after;
	uint32_t tearless;                       /* of all operations */
	struct stretch gap, clean_gap, torn_gap; /* of any cut, of each kind */
	bool all_passed;                         /* wherever one landed, one alone passed */
};

/* The first of the longest stretches of positions up to last at none of which a flag is set. */
static struct stretch longest_without(const struct coverage *c, uint8_t flags, uint32_t last)
{
	struct stretch longest = {.first = 0, .count = 0};
	uint32_t run = 0;

	for (uint32_t p = 1; p <= last; p++) {
		run = c->at[p] & flags ? 0 : run + 1;
		if (run > longest.count)
			longest = (struct stretch){.first = p - run + 1, .count = run};
	}
	return longest;
}

static bool is_tearless(const struct coverage *c, uint32_t op)
{
	return (c->at[op] & TEARLESS) && !(c->at[op] & LANDED_TORN);
}

static bool is_metadata(const struct coverage *c, uint32_t op)
{
	return c->class_of[op] && c->classes[c->class_of[op] - 1].is_metadata;
}

static void count_metadata(const struct coverage *c, struct figures *f, uint32_t op)
{
	f->metadata++;
	if (c->source != SOURCE_OPERATIONS)
		return;
	f->before += (c->at[op] & LANDED_CLEAN) != 0;
	f->meta_torn += (c->at[op] & LANDED_TORN) != 0;
	f->meta_tearless += is_tearless(c, op);
	f->after += (c->at[op + 1] & LANDED_CLEAN) != 0;
}

static void work_out(const struct coverage *c, struct figures *f)
{
	*f = (struct figures){.all_passed = true};
	for (uint32_t p = 1; p <= c->operations + 1; p++) {
		uint8_t landed = c->at[p] & (LANDED_CLEAN | LANDED_TORN);

		f->positions += landed != 0;
		if ((landed & LANDED_CLEAN && !(c->at[p] & PASSED_CLEAN)) ||
			(landed & LANDED_TORN && !(c->at[p] & PASSED_TORN)))
			f->all_passed = false;
		if (p <= c->operations && is_metadata(c, p))
			count_metadata(c, f, p);
		f->tearless += is_tearless(c, p);
	}
	for (size_t i = 0; c->source == SOURCE_OPERATIONS && i < c->count; i++)
		*(c->cuts[i].tear == TEAR_TORN ? &f->torn : &f->clean) += 1;
	f->end = (c->at[c->operations + 1] & LANDED_CLEAN) != 0;
	f->gap = longest_without(c, LANDED_CLEAN | LANDED_TORN, c->operations + 1);
	f->clean_gap = longest_without(c, LANDED_CLEAN, c->operations + 1);
	f->torn_gap = longest_without(c, LANDED_TORN | TEARLESS, c->operations);
}

/* --- the sentence ----------------------------------------------------------------------------- */

struct number {
	char text[32];
};

struct sentence {
	char text[1024];
	size_t len;
};

static void say(struct sentence *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct sentence *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->text + s->len, sizeof(s->text) - s->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		s->len += (size_t)n;
	if (s->len >= sizeof(s->text))
		s->len = sizeof(s->text) - 1;
}

/* 17113 as "17,113". */
static struct number number(uint64_t n)
{
	struct number out = {.text = ""};
	char digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n), to = 0;

	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			out.text[to++] = ',';
		out.text[to++] = digits[i];
	}
	return out;
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void say_tearless(struct sentence *s, uint32_t count)
{
	if (count)
		say(s, " (%s showed no tear)", number(count).text);
}

static void say_metadata(struct sentence *s, const struct figures *f)
{
	if (f->metadata == 0)
		return;
	if (f->before == f->metadata && f->after == f->metadata &&
		f->meta_torn + f->meta_tearless == f->metadata) {
		say(s, ": all %s metadata operations before, torn and after",
			number(f->metadata).text);
	} else {
		say(s, ": %s of %s metadata operations before, %s torn, %s after",
			number(f->before).text, number(f->metadata).text, number(f->meta_torn).text,
			number(f->after).text);
	}
	say_tearless(s, f->meta_tearless);
}

/*
 * That there is no failing window is said only where every cut that landed has a trial with it
 * alone that passed.
 */
static void say_gap(const struct coverage *c, struct sentence *s, const struct figures *f)
{
	const char *one = sources[c->source].one;

	if (c->failed || !f->all_passed) {
		say(s, "; the widest stretch without a cut is %s %s%s", number(f->gap.count).text,
			one, plural(f->gap.count));
		return;
	}
	say(s, "; no failing window wider than %s %s%s", number(f->gap.count).text, one,
		plural(f->gap.count));
	if (c->source == SOURCE_OPERATIONS)
		say(s, " (%s where only clean cuts fail, %s where only torn ones)",
			number(f->clean_gap.count).text, number(f->torn_gap.count).text);
}

/* Of a source that is no flash operations: how it is known where cuts fell. */
static void say_by_count(const struct coverage *c, struct sentence *s)
{
	uint64_t placed = c->fired - c->unplaced;

	if (c->by_count == placed)
		say(s, " (by count: where in flash they fell is not known)");
	else if (c->by_count)
		say(s, " (%s of %s by count: where in flash those fell is not known)",
			number(c->by_count).text, number(placed).text);
	else
		say(s, " (as flash shows)");
}

static void say_landed(const struct coverage *c, struct sentence *s, const struct figures *f)
{
	bool flash = c->source == SOURCE_OPERATIONS;

	say(s, "%s distinct cut%s of %s %s%s%s", number(c->count).text, plural(c->count),
		number(c->operations).text, sources[c->source].one, plural(c->operations),
		sources[c->source].of);
	if (!flash)
		say_by_count(c, s);
	if (flash && f->clean_gap.count == 0 && f->torn_gap.count == 0) {
		say(s, ": all points, before and torn at each operation and after the last");
		say_tearless(s, f->tearless);
		return;
	}
	if (flash)
		say_metadata(s, f);
	say_gap(c, s, f);
}

static void say_trials(const struct coverage *c, struct sentence *s)
{
	if (c->second)
		say(s, "; depth %zu, a second cut in %s trial%s", c->depth, number(c->second).text,
			plural(c->second));
	if (c->failed)
		say(s, "; %s of %s trial%s failed", number(c->failed).text, number(c->trials).text,
			plural(c->trials));
	if (c->inconclusive)
		say(s, "; %s of %s trial%s inconclusive", number(c->inconclusive).text,
			number(c->trials).text, plural(c->trials));
	if (c->unplaced && c->count)
		say(s, "; %s cut%s could not be placed", number(c->unplaced).text,
			plural(c->unplaced));
}

static void make_sentence(const struct coverage *c, struct sentence *s, const struct figures *f)
{
	if (c->count)
		say_landed(c, s, f);
	else if (c->fired)
		say(s, "%s cut%s fired, and none could be placed", number(c->fired).text,
			plural(c->fired));
	else
		say(s, "nothing was cut");
	say_trials(c, s);
}

/* --- the record ------------------------------------------------------------------------------- */

static json_t *classes_to_json(const struct coverage *c)
{
	json_t *out = json_array();

	for (size_t k = 0; k < c->class_count; k++) {
		uint32_t clean = 0, torn = 0, cuts = 0;

		for (size_t i = 0; i < c->count; i++) {
			if (c->cuts[i].op == CUT_END || c->class_of[c->cuts[i].op] != k + 1)
				continue;
			cuts++;
			*(c->cuts[i].tear == TEAR_TORN ? &torn : &clean) += 1;
		}
		if (c->source != SOURCE_OPERATIONS)
			clean = 0;
		json_array_append_new(
			out, json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", c->classes[k].name,
				     "operations", (json_int_t)c->classes[k].operations, "cuts",
				     (json_int_t)cuts, "clean", (json_int_t)clean, "torn",
				     (json_int_t)torn));
	}
	return out;
}

/* Over the cuts that were placed; the mean to a thousandth. */
static json_t *landing_error_to_json(const struct coverage *c)
{
	uint64_t placed = c->fired - c->unplaced, thousandths;

	if (!placed)
		return json_pack("{s:n, s:n}", "max", "mean");
	thousandths = (c->error_sum * 1000 + placed / 2) / placed;
	return json_pack(
		"{s:I, s:f}", "max", (json_int_t)c->error_max, "mean", (double)thousandths / 1000);
}

static json_t *gap_to_json(const struct stretch *gap)
{
	if (!gap->count)
		return json_null();
	return json_pack("[I, I]", (json_int_t)gap->first,
		(json_int_t)gap->first + (json_int_t)gap->count - 1);
}

static json_t *gap_by_tear_to_json(const struct coverage *c, const struct figures *f)
{
	if (c->source != SOURCE_OPERATIONS)
		return json_null();
	return json_pack("{s:I, s:I}", "clean", (json_int_t)f->clean_gap.count, "torn",
		(json_int_t)f->torn_gap.count);
}

static json_t *metadata_to_json(const struct figures *f)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "operations", (json_int_t)f->metadata,
		"before", (json_int_t)f->before, "torn", (json_int_t)f->meta_torn, "untearable",
		(json_int_t)f->meta_tearless, "after", (json_int_t)f->after);
}

json_t *coverage_to_json(const struct coverage *c)
{
	struct sentence sentence = {.text = ""};
	struct figures f;

	work_out(c, &f);
	make_sentence(c, &sentence, &f);
	return json_pack("{s:I, s:s, s:I, s:I, s:{s:I, s:I}, s:b, s:I, s:I, s:o, s:o, s:I, s:o, "
			 "s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:s}",
		"operations", (json_int_t)c->operations, "source", sources[c->source].name, "cuts",
		(json_int_t)c->count, "positions", (json_int_t)f.positions, "tears", "clean",
		(json_int_t)f.clean, "torn", (json_int_t)f.torn, "end", f.end, "depth",
		(json_int_t)c->depth, "second", (json_int_t)c->second, "metadata",
		metadata_to_json(&f), "classes", classes_to_json(c), "gap", (json_int_t)f.gap.count,
		"gap_at", gap_to_json(&f.gap), "gap_by_tear", gap_by_tear_to_json(c, &f),
		"landing_error", landing_error_to_json(c), "unplaced", (json_int_t)c->unplaced,
		"by_count", (json_int_t)c->by_count, "trials", (json_int_t)c->trials, "failed",
		(json_int_t)c->failed, "inconclusive", (json_int_t)c->inconclusive, "sentence",
		sentence.text);
}
