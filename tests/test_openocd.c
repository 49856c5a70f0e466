/*
 * The driver openocd against a stand-in on PATH that fails on demand. What the real one makes of
 * the driver's Tcl is tested on the virtual board (test_vboard_openocd.c).
 */
#include "driver_bench.h"
#include "drivers/openocd_session.h"
#include "fake_openocd.h"
#include "rig/rpc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct bench {
	uv_loop_t loop;
	char dir[128];   /* with everything in its name that Tcl might take for its own */
	char file[4096]; /* a scratch path for the test */
	char *path;      /* PATH as it was */
	json_t *conf;
	struct driver_env env;
	struct events events;
	struct device *dev;
};

static const struct driver *driver(void)
{
	return driver_find("openocd");
}

static const char *in_dir(struct bench *b, const char *name)
{
	snprintf(b->file, sizeof(b->file), "%s/%s", b->dir, name);
	return b->file;
}

static void put_file(struct bench *b, const char *name, const void *data, size_t len)
{
	FILE *f = fopen(in_dir(b, name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

static size_t get_file(struct bench *b, const char *name, char *data, size_t size)
{
	FILE *f = fopen(in_dir(b, name), "r");
	size_t n;

	if (!f)
		return 0;
	n = fread(data, 1, size - 1, f);
	data[n] = '\0';
	fclose(f);
	return n;
}

static void set_mode(struct bench *b, const char *mode)
{
	put_file(b, "mode", mode, strlen(mode));
}

static long fake_pid(struct bench *b)
{
	char text[32];

	return get_file(b, "pid", text, sizeof(text)) ? strtol(text, NULL, 10) : 0;
}

/* How many lines of a file hold that text. */
static int count_lines(struct bench *b, const char *name, const char *what)
{
	static char text[1 << 20];
	int n = 0;

	get_file(b, name, text, sizeof(text));
	for (char *line = text, *end; *line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = '\0';
		n += strstr(line, what) != NULL;
	}
	return n;
}

static struct device *make_device(struct bench *b, const char *changes)
{
	json_t *options = options_of(driver(), changes);
	struct device *dev;
	struct err e;

	dev = driver()->create(&b->env, options, &e);
	json_decref(options);
	if (!dev)
		fail_msg("create: %s", e.msg);
	dev->driver = driver();
	return dev;
}

static void fill_flash(struct bench *b)
{
	uint8_t flash[FAKE_SIZE];

	for (size_t i = 0; i < sizeof(flash); i++)
		flash[i] = (uint8_t)(i * 7 + (i >> 8));
	put_file(b, "flash", flash, sizeof(flash));
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	char self[4096], *path;
	struct outcome o;
	ssize_t n;

	snprintf(b->dir, sizeof(b->dir), "/tmp/test {op}en[ocd] $x \"y\\z;#.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(n > 0);
	self[n] = '\0';
	assert_return_code(mkdir(in_dir(b, "bin"), 0700), 0);
	assert_return_code(symlink(self, in_dir(b, "bin/openocd")), 0);
	b->path = strdup(getenv("PATH"));
	assert_true(asprintf(&path, "%s/bin:%s", b->dir, b->path) > 0);
	setenv("PATH", path, 1);
	free(path);
	setenv("FAKE_DIR", b->dir, 1);
	fill_flash(b);
	uv_loop_init(&b->loop);
	b->conf = json_pack("{s:{s:s}, s:{s:i, s:i, s:i, s:i}}", "openocd", "target",
		"target/x.cfg", "flash", "base", FAKE_BASE, "size", FAKE_SIZE, "page", FAKE_PAGE,
		"write", 4);
	b->env = (struct driver_env){.loop = &b->loop,
		.board = "b",
		.board_dir = b->dir,
		.log_dir = b->dir,
		.board_conf = b->conf,
		.event = event_came,
		.arg = &b->events};
	b->dev = make_device(b, "{\"adapter\": \"jlink\"}");
	driver()->open(b->dev, outcome_start(&b->loop, &o, 1000));
	assert_done(&b->loop, &o);
	*state = b;
	return 0;
}

static void remove_tree(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	char path[4096];

	while (d && (entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (unlink(path) && errno == EISDIR)
			remove_tree(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	if (b->dev)
		close_device(&b->loop, b->dev);
	close_loop(&b->loop);
	json_decref(b->conf);
	setenv("PATH", b->path, 1);
	free(b->path);
	remove_tree(b->dir);
	free(b);
	return 0;
}

#define MINUTE 60000

static void do_program(struct bench *b, struct outcome *o, const char *spec)
{
	json_t *s = json_loads(spec, 0, NULL), *segment;
	size_t i;

	assert_non_null(s);
	/* paths are given by their names in the bench's folder */
	json_array_foreach (json_object_get(s, "segments"), i, segment)
		json_object_set_new(segment, "path",
			json_string(
				in_dir(b, json_string_value(json_object_get(segment, "path")))));
	driver()->probe->program(b->dev, s, outcome_start(&b->loop, o, MINUTE));
	json_decref(s);
}

static void assert_programmed(struct bench *b, struct outcome *o, int written, int kept)
{
	json_int_t listed = 0;
	json_t *run;
	size_t i;

	assert_done(&b->loop, o);
	assert_int_equal(json_integer_value(json_object_get(o->result, "pages_written")), written);
	json_array_foreach (json_object_get(o->result, "pages"), i, run)
		listed += json_integer_value(json_array_get(run, 1));
	assert_int_equal(listed, written);
	assert_int_equal(json_integer_value(json_object_get(o->result, "pages_kept")), kept);
	assert_int_equal(json_integer_value(json_object_get(o->result, "bytes_written")),
		written * FAKE_PAGE);
	outcome_finish(o);
}

static void do_halt(struct bench *b, struct outcome *o)
{
	driver()->probe->halt(b->dev, outcome_start(&b->loop, o, MINUTE));
}

static void assert_halts(struct bench *b)
{
	struct outcome o;

	do_halt(b, &o);
	assert_done(&b->loop, &o);
}

/* Runs the loop until the stand-in has got that verb so often. */
static void wait_for_verbs(struct bench *b, const char *verb, int times)
{
	while (count_lines(b, "scripts", verb) < times) {
		uv_run(&b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

static void wait_for_verb(struct bench *b, const char *verb)
{
	wait_for_verbs(b, verb, 1);
}

/* --- flash --- */

static void programming_writes_the_pages_and_leaves_the_others(void **state)
{
	struct bench *b = *state;
	char before[FAKE_SIZE + 1], after[FAKE_SIZE + 1], image[0x2345];
	struct outcome o;

	memset(image, 0x5a, sizeof(image));
	put_file(b, "image", image, sizeof(image));
	get_file(b, "flash", before, sizeof(before));
	/* 0xa010 to 0xc355: pages 2, 3 and 4 of flash that begins at 0x8000 */
	do_program(b, &o, "{\"segments\": [{\"address\": 40976, \"path\": \"image\"}]}");
	assert_programmed(b, &o, 3, 0);
	assert_int_equal(get_file(b, "flash", after, sizeof(after)), FAKE_SIZE);
	assert_memory_equal(after, before, 0x2000);
	assert_memory_equal(after + 0x5000, before + 0x5000, FAKE_SIZE - 0x5000);
	assert_memory_equal(after + 0x2010, image, sizeof(image));
	for (size_t i = 0x2000; i < 0x5000; i++)
		if (i < 0x2010 || i >= 0x2010 + sizeof(image))
			assert_int_equal((uint8_t)after[i], 0xff);
}

static void an_unchanged_image_writes_nothing(void **state)
{
	struct bench *b = *state;
	char image[0x3000];
	struct outcome o;

	memset(image, 0x5a, sizeof(image));
	put_file(b, "image", image, sizeof(image));
	do_program(b, &o, "{\"segments\": [{\"address\": 32768, \"path\": \"image\"}]}");
	assert_programmed(b, &o, 3, 0);
	assert_int_equal(count_lines(b, "scripts", "rig_erase"), 1);
	do_program(b, &o, "{\"segments\": [{\"address\": 32768, \"path\": \"image\"}]}");
	assert_programmed(b, &o, 0, 3);
	assert_int_equal(count_lines(b, "scripts", "rig_erase"), 1);
}

static void only_pages_that_differ_are_written_each_run_at_once(void **state)
{
	struct bench *b = *state;
	char image[0x6000];
	struct outcome o;

	memset(image, 0x5a, sizeof(image));
	put_file(b, "image", image, sizeof(image));
	do_program(b, &o, "{\"segments\": [{\"address\": 32768, \"path\": \"image\"}]}");
	assert_programmed(b, &o, 6, 0);
	unlink(in_dir(b, "scripts"));
	image[0x1000]++;
	image[0x2fff]++;
	image[0x5000]++;
	put_file(b, "image", image, sizeof(image));
	do_program(b, &o, "{\"segments\": [{\"address\": 32768, \"path\": \"image\"}]}");
	assert_programmed(b, &o, 3, 3);
	assert_int_equal(count_lines(b, "scripts", "rig_erase 0x9000 0x2000"), 1);
	assert_int_equal(count_lines(b, "scripts", "rig_erase 0xd000 0x1000"), 1);
	assert_int_equal(count_lines(b, "scripts", "rig_erase"), 2);
	assert_int_equal(count_lines(b, "scripts", "rig_write"), 2);
}

static void erased_ranges_are_erased_and_not_written(void **state)
{
	struct bench *b = *state;
	char after[FAKE_SIZE + 1];
	struct outcome o;

	put_file(b, "image", "abc", 3);
	do_program(b, &o,
		"{\"erase\": [[32768, 16384]], \"segments\": [{\"address\": 36864, \"path\": "
		"\"image\"}]}");
	assert_programmed(b, &o, 4, 0);
	assert_int_equal(count_lines(b, "scripts", "rig_erase 0x8000 0x4000"), 1);
	assert_int_equal(count_lines(b, "scripts", "rig_write"), 1);
	get_file(b, "flash", after, sizeof(after));
	assert_memory_equal(after + 0x1000, "abc\xff", 4);
	assert_int_equal((uint8_t)after[0], 0xff);
	assert_int_equal((uint8_t)after[0x3fff], 0xff);
}

static void flash_that_does_not_take_the_bytes_is_found_out(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	set_mode(b, "no-wen");
	put_file(b, "image", "abc", 3);
	do_program(b, &o, "{\"segments\": [{\"address\": 32768, \"path\": \"image\"}]}");
	assert_failed(&b->loop, &o, ERR_BENCH, "0x00008000 reads 0x00 instead of 0x61");
}

static void what_lies_outside_the_flash_is_refused(void **state)
{
	static const char *const bad[] = {
		"{\"segments\": [{\"address\": 32767, \"path\": \"image\"}]}",
		"{\"segments\": [{\"address\": 98302, \"path\": \"image\"}]}",
		"{\"segments\": [{\"address\": 4294967295, \"path\": \"image\"}]}",
		"{\"segments\": [{\"address\": -1, \"path\": \"image\"}]}",
		"{\"segments\": [{\"path\": \"image\"}]}",
		"{\"erase\": [[32768, 4095]]}",
		"{\"erase\": [[32769, 4096]]}",
		"{\"erase\": [[32768, 69632]]}",
		"{\"erase\": [[32768, 0]]}",
		"{\"erase\": [[32768]]}",
	};
	struct bench *b = *state;
	struct outcome o;

	put_file(b, "image", "abc", 3);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		do_program(b, &o, bad[i]);
		assert_failed(&b->loop, &o, ERR_USAGE, "");
	}
	do_program(b, &o, "{\"segments\": [{\"address\": 32768, \"path\": \"none\"}]}");
	assert_failed(&b->loop, &o, ERR_IO, "none");
	assert_int_equal(fake_pid(b), 0);
}

static void a_word_of_flash_is_written_and_nothing_else(void **state)
{
	struct bench *b = *state;
	char before[FAKE_SIZE + 1], after[FAKE_SIZE + 1];
	struct outcome o;

	get_file(b, "flash", before, sizeof(before));
	driver()->probe->write_word(
		b->dev, 0x9124, 0x11223344, outcome_start(&b->loop, &o, MINUTE));
	assert_programmed(b, &o, 1, 0);
	get_file(b, "flash", after, sizeof(after));
	memcpy(before + 0x1124, "\x44\x33\x22\x11", 4);
	assert_memory_equal(after, before, FAKE_SIZE);
}

static void a_word_of_ram_is_written_without_touching_flash(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	driver()->probe->write_word(
		b->dev, FAKE_RAM, 0x11223344, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_int_equal(count_lines(b, "scripts", "rig_word 0x20000000 0x11223344"), 1);
	assert_int_equal(count_lines(b, "scripts", "rig_erase"), 0);
	driver()->probe->write_word(b->dev, FAKE_RAM + 2, 0, outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_USAGE, "word");
}

static void verify_tells_where_flash_differs_first(void **state)
{
	struct bench *b = *state;
	char flash[FAKE_SIZE + 1];
	struct outcome o;

	get_file(b, "flash", flash, sizeof(flash));
	put_file(b, "image", flash + 0x100, 0x200);
	driver()->probe->verify(
		b->dev, FAKE_BASE + 0x100, in_dir(b, "image"), outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_true(json_is_true(json_object_get(o.result, "same")));
	outcome_finish(&o);
	flash[0x2ff] ^= 1;
	put_file(b, "image", flash + 0x100, 0x200);
	driver()->probe->verify(
		b->dev, FAKE_BASE + 0x100, in_dir(b, "image"), outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_true(json_is_false(json_object_get(o.result, "same")));
	assert_int_equal(json_integer_value(json_object_get(o.result, "first_difference")),
		FAKE_BASE + 0x2ff);
	outcome_finish(&o);
}

static void read_creates_and_replaces_the_file(void **state)
{
	struct bench *b = *state;
	char flash[FAKE_SIZE + 1], got[0x400];
	struct outcome o;

	get_file(b, "flash", flash, sizeof(flash));
	for (int i = 0; i < 2; i++) {
		driver()->probe->read(b->dev, FAKE_BASE + 0x80, 0x123, in_dir(b, "copy"),
			outcome_start(&b->loop, &o, MINUTE));
		assert_done(&b->loop, &o);
		assert_int_equal(get_file(b, "copy", got, sizeof(got)), 0x123);
		assert_memory_equal(got, flash + 0x80, 0x123);
	}
	driver()->probe->read(b->dev, FAKE_BASE, 4, in_dir(b, "no folder/copy"),
		outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_IO, "no folder/copy");
	driver()->probe->read(
		b->dev, FAKE_BASE, 0, in_dir(b, "copy"), outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_USAGE, "0 bytes");
}

static void no_scratch_file_is_left(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	struct dirent *entry;
	DIR *d;

	put_file(b, "image", "abc", 3);
	do_program(b, &o,
		"{\"erase\": [[36864, 4096]], \"segments\": [{\"address\": 57344, \"path\": \"image\"}]}");
	assert_programmed(b, &o, 2, 0);
	d = opendir(b->dir);
	while ((entry = readdir(d)))
		if (strncmp(entry->d_name, "openocd-", 8) == 0)
			assert_string_equal(entry->d_name, "openocd-b.log");
	closedir(d);
}

/* --- the queue and its OpenOCD --- */

static void one_openocd_serves_many_operations_in_order(void **state)
{
	struct bench *b = *state;
	struct outcome o[6];
	static char text[4096];

	driver()->probe->halt(b->dev, outcome_start(&b->loop, &o[0], MINUTE));
	driver()->probe->breakpoint(b->dev, 0x1234, true, outcome_start(&b->loop, &o[1], MINUTE));
	driver()->probe->resume(b->dev, outcome_start(&b->loop, &o[2], MINUTE));
	driver()->probe->breakpoint(b->dev, 0x1234, false, outcome_start(&b->loop, &o[3], MINUTE));
	driver()->probe->reset(b->dev, true, outcome_start(&b->loop, &o[4], MINUTE));
	driver()->probe->reset(b->dev, false, outcome_start(&b->loop, &o[5], MINUTE));
	for (int i = 0; i < 6; i++)
		assert_done(&b->loop, &o[i]);
	get_file(b, "scripts", text, sizeof(text));
	assert_string_equal(text,
		"rig_init none\nrig_halt\nrig_break 0x1234\nrig_resume\nrig_unbreak 0x1234\n"
		"rig_reset halt\nrig_reset run\n");
	assert_int_equal(count_lines(b, "args", ""), 1);
}

static void a_command_goes_out_and_its_answer_comes_back_as_it_is(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	driver()->probe->command(
		b->dev, "echo a\\ \\{b\\}\\[\\$c\\nd\\\"", outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "text")), "a {b}[$c\nd\"");
	outcome_finish(&o);
	driver()->probe->command(b->dev, "long", outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_int_equal(json_string_length(json_object_get(o.result, "text")), 199999);
	outcome_finish(&o);
	driver()->probe->command(b->dev, "echo \xff", outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "text")), "\\xff");
	outcome_finish(&o);
	driver()->probe->command(b->dev,
		"a\x1a"
		"b",
		outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_USAGE, "0x1a");
}

static void an_error_names_the_command_and_what_openocd_wrote(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	driver()->probe->command(b->dev, "nonsense", outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH,
		"openocd: nonsense: invalid command name; Error: verb failed: nonsense");
	assert_null(strstr(o.e.msg, "Info"));
	driver()->probe->command(b->dev, "echo x\nnonsense\n", outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "openocd: echo x nonsense : invalid command name");
	set_mode(b, "fail rig_halt");
	do_halt(b, &o);
	assert_failed(&b->loop, &o, ERR_BENCH,
		"openocd: rig_halt: it does not work; Error: verb failed: rig_halt");
	set_mode(b, "");
	assert_halts(b);
	assert_int_equal(count_lines(b, "args", ""), 1);
	assert_int_equal(count_lines(b, "openocd-b.log", "Error: verb failed: rig_halt"), 1);
}

static void version_touches_neither_adapter_nor_dut(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	driver()->probe->version(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "version")), "0.12.0");
	outcome_finish(&o);
	assert_int_equal(count_lines(b, "scripts", "rig_init"), 0);
	assert_halts(b);
	assert_int_equal(count_lines(b, "scripts", "rig_init"), 1);
	assert_int_equal(count_lines(b, "args", ""), 1);
}

/* --- gdb --- */

/* Has gdb served; its port. */
static json_int_t gdb_port(struct bench *b)
{
	struct outcome o;
	json_int_t port;

	driver()->probe->gdb(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "host")), "127.0.0.1");
	port = json_integer_value(json_object_get(o.result, "port"));
	outcome_finish(&o);
	assert_in_range(port, 1, UINT16_MAX);
	return port;
}

static void gdb_is_served_from_when_it_is_asked_for_until_release(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	json_int_t port;

	assert_halts(b);
	assert_int_equal(count_lines(b, "args", "gdb_port disabled"), 1);
	port = gdb_port(b);
	assert_int_equal(count_lines(b, "args", "gdb_port 0"), 1);
	assert_int_equal(gdb_port(b), port);
	assert_halts(b);
	assert_int_equal(count_lines(b, "args", ""), 2);
	driver()->probe->release(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_halts(b);
	assert_int_equal(count_lines(b, "args", "gdb_port disabled"), 2);
	assert_int_equal(count_lines(b, "args", ""), 3);
}

static void an_openocd_that_was_lost_serves_gdb_at_the_same_port_again(void **state)
{
	struct bench *b = *state;
	json_int_t port = gdb_port(b);
	char text[32];

	kill((pid_t)fake_pid(b), SIGKILL);
	while (b->events.notes == 0)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_halts(b);
	snprintf(text, sizeof(text), "gdb_port %d;", (int)port);
	assert_int_equal(count_lines(b, "args", text), 1);
	assert_int_equal(gdb_port(b), port);
	assert_int_equal(count_lines(b, "args", ""), 2);
}

static void made_safe_nobody_serves_gdb(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	gdb_port(b);
	driver()->make_safe(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_int_equal(kill((pid_t)fake_pid(b), 0), -1);
	assert_halts(b);
	assert_int_equal(count_lines(b, "args", "gdb_port disabled"), 1);
}

static void without_a_port_for_gdb_the_next_operation_works(void **state)
{
	static const char *const modes[] = {"no-gdb", "fail rig_gdb", "fail rig_serve", "exit"};
	struct bench *b = *state;
	struct outcome o;

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		set_mode(b, modes[i]);
		driver()->probe->gdb(b->dev, outcome_start(&b->loop, &o, MINUTE));
		assert_failed(&b->loop, &o, ERR_BENCH, "openocd");
		set_mode(b, "");
		assert_halts(b);
		assert_int_equal(count_lines(b, "args", "gdb_port disabled"), (int)i + 1);
	}
}

static void hide_openocd(struct bench *b)
{
	assert_return_code(unlink(in_dir(b, "bin/openocd")), 0);
	setenv("PATH", b->dir, 1);
}

static void openocd_not_on_path_is_the_benchs_fault(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	hide_openocd(b);
	do_halt(b, &o);
	assert_failed(&b->loop, &o, ERR_BENCH,
		"openocd is not installed or not on PATH: apt-get install openocd");
	close_device(&b->loop, b->dev);
	b->dev = make_device(b, "{\"adapter\": \"jlink\"}");
	driver()->open(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "apt-get install openocd");
}

static void a_program_that_cannot_be_executed_is_the_benchs_fault(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	unlink(in_dir(b, "bin/openocd"));
	put_file(b, "bin/openocd",
		"\x7f"
		"ELF, not really",
		16);
	chmod(in_dir(b, "bin/openocd"), 0700);
	do_halt(b, &o);
	assert_failed(&b->loop, &o, ERR_BENCH,
		"openocd ended (exit status 127): Error: the program cannot be executed");
}

static void an_openocd_that_ends_at_once_says_why(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	set_mode(b, "exit");
	do_halt(b, &o);
	assert_failed(
		&b->loop, &o, ERR_BENCH, "openocd ended (exit status 1): Error: no adapter found");
	assert_int_equal(b->events.lost, 0);
	set_mode(b, "");
	assert_halts(b);
}

static void an_adapter_that_does_not_open_fails_the_operation_and_is_tried_anew(void **state)
{
	struct bench *b = *state;
	struct outcome o[2];

	set_mode(b, "fail rig_init");
	do_halt(b, &o[0]);
	do_halt(b, &o[1]);
	assert_failed(&b->loop, &o[0], ERR_BENCH, "open the adapter: it does not work");
	assert_failed(&b->loop, &o[1], ERR_BENCH, "open the adapter: it does not work");
	assert_int_equal(count_lines(b, "args", ""), 2);
	set_mode(b, "");
	assert_halts(b);
}

static void killed_in_the_middle_the_operation_is_begun_again_once(void **state)
{
	struct bench *b = *state;
	struct outcome o[2];

	assert_halts(b);
	put_file(b, "image", "abc", 3);
	set_mode(b, "mute1 rig_erase");
	do_program(b, &o[0], "{\"segments\": [{\"address\": 32768, \"path\": \"image\"}]}");
	do_halt(b, &o[1]);
	wait_for_verb(b, "rig_erase");
	kill((pid_t)fake_pid(b), SIGKILL);
	assert_done(&b->loop, &o[0]);
	/* the page was erased, as far as anyone knows, and again: both wear it */
	assert_int_equal(json_array_size(json_object_get(o[0].result, "pages")), 2);
	outcome_finish(&o[0]);
	assert_int_equal(b->events.notes, 1);
	assert_non_null(strstr(b->events.text, "adapter jlink: openocd ended (signal 9)"));
	assert_done(&b->loop, &o[1]);
	assert_int_equal(count_lines(b, "args", ""), 2);
	assert_int_equal(b->events.lost, 0);
}

static void killed_twice_it_is_the_benchs_error_and_the_next_operation_works(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	assert_halts(b);
	set_mode(b, "die rig_halt");
	do_halt(b, &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "adapter jlink: openocd ended (signal 9)");
	assert_int_equal(b->events.notes, 1);
	assert_int_equal(count_lines(b, "args", ""), 2);
	set_mode(b, "");
	assert_halts(b);
	assert_int_equal(b->events.notes, 1);
}

/* What was in the page beside the word is gone with the erase: a second time would not know it. */
static void a_word_of_flash_is_not_begun_again_once_its_page_is_erased(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	set_mode(b, "die rig_write");
	driver()->probe->write_word(
		b->dev, 0x9124, 0x11223344, outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "openocd ended (signal 9)");
	assert_int_equal(count_lines(b, "scripts", "rig_write"), 1);
	assert_int_equal(count_lines(b, "args", ""), 1);
}

static void fallen_silent_it_is_begun_again_once_and_then_the_benchs_error(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	close_device(&b->loop, b->dev);
	b->dev = make_device(
		b, "{\"adapter\": \"jlink\", \"serial\": \"683101\", \"answer_ms\": 300}");
	assert_halts(b);
	set_mode(b, "mute1 rig_halt");
	assert_halts(b);
	assert_int_equal(b->events.notes, 1);
	assert_non_null(strstr(b->events.text, "adapter jlink 683101: openocd does not answer"));
	set_mode(b, "mute rig_halt");
	do_halt(b, &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "adapter jlink 683101: openocd does not answer");
	assert_int_equal(b->events.notes, 2);
	assert_int_equal(count_lines(b, "args", ""), 3);
	/* and one that does not even come up gets no second chance */
	set_mode(b, "mute rig_init");
	do_halt(b, &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "adapter jlink 683101: openocd does not answer");
	assert_int_equal(count_lines(b, "args", ""), 4);
	set_mode(b, "");
	assert_halts(b);
}

static void an_adapter_that_does_not_answer_gets_a_new_openocd_once(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	assert_halts(b);
	set_mode(b, "fail rig_adapter");
	driver()->probe->command(b->dev, "nonsense", outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "invalid command name");
	assert_int_equal(count_lines(b, "args", ""), 1); /* a command is the caller's own affair */
	driver()->probe->verify(
		b->dev, 0x18000, in_dir(b, "flash"), outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "the adapter does not answer");
	assert_non_null(strstr(o.e.msg, "adapter jlink: "));
	assert_int_equal(b->events.notes, 1);
	assert_int_equal(count_lines(b, "args", ""), 2);
	assert_int_equal(count_lines(b, "scripts", "rig_adapter"), 2);
}

static void an_adapter_that_answers_is_not_to_blame(void **state)
{
	static const char *const answers[] = {"volts 3.300", "alive", "unknown"};
	struct bench *b = *state;
	struct outcome o;

	assert_halts(b);
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		put_file(b, "adapter", answers[i], strlen(answers[i]));
		driver()->probe->verify(
			b->dev, 0x18000, in_dir(b, "flash"), outcome_start(&b->loop, &o, MINUTE));
		assert_failed(&b->loop, &o, ERR_BENCH, "read memory: failed to read memory");
	}
	assert_int_equal(b->events.notes, 0);
	assert_int_equal(count_lines(b, "args", ""), 1);
}

static void a_dut_without_power_is_not_taken_for_a_hanging_adapter(void **state)
{
	static const char *const answers[] = {"volts 0.012", "alive"};
	struct bench *b = *state;
	struct outcome o;

	assert_halts(b);
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		put_file(b, "adapter", answers[i], strlen(answers[i]));
		set_mode(b, "fail rig_stop");
		put_file(b, "image", "abc", 3);
		do_program(b, &o, "{\"segments\": [{\"address\": 32768, \"path\": \"image\"}]}");
		assert_failed(&b->loop, &o, ERR_BENCH,
			i ? "rig_attach: the DUT does not answer" : "the adapter measures 0.01 V");
	}
	assert_int_equal(b->events.notes, 0);
	assert_int_equal(count_lines(b, "args", ""), 1);
	set_mode(b, "");
	assert_halts(b);
}

/* OpenOCD died with the DUT stopped: somebody must let go of it. */
static void release_lets_go_after_an_openocd_that_died(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	assert_halts(b);
	kill((pid_t)fake_pid(b), SIGKILL);
	while (!b->events.notes)
		uv_run(&b->loop, UV_RUN_ONCE);
	driver()->probe->release(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_int_equal(count_lines(b, "scripts", "rig_release"), 1);
	driver()->probe->release(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_int_equal(count_lines(b, "args", ""), 2);
}

/* --- run_until --- */

static void do_until(struct bench *b, struct outcome *o, const char *spec)
{
	json_t *s = json_loads(spec, 0, NULL);
	const char *log = json_string_value(json_object_get(s, "log"));

	assert_non_null(s);
	if (log)
		json_object_set_new(s, "log", json_string(in_dir(b, log)));
	driver()->probe->run_until(b->dev, s, outcome_start(&b->loop, o, MINUTE));
	json_decref(s);
}

static void put_hits(struct bench *b, const char *text)
{
	put_file(b, "hits", text, strlen(text));
}

static void it_runs_until_the_dut_came_to_a_place_for_the_nth_time(void **state)
{
	struct bench *b = *state;
	char log[256];
	struct outcome o;

	put_hits(b, "0x00000011\n0x00000022\n0x00000033\n0x00000044\n");
	do_until(b, &o,
		"{\"break\": 257, \"count\": 3, \"reg\": \"r0\", \"from\": 16, \"to\": 256, "
		"\"log\": \"log\"}");
	assert_done(&b->loop, &o);
	assert_int_equal(json_integer_value(json_object_get(o.result, "hits")), 3);
	assert_int_equal(json_integer_value(json_object_get(o.result, "address")), 0x33);
	assert_true(json_integer_value(json_object_get(o.result, "t_ns")) > 0);
	outcome_finish(&o);
	get_file(b, "log", log, sizeof(log));
	assert_string_equal(
		log, "1 breakpoint 0x00000011\n2 breakpoint 0x00000022\n3 breakpoint 0x00000033\n");
	/* a function's address has bit 0 set */
	assert_int_equal(count_lines(b, "scripts", "rig_set break 0x100 2"), 1);
	assert_int_equal(
		count_lines(b, "scripts", "rig_until 100 3 break 0x100 {r0} 0x10 0x100"), 1);
	assert_int_equal(
		count_lines(b, "scripts", "rig_until 100 1 break 0x100 {r0} 0x10 0x100"), 1);
	do_until(b, &o, "{\"watch\": [536870912, 4], \"count\": 1}");
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_int_equal(count_lines(b, "scripts", "rig_set watch 0x20000000 4"), 1);
}

static void cancelled_the_dut_runs_on_and_openocd_stays(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	struct err why;

	do_until(b, &o, "{\"break\": 256, \"count\": 0}");
	wait_for_verbs(b, "rig_until", 3);
	err_set(&why, ERR_CANCELLED, "given up");
	op_cancel(o.op, &why);
	assert_int_equal(o.done, 1);
	assert_halts(b);
	assert_int_equal(count_lines(b, "scripts", "rig_on"), 1);
	assert_int_equal(count_lines(b, "args", ""), 1);
	/* and past its deadline */
	driver()->probe->run_until(b->dev, json_null(), outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_USAGE, "break");
}

static void given_up_while_openocd_hangs_it_is_ended(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	struct err why;

	close_device(&b->loop, b->dev);
	b->dev = make_device(b, "{\"adapter\": \"jlink\", \"answer_ms\": 300}");
	set_mode(b, "mute rig_until");
	do_until(b, &o, "{\"break\": 256, \"count\": 1}");
	wait_for_verb(b, "rig_until");
	err_set(&why, ERR_CANCELLED, "given up");
	op_cancel(o.op, &why);
	assert_int_equal(o.done, 1);
	assert_halts(b);
	assert_int_equal(count_lines(b, "args", ""), 2);
}

static void a_run_is_not_begun_again(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	set_mode(b, "die rig_until");
	do_until(b, &o, "{\"break\": 256, \"count\": 1}");
	assert_failed(&b->loop, &o, ERR_BENCH, "openocd ended (signal 9)");
	assert_int_equal(count_lines(b, "args", ""), 1);
	assert_int_equal(b->events.notes, 0);
}

static void a_dut_that_stops_by_itself_ends_the_run(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	put_hits(b, "0x1\nstopped\n");
	do_until(b, &o, "{\"break\": 256, \"count\": 7}");
	assert_failed(&b->loop, &o, ERR_DUT, "BKPT");
}

static void a_log_that_cannot_be_written_lets_the_dut_run_on(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	do_until(b, &o, "{\"break\": 256, \"count\": 7, \"log\": \"no folder/log\"}");
	assert_failed(&b->loop, &o, ERR_IO, "no folder/log");
	assert_int_equal(count_lines(b, "scripts", "rig_on"), 1);
	assert_halts(b);
}

static void a_run_to_no_place_is_refused(void **state)
{
	static const char *const bad[] = {
		"{\"count\": 1}",
		"{\"break\": -1, \"count\": 1}",
		"{\"break\": 4294967296, \"count\": 1}",
		"{\"break\": 256}",
		"{\"break\": 256, \"count\": -1}",
		"{\"watch\": [256, 3], \"count\": 1}",
		"{\"watch\": [256, 65536], \"count\": 1}",
		"{\"watch\": [258, 4], \"count\": 1}",
		"{\"watch\": 256, \"count\": 1}",
		"{\"watch\": [256, 4], \"count\": 1, \"reg\": \"r0\"}",
		"{\"break\": 256, \"count\": 1, \"from\": 1}",
		"{\"break\": 256, \"count\": 1, \"reg\": \"r0 [exit]\"}",
		"{\"break\": 256, \"count\": 1, \"reg\": \"r0\", \"from\": 5, \"to\": 5}",
	};
	struct bench *b = *state;
	struct outcome o;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		do_until(b, &o, bad[i]);
		assert_failed(&b->loop, &o, ERR_USAGE, "");
	}
	assert_int_equal(fake_pid(b), 0);
}

static void killed_while_idle_it_is_reported_and_the_next_operation_works(void **state)
{
	struct bench *b = *state;

	assert_halts(b);
	kill((pid_t)fake_pid(b), SIGKILL);
	while (!b->events.notes)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_halts(b);
	assert_int_equal(b->events.notes, 1);
	assert_int_equal(b->events.lost, 0);
}

static void cancelling_drops_openocd_and_the_next_operation_starts_another(void **state)
{
	struct bench *b = *state;
	struct outcome o[3];
	struct err why;

	set_mode(b, "mute rig_halt");
	do_halt(b, &o[0]);
	driver()->probe->resume(b->dev, outcome_start(&b->loop, &o[1], MINUTE));
	driver()->probe->resume(b->dev, outcome_start(&b->loop, &o[2], MINUTE));
	wait_for_verb(b, "rig_halt");
	err_set(&why, ERR_CANCELLED, "given up");
	op_cancel(o[1].op, &why); /* waits, and is forgotten */
	op_cancel(o[0].op, &why); /* is under way */
	assert_int_equal(o[0].done, 1);
	assert_done(&b->loop, &o[2]);
	assert_int_equal(count_lines(b, "args", ""), 2);
	assert_int_equal(count_lines(b, "scripts", "rig_resume"), 1);
	assert_int_equal(b->events.lost, 0);
}

static void a_deadline_ends_an_openocd_that_does_not_answer(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	set_mode(b, "mute rig_init");
	driver()->probe->halt(b->dev, outcome_start(&b->loop, &o, 200));
	assert_failed(&b->loop, &o, ERR_TIMEOUT, "200 ms");
	set_mode(b, "");
	assert_halts(b);
}

static void a_dut_that_no_longer_answers_gets_a_new_openocd_once(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	assert_halts(b);
	put_file(b, "image", "abc", 3);
	set_mode(b, "fail rig_stop");
	do_program(b, &o, "{\"segments\": [{\"address\": 32768, \"path\": \"image\"}]}");
	assert_failed(&b->loop, &o, ERR_BENCH, "rig_attach: the DUT does not answer");
	/* the first had had the DUT, the second not */
	assert_int_equal(count_lines(b, "args", ""), 2);
	assert_int_equal(count_lines(b, "scripts", "rig_stop"), 2);
	set_mode(b, "");
	do_program(b, &o, "{\"segments\": [{\"address\": 32768, \"path\": \"image\"}]}");
	assert_programmed(b, &o, 1, 0);
}

static void release_without_openocd_starts_none(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	driver()->probe->release(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_int_equal(fake_pid(b), 0);
	assert_halts(b);
	driver()->probe->release(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_int_equal(count_lines(b, "scripts", "rig_release"), 1);
	assert_int_equal(count_lines(b, "args", ""), 1);
}

static void release_of_a_dut_without_power_succeeds(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	assert_halts(b);
	set_mode(b, "fail rig_release");
	driver()->probe->release(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_halts(b);
	assert_int_equal(count_lines(b, "args", ""), 2);
}

/* Whether the process ended; a zombie has: whoever stands for init reaps it in its own time. */
static bool is_gone(pid_t pid)
{
	char path[64], stat[512] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	f = fopen(path, "r");
	if (!f)
		return true;
	if (!fgets(stat, sizeof(stat), f))
		stat[0] = '\0';
	fclose(f);
	return strstr(stat, ") Z ") != NULL;
}

static void openocd_inherits_no_descriptor_of_ours(void **state)
{
	struct bench *b = *state;
	char path[64];
	int pair[2], n = 0;
	DIR *fds;

	assert_return_code(pipe(pair), 0); /* without close-on-exec */
	assert_halts(b);
	snprintf(path, sizeof(path), "/proc/%ld/fd", fake_pid(b));
	fds = opendir(path);
	assert_non_null(fds);
	for (struct dirent *entry; (entry = readdir(fds));)
		n += entry->d_name[0] != '.';
	closedir(fds);
	/* standard input, output and error, its port and our connection to it */
	assert_int_equal(n, 5);
	close(pair[0]);
	close(pair[1]);
}

static void openocd_dies_with_the_process_that_started_it(void **state)
{
	struct bench *b = *state;
	pid_t child, fake;

	child = fork();
	if (child == 0) {
		struct outcome o;

		uv_loop_fork(&b->loop);
		do_halt(b, &o);
		uv_run(&b->loop, UV_RUN_DEFAULT);
		_exit(0);
	}
	assert_return_code(child, 0);
	while (!count_lines(b, "scripts", "rig_halt"))
		poll(NULL, 0, 1);
	fake = (pid_t)fake_pid(b);
	assert_false(is_gone(fake));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	while (!is_gone(fake))
		poll(NULL, 0, 1);
}

/* --- make safe, close --- */

static void assert_made_safe(struct bench *b)
{
	struct outcome o;

	driver()->make_safe(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
}

static void make_safe_ends_openocd_whatever_it_does(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	assert_made_safe(b);
	assert_int_equal(fake_pid(b), 0);
	assert_halts(b);
	assert_made_safe(b);
	assert_int_equal(count_lines(b, "scripts", "catch {rig_release}; shutdown"), 1);
	assert_true(is_gone((pid_t)fake_pid(b)));
	set_mode(b, "mute rig_halt");
	do_halt(b, &o);
	wait_for_verbs(b, "rig_halt", 2);
	assert_made_safe(b);
	assert_true(is_gone((pid_t)fake_pid(b)));
	assert_failed(&b->loop, &o, ERR_CANCELLED, "made safe");
	set_mode(b, "");
	assert_halts(b);
	assert_int_equal(b->events.lost, 0);
}

static void make_safe_frees_the_reset_line(void **state)
{
	struct bench *b = *state;
	struct outcome o, stuck;

	close_device(&b->loop, b->dev);
	b->dev = make_device(b, "{\"adapter\": \"jlink\", \"reset_config\": \"srst_only\"}");
	driver()->probe->hold_reset(b->dev, true, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_made_safe(b);
	assert_int_equal(count_lines(b, "scripts", "rig_free"), 1);
	/* again, with an OpenOCD that is stuck: another one is started to do it */
	driver()->probe->hold_reset(b->dev, true, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	set_mode(b, "mute rig_halt");
	do_halt(b, &stuck);
	wait_for_verb(b, "rig_halt");
	assert_made_safe(b);
	assert_failed(&b->loop, &stuck, ERR_CANCELLED, "made safe");
	assert_int_equal(count_lines(b, "scripts", "rig_free"), 2);
	assert_int_equal(count_lines(b, "args", ""), 3);
	assert_true(is_gone((pid_t)fake_pid(b)));
}

static void a_reset_line_that_cannot_be_freed_fails_make_safe(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	close_device(&b->loop, b->dev);
	b->dev = make_device(b, "{\"adapter\": \"jlink\", \"reset_config\": \"srst_only\"}");
	driver()->probe->hold_reset(b->dev, true, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	set_mode(b, "fail rig_free");
	driver()->make_safe(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "free the reset line: it does not work");
	assert_true(is_gone((pid_t)fake_pid(b)));
}

static void a_virtual_board_without_a_process_holds_no_reset_line(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	struct err e;
	int fd;

	close_device(&b->loop, b->dev);
	b->dev = make_device(b, "{\"adapter\": \"virtual\"}");
	mkdir(in_dir(b, "vboard"), 0700);
	put_file(b, "vboard/stlink.port", "7301\n", 5);
	fd = rpc_listen_unix(in_dir(b, "vboard/control.sock"), 0600, &e);
	assert_true(fd >= 0);
	driver()->probe->hold_reset(b->dev, true, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	set_mode(b, "fail rig_free");
	driver()->make_safe(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "free the reset line: it does not work");
	close(fd);
	assert_made_safe(b);
	/* and the next one starts with the line free: there is nothing to be freed a third time */
	assert_made_safe(b);
	assert_int_equal(count_lines(b, "scripts", "rig_free"), 2);
}

static void a_held_reset_line_survives_a_new_openocd(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	close_device(&b->loop, b->dev);
	b->dev = make_device(b, "{\"adapter\": \"jlink\", \"reset_config\": \"srst_only\"}");
	driver()->probe->hold_reset(b->dev, true, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	kill((pid_t)fake_pid(b), SIGKILL);
	while (!b->events.notes)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_halts(b);
	assert_int_equal(count_lines(b, "scripts", "rig_init deassert"), 1);
	assert_int_equal(count_lines(b, "scripts", "rig_init assert"), 1);
	driver()->probe->hold_reset(b->dev, false, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
}

static void a_reset_line_that_is_not_wired_is_not_held(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	driver()->probe->hold_reset(b->dev, true, outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_UNSUPPORTED, "reset_config");
	assert_int_equal(fake_pid(b), 0);
}

static void close_in_the_middle_fails_what_is_under_way(void **state)
{
	struct bench *b = *state;
	struct outcome o[3];

	set_mode(b, "mute rig_halt");
	do_halt(b, &o[0]);
	do_halt(b, &o[1]);
	wait_for_verb(b, "rig_halt");
	driver()->make_safe(b->dev, outcome_start(&b->loop, &o[2], MINUTE));
	close_device(&b->loop, b->dev);
	b->dev = NULL;
	assert_failed(&b->loop, &o[0], ERR_CANCELLED, "made safe");
	assert_failed(&b->loop, &o[1], ERR_CANCELLED, "made safe");
	assert_failed(&b->loop, &o[2], ERR_GONE, "closed");
	assert_true(is_gone((pid_t)fake_pid(b)));
}

/* --- configuration --- */

static void the_virtual_board_is_reached_through_its_own_port(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	close_device(&b->loop, b->dev);
	b->dev = make_device(b, "{\"adapter\": \"virtual\", \"serial\": \"a [b]\"}");
	do_halt(b, &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "the virtual board does not run");
	mkdir(in_dir(b, "vboard"), 0700);
	put_file(b, "vboard/stlink.port", "x\n", 2);
	do_halt(b, &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "holds no port");
	put_file(b, "vboard/stlink.port", "7301\n", 5);
	assert_halts(b);
	assert_int_equal(count_lines(b, "args",
				 "-f\x1finterface/stlink-dap.cfg\x1f-c\x1fst-link backend tcp 7301"
				 "\x1f-c\x1f"
				 "adapter serial a\\ \\[b\\]\x1f-c\x1ftransport select "
				 "dapdirect_swd\x1f-f\x1ftarget/x.cfg\x1f-c\x1freset_config "
				 "srst_only srst_nogate"),
		1);
}

static void options_become_arguments(void **state)
{
	struct bench *b = *state;

	json_object_set_new(b->conf, "type_file", json_string("/some where/boards/x.lua"));
	close_device(&b->loop, b->dev);
	b->dev = make_device(
		b, "{\"adapter\": \"cmsis-dap\", \"speed_khz\": 4000, \"config\": \"mine.cfg\"}");
	assert_halts(b);
	assert_int_equal(count_lines(b, "args",
				 "-s\x1f/some where/boards\x1f-c\x1fgdb_port disabled; telnet_port "
				 "disabled; tcl_port 0; noinit\x1f-f\x1finterface/cmsis-dap.cfg"
				 "\x1f-c\x1ftransport select swd\x1f-f\x1ftarget/x.cfg"
				 "\x1f-c\x1f"
				 "adapter speed 4000\x1f-f\x1fmine.cfg"),
		1);
}

static void a_board_type_without_flash_or_target_is_refused(void **state)
{
	struct bench *b = *state;
	json_t *options = options_of(driver(), "{\"adapter\": \"jlink\"}");
	struct err e;

	json_object_del(b->conf, "openocd");
	assert_null(driver()->create(&b->env, options, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "target"));
	json_object_set_new(b->conf, "openocd", json_pack("{s:s}", "target", "x"));
	json_object_set_new(json_object_get(b->conf, "flash"), "page", json_integer(3000));
	assert_null(driver()->create(&b->env, options, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "flash"));
	json_decref(options);
}

static void quoting_leaves_nothing_for_tcl_to_substitute(void **state)
{
	static const char *const words[][2] = {
		{"", "{}"},
		{"plain/Word_1.bin", "plain/Word_1.bin"},
		{"a b", "a\\ b"},
		{"[exec x]", "\\[exec\\ x\\]"},
		{"$x{y}\"\\;#", "\\$x\\{y\\}\\\"\\\\\\;\\#"},
		{"two\nlines", "two\\nlines"},
		{"\xc3\xa4", "\xc3\xa4"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		char *quoted = openocd_quote(words[i][0]);

		assert_string_equal(quoted, words[i][1]);
		free(quoted);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		T(programming_writes_the_pages_and_leaves_the_others),
		T(an_unchanged_image_writes_nothing),
		T(only_pages_that_differ_are_written_each_run_at_once),
		T(erased_ranges_are_erased_and_not_written),
		T(flash_that_does_not_take_the_bytes_is_found_out),
		T(what_lies_outside_the_flash_is_refused),
		T(a_word_of_flash_is_written_and_nothing_else),
		T(a_word_of_ram_is_written_without_touching_flash),
		T(verify_tells_where_flash_differs_first),
		T(read_creates_and_replaces_the_file),
		T(no_scratch_file_is_left),
		T(one_openocd_serves_many_operations_in_order),
		T(a_command_goes_out_and_its_answer_comes_back_as_it_is),
		T(an_error_names_the_command_and_what_openocd_wrote),
		T(version_touches_neither_adapter_nor_dut),
		T(gdb_is_served_from_when_it_is_asked_for_until_release),
		T(an_openocd_that_was_lost_serves_gdb_at_the_same_port_again),
		T(made_safe_nobody_serves_gdb),
		T(without_a_port_for_gdb_the_next_operation_works),
		T(openocd_not_on_path_is_the_benchs_fault),
		T(a_program_that_cannot_be_executed_is_the_benchs_fault),
		T(an_openocd_that_ends_at_once_says_why),
		T(an_adapter_that_does_not_open_fails_the_operation_and_is_tried_anew),
		T(killed_in_the_middle_the_operation_is_begun_again_once),
		T(killed_twice_it_is_the_benchs_error_and_the_next_operation_works),
		T(a_word_of_flash_is_not_begun_again_once_its_page_is_erased),
		T(fallen_silent_it_is_begun_again_once_and_then_the_benchs_error),
		T(an_adapter_that_does_not_answer_gets_a_new_openocd_once),
		T(an_adapter_that_answers_is_not_to_blame),
		T(a_dut_without_power_is_not_taken_for_a_hanging_adapter),
		T(release_lets_go_after_an_openocd_that_died),
		T(it_runs_until_the_dut_came_to_a_place_for_the_nth_time),
		T(cancelled_the_dut_runs_on_and_openocd_stays),
		T(given_up_while_openocd_hangs_it_is_ended),
		T(a_run_is_not_begun_again),
		T(a_dut_that_stops_by_itself_ends_the_run),
		T(a_log_that_cannot_be_written_lets_the_dut_run_on),
		T(a_run_to_no_place_is_refused),
		T(killed_while_idle_it_is_reported_and_the_next_operation_works),
		T(cancelling_drops_openocd_and_the_next_operation_starts_another),
		T(a_deadline_ends_an_openocd_that_does_not_answer),
		T(a_dut_that_no_longer_answers_gets_a_new_openocd_once),
		T(release_without_openocd_starts_none),
		T(release_of_a_dut_without_power_succeeds),
		T(openocd_inherits_no_descriptor_of_ours),
		T(openocd_dies_with_the_process_that_started_it),
		T(make_safe_ends_openocd_whatever_it_does),
		T(make_safe_frees_the_reset_line),
		T(a_reset_line_that_cannot_be_freed_fails_make_safe),
		T(a_virtual_board_without_a_process_holds_no_reset_line),
		T(a_held_reset_line_survives_a_new_openocd),
		T(a_reset_line_that_is_not_wired_is_not_held),
		T(close_in_the_middle_fails_what_is_under_way),
		T(the_virtual_board_is_reached_through_its_own_port),
		T(options_become_arguments),
		T(a_board_type_without_flash_or_target_is_refused),
		cmocka_unit_test(quoting_leaves_nothing_for_tcl_to_substitute),
	};
	const char *name = strrchr(argv[0], '/');

	if (strcmp(name ? name + 1 : argv[0], "openocd") == 0)
		return fake_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
