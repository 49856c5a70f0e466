/*
 * The demo DUT's bootloader on the virtual board: swaps, trials, reverts, refusals, and the power
 * cut at its operations. RIG_CUT_STRIDE in the environment: one cut in so many operations of the
 * bulk, over every transition; 1 tries them all.
 */
#include "tests/firmware_cuts.h"

static const char *const versions[] = {"1.0.0", "1.1.0", "1.2.0", "2.0.0"};
#define VERSIONS (sizeof(versions) / sizeof(versions[0]))

static struct blob images[VERSIONS], bad_121;
enum { V100, V110, V120, V200 };

static int load_images(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		images[i] = firmware_image(versions[i]);
	bad_121 = firmware_image("selftest-fails-1.2.1");
	return 0;
}

static int free_images(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		free(images[i].bytes);
	free(bad_121.bytes);
	return 0;
}

static int setup(void **state)
{
	*state = dut_create();
	return 0;
}

static int teardown(void **state)
{
	dut_destroy(*state);
	return 0;
}

static const char owner[] = "somebody";

/* A board that runs an image and holds a setting, at rest. */
static void start(struct dut *d, const char *bootloader, int version)
{
	dut_load(d, bootloader, &images[version]);
	assert_true(dut_boot(d));
	assert_runs(d, versions[version]);
	assert_int_equal(setting_write(d, "owner", owner, sizeof(owner)), 0);
}

static bool is_intact(struct dut *d, int version)
{
	char line[64];

	snprintf(line, sizeof(line), "app %s ready\r\n", versions[version]);
	return dut_said(d, line) && slot_holds(d, PRIMARY, &images[version]) &&
	       setting_is(d, "owner", owner, sizeof(owner));
}

static size_t times_said(const struct dut *d, const char *text)
{
	size_t n = 0;

	for (const char *at = d->console; (at = strstr(at, text)); at += strlen(text))
		n++;
	return n;
}

/* --- uncut -------------------------------------------------------------------------------------
 */

static void every_upgrade_swaps_confirms_and_stays(void **state)
{
	struct dut *d = *state;

	for (int from = 0; from < (int)VERSIONS; from++) {
		for (int to = from + 1; to < (int)VERSIONS; to++) {
			char swap[64];
			start(d, "bootloader.hex", from);
			snprintf(swap, sizeof(swap), "boot: swap test %s -> %s\r\n", versions[from],
				versions[to]);
			assert_true(dut_update(d, &images[to]));
			assert_said(d, swap);
			assert_true(is_intact(d, to));
			assert_true(slot_holds(d, SECONDARY, &images[from]));
			vboard_mark(d->vb);
			for (int boot = 0; boot < 2; boot++) {
				assert_true(dut_boot(d));
				assert_true(is_intact(d, to));
			}
			assert_int_equal(vboard_op_count(d->vb), 0);
		}
	}
}

static void releases_can_be_updated_one_after_the_other(void **state)
{
	struct dut *d = *state;

	start(d, "bootloader.hex", V100);
	for (int to = V110; to <= V200; to++) {
		assert_true(dut_update(d, &images[to]));
		assert_true(is_intact(d, to));
	}
	/* and again with the same version: no downgrade */
	assert_true(dut_update(d, &images[V200]));
	assert_true(is_intact(d, V200));
}

static void a_permanent_swap_is_not_on_trial(void **state)
{
	struct dut *d = *state;

	/* an image that would fail its self-test, were it asked for one */
	start(d, "bootloader.hex", V110);
	assert_int_equal(dut_upload(d, &bad_121), 0);
	assert_int_equal(dut_request_swap(d, &bad_121, true), 0);
	assert_true(dut_reset(d));
	assert_said(d, "boot: swap permanent 1.1.0 -> 1.2.1\r\n");
	assert_runs(d, "1.2.1");
	assert_true(dut_boot(d));
	assert_runs(d, "1.2.1");
}

