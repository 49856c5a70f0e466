/*
 * The driver openocd with the real OpenOCD and its stock target/nrf52.cfg, on a virtual board.
 * What it claims to have done is checked behind its back: in the board's flash file and over the
 * board's control socket.
 */
#include "driver_bench.h"
#include "rig/file.h"
#include "rig/hex.h"
#include "rig/oplog.h"
#include "rig/rpc.h"
#include "rig/spawn.h"
#include "scratch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLASH_SIZE 0x100000
#define PAGE 0x1000
#define RAM 0x20000000
#define MARK 0x600dcafe
#define MINUTE 60000

/*
 * A DUT: stack pointer and reset vector, then: r0 = RAM, r1 = MARK, store, sleep for ever.
 */
static const uint16_t program[] = {
	0x0000, 0x2001, 0x0009, 0x0000, /* vectors: 0x20010000, 0x00000009 */
	0x4802,                         /* 0x08 ldr r0, [0x14] */
	0x4903,                         /* 0x0a ldr r1, [0x18] */
	0x6001,                         /* 0x0c str r1, [r0] */
	0xbf30,                         /* 0x0e wfi */
	0xe7fd,                         /* 0x10 b 0x0e */
	0xbf00,                         /* 0x12 nop */
	0x0000, 0x2000,                 /* 0x14 RAM */
	0xcafe, 0x600d,                 /* 0x18 MARK */
};

struct bench {
	uv_loop_t loop;
	void *scratch;
	const char *dir;
	struct spawned *board;
	bool board_ended;
	struct rpc *control;
	const uint8_t *flash; /* the board's flash file */
	json_t *conf;
	struct driver_env env;
	struct events events;
	struct device *dev;
};

static const struct probe_ops *probe(void)
{
	return driver_find("openocd")->probe;
}

static const char *in_dir(struct bench *b, const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	return path;
}

