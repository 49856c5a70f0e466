/*
 * The planted builds of the demo DUT (fixtures/firmware/planted.lua) on the virtual board: each one
 * works when nothing is cut, fails in its windows, where the good build passes the same cuts, and
 * nowhere else. The windows follow from the operation log of an uncut update. RIG_CUT_STRIDE in the
 * environment: the ends of every window of every update, and one cut in so many operations outside;
 * 1 cuts everything.
 */
#include "rig/lua_data.h"
#include "tests/firmware_planted.h"

static json_t *planted;      /* planted.lua */
static struct blob gives_up; /* 2.0.1, which rejects itself */
static struct scene goods[VERSIONS][VERSIONS];

/* --- where the defects are ---------------------------------------------------------------------
 */

static void expect(struct scene *s, size_t op, enum expected clean, enum expected torn)
{
	assert_in_range(op, 1, s->trace.count + 1);
	s->expected[2 * op] = (uint8_t)clean;
	s->expected[2 * op + 1] = (uint8_t)torn;
}

/* A record is written at op, before the last words of the page that is copied there. */
static void expect_early(struct scene *s, size_t op)
{
	if (op < 2 || op_of(s, op - 1)->kind != VBOARD_PROGRAM)
		return;
	uint32_t page = op_of(s, op - 1)->address / PAGE_BYTES;
	for (size_t n = op + 1; n <= s->trace.count && op_of(s, n)->kind == VBOARD_PROGRAM &&
				op_of(s, n)->address / PAGE_BYTES == page;
		n++)
		expect(s, n, FAILS, MAY_FAIL);
}

/* The record of a take is written at op, in the give that follows. */
static void expect_late(struct scene *s, size_t op)
{
	size_t erase = op;

	while (op_of(s, erase)->kind != VBOARD_ERASE)
		erase--;
	expect(s, erase, PASSES, MAY_FAIL);
	for (size_t n = erase + 1; n <= op; n++)
		expect(s, n, FAILS, MAY_FAIL);
}

static uint32_t pages_of(const struct blob *image)
{
	return (uint32_t)((image->len + PAGE_BYTES - 1) / PAGE_BYTES);
}

static void expect_lost_status(struct scene *s)
{
	expect_late(s, record_op(s, 4));
}

/* Record i's step is a save, a take or a give: i % 3. */
static void expect_early_take(struct scene *s)
{
	for (uint32_t page = 0; page < pages_of(&s->images[s->to]); page++)
		expect_early(s, record_op(s, 3 * page + 1));
}

static void expect_early_save(struct scene *s)
{
	for (uint32_t page = 0; page < pages_of(&s->images[s->from]); page++)
		expect_early(s, record_op(s, 3 * page));
}

static void expect_late_take(struct scene *s)
{
	for (uint32_t page = 0; page < pages_of(&s->images[s->to]); page++)
		expect_late(s, record_op(s, 3 * page + 1));
}

static void expect_torn_record(struct scene *s)
{
	for (uint32_t i = 0; i < RECORDED_STEPS && record_op(s, i); i++)
		expect(s, record_op(s, i), PASSES, MAY_FAIL);
}

static void expect_torn_erase(struct scene *s)
{
	/* scratch is blank already; before record 0 a step is begun, not resumed */
	for (size_t n = record_op(s, 0); n < copy_done_op(s); n++)
		if (op_of(s, n)->kind == VBOARD_ERASE && op_of(s, n)->address < SCRATCH)
			expect(s, n, PASSES, MAY_FAIL);
}

/* What goes wrong whenever the swap is resumed with so many records written. */
static void expect_resume(struct scene *s, uint32_t records)
{
	for (size_t n = record_op(s, records - 1) + 1; n <= copy_done_op(s); n++)
		expect(s, n, FAILS, MAY_FAIL);
	expect(s, record_op(s, records - 1), PASSES, MAY_FAIL);
}

static void expect_shrinking(struct scene *s)
{
	if (pages_of(&s->images[s->to]) < pages_of(&s->images[s->from]))
		expect_resume(s, 1);
}

