#include "../fixtures/vboard/stlink.h"
#include "vboard_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct wire {
	struct fixture *f;
	struct stlink *st;
	uint8_t got[1 << 17];
	size_t len;
	unsigned answers;
};

static void receive(void *arg, const uint8_t *data, size_t len)
{
	struct wire *w = arg;

	w->answers++;
	if (len > sizeof(w->got) - w->len)
		w->len = 0; /* only the fuzzer gets that much, and looks at nothing */
	memcpy(w->got + w->len, data, len);
	w->len += len;
}

static struct wire *plug_in(const char *program)
{
	struct wire *w = calloc(1, sizeof(*w));

	w->f = fixture_create(program, 1);
	const struct stlink_config config = {
		.vb = w->f->vb, .serial = "0123", .send = receive, .arg = w};
	w->st = stlink_create(&config);
	assert_non_null(w->st);
	return w;
}

static void unplug(struct wire *w)
{
	stlink_destroy(w->st);
	fixture_destroy(w->f);
	free(w);
}

static void must_feed(struct wire *w, const void *data, size_t len)
{
	struct err e;

	w->len = 0;
	if (stlink_feed(w->st, data, len, &e) < 0)
		fail_msg("%s", e.msg);
}

static uint32_t word(const struct wire *w, size_t offset)
{
	uint32_t value;

	assert_true(offset + 4 <= w->len);
	memcpy(&value, w->got + offset, 4);
	return value;
}

static void open_probe(struct wire *w)
{
	static const uint8_t info[8] = {2, 0, 0, 0, 41}, no_such[8] = {3, 0, 0, 0, 1};
	uint8_t open[8] = {3};

	must_feed(w, info, sizeof(info));
	assert_int_equal(w->len, 45);
	assert_string_equal((const char *)w->got + 8, "0123");
	memcpy(open + 4, w->got + 4, 4);
	must_feed(w, no_such, sizeof(no_such));
	assert_int_not_equal(word(w, 0), 1);
	assert_false(stlink_is_open(w->st));
	must_feed(w, open, sizeof(open));
	assert_int_equal(word(w, 0), 1);
	assert_true(stlink_is_open(w->st));
}

/* One USB command; size bytes are wanted back, or data of that size goes with it. */
static void usb(struct wire *w, const uint8_t cmd[16], uint32_t size, const void *data)
{
	uint8_t frame[32 + 64] = {5};

	memcpy(frame + 8, cmd, 16);
	frame[24] = data ? 0 : 1;
	memcpy(frame + 28, &size, 4);
	if (data)
		memcpy(frame + 32, data, size);
	must_feed(w, frame, 32 + (data ? size : 0));
	assert_int_equal(w->len, 4 + (data ? 0 : size));
	assert_int_equal(word(w, 0), 1);
}

static void a_closed_probe_answers_but_does_nothing(void **state)
{
	static const uint8_t version[4] = {6, 1}, frame[32] = {5, [8] = 0xf7, [24] = 1, [28] = 8};
	struct wire *w = plug_in("blink");

	(void)state;
	must_feed(w, version, sizeof(version));
	assert_int_equal(w->len, 16);
	assert_int_equal(word(w, 0), 3);
	must_feed(w, frame, sizeof(frame));
	assert_int_equal(w->len, 12);
	assert_int_not_equal(word(w, 0), 1);
	unplug(w);
}

static void memory_goes_both_ways(void **state)
{
	static const uint8_t write[16] = {0xf2, 0x08, 0x00, 0x10, 0x00, 0x20, 8},
			     read8[16] = {0xf2, 0x0c, 0x01, 0x10, 0x00, 0x20, 6},
			     nowhere[16] = {0xf2, 0x07, 0x00, 0x00, 0x00, 0x90, 4},
			     status[16] = {0xf2, 0x3e};
	struct wire *w = plug_in("blink");

	(void)state;
	vboard_power(w->f->vb, true);
	open_probe(w);
	usb(w, write, 8, "abcdefgh");
	usb(w, status, 12, NULL);
	assert_int_equal(w->got[4], 0x80);
	usb(w, read8, 6, NULL);
	assert_memory_equal(w->got + 4, "bcdefg", 6);
	usb(w, nowhere, 4, NULL);
	usb(w, status, 12, NULL);
	assert_int_not_equal(w->got[4], 0x80);
	unplug(w);
}

static void without_power_there_is_no_voltage_and_no_answer(void **state)
{
	static const uint8_t voltage[16] = {0xf7}, idcode[16] = {0xf2, 0x31};
	struct wire *w = plug_in("blink");

	(void)state;
	open_probe(w);
	usb(w, voltage, 8, NULL);
	assert_int_equal(word(w, 8), 0);
	usb(w, idcode, 12, NULL);
	assert_int_not_equal(w->got[4], 0x80);
	vboard_power(w->f->vb, true);
	usb(w, voltage, 8, NULL);
	assert_int_equal(word(w, 4), 1500);
	assert_int_equal(word(w, 8), 2062);
	usb(w, idcode, 12, NULL);
	assert_int_equal(w->got[4], 0x80);
	assert_int_equal(word(w, 8), 0x2ba01477);
	unplug(w);
}