static void put_file(struct bench *b, const char *name, const void *data, size_t len)
{
	FILE *f = fopen(in_dir(b, name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

/* --- the board --- */

static void board_ended(void *arg, int64_t status, int signal)
{
	(void)status;
	(void)signal;
	*(bool *)arg = true;
}

static void no_request(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct err e;

	(void)arg;
	(void)method;
	(void)params;
	err_set(&e, ERR_UNSUPPORTED, "no");
	if (call)
		rpc_answer_err(call, &e);
}

static void control_closed(void *arg, const struct err *why)
{
	(void)arg;
	(void)why;
}

static void board_start(struct bench *b)
{
	static const struct rpc_handlers handlers = {no_request, control_closed};
	char program_name[4096], dir[4096], log[4096];
	const char *args[] = {"--dir", dir, "--linger-ms", "60000", NULL};
	struct spawn_spec spec = {.program = program_name,
		.args = args,
		.fd = -1,
		.log_path = log,
		.own_session = true,
		.exited = board_ended,
		.arg = &b->board_ended};
	struct err e;
	int fd;

	snprintf(dir, sizeof(dir), "%s/vboard", b->dir);
	snprintf(log, sizeof(log), "%s/vboard-output.log", b->dir);
	mkdir(dir, 0700);
	unlink(in_dir(b, "vboard/control.sock"));
	if (program_path("vboard", program_name, sizeof(program_name), &e))
		fail_msg("%s", e.msg);
	b->board_ended = false;
	assert_return_code(spawn_start(&b->loop, &spec, &b->board, &e), 0);
	while ((fd = rpc_connect_unix(in_dir(b, "vboard/control.sock"), &e)) < 0) {
		assert_false(b->board_ended);
		uv_run(&b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
	b->control = rpc_create(&b->loop, fd, &handlers, NULL);
	assert_non_null(b->control);
}

/* Has the board's process gone, with signal 0 by asking for it. */
static void board_stop(struct bench *b, int signal)
{
	if (signal)
		kill(spawn_pid(b->board), signal);
	else
		rpc_notify(b->control, "quit", NULL);
	while (!b->board_ended)
		uv_run(&b->loop, UV_RUN_ONCE);
	rpc_destroy(b->control);
	spawn_destroy(b->board);
}

/* A call to the board's control socket; its answer is the caller's. */
static json_t *control(struct bench *b, const char *method, json_t *params)
{
	struct outcome o = {0};

	rpc_request(b->control, method, params, MINUTE, outcome_came, &o);
	while (!o.done)
		uv_run(&b->loop, UV_RUN_ONCE);
	if (o.e.code != ERR_NONE)
		fail_msg("%s: %s", method, o.e.msg);
	return o.result;
}

static void set_power(struct bench *b, bool on)
{
	json_decref(control(b, "power", json_pack("{s:b}", "on", on)));
}

static void set_write_enable_broken(struct bench *b, bool broken)
{
	json_decref(control(b, "fault", json_pack("{s:b}", "nvmc_wen", broken)));
}

static json_int_t board_number(struct bench *b, const char *name)
{
	json_t *state = control(b, "state", NULL);
	json_int_t n = json_integer_value(json_object_get(state, name));

	json_decref(state);
	return n;
}

static bool has_debugger(struct bench *b)
{
	json_t *state = control(b, "state", NULL);
	bool yes = json_is_true(json_object_get(state, "debugger"));

	json_decref(state);
	return yes;
}

/* --- the bench --- */

static struct device *make_device(struct bench *b, const char *changes)
{
	const struct driver *driver = driver_find("openocd");
	json_t *options = options_of(driver, changes);
	struct device *dev;
	struct err e;

	dev = driver->create(&b->env, options, &e);
	json_decref(options);
	if (!dev)
		fail_msg("create: %s", e.msg);
	dev->driver = driver;
	return dev;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	int fd;

	assert_int_equal(scratch_setup(&b->scratch), 0);
	b->dir = ((struct scratch *)b->scratch)->dir;
	uv_loop_init(&b->loop);
	board_start(b);
	fd = open(in_dir(b, "vboard/flash.bin"), O_RDONLY);
	assert_return_code(fd, 0);
	b->flash = mmap(NULL, FLASH_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(b->flash, MAP_FAILED);
	close(fd);
	b->conf = json_pack("{s:{s:s}, s:{s:i, s:i, s:i, s:i}}", "openocd", "target",
		"target/nrf52.cfg", "flash", "base", 0, "size", FLASH_SIZE, "page", PAGE, "write",
		4);
	b->env = (struct driver_env){.loop = &b->loop,
		.board = "b",
		.board_dir = b->dir,
		.log_dir = b->dir,
		.board_conf = b->conf,
		.event = event_came,
		.arg = &b->events};
	b->dev = make_device(b, "{\"adapter\": \"virtual\"}");
	set_power(b, true);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close_device(&b->loop, b->dev);
	board_stop(b, 0);
	close_loop(&b->loop);
	munmap((void *)(uintptr_t)b->flash, FLASH_SIZE);
	json_decref(b->conf);
	scratch_teardown(&b->scratch);
	free(b);
	return 0;
}

/* Programs data at address; o is the caller's to wait for. */
static void start_program(
	struct bench *b, struct outcome *o, uint32_t address, const void *data, size_t len)
{
	json_t *spec;

	put_file(b, "image", data, len);
	spec = json_pack("{s:[{s:I, s:s}]}", "segments", "address", (json_int_t)address, "path",
		in_dir(b, "image"));
	probe()->program(b->dev, spec, outcome_start(&b->loop, o, MINUTE));
	json_decref(spec);
}

/* Programs, and returns how many pages were written. */
static json_int_t do_program(struct bench *b, uint32_t address, const void *data, size_t len)
{
	struct outcome o;
	json_int_t pages;

	start_program(b, &o, address, data, len);
	assert_done(&b->loop, &o);
	pages = json_integer_value(json_object_get(o.result, "pages_written"));
	outcome_finish(&o);
	return pages;
}

static void do_halt(struct bench *b)
{
	struct outcome o;

	probe()->halt(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
}

static void do_release(struct bench *b)
{
	struct outcome o;

	probe()->release(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
}

static void do_reset_halt(struct bench *b)
{
	struct outcome o;

	probe()->reset(b->dev, true, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
}

static void do_hold(struct bench *b, bool hold)
{
	struct outcome o;

	probe()->hold_reset(b->dev, hold, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
}

/* A word of memory, read through the probe. */
static uint32_t read_word(struct bench *b, uint32_t address)
{
	uint8_t bytes[4];
	struct outcome o;
	FILE *f;

	probe()->read(b->dev, address, 4, in_dir(b, "word"), outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	f = fopen(in_dir(b, "word"), "r");
	assert_int_equal(fread(bytes, 1, 4, f), 4);
	fclose(f);
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

/* Demands that OpenOCD's answer to a command holds text. */
static void assert_says(struct bench *b, const char *command, const char *text)
{
	struct outcome o;
	const char *answer;

	probe()->command(b->dev, command, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	answer = json_string_value(json_object_get(o.result, "text"));
	if (!strstr(answer, text))
		fail_msg("%s: expected \"%s\", got \"%s\"", command, text, answer);
	outcome_finish(&o);
}

/* Waits until the DUT's program has run to its end, on from so many instructions. Flash loaders
 * count too. */
static void wait_for_run(struct bench *b, json_int_t from)
{
	while (board_number(b, "instructions") < from + 4)
		poll(NULL, 0, 1);
}

static uint8_t *make_image(size_t len, unsigned seed)
{
	uint8_t *image = malloc(len);

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245u + 12345u;
		image[i] = (uint8_t)(seed >> 16);
	}
	return image;
}

/* --- tests --- */

static void an_image_is_in_flash_byte_for_byte_and_nothing_else_changed(void **state)
{
	struct bench *b = *state;
	const size_t len = 150001, at = 0xc010;
	uint8_t *image = make_image(len, 1);

	assert_int_equal(do_program(b, 0, program, sizeof(program)), 1);
	assert_int_equal(do_program(b, (uint32_t)at, image, len), 37);
	assert_memory_equal(b->flash, program, sizeof(program));
	assert_memory_equal(b->flash + at, image, len);
	for (size_t i = sizeof(program); i < FLASH_SIZE; i++)
		if (i < at || i >= at + len)
			assert_int_equal(b->flash[i], 0xff);
	free(image);
}

static void verify_and_read_tell_what_is_there(void **state)
{
	struct bench *b = *state;
	const size_t len = 20000;
	uint8_t *image = make_image(len, 2), *copy = malloc(len);
	struct outcome o;
	FILE *f;

	do_program(b, 0x10000, image, len);
	probe()->verify(b->dev, 0x10000, in_dir(b, "image"), outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_true(json_is_true(json_object_get(o.result, "same")));
	outcome_finish(&o);
	probe()->read(b->dev, 0x10000, (uint32_t)len, in_dir(b, "copy"),
		outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	f = fopen(in_dir(b, "copy"), "r");
	assert_int_equal(fread(copy, 1, len, f), len);
	fclose(f);
	assert_memory_equal(copy, image, len);
	image[12345] ^= 0x10;
	put_file(b, "image", image, len);
	probe()->verify(b->dev, 0x10000, in_dir(b, "image"), outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_int_equal(
		json_integer_value(json_object_get(o.result, "first_difference")), 0x10000 + 12345);
	outcome_finish(&o);
	free(image);
	free(copy);
}

static void an_unchanged_image_writes_nothing_a_changed_one_only_its_pages(void **state)
{
	struct bench *b = *state;
	const size_t len = 100000;
	uint8_t *image = make_image(len, 3);
	json_int_t before;

	assert_int_equal(do_program(b, 0x20000, image, len), 25);
	before = board_number(b, "probe_operations");
	assert_int_equal(do_program(b, 0x20000, image, len), 0);
	assert_int_equal(board_number(b, "probe_operations"), before);
	image[5 * PAGE] ^= 1;
	image[17 * PAGE] ^= 1;
	assert_int_equal(do_program(b, 0x20000, image, len), 2);
	/* two erases and the words of two pages */
	assert_int_equal(board_number(b, "probe_operations") - before, 2 + 2 * PAGE / 4);
	assert_memory_equal(b->flash + 0x20000, image, len);
	free(image);
}

static void a_broken_write_enable_is_the_benchs_error(void **state)
{
	struct bench *b = *state;
	uint8_t *image = make_image(PAGE, 4);
	struct outcome o;

	set_write_enable_broken(b, true);
	start_program(b, &o, 0x30000, image, PAGE);
	assert_failed(&b->loop, &o, ERR_BENCH, "");
	assert_int_equal(b->flash[0x30000], 0xff);
	set_write_enable_broken(b, false);
	assert_int_equal(do_program(b, 0x30000, image, PAGE), 1);
	assert_memory_equal(b->flash + 0x30000, image, PAGE);
	free(image);
}

/* The process id of our OpenOCD. */
static pid_t openocd_pid(void)
{
	char path[64], comm[64];
	long pid, found = 0;
	FILE *children, *f;

	snprintf(path, sizeof(path), "/proc/self/task/%ld/children", (long)getpid());
	children = fopen(path, "r");
	assert_non_null(children);
	while (fscanf(children, "%ld", &pid) == 1) {
		snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
		f = fopen(path, "r");
		if (f && fgets(comm, sizeof(comm), f) && strcmp(comm, "openocd\n") == 0)
			found = pid;
		if (f)
			fclose(f);
	}
	fclose(children);
	assert_int_not_equal(found, 0);
	return (pid_t)found;
}

static void killed_in_the_middle_it_programs_all_the_same(void **state)
{
	struct bench *b = *state;
	const size_t len = 0x60000;
	uint8_t *image = make_image(len, 5);
	struct outcome o;

	start_program(b, &o, 0x40000, image, len);
	while (b->flash[0x40000] == 0xff && b->flash[0x40001] == 0xff && !o.done) {
		uv_run(&b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
	kill(openocd_pid(), SIGKILL);
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_int_equal(b->events.notes, 1);
	assert_non_null(strstr(b->events.text, "openocd ended (signal 9)"));
	assert_memory_equal(b->flash + 0x40000, image, len);
	free(image);
}

static void released_the_dut_runs_as_without_a_probe(void **state)
{
	struct bench *b = *state;
	json_int_t before;

	do_program(b, 0, program, sizeof(program));
	assert_true(has_debugger(b));
	before = board_number(b, "instructions");
	do_release(b);
	assert_false(has_debugger(b));
	wait_for_run(b, before);
	/* reading memory takes the port up, but leaves the core alone */
	assert_int_equal(read_word(b, RAM), MARK);
	assert_false(has_debugger(b));
}

static void a_judged_boot_after_a_release_has_no_debugger(void **state)
{
	struct bench *b = *state;
	json_int_t before;

	do_program(b, 0, program, sizeof(program));
	do_release(b);
	set_power(b, false);
	before = board_number(b, "instructions");
	set_power(b, true);
	wait_for_run(b, before);
	assert_false(has_debugger(b));
	do_release(b);
	assert_false(has_debugger(b));
}

static void power_may_come_and_go_under_it(void **state)
{
	struct bench *b = *state;
	json_int_t before;
	struct outcome o;
	uint8_t image[PAGE];

	memset(image, 0x11, sizeof(image));
	do_program(b, 0, program, sizeof(program));
	for (int i = 0; i < 3; i++) {
		set_power(b, false);
		probe()->halt(b->dev, outcome_start(&b->loop, &o, MINUTE));
		assert_failed(&b->loop, &o, ERR_BENCH, "has it power?");
		do_release(b);
		set_power(b, true);
		do_halt(b);
		set_power(b, false);
		set_power(b, true);
		image[0] = (uint8_t)i;
		assert_int_equal(do_program(b, 0x50000, image, sizeof(image)), 1);
		assert_int_equal(b->flash[0x50000], i);
		do_release(b);
		set_power(b, false);
		before = board_number(b, "instructions");
		set_power(b, true);
		wait_for_run(b, before);
		assert_int_equal(read_word(b, RAM), MARK);
	}
	/* it was never taken for an adapter that hangs */
	assert_int_equal(b->events.notes, 0);
}

static void it_stops_before_the_first_instruction_and_at_breakpoints(void **state)
{
	struct bench *b = *state;
	json_int_t before;
	struct outcome o;

	do_program(b, 0, program, sizeof(program));
	do_reset_halt(b);
	assert_says(b, "reg pc", "0x00000008");
	assert_int_not_equal(read_word(b, RAM), MARK);
	probe()->breakpoint(b->dev, 0x0e, true, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	before = board_number(b, "instructions");
	probe()->resume(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	/* three instructions, and it stops before the fourth */
	wait_for_run(b, before - 1);
	do_halt(b);
	assert_says(b, "reg pc", "0x0000000e");
	assert_int_equal(read_word(b, RAM), MARK);
	probe()->breakpoint(b->dev, 0x0e, false, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	probe()->reset(b->dev, false, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	probe()->resume(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
}

/* What the stub at a port answers to "g": the registers (GDB manual, "Remote Serial Protocol"). */
static size_t read_registers(json_int_t port, char *text, size_t size)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	static const char question[] = "+$g#67";
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	size_t len = 0;
	ssize_t n;

	assert_return_code(connect(fd, (struct sockaddr *)&at, sizeof(at)), errno);
	assert_int_equal(write(fd, question, sizeof(question) - 1), sizeof(question) - 1);
	do {
		n = read(fd, text + len, size - len - 1);
		assert_true(n > 0);
		len += (size_t)n;
		text[len] = '\0';
	} while (!strchr(text, '#'));
	close(fd);
	assert_non_null(strchr(text, '$'));
	return strcspn(strchr(text, '$') + 1, "#");
}

static void gdb_reads_the_registers_of_a_dut_that_ran_on(void **state)
{
	struct bench *b = *state;
	char text[4096];
	struct outcome o;
	json_int_t port, before;

	do_program(b, 0, program, sizeof(program));
	do_release(b);
	set_power(b, false);
	before = board_number(b, "instructions");
	do_hold(b, true);
	set_power(b, true);
	/* the line is freed */
	probe()->gdb(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	port = json_integer_value(json_object_get(o.result, "port"));
	outcome_finish(&o);
	wait_for_run(b, before);
	/* r0 to r15 and xpsr at least; r0 and r1 as the program left them */
	assert_true(read_registers(port, text, sizeof(text)) >= 17 * 8);
	assert_memory_equal(strchr(text, '$') + 1, "00000020feca0d60", 16);
	/* a power cycle does not end it */
	set_power(b, false);
	set_power(b, true);
	assert_true(read_registers(port, text, sizeof(text)) >= 17 * 8);
	do_release(b);
	assert_false(has_debugger(b));
}

static void gdb_is_refused_for_a_dut_without_power(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	do_program(b, 0, program, sizeof(program));
	set_power(b, false);
	probe()->gdb(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "voltage");
	set_power(b, true);
	do_halt(b);
}

static void words_are_written_in_ram_and_flash(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	do_program(b, 0, program, sizeof(program));
	probe()->write_word(b->dev, RAM + 0x100, 0x12345678, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_int_equal(read_word(b, RAM + 0x100), 0x12345678);
	/* a bit from 1 to 0 and one from 0 to 1 */
	probe()->write_word(b->dev, 0x18, MARK ^ 3, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_int_equal(b->flash[0x18], (MARK ^ 3) & 0xff);
	assert_memory_equal(b->flash, program, 0x18);
	assert_int_equal(b->flash[sizeof(program)], 0xff);
}

static void held_in_reset_not_one_instruction_runs_until_it_is_released(void **state)
{
	struct bench *b = *state;
	json_int_t before;

	do_program(b, 0, program, sizeof(program));
	do_release(b);
	set_power(b, false);
	before = board_number(b, "instructions");
	do_hold(b, true);
	set_power(b, true);
	assert_int_equal(board_number(b, "instructions"), before);
	do_hold(b, false);
	assert_int_equal(board_number(b, "instructions"), before);
	assert_says(b, "reg pc", "0x00000008");
	do_release(b);
	wait_for_run(b, before);
	assert_false(has_debugger(b));
}

static void flash_can_be_programmed_after_a_start_in_reset_without_power(void **state)
{
	struct bench *b = *state;

	set_power(b, false);
	do_hold(b, true);
	set_power(b, true);
	do_hold(b, false);
	assert_int_equal(do_program(b, 0, program, sizeof(program)), 1);
	assert_memory_equal(b->flash, program, sizeof(program));
}

static void made_safe_the_dut_is_free(void **state)
{
	struct bench *b = *state;
	json_int_t before;
	struct outcome o;

	do_program(b, 0, program, sizeof(program));
	before = board_number(b, "instructions");
	do_hold(b, true);
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	wait_for_run(b, before);
	assert_false(has_debugger(b));
	do_halt(b);
	assert_true(has_debugger(b));
	close_device(&b->loop, b->dev);
	assert_false(has_debugger(b));
	b->dev = make_device(b, "{\"adapter\": \"virtual\"}");
}

static void a_board_that_came_back_as_another_process_is_taken_up(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	do_program(b, 0, program, sizeof(program));
	board_stop(b, SIGKILL);
	probe()->halt(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "");
	board_start(b);
	set_power(b, true);
	do_halt(b);
	assert_says(b, "mdw 0x18", "600dcafe");
}

static void the_serial_number_chooses_the_probe(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	close_device(&b->loop, b->dev);
	b->dev = make_device(b, "{\"adapter\": \"virtual\", \"serial\": \"NOSUCH\"}");
	probe()->halt(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_failed(&b->loop, &o, ERR_BENCH, "openocd: open the adapter");
	close_device(&b->loop, b->dev);
	b->dev = make_device(b, "{\"adapter\": \"virtual\", \"serial\": \"VBOARD\"}");
	do_halt(b);
}

/* --- runs to a place ----------------------------------------------------------------------------
 */

/* A file that the build made, below build/. */
static const char *built(const char *name)
{
	static char path[4096];
	const char *dir = getenv("RIG_BUILD");

	snprintf(path, sizeof(path), "%s/../%s", dir ? dir : "build/release", name);
	return path;
}

static char *built_bytes(const char *name, size_t *len)
{
	struct err e;
	char *data;

	if (file_read(built(name), FLASH_SIZE, &data, len, &e))
		fail_msg("%s (make builds it)", e.msg);
	return data;
}

/* The address of a symbol, as the toolchain's nm has it. */
static uint32_t symbol(const char *elf, const char *name)
{
	char line[256], found[128];
	unsigned address = 0, n = 0;
	int out[2], status;
	pid_t pid;
	FILE *f;

	assert_return_code(pipe(out), errno);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		execlp("arm-none-eabi-nm", "arm-none-eabi-nm", built(elf), NULL);
		_exit(127);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	while (fgets(line, sizeof(line), f)) {
		unsigned at;

		if (sscanf(line, "%x %*c %127s", &at, found) == 2 && strcmp(found, name) == 0) {
			address = at;
			n++;
		}
	}
	fclose(f);
	waitpid(pid, &status, 0);
	assert_int_equal(n, 1);
	return address;
}

static void start_until(struct bench *b, struct outcome *o, json_t *spec)
{
	assert_non_null(spec);
	probe()->run_until(b->dev, spec, outcome_start(&b->loop, o, MINUTE));
	json_decref(spec);
}

static unsigned log_lines(struct bench *b)
{
	FILE *f = fopen(in_dir(b, "log"), "r");
	unsigned n = 0;

	for (int c; f && (c = fgetc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static void wait_for_hits(struct bench *b, const struct outcome *o, unsigned n)
{
	while (log_lines(b) < n) {
		if (o->done)
			fail_msg("it ended: %s", o->e.code ? o->e.msg : "success");
		uv_run(&b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

static uint32_t flash_word(const struct bench *b, uint32_t address)
{
	uint32_t word;

	memcpy(&word, b->flash + address, 4);
	return word;
}

/* Power on, and the DUT stands before its first instruction. */
static void start_stopped(struct bench *b)
{
	do_release(b);
	set_power(b, false);
	do_hold(b, true);
	set_power(b, true);
	do_hold(b, false);
}

static void put_writer(struct bench *b)
{
	size_t len;
	char *bytes = built_bytes("testfw/writer.bin", &len);

	do_program(b, 0, bytes, len);
	free(bytes);
}

static void cancel(struct outcome *o)
{
	struct err why;

	err_set(&why, ERR_CANCELLED, "given up");
	op_cancel(o->op, &why);
	assert_int_equal(o->done, 1);
}

static void it_stops_right_before_the_nth_write_of_a_range(void **state)
{
	struct bench *b = *state;
	uint32_t at = symbol("testfw/writer.elf", "program");
	struct outcome o;

	put_writer(b);
	start_stopped(b);
	start_until(b, &o,
		json_pack("{s:i, s:i, s:s, s:i, s:i, s:s}", "break", (int)at | 1, "count", 3, "reg",
			"r0", "from", 0x81000, "to", 0x82000, "log", in_dir(b, "log")));
	assert_done(&b->loop, &o);
	assert_int_equal(json_integer_value(json_object_get(o.result, "hits")), 3);
	assert_int_equal(json_integer_value(json_object_get(o.result, "address")), 0x81ff8);
	assert_true((uint64_t)json_integer_value(json_object_get(o.result, "t_ns")) <= uv_hrtime());
	outcome_finish(&o);
	/* it stands there, with the words before in flash and this one not */
	assert_int_not_equal(flash_word(b, 0x8001c), UINT32_MAX);
	assert_int_not_equal(flash_word(b, 0x81ff4), UINT32_MAX);
	assert_int_equal(flash_word(b, 0x81ff8), UINT32_MAX);
	assert_int_equal(log_lines(b), 3);
	/* the place is cleared: resumed, it runs to its end */
	probe()->resume(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	while (flash_word(b, 0x81ff0) != (~0xf0u & 0x0fffff0f))
		poll(NULL, 0, 1);
	do_release(b);
	assert_false(has_debugger(b));
}

static void counting_misses_none_and_cancelled_the_dut_runs_on(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	struct oplog log;
	struct err e;
	pid_t pid;

	put_writer(b);
	start_stopped(b);
	pid = openocd_pid();
	start_until(b, &o,
		json_pack("{s:i, s:i, s:s, s:s}", "break",
			(int)symbol("testfw/writer.elf", "program"), "count", 0, "reg", "r0", "log",
			in_dir(b, "log")));
	wait_for_hits(b, &o, 13);
	cancel(&o);
	do_release(b);
	assert_false(has_debugger(b));
	assert_int_equal(openocd_pid(), pid);
	if (oplog_load(&log, in_dir(b, "log"), &e))
		fail_msg("%s", e.msg);
	assert_int_equal(log.count, 13);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(log.ops[i].address, 0x80000 + 4 * i);
	assert_int_equal(log.ops[12].address, 0x81ff0);
	oplog_finish(&log);
}

static void it_stops_right_after_the_nth_write_to_a_register_or_to_flash(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	put_writer(b);
	start_stopped(b);
	/* the flash controller's ERASEPAGE */
	start_until(b, &o, json_pack("{s:[i, i], s:i}", "watch", 0x4001e508, 4, "count", 2));
	assert_done(&b->loop, &o);
	assert_int_equal(json_integer_value(json_object_get(o.result, "address")), 0x4001e508);
	outcome_finish(&o);
	assert_int_not_equal(flash_word(b, 0x8001c), UINT32_MAX);
	assert_int_equal(flash_word(b, 0x81ff0), UINT32_MAX);
	start_until(b, &o, json_pack("{s:[i, i], s:i}", "watch", 0x81000, 0x1000, "count", 2));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_int_not_equal(flash_word(b, 0x81ff4), UINT32_MAX);
	assert_int_equal(flash_word(b, 0x81ff8), UINT32_MAX);
}

static void it_survives_resets_of_the_dut(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	put_writer(b);
	start_stopped(b);
	start_until(b, &o,
		json_pack("{s:i, s:i, s:s}", "break", (int)symbol("testfw/writer.elf", "main"),
			"count", 4, "log", in_dir(b, "log")));
	for (unsigned i = 1; i <= 3; i++) {
		wait_for_hits(b, &o, i);
		json_decref(control(b, "reset_line", json_pack("{s:b}", "hold", 1)));
		json_decref(control(b, "reset_line", json_pack("{s:b}", "hold", 0)));
	}
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_says(b, "reg pc", "0x00000120");
}

static void a_dut_that_lost_its_power_fails_the_run_and_no_adapter_is_blamed(void **state)
{
	struct bench *b = *state;
	uint32_t at = symbol("testfw/writer.elf", "program");
	struct outcome o;

	put_writer(b);
	start_stopped(b);
	start_until(b, &o,
		json_pack(
			"{s:i, s:i, s:s}", "break", (int)at, "count", 0, "log", in_dir(b, "log")));
	wait_for_hits(b, &o, 13);
	set_power(b, false);
	assert_failed(&b->loop, &o, ERR_BENCH, "the DUT does not answer any more");
	start_until(b, &o, json_pack("{s:i, s:i}", "break", (int)at, "count", 1));
	assert_failed(&b->loop, &o, ERR_BENCH, "has it power?");
	assert_non_null(strstr(o.e.msg, "the adapter measures 0.00 V"));
	assert_int_equal(b->events.notes, 0);
	/* the same place again */
	start_stopped(b);
	start_until(b, &o, json_pack("{s:i, s:i}", "break", (int)at, "count", 2));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

static void a_dut_that_stops_by_itself_is_told_from_the_place(void **state)
{
	static const uint16_t stops[] = {0x0000, 0x2001, 0x0009, 0x0000, 0xbf00, 0xbe01, 0xbf00};
	struct bench *b = *state;
	struct outcome o;

	do_program(b, 0, stops, sizeof(stops));
	start_stopped(b);
	start_until(b, &o, json_pack("{s:i, s:i}", "break", 0x0c, "count", 1));
	assert_failed(&b->loop, &o, ERR_DUT, "BKPT");
	start_stopped(b);
	start_until(b, &o, json_pack("{s:[i, i], s:i}", "watch", RAM, 4, "count", 1));
	assert_failed(&b->loop, &o, ERR_DUT, "BKPT");
}

/* --- the bootloader's swap, by breakpoint and by the board's own count --------------------------
 */

#define PRIMARY 0xc000
#define SECONDARY 0x80000
#define SLOT 0x74000

/* The demo DUT with an update that its bootloader is about to install. */
static void put_pending_update(struct bench *b)
{
	static const uint32_t magic[4] = {0xf395c277, 0x7fefd260, 0x0f505235, 0x8079b62c};
	uint8_t *flash = malloc(FLASH_SIZE);
	struct hex hex;
	struct err e;
	char *image;
	size_t len;
	int fd = open(in_dir(b, "vboard/flash.bin"), O_WRONLY);

	assert_return_code(fd, errno);
	memset(flash, 0xff, FLASH_SIZE);
	if (hex_load(&hex, built("firmware/bootloader.hex"), &e) < 0)
		fail_msg("%s", e.msg);
	for (size_t i = 0; i < hex.count; i++)
		memcpy(flash + hex.segments[i].address, hex.segments[i].bytes,
			hex.segments[i].size);
	hex_finish(&hex);
	image = built_bytes("firmware/1.0.0/app.bin", &len);
	memcpy(flash + PRIMARY, image, len);
	free(image);
	image = built_bytes("firmware/1.1.0/app.bin", &len);
	memcpy(flash + SECONDARY, image, len);
	free(image);
	/* a request as the application writes it (docs/demo-dut.md, "Trailers") */
	memcpy(flash + SECONDARY + SLOT - 28, "perm", 4);
	memcpy(flash + SECONDARY + SLOT - sizeof(magic), magic, sizeof(magic));
	set_power(b, false);
	assert_int_equal(pwrite(fd, flash, FLASH_SIZE, 0), FLASH_SIZE);
	close(fd);
	free(flash);
}

/* Boots without a probe, and returns the log of what the DUT did to its flash. */
static void boot_and_trace(struct bench *b, struct oplog *log)
{
	size_t len;
	char *image = built_bytes("firmware/1.1.0/app.bin", &len);
	struct err e;
	bool idle = false;

	json_decref(control(b, "mark", NULL));
	set_power(b, true);
	/* it is over when the new application sleeps */
	while (!idle) {
		json_t *s = control(b, "state", NULL);

		idle = json_is_true(json_object_get(s, "idle")) &&
		       memcmp(b->flash + PRIMARY, image, len) == 0;
		json_decref(s);
		poll(NULL, 0, 20);
	}
	free(image);
	json_decref(control(b, "trace", json_pack("{s:s}", "path", in_dir(b, "trace"))));
	if (oplog_load(log, in_dir(b, "trace"), &e))
		fail_msg("%s", e.msg);
}

/* The n-th erase of a log, from 0; log->count: there are no more. */
static size_t find_erase(const struct oplog *log, size_t n)
{
	for (size_t i = 0; i < log->count; i++)
		if (log->ops[i].kind == OPLOG_ERASE && n-- == 0)
			return i;
	return log->count;
}

static void every_erase_of_the_bootloaders_swap_is_seen_where_it_is_done(void **state)
{
	struct bench *b = *state;
	uint32_t at = symbol("firmware/good/bootloader.elf", "nvmc_erase_page");
	struct oplog truth, seen;
	unsigned erases = 0;
	struct outcome o;
	struct err e;

	put_pending_update(b);
	boot_and_trace(b, &truth);
	while (find_erase(&truth, erases) < truth.count)
		erases++;
	assert_true(erases > 10);
	put_pending_update(b);
	start_stopped(b);
	start_until(b, &o,
		json_pack("{s:i, s:i, s:s, s:s}", "break", (int)at, "count", (int)erases, "reg",
			"r0", "log", in_dir(b, "log")));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	if (oplog_load(&seen, in_dir(b, "log"), &e))
		fail_msg("%s", e.msg);
	assert_int_equal(seen.count, erases);
	for (unsigned i = 0; i < erases; i++)
		assert_int_equal(seen.ops[i].address, truth.ops[find_erase(&truth, i)].address);
	oplog_finish(&truth);
	oplog_finish(&seen);
}

/* --- the trigger probe-breakpoint, on this probe ------------------------------------------------
 */

struct cut {
	struct bench *bench;
	json_t *event;
};

static void trigger_came(void *arg, const char *name, json_t *fields)
{
	struct cut *cut = arg;

	assert_string_equal(name, "trigger");
	cut->event = fields;
}

static void the_trigger_cuts_between_two_operations(void **state)
{
	struct bench *b = *state;
	const struct driver *driver = driver_find("probe-breakpoint");
	struct probe_port port = {.probe = b->dev};
	struct cut cut = {b, NULL};
	struct driver_env env = b->env;
	struct device *dev;
	json_t *options, *spec;
	struct outcome o;
	char text[64];
	struct err e;

	put_writer(b);
	start_stopped(b);
	env.probe = &port;
	env.event = trigger_came;
	env.arg = &cut;
	snprintf(text, sizeof(text), "{\"address\": %u, \"register\": \"r0\"}",
		symbol("testfw/writer.elf", "program"));
	options = options_of(driver, text);
	dev = driver->create(&env, options, &e);
	assert_non_null(dev);
	json_decref(options);
	driver->open(dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	spec = json_pack("{s:i, s:s}", "op", 5, "tear", "clean");
	driver->trigger->arm(dev, spec, outcome_start(&b->loop, &o, MINUTE));
	json_decref(spec);
	assert_done(&b->loop, &o);
	while (!cut.event)
		uv_run(&b->loop, UV_RUN_ONCE);
	set_power(b, false);
	assert_int_equal(json_integer_value(json_object_get(cut.event, "op")), 5);
	assert_int_equal(json_integer_value(json_object_get(cut.event, "address")), 0x80010);
	json_decref(cut.event);
	assert_int_equal(flash_word(b, 0x8000c), 4 * 0x01020304);
	assert_int_equal(flash_word(b, 0x80010), UINT32_MAX);
	/* the boot that is judged has no debugger, and nothing stops it */
	set_power(b, true);
	while (flash_word(b, 0x81ff0) != (~0xf0u & 0x0fffff0f))
		poll(NULL, 0, 1);
	assert_false(has_debugger(b));
	close_device(&b->loop, dev);
}

/* --- check --------------------------------------------------------------------------------------
 */

static bool list_says(const json_t *result, const char *list, const char *text)
{
	const json_t *line;
	size_t i;

	json_array_foreach (json_object_get(result, list), i, line)
		if (strstr(json_string_value(line), text))
			return true;
	return false;
}

static void the_check_tells_voltage_and_dut_and_leaves_it_alone(void **state)
{
	struct bench *b = *state;
	json_int_t before;
	struct outcome o;

	do_program(b, 0, program, sizeof(program));
	do_release(b);
	set_power(b, false);
	before = board_number(b, "instructions");
	set_power(b, true);
	wait_for_run(b, before);
	b->dev->driver->check(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_true(list_says(o.result, "says", "Open On-Chip Debugger"));
	assert_true(list_says(o.result, "says", "3.299 V"));
	assert_true(list_says(o.result, "says", "the DUT answers, CPUID 0x410fc241"));
	assert_true(json_real_value(json_object_get(o.result, "volts")) > 3.2);
	assert_int_equal(json_array_size(json_object_get(o.result, "mend")), 0);
	outcome_finish(&o);
	assert_false(has_debugger(b));
	set_power(b, false);
	b->dev->driver->check(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	assert_true(list_says(o.result, "says", "no power now"));
	outcome_finish(&o);
	assert_int_equal(b->events.notes, 0);
}

static void the_version_is_openocds(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	const char *version;

	set_power(b, false);
	probe()->version(b->dev, outcome_start(&b->loop, &o, MINUTE));
	assert_done(&b->loop, &o);
	version = json_string_value(json_object_get(o.result, "version"));
	assert_in_range(version[0], '0', '9');
	assert_non_null(strchr(version, '.'));
	outcome_finish(&o);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(an_image_is_in_flash_byte_for_byte_and_nothing_else_changed),
		T(verify_and_read_tell_what_is_there),
		T(an_unchanged_image_writes_nothing_a_changed_one_only_its_pages),
		T(a_broken_write_enable_is_the_benchs_error),
		T(killed_in_the_middle_it_programs_all_the_same),
		T(released_the_dut_runs_as_without_a_probe),
		T(a_judged_boot_after_a_release_has_no_debugger),
		T(power_may_come_and_go_under_it),
		T(it_stops_before_the_first_instruction_and_at_breakpoints),
		T(gdb_reads_the_registers_of_a_dut_that_ran_on),
		T(gdb_is_refused_for_a_dut_without_power),
		T(words_are_written_in_ram_and_flash),
		T(held_in_reset_not_one_instruction_runs_until_it_is_released),
		T(flash_can_be_programmed_after_a_start_in_reset_without_power),
		T(made_safe_the_dut_is_free),
		T(a_board_that_came_back_as_another_process_is_taken_up),
		T(the_serial_number_chooses_the_probe),
		T(it_stops_right_before_the_nth_write_of_a_range),
		T(counting_misses_none_and_cancelled_the_dut_runs_on),
		T(it_stops_right_after_the_nth_write_to_a_register_or_to_flash),
		T(it_survives_resets_of_the_dut),
		T(a_dut_that_lost_its_power_fails_the_run_and_no_adapter_is_blamed),
		T(a_dut_that_stops_by_itself_is_told_from_the_place),
		T(every_erase_of_the_bootloaders_swap_is_seen_where_it_is_done),
		T(the_trigger_cuts_between_two_operations),
		T(the_check_tells_voltage_and_dut_and_leaves_it_alone),
		T(the_version_is_openocds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
