/*
 * The demo DUT's application on the virtual board: SMP, uploads, settings. The bootloader's part is
 * in test_vboard_bootloader.c. RIG_CUT_STRIDE in the environment: how densely power cuts are tried.
 */
#include "rig/image.h"
#include "tests/firmware_cuts.h"

static const char *const versions[] = {"1.0.0", "1.1.0", "1.2.0", "2.0.0"};
#define VERSIONS (sizeof(versions) / sizeof(versions[0]))

static struct blob images[VERSIONS];
enum { V100, V110, V120, V200 };

static int load_images(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		images[i] = firmware_image(versions[i]);
	return 0;
}

static int free_images(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		free(images[i].bytes);
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

/* A board that runs an image, at rest. */
static void start(struct dut *d, int version)
{
	dut_load(d, "bootloader.hex", &images[version]);
	assert_true(dut_boot(d));
	assert_runs(d, versions[version]);
}

static json_int_t number(const json_t *object, const char *key)
{
	const json_t *n = json_object_get(object, key);
	assert_true(json_is_integer(n));
	return json_integer_value(n);
}

/* --- boot and rest -----------------------------------------------------------------------------
 */

static void every_release_boots_and_says_its_version(void **state)
{
	struct dut *d = *state;

	for (int v = 0; v < (int)VERSIONS; v++) {
		char jump[64];
		start(d, v);
		snprintf(jump, sizeof(jump), "boot: jump %s\r\n", versions[v]);
		assert_said(d, "boot: demo bootloader 1\r\n");
		assert_said(d, jump);
		assert_int_equal(vboard_op_count(d->vb), 0);
	}
}

/* Registers nobody modelled, words programmed oftener than the data sheet allows, faults. */
static void the_board_complains_of_nothing_in_updates_and_a_revert(void **state)
{
	struct dut *d = *state;
	struct blob bad = firmware_image("selftest-fails-2.0.1");

	start(d, V100);
	for (uint8_t i = 0; i < 100; i++)
		assert_int_equal(setting_write(d, "count", &i, 1), 0);
	assert_true(dut_update(d, &images[V120]));
	assert_true(dut_update(d, &bad));
	assert_runs(d, "1.2.0");
	assert_true(dut_update(d, &images[V200]));
	assert_runs(d, "2.0.0");
	json_decref(dut_read(d, 0, 3, NULL));
	assert_int_equal(vboard_counters(d->vb)->unmodelled, 0);
	assert_int_equal(d->complaints, 0);
	free(bad.bytes);
}

/* Read by the rig's own parser, which is tested against vectors laid out by hand. */
static void every_image_has_the_published_format(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++) {
		struct image image;
		struct err e;
		if (image_parse(&image, versions[i], images[i].bytes, images[i].len, &e) < 0)
			fail_msg("%s", e.msg);
		assert_string_equal(image.version_text, versions[i]);
		assert_int_equal(image.integrity, IMAGE_INTACT);
		assert_string_equal(image.hash_name, "sha256");
		assert_int_equal(image.size, images[i].len);
		assert_int_equal(image.header_size, 0x200);
		assert_true(image.has_security_counter);
		assert_int_equal(image.security_counter, i == V200 ? 2 : 1);
		assert_false(image.is_signed);
	}
}

static void an_idle_board_neither_resets_nor_touches_flash(void **state)
{
	struct dut *d = *state;

	start(d, V200);
	uint64_t instructions = vboard_counters(d->vb)->instructions;
	dut_forget(d);
	vboard_run_ahead(d->vb, 120ull * 1000000000); /* six times the watchdog's patience */
	assert_int_equal(vboard_counters(d->vb)->resets, 0);
	assert_int_equal(vboard_op_count(d->vb), 0);
	assert_int_equal(d->len, 0);
	/* it slept: a wake-up every four seconds costs a few hundred instructions */
	assert_in_range(vboard_counters(d->vb)->instructions - instructions, 1, 120 / 4 * 1000);
}