static void expect_writes_itself(struct scene *s)
{
	expect_resume(s, 1);
}

static void expect_unerased(struct scene *s)
{
	expect_resume(s, 3);
	/* where the page before held nothing, the scratch page is blank */
	for (uint32_t page = pages_of(&s->images[s->from]) + 1; record_op(s, 3 * page - 1); page++)
		for (size_t n = record_op(s, 3 * page - 1) + 1; n <= copy_done_op(s); n++)
			expect(s, n, MAY_FAIL, MAY_FAIL);
}

static void expect_boot_loop(struct scene *s)
{
	expect(s, copy_done_op(s) + 1, FAILS, PASSES);
}

/* The image runs when its first boot is counted, and until it is confirmed. */
static void expect_one_attempt(struct scene *s)
{
	size_t boot = field_op(s, s->commit, PRIMARY, 88);
	size_t confirm = field_op(s, boot, PRIMARY, 20);

	expect(s, boot, PASSES, MAY_FAIL);
	expect(s, confirm, FAILS, MAY_FAIL);
	assert_int_equal(confirm, boot + 1);
}

static void expect_mixed_upload(struct scene *s)
{
	if (s->from != V100)
		return;
	for (uint32_t page = 0; page < pages_of(&s->images[s->to]) - 1; page++)
		expect_early(s, field_op(s, 1, SECONDARY, PAGE_BYTES - 4 * page));
}

static void expect_lazy_confirm(struct scene *s)
{
	if (s->to != V120)
		return;
	expect(s, s->trace.count, PASSES, MAY_FAIL);
	expect(s, s->trace.count + 1, FAILS, PASSES);
}

static void expect_torn_confirm(struct scene *s)
{
	if (s->to == V120)
		expect(s, field_op(s, s->commit, PRIMARY, 20), PASSES, MAY_FAIL);
}

/* From the erase of the page in format 1 to the magic of the one in format 2. */
static void expect_migration(struct scene *s)
{
	if (s->to != V200)
		return;
	size_t erase = op_find(&s->trace, s->commit, VBOARD_ERASE, SETTINGS, 2 * PAGE_BYTES);
	assert_true(erase > 0);
	expect(s, erase, PASSES, MAY_FAIL);
	for (size_t n = erase + 1; n <= erase + 3; n++)
		expect(s, n, FAILS, MAY_FAIL);
}

static const struct build builds[] = {
	{"lost-status", V110, V200, expect_lost_status, -1, false},
	{"torn-record", V110, V200, expect_torn_record, -1, false},
	{"torn-erase", V110, V200, expect_torn_erase, -1, false},
	{"window-1", V110, V200, expect_early_take, -1, false},
	{"window-4", V110, V200, expect_late_take, -1, false},
	{"window-64", V110, V200, expect_early_take, -1, false},
	{"holed-fallback", V110, V200, expect_early_save, -1, false},
	{"shrinking-image", V100, V110, expect_shrinking, -1, false},
	{"second-cut", V110, V200, NULL, -1, false},
	{"stale-rejection", V110, V200, NULL, -1, false},
	{"one-attempt", V110, V200, expect_one_attempt, -1, false},
	{"boot-loop", V110, V200, expect_boot_loop, -1, false},
	{"unerased", V110, V200, expect_unerased, -1, false},
	{"writes-itself", V110, V200, expect_writes_itself, -1, false},
	{"mixed-upload", V100, V110, expect_mixed_upload, V100, true},
	{"lazy-confirm", V110, V120, expect_lazy_confirm, V120, false},
	{"torn-confirm", V110, V120, expect_torn_confirm, V120, false},
	{"migration", V110, V200, expect_migration, V200, false},
};
#define BUILDS (sizeof(builds) / sizeof(builds[0]))

/* --- planted.lua -------------------------------------------------------------------------------
 */

/* planted.lua's entry of a build. */
static const json_t *entry_of(const char *name)
{
	size_t i;
	json_t *entry;

	json_array_foreach (planted, i, entry)
		if (strcmp(json_string_value(json_object_get(entry, "name")), name) == 0)
			return entry;
	fail_msg("planted.lua has no %s", name);
	return NULL;
}