static void an_image_that_fails_its_self_test_is_reverted_once_and_for_good(void **state)
{
	struct dut *d = *state;

	start(d, "bootloader.hex", V120);
	assert_true(dut_update(d, &bad_121));
	assert_said(d, "boot: swap test 1.2.0 -> 1.2.1\r\n");
	assert_int_equal(times_said(d, "app 1.2.1 self-test: built to fail"), 1);
	assert_said(d, "boot: swap revert 1.2.1 -> 1.2.0\r\n");
	assert_not_said(d, "app 1.2.1 ready");
	assert_true(is_intact(d, V120));
	vboard_mark(d->vb);
	assert_true(dut_boot(d));
	assert_true(is_intact(d, V120));
	assert_int_equal(vboard_op_count(d->vb), 0);
	/* the same again, and then one that works */
	assert_true(dut_update(d, &bad_121));
	assert_said(d, "boot: swap revert 1.2.1 -> 1.2.0\r\n");
	assert_true(is_intact(d, V120));
	assert_true(dut_update(d, &images[V200]));
	assert_true(is_intact(d, V200));
}

/* An image whose first instruction is undefined: it never gets to judge itself. */
static void an_image_that_crashes_is_reverted(void **state)
{
	struct dut *d = *state;
	struct blob crash = {malloc(images[V110].len), images[V110].len};
	struct sha256_ctx sha;
	uint32_t entry;

	assert_non_null(crash.bytes);
	memcpy(crash.bytes, images[V110].bytes, crash.len);
	memcpy(&entry, crash.bytes + 0x204, 4);
	memset(crash.bytes + (entry & ~1u) - PRIMARY, 0xde, 2); /* 0xdede: UDF */
	sha256_init(&sha);
	sha256_update(&sha, crash.len - 40, crash.bytes);
	sha256_digest(&sha, 32, crash.bytes + crash.len - 32);

	start(d, "bootloader.hex", V100);
	assert_true(dut_update(d, &crash));
	assert_int_equal(times_said(d, "boot: jump 1.1.0\r\n"), 2);
	assert_said(d, "boot: swap revert 1.1.0 -> 1.0.0\r\n");
	assert_true(is_intact(d, V100));
	free(crash.bytes);
}

static void an_image_whose_hash_is_wrong_is_refused_and_the_old_one_runs(void **state)
{
	struct dut *d = *state;

	start(d, "bootloader.hex", V100);
	assert_int_equal(dut_upload(d, &images[V110]), 0);
	assert_int_equal(dut_request_swap(d, &images[V110], false), 0);
	vboard_power(d->vb, false);
	vboard_flash(d->vb)[SECONDARY + 0x1234] ^= 0x10;
	for (int boot = 0; boot < 2; boot++) {
		assert_true(dut_boot(d));
		assert_int_equal(times_said(d, "boot: refuse: the new image is not valid"), !boot);
		assert_true(is_intact(d, V100));
	}
	/* the same update again works */
	assert_true(dut_update(d, &images[V110]));
	assert_true(is_intact(d, V110));
}

static void a_damaged_image_does_not_run(void **state)
{
	struct dut *d = *state;

	start(d, "bootloader.hex", V100);
	vboard_power(d->vb, false);
	vboard_flash(d->vb)[PRIMARY + 0x1234] ^= 1;
	assert_true(dut_boot(d));
	assert_said(d, "boot: no valid image\r\n");
	assert_not_said(d, "jump");
}

/* A request as the application writes it: docs/demo-dut.md, "Trailers". */
static void plant_request(struct dut *d, const struct blob *image, const char type[4])
{
	static const uint32_t magic[4] = {0xf395c277, 0x7fefd260, 0x0f505235, 0x8079b62c};
	uint8_t *flash = vboard_flash(d->vb);

	memset(flash + SECONDARY, 0xff, SLOT_BYTES);
	memcpy(flash + SECONDARY, image->bytes, image->len);
	memcpy(flash + SECONDARY + SLOT_BYTES - 28, type, 4);
	memcpy(flash + SECONDARY + SLOT_BYTES - 16, magic, 16);
}