static void noise_in_ram_changes_nothing(void **state)
{
	(void)state;
	struct vboard_op *first = NULL;
	size_t count = 0;

	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct dut *d = calloc(1, sizeof(*d));
		struct err e;
		assert_non_null(d);
		struct vboard_config config = {.soc = vboard_soc_find("nrf52840"),
			.seed = seed * 1000003,
			.uart_out = dut_heard,
			.arg = d};
		d->vb = vboard_create(&config, &e);
		assert_non_null(d->vb);
		start(d, V110);
		vboard_mark(d->vb);
		assert_int_equal(setting_write(d, "name", "value", 5), 0);
		assert_true(dut_update(d, &images[V200]));
		assert_runs(d, "2.0.0");
		if (!first) {
			count = vboard_op_count(d->vb);
			first = calloc(count, sizeof(*first));
			assert_non_null(first);
			memcpy(first, vboard_op_log(d->vb), count * sizeof(*first));
		}
		assert_int_equal(vboard_op_count(d->vb), count);
		const struct vboard_op *log = vboard_op_log(d->vb);
		for (size_t i = 0; i < count; i++) {
			assert_int_equal(log[i].kind, first[i].kind);
			assert_int_equal(log[i].address, first[i].address);
			assert_int_equal(log[i].value, first[i].value);
		}
		dut_destroy(d);
	}
	free(first);
}

/* --- SMP ---------------------------------------------------------------------------------------
 */

static void echo_gives_the_text_back(void **state)
{
	struct dut *d = *state;
	char text[1500];

	start(d, V100);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t len = 0; len < sizeof(text); len += 149) {
		json_t *answer = dut_write(d, 0, 0, json_pack("{s:s%}", "d", text, (size_t)len));
		assert_non_null(answer);
		assert_int_equal(json_string_length(json_object_get(answer, "r")), len);
		json_decref(answer);
	}
}

/* The published example of a serial frame: an echo of "hello" with sequence number 0x42. */
static void a_packet_laid_out_by_hand_is_answered_in_the_published_framing(void **state)
{
	struct dut *d = *state;
	/* 02 00 0009 0000 42 00, a1 61 64 65 "hello"; base64 of length 0013, packet, CRC */
	static const uint8_t packet[] = {0x02, 0x00, 0x00, 0x09, 0x00, 0x00, 0x42, 0x00, 0xa1, 0x61,
		0x64, 0x65, 'h', 'e', 'l', 'l', 'o'};
	static const uint8_t body[] = {0xbf, 0x61, 'r', 0x65, 'h', 'e', 'l', 'l', 'o', 0xff};
	static const char line[] = "\x06\x09"
				   "ABMCAAAJAABCAKFhZGVoZWxsb8EJ\n";
	struct smp_reassembler *r = &d->reassembler;
	const uint8_t *got;
	size_t len;
	struct err e;

	start(d, V100);
	dut_forget(d);
	/* the frame above holds what it says: the test's own codec reads it */
	assert_int_equal(smp_reassemble(r, line, sizeof(line) - 1, &got, &len, &e), 1);
	assert_int_equal(len, sizeof(packet));
	assert_memory_equal(got, packet, sizeof(packet));
	vboard_uart_in(d->vb, (const uint8_t *)line, sizeof(line) - 1);
	assert_true(dut_settle(d));
	assert_memory_equal(d->console, "\x06\x09", 2);
	assert_int_equal(d->console[d->len - 1], '\n');
	assert_int_equal(smp_reassemble(r, d->console, d->len, &got, &len, &e), 1);
	assert_int_equal(len, 8 + sizeof(body));
	assert_int_equal(got[0], 0x03);
	assert_int_equal(got[3], sizeof(body));
	assert_int_equal(got[6], 0x42);
	assert_memory_equal(got + 8, body, sizeof(body));
}