/* Whether a failure is one that planted.lua has for the build. */
static void assert_finding(const struct build *b, const char *why)
{
	size_t i;
	json_t *name;

	json_array_foreach (json_object_get(entry_of(b->name), "finding"), i, name) {
		size_t len = json_string_length(name);
		if (strncmp(json_string_value(name), why, len) == 0 && why[len] == ':')
			return;
	}
	fail_msg("%s: planted.lua has no such finding: %s", b->name, why);
}

/* --- cutting -----------------------------------------------------------------------------------
 */

static bool may_fail(const struct scene *s, size_t op)
{
	return op > 0 && op <= s->trace.count + 1 &&
	       (s->expected[2 * op] || s->expected[2 * op + 1]);
}

/* The n-th window of a trace, from 0, first and last operation; false: there are not so many. */
static bool window_at(const struct scene *s, size_t n, size_t *first, size_t *last)
{
	*first = 0;
	for (size_t op = 1; op <= s->trace.count + 1; op++) {
		if (may_fail(s, op) && !may_fail(s, op - 1) && n-- == 0)
			*first = op;
		if (*first && may_fail(s, op) && !may_fail(s, op + 1)) {
			*last = op;
			return true;
		}
	}
	return false;
}

enum { CUT_CLEAN = 1, CUT_TORN = 2 };

/* The ends of a window with their neighbours, and the middle; all of it when everything is wanted
 * and it is not wide. */
static void sample_window(const struct scene *s, uint8_t *sample, size_t first, size_t last)
{
	const uint8_t both = CUT_CLEAN | CUT_TORN;

	sample[first] = sample[(first + last) / 2] = sample[last] = both;
	sample[first - 1] |= CUT_CLEAN;
	if (last > first)
		sample[first + 1] |= CUT_CLEAN; /* where only a torn first operation may fail */
	if (last <= s->trace.count)
		sample[last + 1] |= CUT_CLEAN;
	if (cuts_stride(0xffff) == 1 && last - first < 70)
		memset(sample + first - 1, both, last - first + 2);
}

/*
 * How to cut each operation: in make check the first window, the first operation of one in the
 * middle, the commit point, the end, and a few elsewhere. Otherwise all windows, and one in so many
 * elsewhere. The caller's to free.
 */
static uint8_t *sample_create(const struct scene *s)
{
	uint8_t *sample = calloc(s->trace.count + 2, 1);
	size_t windows = 0, first, last, end = s->trace.count + 1;
	size_t stride = cuts_thorough() ? cuts_stride(1) : end / 2;

	assert_non_null(sample);
	while (window_at(s, windows, &first, &last))
		windows++;
	for (size_t i = 0; i < windows; i++) {
		assert_true(window_at(s, i, &first, &last));
		if (cuts_thorough() || i == 0)
			sample_window(s, sample, first, last);
		else if (i == windows / 2)
			sample[first] = CUT_CLEAN | CUT_TORN;
	}
	for (size_t op = 1; op <= end; op++)
		if (op % stride == stride / 2)
			sample[op] |= cuts_thorough() || op % 2 ? CUT_CLEAN | CUT_TORN : CUT_CLEAN;
	sample[s->commit] |= CUT_CLEAN;
	sample[s->commit + 1] |= CUT_CLEAN;
	sample[end] = CUT_CLEAN;
	return sample;
}

/* One window's failures. */
struct window {
	size_t first, last, clean, torn;
	char why[200];
};

static void window_print(const struct scene *s, struct window *w)
{
	char last[24];

	snprintf(last, sizeof(last), "%zu", w->last);
	if (w->first)
		print_message("# %s: operations %zu-%s of %zu (%s -> %s), %s, %s\n", s->build->name,
			w->first, w->last > s->trace.count ? "end" : last, s->trace.count,
			versions[s->from], versions[s->to],
			!w->torn    ? "clean"
			: !w->clean ? "torn"
				    : "any",
			w->why);
	*w = (struct window){0};
}

