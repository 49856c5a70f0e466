/*
 * The driver openocd with the real OpenOCD and its stock target/nrf52.cfg, on a virtual board.
 * What it claims to have done is checked behind its back: in the board's flash file and over the
 * board's control socket.
 */
#include "driver_bench.h"
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
		T(the_version_is_openocds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