static void rubbish_on_the_console_is_not_answered_and_does_no_harm(void **state)
{
	struct dut *d = *state;
	static const char *const rubbish[] = {"hello\n", "\n\n\r\n", "\x06\x09\n", "\x06\x09****\n",
		"\x06\x09"
		"AAAA\n",
		"\x06\x09"
		"AAI=\n",
		"\x06\x09"
		"//8AAAAA\n",
		"\x04\x14"
		"AAAA\n",
		"\x06\x09"
		"ABMCAAAJAABCAKFhZGVoZWxsb8EK\n" /* wrong CRC */,
		"\x06\x09"
		"ABMCAAAJAABCAKFh\n" /* only a beginning */};

	start(d, V100);
	for (size_t i = 0; i < sizeof(rubbish) / sizeof(rubbish[0]); i++) {
		dut_forget(d);
		vboard_uart_in(d->vb, (const uint8_t *)rubbish[i], strlen(rubbish[i]));
		assert_true(dut_settle(d));
		assert_int_equal(d->len, 0);
	}
	char longest[5000];
	memset(longest, 'A', sizeof(longest));
	memcpy(longest, "\x06\x09", 2);
	longest[sizeof(longest) - 1] = '\n';
	vboard_uart_in(d->vb, (const uint8_t *)longest, sizeof(longest));
	assert_true(dut_settle(d));
	assert_int_equal(d->len, 0);
	assert_int_equal(rc_of(dut_write(d, 0, 0, json_pack("{s:s}", "d", "still here"))), 0);
}

static void what_a_release_does_not_know_is_not_supported(void **state)
{
	struct dut *d = *state;

	start(d, V100);
	assert_int_equal(rc_of(dut_read(d, 0, 7, NULL)), 8);  /* since 1.1.0 */
	assert_int_equal(rc_of(dut_read(d, 64, 0, NULL)), 8); /* since 1.1.0 */
	assert_int_equal(rc_of(dut_read(d, 2, 1, NULL)), 8);  /* since 1.2.0 */
	assert_int_equal(rc_of(dut_read(d, 1, 6, NULL)), 8);  /* since 1.2.0 */
	assert_int_equal(rc_of(dut_read(d, 99, 0, NULL)), 8);
	assert_int_equal(rc_of(dut_write(d, 0, 6, NULL)), 8); /* only to be read */
	assert_int_equal(rc_of(dut_write(d, 0, 0, json_pack("{s:i}", "d", 5))), 3);
}

static void later_releases_have_what_they_added(void **state)
{
	struct dut *d = *state;

	start(d, V110);
	json_t *answer = dut_read(d, 0, 7, json_pack("{s:s}", "format", "sv"));
	assert_string_equal(json_string_value(json_object_get(answer, "output")), "demo 1.1.0");
	json_decref(answer);
	answer = dut_read(d, 0, 2, NULL);
	json_t *task = json_object_get(json_object_get(answer, "tasks"), "main");
	assert_in_range(number(task, "stkuse"), 1, number(task, "stksiz"));
	json_decref(answer);

	for (int v = V120; v <= V200; v++) {
		start(d, v);
		answer = dut_read(d, 2, 0, json_pack("{s:s}", "name", "settings"));
		assert_int_equal(
			number(json_object_get(answer, "fields"), "format"), v == V200 ? 2 : 1);
		json_decref(answer);
		/* nine erased bytes; zlib says the same */
		answer = dut_read(d, 64, 1, json_pack("{s:i,s:i}", "address", 0xf4000, "size", 9));
		assert_int_equal(number(answer, "crc32"), 0xeb201890);
		json_decref(answer);
		size_t commands = 0;
		json_int_t from = 0;
		for (;;) {
			answer = dut_read(d, 64, 0, json_pack("{s:I}", "from", from));
			commands += json_array_size(json_object_get(answer, "commands"));
			json_t *next = json_object_get(answer, "next");
			from = json_integer_value(next);
			json_decref(answer);
			if (!next)
				break;
		}
		assert_in_range(commands, 22, 30);
	}
}