/* One cut of the planted build, which must do what is expected of it, and the good build's. */
static bool cut_both(
	struct scene *s, struct cuts *c, struct cuts *g, size_t n, bool torn, struct window *w)
{
	struct scene *good = g->arg;
	size_t same = n <= good->trace.count ? n : good->trace.count + 1;
	enum expected want = s->expected[2 * n + torn];
	char why[200];

	/* builds share their good cuts, those of a retry apart */
	bool known = good->passed[2 * same + torn] && !good->retry;
	good->passed[2 * same + torn] = 1;
	if (!known && !cut_passes(good, g, same, torn, why))
		fail_msg("the good build: cut at %zu of %zu, %s: %s", same, good->trace.count,
			torn ? "torn" : "clean", why);
	bool ok = cut_passes(s, c, n, torn, why);
	if (ok ? want == FAILS : want == PASSES)
		fail_msg("%s: cut at %zu of %zu, %s, %s: %s", s->build->name, n, s->trace.count,
			torn ? "torn" : "clean", ok ? "passes" : "fails", why);
	if (ok)
		return true;
	assert_finding(s->build, why);
	w->first = w->first ? w->first : n;
	w->last = n;
	*(torn ? &w->torn : &w->clean) += 1;
	memcpy(w->why, why, sizeof(w->why));
	return false;
}

/* Cuts a scene where the sample says, and the good one at the same operations. Returns how many
 * cuts failed. */
static size_t cut_scene(struct scene *s, struct scene *good)
{
	struct cuts c = {.d = s->d, .trace = &s->trace, .judge = judge, .arg = s};
	struct cuts g = {.d = good->d, .trace = &good->trace, .judge = judge, .arg = good};
	uint8_t *sample = sample_create(s);
	struct window w = {0};
	size_t failed = 0;

	cuts_begin(&c);
	cuts_begin(&g);
	c.began = s->began;
	g.began = good->began;
	for (size_t n = 1; n <= s->trace.count + 1; n++) {
		if (!may_fail(s, n))
			window_print(s, &w);
		if (sample[n] & CUT_CLEAN)
			failed += !cut_both(s, &c, &g, n, false, &w);
		if (sample[n] & CUT_TORN)
			failed += !cut_both(s, &c, &g, n, true, &w);
	}
	window_print(s, &w);
	print_message("# %s: %s -> %s: %zu cuts, %zu failed\n", s->build->name, versions[s->from],
		versions[s->to], c.tried, failed);
	cuts_finish(&c);
	cuts_finish(&g);
	free(sample);
	return failed;
}

/* --- tests -------------------------------------------------------------------------------------
 */

static int load(void **state)
{
	struct lua_data *data;
	struct err e;
	char path[4096];

	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		releases[i] = firmware_image(versions[i]);
	gives_up = firmware_image("selftest-fails-2.0.1");
	snprintf(path, sizeof(path), "%s/../../fixtures/firmware/planted.lua", build_dir());
	if (lua_data_load(path, NULL, NULL, &data, &e) < 0)
		fail_msg("%s", e.msg);
	planted = json_incref(data->blocks[0].value);
	lua_data_destroy(data);
	return 0;
}

static int unload(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		free(releases[i].bytes);
	for (int i = 0; i < VERSIONS * VERSIONS; i++)
		if (goods[i / VERSIONS][i % VERSIONS].d)
			scene_finish(&goods[i / VERSIONS][i % VERSIONS]);
	free(gives_up.bytes);
	json_decref(planted);
	return 0;
}

/* Whether the file that planted.lua names is there. */
static void assert_built(const json_t *file)
{
	char name[1024];

	assert_true(json_is_string(file));
	snprintf(name, sizeof(name), "../../fixtures/firmware/%s", json_string_value(file));
	free(firmware_file(name).bytes);
}

