/* A probe that is two programs: what it writes, what it leaves alone, and what it does not believe.
 */
#include "contracts/command_probe.h"
#include "driver_contract.h"

static struct contract_bench *bench_of(void **state)
{
	return *state;
}

static const char *file_text(struct contract_bench *b, const char *name)
{
	static char text[8192];
	size_t n = 0;
	FILE *f = fopen(command_probe_file(b->bench, name), "r");

	if (f) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	return text;
}

static json_t *spec_of(struct contract_bench *b, unsigned address, const char *data)
{
	return json_pack("{s:[{s:i, s:s}]}", "segments", "address", address, "path",
		scratch_write(((struct command_probe_bench *)b->bench)->scratch, "image", data));
}

static void program(struct contract_bench *b, struct device *dev, json_t *spec, struct outcome *o)
{
	dev->driver->probe->program(dev, spec, outcome_start(&b->loop, o, CONTRACT_WITHIN_MS));
	json_decref(spec);
}

static void only_pages_that_differ_are_written_and_they_are_read_back(void **state)
{
	struct contract_bench *b = bench_of(state);
	struct device *dev = contract_open(b);
	struct outcome o;
	json_t *expected;

	program(b, dev, spec_of(b, 0x2000, "hello"), &o);
	assert_done(&b->loop, &o);
	expected = json_loads("{\"pages_written\": 1, \"pages_kept\": 0, \"bytes_written\": 4096, "
			      "\"pages\": [[1, 1]]}",
		0, NULL);
	assert_true(json_equal(o.result, expected));
	json_decref(expected);
	outcome_finish(&o);
	assert_string_equal(
		file_text(b, "log"), "read 0x2000 4096\nwrite 0x2000 4096\nread 0x2000 4096\n");
	/* the same again: it is looked at, and kept */
	program(b, dev, spec_of(b, 0x2000, "hello"), &o);
	assert_done(&b->loop, &o);
	assert_int_equal(json_integer_value(json_object_get(o.result, "pages_kept")), 1);
	assert_int_equal(json_integer_value(json_object_get(o.result, "pages_written")), 0);
	outcome_finish(&o);
	/* one word, the rest of its page as it was */
	dev->driver->probe->write_word(
		dev, 0x2004, 0x21212121, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	dev->driver->probe->verify(dev, 0x2000,
		scratch_write(
			((struct command_probe_bench *)b->bench)->scratch, "image", "hell!!!!"),
		outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_done(&b->loop, &o);
	assert_true(json_is_true(json_object_get(o.result, "same")));
	outcome_finish(&o);
	dev->driver->probe->verify(dev, 0x2000,
		scratch_write(((struct command_probe_bench *)b->bench)->scratch, "image", "hell!?"),
		outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_done(&b->loop, &o);
	assert_int_equal(json_integer_value(json_object_get(o.result, "first_difference")), 0x2005);
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void a_program_that_only_says_so_is_not_believed(void **state)
{
	static const struct {
		const char *mode, *says;
	} cases[] = {{"lies", "flash at 0x2000 reads 0x5a instead of 0x68"},
		{"short", "left 2 bytes where 4096 were asked for"},
		{"none", "read: rig-test-loader"},
		{"fail", "ended with status 2: no serial data received"}};
	struct contract_bench *b = bench_of(state);
	struct device *dev = contract_open(b);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct outcome o;

		command_probe_mode(b->bench, cases[i].mode);
		program(b, dev, spec_of(b, 0x2000, "hello"), &o);
		assert_failed(&b->loop, &o, ERR_BENCH, cases[i].says);
		outcome_finish(&o);
	}
	close_device(&b->loop, dev);
}

static void what_a_program_cannot_do_is_said(void **state)
{
	struct contract_bench *b = bench_of(state);
	struct device *dev = contract_open(b);
	struct outcome o;

	dev->driver->probe->hold_reset(dev, true, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_failed(&b->loop, &o, ERR_UNSUPPORTED, "a strap that keeps it in its loader");
	dev->driver->probe->reset(dev, false, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_failed(&b->loop, &o, ERR_UNSUPPORTED, "rig.conf: reset =");
	dev->driver->probe->write_word(
		dev, 0x20000000, 1, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_failed(&b->loop, &o, ERR_USAGE, "is no address of a word of flash");
	dev->driver->probe->version(dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "version")), "loader 4.7");
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void a_command_without_places_to_fill_in_is_refused(void **state)
{
	struct contract_bench *b = bench_of(state);
	struct err e;

	json_object_set_new(b->options, "read", json_string("loader read"));
	assert_null(b->driver->create(&b->env, b->options, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "read needs {address} and {path} in it"));
}

#define CLAIM(f)                                                                                   \
	{                                                                                          \
#f, f, contract_setup, contract_teardown,                                          \
			(void *)(uintptr_t)&contract_command_probe                                 \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(only_pages_that_differ_are_written_and_they_are_read_back),
		CLAIM(a_program_that_only_says_so_is_not_believed),
		CLAIM(what_a_program_cannot_do_is_said),
		CLAIM(a_command_without_places_to_fill_in_is_refused),
	};

	return cmocka_run_group_tests_name("command-probe", tests, NULL, NULL);
}