static void memory_in_use_is_told_and_does_not_grow(void **state)
{
	struct dut *d = *state;

	start(d, V100);
	for (int i = 0; i < 3; i++)
		json_decref(dut_read(d, 0, 3, NULL));
	json_t *before = dut_read(d, 0, 3, NULL);
	json_t *heap = json_object_get(before, "heap"), *smp = json_object_get(before, "smp");
	assert_in_range(number(heap, "nfree"), 1, number(heap, "nblks"));
	assert_int_equal(number(smp, "nfree"), number(smp, "nblks") - 2); /* request and answer */
	for (int i = 0; i < 100; i++) {
		assert_int_equal(setting_write(d, "count", &i, sizeof(i)), 0);
		json_decref(dut_read(d, 1, 0, NULL));
	}
	json_t *after = dut_read(d, 0, 3, NULL);
	heap = json_object_get(after, "heap");
	/* one setting more: one entry of the index */
	assert_int_equal(
		number(json_object_get(before, "heap"), "nfree") - number(heap, "nfree"), 1);
	assert_int_equal(number(json_object_get(after, "smp"), "nfree"), number(smp, "nfree"));
	assert_int_equal(number(json_object_get(after, "smp"), "min"), number(smp, "min"));
	json_decref(before);
	json_decref(after);
}

/* --- uploads -----------------------------------------------------------------------------------
 */

static const json_t *slot_of(const json_t *state, json_int_t slot)
{
	size_t i;
	json_t *image;

	json_array_foreach (json_object_get(state, "images"), i, image)
		if (number(image, "slot") == slot)
			return image;
	return NULL;
}

static void an_uploaded_image_lies_in_the_second_slot_as_it_was_sent(void **state)
{
	struct dut *d = *state;

	start(d, V100);
	json_t *images_before = dut_read(d, 1, 0, NULL);
	assert_null(slot_of(images_before, 1));
	json_decref(images_before);
	assert_int_equal(dut_upload(d, &images[V120]), 0);
	assert_true(slot_holds(d, SECONDARY, &images[V120]));
	json_t *answer = dut_read(d, 1, 0, NULL);
	const json_t *running = slot_of(answer, 0), *other = slot_of(answer, 1);
	json_t *hash = json_hex(image_hash(&images[V120]), 32);
	assert_string_equal(json_string_value(json_object_get(running, "version")), "1.0.0");
	assert_true(json_is_true(json_object_get(running, "active")));
	assert_true(json_is_true(json_object_get(running, "confirmed")));
	assert_string_equal(json_string_value(json_object_get(other, "version")), "1.2.0");
	assert_true(json_equal(json_object_get(other, "hash"), hash));
	assert_true(json_is_false(json_object_get(other, "pending")));
	json_decref(answer);
	assert_int_equal(dut_request_swap(d, &images[V120], false), 0);
	answer = dut_read(d, 1, 0, NULL);
	assert_true(json_is_true(json_object_get(slot_of(answer, 1), "pending")));
	assert_true(json_is_false(json_object_get(slot_of(answer, 1), "permanent")));
	json_decref(answer);
	json_decref(hash);
}

static void an_upload_goes_on_where_it_was(void **state)
{
	struct dut *d = *state;
	uint32_t off, again;

	start(d, V100);
	assert_int_equal(dut_upload_part(d, &images[V120], 5, &off), 0);
	assert_int_equal(off, 5 * 1900);
	assert_int_equal(dut_upload_part(d, &images[V120], 1, &again), 0);
	assert_int_equal(again, off);
	assert_int_equal(dut_upload(d, &images[V120]), 0);
	assert_true(slot_holds(d, SECONDARY, &images[V120]));
}

static void an_upload_goes_on_at_its_page_after_a_power_cut(void **state)
{
	struct dut *d = *state;
	uint32_t off, again;

	start(d, V100);
	assert_int_equal(dut_upload_part(d, &images[V120], 6, &off), 0);
	assert_true(dut_boot(d));
	assert_int_equal(dut_upload_part(d, &images[V120], 1, &again), 0);
	assert_int_equal(again, off / PAGE_BYTES * PAGE_BYTES);
	assert_int_equal(dut_upload(d, &images[V120]), 0);
	assert_true(slot_holds(d, SECONDARY, &images[V120]));
}