static void the_bootloader_itself_refuses_a_lower_version(void **state)
{
	struct dut *d = *state;

	start(d, "bootloader.hex", V120);
	vboard_power(d->vb, false);
	plant_request(d, &images[V110], "test");
	for (int boot = 0; boot < 2; boot++) {
		assert_true(dut_boot(d));
		assert_int_equal(
			times_said(d, "boot: refuse: 1.1.0 is lower than 1.2.0\r\n"), !boot);
		assert_true(is_intact(d, V120));
	}
	/* the same by hand with a higher one is taken: the request is laid out rightly */
	vboard_power(d->vb, false);
	plant_request(d, &images[V200], "perm");
	assert_true(dut_boot(d));
	assert_said(d, "boot: swap permanent 1.2.0 -> 2.0.0\r\n");
	assert_true(is_intact(d, V200));
}

/* --- cuts --------------------------------------------------------------------------------------
 */

struct update_story {
	int from, to;
	size_t first_new; /* the first clean cut that ended with the new release; 0: none yet */
	size_t bricked;   /* cuts after which nothing ran any more */
	bool retry;       /* judge also that the same update works afterwards */
};

/* Old or new, whole, with its settings, and the same after another boot. */
static bool updated_well(struct dut *d, void *arg, const struct cut_at *at, char why[200])
{
	struct update_story *s = arg;
	bool is_new = is_intact(d, s->to);

	if (!is_new && !is_intact(d, s->from)) {
		s->bricked += dut_said(d, "boot: no valid image\r\n");
		const char *last = d->console;
		for (const char *l = last; (l = strchr(l, '\n')) && l[1]; l++)
			last = l + 1;
		snprintf(why, 200, "neither %s nor %s, or settings lost: %.100s", versions[s->from],
			versions[s->to], last);
		return false;
	}
	if (is_new && !s->first_new)
		s->first_new = at->op;
	if (!is_new && s->first_new && at->op > s->first_new) {
		snprintf(why, 200, "old again, though a cut at %zu ended with the new one",
			s->first_new);
		return false;
	}
	vboard_mark(d->vb);
	if (!dut_boot(d) || !is_intact(d, is_new ? s->to : s->from) || vboard_op_count(d->vb)) {
		snprintf(why, 200, "another boot changes something");
		return false;
	}
	if (s->retry && !is_new && (!dut_update(d, &images[s->to]) || !is_intact(d, s->to))) {
		snprintf(why, 200, "the same update does not work any more");
		return false;
	}
	return true;
}

/* Traces an uncut update; the power is off afterwards. */
static void trace_update(struct dut *d, struct trace *t, const char *bootloader, int from, int to)
{
	start(d, bootloader, from);
	vboard_power(d->vb, false);
	trace_begin(t, d);
	assert_true(dut_boot(d));
	assert_true(dut_update(d, &images[to]));
	assert_true(is_intact(d, to));
	trace_end(t, d);
}

struct range {
	size_t first, last, count;
};

/* Cuts a trace where sampled() says, with every tear; counts what fails. */
static struct range cut_update(struct dut *d, const struct trace *t, struct update_story *s,
	size_t stride, size_t from_op, size_t to_op, bool show)
{
	struct range failed = {0};
	struct cuts c = {.d = d, .trace = t, .judge = updated_well, .arg = s};

	cuts_begin(&c);
	for (size_t n = from_op; n <= to_op; n++) {
		bool last = n == t->count + 1;
		bool erase = !last && t->ops[n - 1].kind == VBOARD_ERASE;
		bool decides = !last && op_decides(&t->ops[n - 1]);
		if (!cuts_sampled(t, n, stride))
			continue;
		bool on_trailer = !last && op_is_on_trailer(&t->ops[n - 1]);
		int tears = last ? 1 : erase && on_trailer ? TEAR_COUNT : decides ? TEAR_START : 2;
		for (int tear = 0; tear < tears; tear++) {
			struct cut_at at = {n, (enum tear)tear, n * 7919};
			char why[200];
			s->retry = decides && (n % 4 == 0 || cuts_thorough());
			if (cuts_try(&c, &at, why))
				continue;
			if (failed.count++ < 10 && show)
				print_message("# %s -> %s: cut at %zu of %zu, %s: %s\n",
					versions[s->from], versions[s->to], n, t->count,
					tear_names[tear], why);
			if (!failed.first)
				failed.first = n;
			failed.last = n;
		}
	}
	print_message("# %s -> %s: %zu cuts in %zu operations, %zu failed\n", versions[s->from],
		versions[s->to], c.tried, t->count, failed.count);
	cuts_finish(&c);
	return failed;
}