static void a_closed_probe_frees_the_reset_line(void **state)
{
	static const uint8_t low[16] = {0xf2, 0x3c, 0}, close_it[8] = {4};
	struct wire *w = plug_in("blink");

	(void)state;
	open_probe(w);
	usb(w, low, 2, NULL);
	fixture_power_on(w->f);
	assert_int_equal(vboard_run(w->f->vb, SECOND), VBOARD_HALTED);
	must_feed(w, close_it, sizeof(close_it));
	assert_true(fixture_run_until(w->f, "hello\n", SECOND));
	unplug(w);
}

static void pieces_make_no_difference(void **state)
{
	static const uint8_t stream[] = {6, 1, 0, 0, 0, 0, 1, 2, 0, 0, 0, 41, 0, 0, 0};
	struct wire *whole = plug_in(NULL), *pieces = plug_in(NULL);
	struct err e;

	(void)state;
	must_feed(whole, stream, sizeof(stream));
	for (size_t i = 0; i < sizeof(stream); i++)
		assert_int_equal(stlink_feed(pieces->st, stream + i, 1, &e), 0);
	assert_int_equal(whole->answers, 4);
	assert_int_equal(pieces->answers, 4);
	assert_int_equal(whole->len, pieces->len);
	assert_memory_equal(whole->got, pieces->got, whole->len);
	unplug(whole);
	unplug(pieces);
}

static uint64_t random_state;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 16);
}

/* Half of it well-formed frames with random commands, so that more than the first check is met. */
static size_t random_frame(uint8_t *frame, size_t max)
{
	static const uint8_t subs[] = {0x07, 0x08, 0x0c, 0x0d, 0x21, 0x30, 0x31, 0x32, 0x35, 0x36,
		0x3c, 0x3e, 0x45, 0x46, 0x47, 0x48, 0x50, 0x51, 0x52, 0x54, 0x62};
	static const uint32_t sizes[] = {0, 1, 2, 8, 12, 52, 64, 1000, 4096, 32768, 32769};
	uint32_t size = sizes[random32() % (sizeof(sizes) / sizeof(sizes[0]))];

	for (size_t i = 0; i < 32; i++)
		frame[i] = (uint8_t)random32();
	if (random32() % 2)
		return 1 + random32() % 32;
	frame[0] = 5;
	frame[8] = random32() % 8 ? 0xf2 : 0xf0 | random32() % 16;
	frame[9] = subs[random32() % sizeof(subs)];
	if (random32() % 2) { /* addresses where something is */
		static const uint32_t bases[] = {0, 0x20000000, 0x40000000, 0x4001e000, 0xe000e000,
			0xe000ed00, 0x10001000, 0x50000000, 0xe0001000};
		uint32_t address = bases[random32() % 9] + random32() % 0x1000;
		memcpy(frame + 10, &address, 4);
	}
	frame[24] = random32() % 2;
	memcpy(frame + 28, &size, 4);
	if (frame[24])
		return 32;
	for (size_t i = 0; i < size && 32 + i < max; i++)
		frame[32 + i] = i % 7 ? (uint8_t)(random32() % 6) : (uint8_t)random32();
	return 32 + (size < max - 32 ? size : max - 32);
}

static void nothing_fed_to_it_does_harm(void **state)
{
	static uint8_t frame[40000];

	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct wire *w = plug_in("blink");
		random_state = seed * 0x9e3779b97f4a7c15u;
		vboard_power(w->f->vb, true);
		open_probe(w);
		for (int i = 0; i < 400; i++) {
			struct err e;
			size_t len = random_frame(frame, sizeof(frame));
			if (stlink_feed(w->st, frame, len, &e) < 0) {
				assert_int_equal(e.code, ERR_PROTOCOL);
				stlink_destroy(w->st);
				const struct stlink_config config = {.vb = w->f->vb,
					.serial = "0123",
					.send = receive,
					.arg = w};
				w->st = stlink_create(&config);
				open_probe(w);
			}
			vboard_run(w->f->vb, 20000);
			if (!vboard_is_on(w->f->vb))
				vboard_power(w->f->vb, true);
		}
		unplug(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_closed_probe_answers_but_does_nothing),
		cmocka_unit_test(memory_goes_both_ways),
		cmocka_unit_test(without_power_there_is_no_voltage_and_no_answer),
		cmocka_unit_test(a_closed_probe_frees_the_reset_line),
		cmocka_unit_test(pieces_make_no_difference),
		cmocka_unit_test(nothing_fed_to_it_does_harm),
	};

	return cmocka_run_group_tests_name("vboard stlink", tests, NULL, NULL);
}