static void another_upload_begins_anew(void **state)
{
	struct dut *d = *state;
	uint32_t off;

	start(d, V100);
	assert_int_equal(dut_upload_part(d, &images[V120], 6, &off), 0);
	assert_int_equal(dut_upload_part(d, &images[V110], 1, &off), 0);
	assert_int_equal(off, 1900);
	assert_int_equal(dut_upload(d, &images[V110]), 0);
	assert_true(slot_holds(d, SECONDARY, &images[V110]));
}

static void an_upload_whose_hash_is_wrong_is_told(void **state)
{
	struct dut *d = *state;
	struct blob wrong = {malloc(images[V110].len), images[V110].len};
	json_t *answer = NULL;

	assert_non_null(wrong.bytes);
	memcpy(wrong.bytes, images[V110].bytes, wrong.len);
	start(d, V100);
	for (uint32_t off = 0; off < wrong.len;) {
		size_t part = wrong.len - off < 1900 ? wrong.len - off : 1900;
		json_decref(answer);
		json_t *body = json_pack(
			"{s:i,s:o}", "off", (int)off, "data", json_hex(wrong.bytes + off, part));
		if (off == 0) {
			json_object_set_new(body, "len", json_integer((json_int_t)wrong.len));
			json_object_set_new(body, "sha", json_hex(wrong.bytes, 32));
		}
		answer = dut_write(d, 1, 1, body);
		off = (uint32_t)number(answer, "off");
	}
	assert_true(json_is_false(json_object_get(answer, "match")));
	json_decref(answer);
	free(wrong.bytes);
}

static void a_lower_version_is_refused_at_upload(void **state)
{
	struct dut *d = *state;

	start(d, V200);
	vboard_mark(d->vb);
	assert_int_equal(dut_upload(d, &images[V120]), 6);
	assert_int_equal(vboard_op_count(d->vb), 0);
}

static void what_is_no_image_is_refused_at_upload(void **state)
{
	struct dut *d = *state;
	uint8_t rubbish[256] = {1, 2, 3};
	struct blob no_image = {rubbish, sizeof(rubbish)};

	start(d, V100);
	vboard_mark(d->vb);
	assert_int_equal(dut_upload(d, &no_image), 3);
	assert_int_equal(rc_of(dut_write(d, 1, 1,
				 json_pack("{s:i,s:i,s:o}", "off", 0, "len", 0x74000, "data",
					 json_hex(images[V110].bytes, 64)))),
		2);
	assert_int_equal(
		rc_of(dut_write(d, 1, 0, json_pack("{s:o}", "hash", json_hex(rubbish, 32)))), 5);
	assert_int_equal(rc_of(dut_write(d, 1, 0, json_pack("{s:b}", "confirm", 0))), 3);
	assert_int_equal(vboard_op_count(d->vb), 0);
}

static void the_second_slot_can_be_erased_unless_it_is_wanted(void **state)
{
	struct dut *d = *state;

	start(d, V100);
	assert_int_equal(dut_upload(d, &images[V110]), 0);
	assert_int_equal(rc_of(dut_write(d, 1, 5, NULL)), 0);
	const uint8_t *flash = vboard_flash(d->vb);
	for (size_t i = 0; i < SLOT_BYTES; i++)
		if (flash[SECONDARY + i] != 0xff)
			fail_msg("slot 1 is not erased at %zu", i);
	assert_int_equal(dut_upload(d, &images[V110]), 0);
	assert_int_equal(dut_request_swap(d, &images[V110], false), 0);
	assert_int_equal(rc_of(dut_write(d, 1, 5, NULL)), 6);
}

/* --- settings ----------------------------------------------------------------------------------
 */

#define SETTINGS_MOST 32

static void setting_name(size_t n, char name[32])
{
	snprintf(name, 32, "group/key-%02zu/%s", n, n % 2 ? "a-rather-long-name" : "x");
}