static void an_update_survives_a_cut_at_any_operation(void **state)
{
	struct dut *d = *state;

	for (int from = 0; from < (int)VERSIONS; from++) {
		for (int to = from + 1; to < (int)VERSIONS; to++) {
			struct trace t;
			struct update_story s = {.from = from, .to = to};
			bool neighbours = to == from + 1;
			if (!neighbours && !cuts_thorough())
				continue;
			trace_update(d, &t, "bootloader.hex", from, to);
			struct range failed =
				cut_update(d, &t, &s, cuts_stride(1009), 1, t.count + 1, true);
			trace_finish(&t);
			assert_int_equal(failed.count, 0);
			assert_in_range(s.first_new, 2, t.count);
		}
	}
}

/* The revert of an image that rejected itself, from the reset on. */
static void a_revert_survives_a_cut_at_any_operation(void **state)
{
	struct dut *d = *state;
	struct trace t;
	struct update_story s = {.from = V110, .to = V110};

	start(d, "bootloader.hex", V110);
	assert_int_equal(dut_upload(d, &bad_121), 0);
	assert_int_equal(dut_request_swap(d, &bad_121, false), 0);
	vboard_power(d->vb, false);
	trace_begin(&t, d);
	assert_true(dut_boot(d));
	assert_said(d, "boot: swap revert 1.2.1 -> 1.1.0\r\n");
	trace_end(&t, d);
	struct range failed = cut_update(d, &t, &s, cuts_stride(2003), 1, t.count + 1, true);
	trace_finish(&t);
	assert_int_equal(failed.count, 0);
}

/* A second cut in what follows the first: where the recovery's own operations decide, and spread.
 */
static void a_second_cut_in_the_recovery_is_survived(void **state)
{
	struct dut *d = *state;
	struct trace t;
	struct update_story s = {.from = V120, .to = V200};
	size_t first_cuts = 0, failed = 0, tried = 0;

	trace_update(d, &t, "bootloader.hex", V120, V200);
	struct cuts outer = {.d = d, .trace = &t};
	cuts_begin(&outer);
	for (size_t n = 1; n <= t.count; n++) {
		if (!op_decides(&t.ops[n - 1]) || (!cuts_thorough() && n % 5))
			continue;
		/* the flash after the first cut, torn by turns */
		for (; outer.next < n; outer.next++)
			op_apply(outer.now, &t.ops[outer.next - 1]);
		vboard_power(d->vb, false);
		uint8_t *flash = vboard_flash(d->vb);
		memcpy(flash, outer.now, FLASH_BYTES);
		op_tear(flash, &t.ops[n - 1], n % TEAR_COUNT, n);
		first_cuts++;
		struct trace recovery;
		trace_begin(&recovery, d);
		assert_true(dut_boot(d));
		trace_end(&recovery, d);
		struct cuts c = {.d = d, .trace = &recovery, .judge = updated_well, .arg = &s};
		cuts_begin(&c);
		for (size_t m = 1; m <= recovery.count; m++) {
			bool decides = cuts_thorough() && op_decides(&recovery.ops[m - 1]);
			if (m > 6 && m + 6 <= recovery.count && m % 997 && !decides)
				continue;
			struct cut_at at = {m, (enum tear)((m + n) % TEAR_COUNT), m ^ n};
			char why[200];
			s.first_new = 0; /* twice cut, a trial may have used up its boots */
			s.retry = m % 3 == 0;
			if (!cuts_try(&c, &at, why) && failed++ < 10)
				print_message("# cut at %zu, then %zu of %zu %s: %s\n", n, m,
					recovery.count, tear_names[at.tear], why);
		}
		tried += c.tried;
		cuts_finish(&c);
		trace_finish(&recovery);
	}
	print_message("# %zu second cuts after %zu first ones\n", tried, first_cuts);
	cuts_finish(&outer);
	trace_finish(&t);
	assert_int_equal(failed, 0);
}