static void planted_lua_lists_the_builds_and_where_they_are(void **state)
{
	(void)state;
	assert_int_equal(json_array_size(planted), BUILDS);
	for (size_t i = 0; i < BUILDS; i++) {
		const json_t *entry = entry_of(builds[i].name), *file;
		const json_t *files = json_object_get(entry, "applications");
		const char *version;
		assert_true(json_string_length(json_object_get(entry, "what")) > 0);
		assert_true(json_string_length(json_object_get(entry, "needs")) > 0);
		assert_true(json_array_size(json_object_get(entry, "finding")) > 0);
		assert_int_equal(builds[i].version >= 0, json_object_size(files));
		if (!files)
			assert_built(json_object_get(entry, "bootloader"));
		json_object_foreach ((json_t *)(uintptr_t)files, version, file) {
			assert_string_equal(version, versions[builds[i].version]);
			assert_built(file);
		}
	}
}

/* Updates, and does it again after another boot. */
static void assert_updates(struct scene *s, int to)
{
	assert_true(dut_update(s->d, &s->images[to]));
	assert_true(is_intact(s, to));
	assert_true(dut_boot(s->d));
	assert_true(is_intact(s, to));
}

/* An update that gives itself up. */
static void assert_reverts(struct scene *s, int from)
{
	assert_true(dut_update(s->d, &gives_up));
	assert_said(s->d, "app 2.0.1 self-test: built to fail");
	assert_true(is_intact(s, from));
}

static void every_build_updates_and_reverts_when_nothing_is_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < BUILDS; i++) {
		struct scene s;
		scene_begin(&s, &builds[i], V100, V200);
		start(&s, V100);
		for (int to = V110; to <= V200; to++)
			assert_updates(&s, to);
		assert_reverts(&s, V200);
		for (int from = V100; from < V200 && cuts_thorough(); from++) {
			for (int to = from + 1; to <= V200; to++) {
				start(&s, from);
				assert_updates(&s, to);
			}
			start(&s, from);
			assert_reverts(&s, from);
		}
		scene_finish(&s);
	}
}

/* The good build's update, traced once. */
static struct scene *good_of(int from, int to)
{
	struct scene *s = &goods[from][to];

	if (s->d)
		return s;
	scene_begin(s, NULL, from, to);
	scene_trace(s);
	return s;
}

/* Cuts one update of a build, and of the good one. Returns how many cuts failed. */
static size_t cut_build(const struct build *b, int from, int to)
{
	struct scene s, *good = good_of(from, to);

	scene_begin(&s, b, from, to);
	scene_trace(&s);
	good->retry = s.retry;
	size_t failed = cut_scene(&s, good);
	scene_finish(&s);
	return failed;
}

static const struct build *build_of(const char *name)
{
	for (size_t i = 0; i < BUILDS; i++)
		if (strcmp(builds[i].name, name) == 0)
			return &builds[i];
	fail_msg("there is no build %s", name);
	return NULL;
}

static void every_defect_fails_in_its_windows_and_only_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < BUILDS; i++) {
		if (!builds[i].expect)
			continue;
		for (int from = V100; from < V200 && cuts_thorough(); from++)
			for (int to = from + 1; to <= V200; to++)
				if (from != builds[i].from || to != builds[i].to)
					cut_build(&builds[i], from, to);
		assert_true(cut_build(&builds[i], builds[i].from, builds[i].to) > 0);
	}
}

/* Cuts the recovery of a first cut at every one of its first operations. Returns how many second
 * cuts failed, and which were the first and the last of them. */