/* The value of setting n in its generation g: 1 to 64 bytes. */
static size_t setting_value(size_t n, size_t g, uint8_t value[64])
{
	size_t len = 1 + (n * 37 + g * 11) % 64;
	for (size_t i = 0; i < len; i++)
		value[i] = (uint8_t)(n * 31 + g * 7 + i);
	return len;
}

static void put_setting(struct dut *d, size_t n, size_t g)
{
	char name[32];
	uint8_t value[64];
	size_t len = setting_value(n, g, value);

	setting_name(n, name);
	assert_int_equal(setting_write(d, name, value, len), 0);
}

static bool has_setting(struct dut *d, size_t n, size_t g)
{
	char name[32];
	uint8_t value[64];
	size_t len = setting_value(n, g, value);

	setting_name(n, name);
	return setting_is(d, name, value, len);
}

static void settings_survive_power_off_and_many_changes(void **state)
{
	struct dut *d = *state;

	for (int v = V100; v <= V200; v += V200) {
		start(d, v);
		for (size_t g = 0; g < 6; g++)
			for (size_t n = 0; n < SETTINGS_MOST; n++)
				put_setting(d, n, g);
		assert_true(dut_boot(d));
		for (size_t n = 0; n < SETTINGS_MOST; n++)
			if (!has_setting(d, n, 5))
				fail_msg("%s: setting %zu is lost", versions[v], n);
		assert_int_equal(setting_write(d, "one-too-many", "x", 1), 2);
		assert_int_equal(
			rc_of(dut_write(d, 3, 1, json_pack("{s:s}", "name", "no-such"))), 5);
		char name[32];
		setting_name(3, name);
		assert_int_equal(rc_of(dut_write(d, 3, 1, json_pack("{s:s}", "name", name))), 0);
		assert_true(dut_boot(d));
		assert_int_equal(rc_of(dut_read(d, 3, 0, json_pack("{s:s}", "name", name))), 5);
		assert_int_equal(setting_write(d, "one-too-many", "x", 1), 0);
	}
}

static void a_setting_too_long_is_refused(void **state)
{
	struct dut *d = *state;
	uint8_t value[65] = {0};

	start(d, V100);
	assert_int_equal(setting_write(d, "v", value, 64), 0);
	assert_int_equal(setting_write(d, "v", value, 65), 3);
	assert_int_equal(setting_write(d, "a-name-of-exactly-thirty-one-by", value, 1), 0);
	assert_int_equal(setting_write(d, "a-name-of-exactly-thirty-two-byt", value, 1), 3);
	assert_int_equal(setting_write(d, "", value, 1), 3);
}

static bool blank(struct dut *d, uint32_t address, size_t len)
{
	const uint8_t *flash = vboard_flash(d->vb);

	for (size_t i = 0; i < len; i++)
		if (flash[address + i] != 0xff)
			return false;
	return true;
}

static void settings_come_along_with_an_update_and_are_migrated_once(void **state)
{
	struct dut *d = *state;

	start(d, V120);
	for (size_t n = 0; n < SETTINGS_MOST; n++)
		put_setting(d, n, 0);
	assert_false(blank(d, SETTINGS, 2 * PAGE_BYTES));
	assert_true(blank(d, SETTINGS + 2 * PAGE_BYTES, 2 * PAGE_BYTES));
	assert_true(dut_update(d, &images[V200]));
	assert_runs(d, "2.0.0");
	assert_true(blank(d, SETTINGS, 2 * PAGE_BYTES));
	assert_false(blank(d, SETTINGS + 2 * PAGE_BYTES, 2 * PAGE_BYTES));
	for (size_t n = 0; n < SETTINGS_MOST; n++)
		assert_true(has_setting(d, n, 0));
	vboard_mark(d->vb);
	assert_true(dut_boot(d));
	assert_int_equal(vboard_op_count(d->vb), 0);
	for (size_t n = 0; n < SETTINGS_MOST; n++)
		assert_true(has_setting(d, n, 0));
}