/* --- the planted defect ------------------------------------------------------------------------
 */

/* The operation that writes status record n of the swap in the primary trailer. */
static size_t record_op(const struct trace *t, uint32_t n)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->ops[i].kind == VBOARD_PROGRAM &&
			t->ops[i].address == PRIMARY + TRAILER + 4 * n)
			return i + 1;
	fail_msg("status record %" PRIu32 " is never written", n);
	return 0;
}

static void the_broken_bootloader_updates_when_nothing_is_cut(void **state)
{
	struct dut *d = *state;

	for (int from = 0; from < (int)VERSIONS; from++) {
		for (int to = from + 1; to < (int)VERSIONS; to++) {
			start(d, "broken/bootloader.hex", from);
			assert_true(dut_update(d, &images[to]));
			assert_true(is_intact(d, to));
		}
	}
}

static void the_broken_bootloader_fails_in_its_window_and_only_there(void **state)
{
	struct dut *d = *state;

	for (int from = 0; from < (int)VERSIONS; from++) {
		for (int to = from + 1; to < (int)VERSIONS; to++) {
			struct trace t;
			struct update_story s = {.from = from, .to = to};
			if ((from != V110 || to != V120) && !cuts_thorough())
				continue;
			trace_update(d, &t, "broken/bootloader.hex", from, to);
			/* record 4: page 1's "take"; the defect holds it back into record 5's step
			 */
			size_t late = record_op(&t, 4), around = 45;
			struct range near =
				cut_update(d, &t, &s, 1, late - around, late + around, false);
			print_message("# window: operations %zu to %zu of %zu\n", near.first,
				near.last, t.count);
			assert_int_equal(s.bricked, near.count);
			assert_int_equal(near.last, late);
			assert_in_range(near.last - near.first + 1, 20, 40);
			assert_true(near.first > late - around);
			if (cuts_thorough()) {
				s.first_new = 0;
				struct range all = cut_update(
					d, &t, &s, cuts_stride(1), 1, t.count + 1, false);
				assert_true(all.count > 0 && all.first >= near.first &&
					    all.last <= near.last);
			}
			trace_finish(&t);
		}
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_upgrade_swaps_confirms_and_stays),
		TEST(releases_can_be_updated_one_after_the_other),
		TEST(a_permanent_swap_is_not_on_trial),
		TEST(an_image_that_fails_its_self_test_is_reverted_once_and_for_good),
		TEST(an_image_that_crashes_is_reverted),
		TEST(an_image_whose_hash_is_wrong_is_refused_and_the_old_one_runs),
		TEST(a_damaged_image_does_not_run),
		TEST(the_bootloader_itself_refuses_a_lower_version),
		TEST(an_update_survives_a_cut_at_any_operation),
		TEST(a_revert_survives_a_cut_at_any_operation),
		TEST(a_second_cut_in_the_recovery_is_survived),
		TEST(the_broken_bootloader_updates_when_nothing_is_cut),
		TEST(the_broken_bootloader_fails_in_its_window_and_only_there),
	};
	cmocka_set_test_filter(getenv("RIG_TEST_ONLY"));
	return cmocka_run_group_tests(tests, load_images, free_images);
}