static size_t cut_recovery(struct scene *s, size_t first_cut, struct window *w)
{
	struct cuts outer = {.d = s->d, .trace = &s->trace}, inner;
	struct trace recovery;
	struct cut_at at = {first_cut, TEAR_CLEAN, 0};
	char why[200];

	cuts_begin(&outer);
	for (; outer.next < at.op; outer.next++)
		op_apply(outer.now, op_of(s, outer.next));
	vboard_power(s->d->vb, false);
	memcpy(vboard_flash(s->d->vb), outer.now, FLASH_BYTES);
	trace_begin(&recovery, s->d);
	assert_true(dut_boot(s->d));
	assert_true(is_intact(s, s->to));
	trace_end(&recovery, s->d);
	inner = (struct cuts){.d = s->d, .trace = &recovery, .judge = judge, .arg = s};
	cuts_begin(&inner);
	inner.began = s->began;
	*w = (struct window){0};
	for (at.op = 1; at.op <= recovery.count + 1; at.op++) {
		bool last = at.op + 2 > recovery.count;
		if (at.op > 20 && !last && (!cuts_thorough() || at.op % cuts_stride(1)))
			continue;
		s->runs = s->to;
		if (cuts_try(&inner, &at, why))
			continue;
		if (!s->build)
			fail_msg("the good build: cut at %zu, then %zu: %s", first_cut, at.op, why);
		assert_finding(s->build, why[0] == 'd' ? "bricked: no rest" : why);
		w->first = w->first ? w->first : at.op;
		w->last = at.op;
		w->clean++;
	}
	cuts_finish(&inner);
	cuts_finish(&outer);
	trace_finish(&recovery);
	return w->clean;
}

static void a_defect_of_the_recovery_fails_at_second_cuts_and_no_first_one_finds_it(void **state)
{
	const struct build *b = build_of("second-cut");
	struct scene s, *good = good_of(b->from, b->to);
	struct window w;

	(void)state;
	assert_int_equal(cut_build(b, b->from, b->to), 0);
	scene_begin(&s, b, b->from, b->to);
	scene_trace(&s);
	/* a clean cut at record 4, and one in the middle of the step after record 5 */
	for (uint32_t i = 4; i <= 5; i++) {
		size_t first = record_op(&s, i) + (i == 5 ? 100 : 0);
		uint32_t records = i == 5 ? 6 : 4;
		assert_true(cut_recovery(&s, first, &w) > 0);
		print_message("# %s: cut at %zu of %zu, then operations %zu-%zu, clean, bricked\n",
			b->name, first, s.trace.count, w.first, w.last);
		assert_int_equal(w.first, 2);
		/* its magic and the page are erased, records, pages, type, magic */
		assert_int_equal(w.last, 4 + 1 + records + 2 + 4);
		assert_int_equal(w.clean, w.last - 1);
		assert_int_equal(cut_recovery(good, first, &w), 0);
	}
	scene_finish(&s);
}

static void a_stale_rejection_refuses_the_update_after_a_revert(void **state)
{
	const struct build *b = build_of("stale-rejection");
	struct scene s, good;

	(void)state;
	assert_int_equal(cut_build(b, b->from, b->to), 0);
	scene_begin(&s, b, b->from, b->to);
	scene_begin(&good, NULL, b->from, b->to);
	start(&s, b->from);
	start(&good, b->from);
	for (int times = 0; times < 2; times++) {
		assert_true(dut_update(s.d, &gives_up));
		/* the second time it does not even run */
		assert_int_equal(dut_said(s.d, "app 2.0.1 self-test"), times == 0);
		assert_true(is_intact(&s, b->from));
		assert_reverts(&good, b->from);
	}
	assert_true(dut_update(s.d, &s.images[b->to]));
	assert_not_said(s.d, "boot: jump 2.0.0");
	assert_true(is_intact(&s, b->from));
	assert_updates(&good, b->to);
	print_message(
		"# stale-rejection: later-fails: after a revert 2.0.0 is swapped in and back\n");
	scene_finish(&s);
	scene_finish(&good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(planted_lua_lists_the_builds_and_where_they_are),
		cmocka_unit_test(every_build_updates_and_reverts_when_nothing_is_cut),
		cmocka_unit_test(every_defect_fails_in_its_windows_and_only_there),
		cmocka_unit_test(
			a_defect_of_the_recovery_fails_at_second_cuts_and_no_first_one_finds_it),
		cmocka_unit_test(a_stale_rejection_refuses_the_update_after_a_revert),
	};
	cmocka_set_test_filter(getenv("RIG_TEST_ONLY"));
	return cmocka_run_group_tests(tests, load, unload);
}