static void an_update_that_does_not_confirm_leaves_the_old_format_alone(void **state)
{
	struct dut *d = *state;
	struct blob bad = firmware_image("selftest-fails-2.0.1");

	start(d, V120);
	for (size_t n = 0; n < 5; n++)
		put_setting(d, n, 0);
	assert_true(dut_update(d, &bad));
	assert_said(d, "app 2.0.1 self-test: built to fail");
	assert_runs(d, "1.2.0");
	assert_true(blank(d, SETTINGS + 2 * PAGE_BYTES, 2 * PAGE_BYTES));
	for (size_t n = 0; n < 5; n++)
		assert_true(has_setting(d, n, 0));
	free(bad.bytes);
}

/* --- cuts --------------------------------------------------------------------------------------
 */

/* What the settings may be after a cut: before[n] or, for the one being changed, after. */
struct settings_story {
	const char *version;
	size_t steps;
	const size_t *end_op; /* operations done when step n had been answered */
};

#define STORY_KEYS 6
#define STORY_STEPS 70

/* Step s changes setting s % STORY_KEYS to generation s / STORY_KEYS. */
static bool story_holds(struct dut *d, void *arg, const struct cut_at *at, char why[200])
{
	const struct settings_story *story = arg;
	size_t done = 0;

	if (!dut_said(d, story->version)) {
		snprintf(why, 200, "does not run %s", story->version);
		return false;
	}
	while (done < story->steps && story->end_op[done] < at->op)
		done++;
	/* steps before done are kept; step done may or may not be */
	for (size_t n = 0; n < STORY_KEYS; n++) {
		size_t g = SIZE_MAX;
		for (size_t s = n; s < done; s += STORY_KEYS)
			g = s / STORY_KEYS;
		bool good = g == SIZE_MAX || has_setting(d, n, g);
		if (!good && done < story->steps && done % STORY_KEYS == n)
			good = has_setting(d, n, done / STORY_KEYS);
		if (!good) {
			snprintf(why, 200, "setting %zu lost after %zu steps", n, done);
			return false;
		}
	}
	/* and they can still be changed, and stay changed */
	put_setting(d, STORY_KEYS, 99);
	if (!dut_boot(d) || !has_setting(d, STORY_KEYS, 99)) {
		snprintf(why, 200, "a change after the cut is lost");
		return false;
	}
	return true;
}

static void settings_survive_a_cut_at_any_operation(void **state)
{
	struct dut *d = *state;

	for (int v = V100; v <= V200; v += V200) {
		size_t end_op[STORY_STEPS], failed = 0;
		struct trace t;
		struct settings_story story = {versions[v], STORY_STEPS, end_op};

		start(d, v);
		vboard_power(d->vb, false);
		trace_begin(&t, d);
		assert_true(dut_boot(d));
		for (size_t s = 0; s < STORY_STEPS; s++) {
			put_setting(d, s % STORY_KEYS, s / STORY_KEYS);
			end_op[s] = vboard_op_count(d->vb);
		}
		trace_end(&t, d);
		struct cuts c = {.d = d, .trace = &t, .judge = story_holds, .arg = &story};
		cuts_begin(&c);
		for (size_t n = 1; n <= t.count + 1; n++) {
			if (!cuts_sampled(&t, n, cuts_stride(23)))
				continue;
			bool erase = n <= t.count && t.ops[n - 1].kind == VBOARD_ERASE;
			for (int tear = 0; tear < (erase ? TEAR_COUNT : TEAR_START); tear++) {
				struct cut_at at = {n, (enum tear)tear, n};
				char why[200];
				if (!cuts_try(&c, &at, why) && failed++ < 10)
					print_message("# %s: cut at %zu of %zu, %s: %s\n",
						versions[v], n, t.count, tear_names[tear], why);
			}
		}
		print_message("# %s: %zu cuts in %zu operations on settings\n", versions[v],
			c.tried, t.count);
		cuts_finish(&c);
		trace_finish(&t);
		assert_int_equal(failed, 0);
	}
}

static bool migrated_well(struct dut *d, void *arg, const struct cut_at *at, char why[200])
{
	(void)arg;
	(void)at;
	for (int boot = 0; boot < 2; boot++) {
		if (!dut_said(d, "app 2.0.0 ready")) {
			snprintf(why, 200, "does not run 2.0.0 on boot %d", boot + 1);
			return false;
		}
		if (!blank(d, SETTINGS, 2 * PAGE_BYTES)) {
			snprintf(why, 200, "format 1 is still there on boot %d", boot + 1);
			return false;
		}
		for (size_t n = 0; n < 4; n++) {
			if (!has_setting(d, n, 1)) {
				snprintf(why, 200, "setting %zu is lost", n);
				return false;
			}
		}
		if (boot == 0 && !dut_boot(d))
			return false;
	}
	return true;
}

/* The settings of 1.x, found by 2.0.0 in its first boot as the confirmed image. */
static void the_migration_survives_a_cut_at_any_operation(void **state)
{
	struct dut *d = *state;
	struct trace t;
	size_t failed = 0;

	start(d, V110);
	for (size_t g = 0; g < 2; g++)
		for (size_t n = 0; n < 4; n++)
			put_setting(d, n, g);
	vboard_power(d->vb, false);
	uint8_t *flash = vboard_flash(d->vb);
	memset(flash + PRIMARY, 0xff, SLOT_BYTES);
	memcpy(flash + PRIMARY, images[V200].bytes, images[V200].len);
	trace_begin(&t, d);
	assert_true(dut_boot(d));
	trace_end(&t, d);
	assert_in_range(t.count, 10, 200);

	struct cuts c = {.d = d, .trace = &t, .judge = migrated_well};
	cuts_begin(&c);
	for (size_t n = 1; n <= t.count + 1; n++) {
		bool erase = n <= t.count && t.ops[n - 1].kind == VBOARD_ERASE;
		for (int tear = 0; tear < (erase ? TEAR_COUNT : TEAR_START); tear++) {
			struct cut_at at = {n, (enum tear)tear, n};
			char why[200];
			if (!cuts_try(&c, &at, why) && failed++ < 10)
				print_message("# cut at %zu of %zu, %s: %s\n", n, t.count,
					tear_names[tear], why);
		}
	}
	print_message("# %zu cuts in %zu operations of a migration\n", c.tried, t.count);
	cuts_finish(&c);
	trace_finish(&t);
	assert_int_equal(failed, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_release_boots_and_says_its_version),
		cmocka_unit_test(every_image_has_the_published_format),
		TEST(the_board_complains_of_nothing_in_updates_and_a_revert),
		TEST(an_idle_board_neither_resets_nor_touches_flash),
		cmocka_unit_test(noise_in_ram_changes_nothing),
		TEST(echo_gives_the_text_back),
		TEST(a_packet_laid_out_by_hand_is_answered_in_the_published_framing),
		TEST(rubbish_on_the_console_is_not_answered_and_does_no_harm),
		TEST(what_a_release_does_not_know_is_not_supported),
		TEST(later_releases_have_what_they_added),
		TEST(memory_in_use_is_told_and_does_not_grow),
		TEST(an_uploaded_image_lies_in_the_second_slot_as_it_was_sent),
		TEST(an_upload_goes_on_where_it_was),
		TEST(an_upload_goes_on_at_its_page_after_a_power_cut),
		TEST(another_upload_begins_anew),
		TEST(an_upload_whose_hash_is_wrong_is_told),
		TEST(a_lower_version_is_refused_at_upload),
		TEST(what_is_no_image_is_refused_at_upload),
		TEST(the_second_slot_can_be_erased_unless_it_is_wanted),
		TEST(settings_survive_power_off_and_many_changes),
		TEST(a_setting_too_long_is_refused),
		TEST(settings_come_along_with_an_update_and_are_migrated_once),
		TEST(an_update_that_does_not_confirm_leaves_the_old_format_alone),
		TEST(settings_survive_a_cut_at_any_operation),
		TEST(the_migration_survives_a_cut_at_any_operation),
	};
	cmocka_set_test_filter(getenv("RIG_TEST_ONLY"));
	return cmocka_run_group_tests(tests, load_images, free_images);
}
