/* The keeper with a virtual board, its firmware and its power cuts, and as a program of its own. */
#include "keeper_bench.h"

#include "../drivers/driver.h"
#include "../rig/file.h"
#include "../rig/hex.h"
#include "../rig/keeper_client.h"
#include "../rig/oplog.h"
#include "../rig/spawn.h"

#define FLASH_BYTES 0x100000
#define PRIMARY 0xc000

#define VIRTUAL(more)                                                                              \
	"{\"power\":{\"driver\":\"virtual\",\"linger_ms\":200" more "},"                           \
	"\"console\":{\"driver\":\"virtual\"},\"trigger\":{\"driver\":\"virtual\"},"               \
	"\"transport\":{\"driver\":\"smp\",\"try_ms\":1000,\"tries\":3,\"version\":1}}"

/* build/firmware/NAME: beside the folders of the variants. */
static const char *firmware(const char *name)
{
	static char path[PATH_MAX + 64];
	const char *build = getenv("RIG_BUILD");

	snprintf(path, sizeof(path), "%s/../firmware/%s", build ? build : "build/release", name);
	return path;
}

/* Puts bootloader and application 1.0.0 into the flash of the board that is not there yet. */
static void put_firmware(void)
{
	char path[256], *image;
	size_t len;
	struct hex hex;
	struct err e;
	FILE *f;

	snprintf(path, sizeof(path), "%s/.boards/b/vboard", dir);
	assert_int_equal(lock_board_dir(dir, "b", true, (char[PATH_MAX]){0}, PATH_MAX, &e), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/.boards/b/vboard/flash.bin", dir);
	if (hex_load(&hex, firmware("bootloader.hex"), &e) != 0 ||
		hex_write_binary(&hex, 0, FLASH_BYTES - 1, path, &e) != 0 ||
		file_read(firmware("1.0.0/app.bin"), FLASH_BYTES, &image, &len, &e) != 0)
		fail_msg("make firmware first: %s", e.msg);
	hex_finish(&hex);
	f = fopen(path, "r+b");
	assert_int_equal(fseek(f, PRIMARY, SEEK_SET), 0);
	assert_int_equal(fwrite(image, 1, len, f), len);
	fclose(f);
	free(image);
}

static struct peer *opened(const char *devices, json_t *more)
{
	struct peer *owner = start_keeper_with(driver_find);

	assert_answer(open_board(owner, devices, more), "none");
	return owner;
}

static void expect(struct peer *p, const char *pattern)
{
	assert_answer(peer_wait(p, send_expect(p, pattern, PATIENCE_MS)), "none");
}

static void power(struct peer *p, bool value)
{
	assert_answer(peer_call(p, "power.set", on(value)), "none");
}

static json_t *arm_op(struct peer *p, int op, const char *tear)
{
	return peer_call(p, "cut.arm",
		json_pack("{s:{s:i, s:s, s:i}}", "on", "op", op, "tear", tear, "seed", 7));
}

static json_int_t operations(struct peer *p)
{
	json_t *answer = peer_call(p, "trigger.state", NULL);
	json_int_t n = json_integer_value(json_object_get(result_of(answer), "operations"));

	assert_string_equal(answer_error(answer), "none");
	json_decref(answer);
	return n;
}

/* The trace from operation first on has so many. */
static void assert_traced_from(struct peer *p, uint32_t first, size_t count)
{
	char path[128];
	struct oplog log;
	struct err e;

	snprintf(path, sizeof(path), "%s/trace", dir);
	assert_answer(peer_call(p, "trigger.trace",
			      json_pack("{s:s, s:I}", "path", path, "from", (json_int_t)first)),
		"none");
	assert_int_equal(oplog_load_from(&log, path, first, &e), 0);
	assert_int_equal(log.count, count);
	oplog_finish(&log);
}

/* The board's process. */
static pid_t board_pid(void)
{
	char path[256];
	struct ucred peer;
	socklen_t size = sizeof(peer);
	struct err e;
	int fd;

	snprintf(path, sizeof(path), "%s/.boards/b/vboard/control.sock", dir);
	fd = rpc_connect_unix(path, &e);
	assert_true(fd >= 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
	close(fd);
	return peer.pid;
}

static void the_firmware_boots_and_answers(void **state)
{
	struct peer *owner;
	json_t *answer;

	(void)state;
	put_firmware();
	owner = opened(VIRTUAL(""), NULL);
	power(owner, true);
	expect(owner, "app (\\S+) ready$");
	answer = peer_call(owner, "transport.request",
		json_pack("{s:s, s:i, s:i}", "op", "read", "group", 1, "id", 0));
	assert_string_equal(answer_error(answer), "none");
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_object_get(json_object_get(result_of(answer), "body"),
					       "images"),
				0),
			"version")),
		"1.0.0");
	json_decref(answer);
	end(owner);
	assert_int_equal(look(), LOCK_FREE);
}

static void a_clean_cut_at_an_operation_ends_the_upload_before_it(void **state)
{
	struct peer *owner;
	json_t *note;
	int sending;

	(void)state;
	put_firmware();
	owner = opened(VIRTUAL(""), NULL);
	power(owner, true);
	expect(owner, "ready$");
	assert_answer(peer_call(owner, "trigger.mark", NULL), "none");
	assert_answer(arm_op(owner, 100, "clean"), "none");
	sending = peer_send(
		owner, "transport.send", json_pack("{s:s}", "path", firmware("1.1.0/app.bin")));
	assert_refused(peer_wait(owner, sending), "cut", "the power was cut at operation 100");
	note = peer_note(owner, "cut");
	assert_int_equal(json_integer_value(json_object_get(params_of(note), "op")), 100);
	json_decref(note);
	assert_int_equal(operations(owner), 99);
	assert_traced_from(owner, 98, 2);
	/* the boot before the cut satisfies nothing */
	assert_answer(peer_call(owner, "cut.disarm", NULL), "none");
	assert_answer(peer_wait(owner, send_expect(owner, "ready$", 50)), "timeout");
	power(owner, true);
	expect(owner, "ready$");
	end(owner);
}

static void a_console_line_cuts_the_power_of_the_board(void **state)
{
	struct peer *owner;
	json_t *answer;
	int waiting;

	(void)state;
	put_firmware();
	owner = opened(VIRTUAL(""), NULL);
	assert_answer(
		peer_call(owner, "cut.arm", json_pack("{s:{s:s}}", "on", "console", "^boot: ")),
		"none");
	waiting = send_expect(owner, "never", PATIENCE_MS);
	power(owner, true);
	assert_answer(peer_wait(owner, waiting), "cut");
	answer = peer_call(owner, "power.get", NULL);
	assert_true(json_is_false(json_object_get(result_of(answer), "on")));
	json_decref(answer);
	end(owner);
}

static void a_killed_keepers_board_is_off_before_the_next_answers(void **state)
{
	struct peer *owner;
	json_t *answer;
	pid_t pid;

	(void)state;
	put_firmware();
	owner = opened(VIRTUAL(""), NULL);
	power(owner, true);
	expect(owner, "ready$");
	pid = board_pid();
	kill(keeper_pid, SIGKILL);
	assert_int_equal(wait_for(keeper_pid), -SIGKILL);
	peer_destroy(owner);
	assert_int_equal(look(), LOCK_DIRTY);
	owner = start_keeper_with(driver_find);
	answer = open_board(owner, VIRTUAL(""), NULL);
	assert_true(json_is_string(json_object_get(result_of(answer), "made_safe")));
	json_decref(answer);
	assert_int_equal(board_pid(), pid); /* it was the same process all along */
	answer = peer_call(owner, "trigger.state", NULL);
	assert_true(json_is_false(json_object_get(result_of(answer), "power")));
	json_decref(answer);
	end(owner);
}

static void a_board_whose_process_dies_is_the_benchs_error(void **state)
{
	struct peer *owner;
	json_t *note;
	int waiting;

	(void)state;
	put_firmware();
	owner = opened(VIRTUAL(""), NULL);
	power(owner, true);
	expect(owner, "ready$");
	waiting = peer_send(
		owner, "transport.send", json_pack("{s:s}", "path", firmware("1.1.0/app.bin")));
	kill(board_pid(), SIGKILL);
	note = peer_note(owner, "lost");
	assert_non_null(note);
	json_decref(note);
	assert_refused(peer_call(owner, "power.set", on(true)), "bench", "process is gone");
	assert_answer(peer_call(owner, "end", NULL), "none"); /* no process, no power */
	json_decref(peer_wait(owner, waiting));
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 0);
	assert_int_equal(look(), LOCK_FREE);
}

/* Where there is no process there is no power, also when it dies while it is asked. */
static void a_board_whose_process_dies_while_it_is_made_safe_is_safe(void **state)
{
	struct peer *owner = opened(VIRTUAL(""), NULL);
	pid_t pid;
	int safe;

	(void)state;
	power(owner, true);
	pid = board_pid();
	assert_return_code(kill(pid, SIGSTOP), errno);
	safe = peer_send(owner, "safe", NULL);
	/* the keeper has taken that up when it has answered what came after it */
	assert_answer(peer_call(owner, "info", NULL), "none");
	assert_return_code(kill(pid, SIGKILL), errno);
	assert_answer(peer_wait(owner, safe), "none");
	end(owner);
}

static void flash_comes_back_from_a_snapshot(void **state)
{
	struct peer *owner;

	(void)state;
	put_firmware();
	owner = opened(VIRTUAL(""), NULL);
	assert_answer(
		peer_call(owner, "snapshot.save", json_pack("{s:s}", "name", "good")), "none");
	assert_answer(
		peer_call(owner, "snapshot.restore", json_pack("{s:s}", "name", "bad")), "io");
	assert_answer(
		peer_call(owner, "snapshot.restore", json_pack("{s:s}", "name", "good")), "none");
	power(owner, true);
	expect(owner, "ready$");
	end(owner);
}

static void a_board_that_cannot_start_says_why(void **state)
{
	struct peer *owner = start_keeper_with(driver_find);

	(void)state;
	assert_refused(open_board(owner, VIRTUAL(",\"program\":\"no-such-board\""), NULL), "bench",
		"board b: power (virtual): no-such-board is neither");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 1);
	owner = start_keeper_with(driver_find);
	assert_refused(open_board(owner, VIRTUAL(",\"soc\":\"z80\""), NULL), "bench", "\"z80\"");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 1);
	owner = start_keeper_with(driver_find);
	assert_refused(open_board(owner, VIRTUAL(",\"pace\":\"slow\""), NULL), "config",
		"pace is \"free\" or \"real\"");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 1);
	assert_int_equal(look(), LOCK_FREE);
}

/* --- as a program ----------------------------------------------------------------------------- */

struct steps {
	uv_loop_t loop;
	struct rpc *owner, *other;
	struct spawned *keeper;
	int64_t status;
	bool owner_closed, other_ended;
};

static void owner_gone(void *arg, const struct err *why)
{
	struct steps *s = arg;

	(void)why;
	s->owner_closed = true;
}

static void no_request(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	(void)arg;
	(void)method;
	(void)params;
	assert_null(call);
}

static void other_ended(void *arg, const struct err *e, json_t *result)
{
	struct steps *s = arg;

	assert_null(e);
	assert_true(json_is_true(json_object_get(result, "safe")));
	s->other_ended = true;
}

static void board_opened(void *arg, const struct err *e, json_t *result)
{
	static const struct rpc_handlers handlers = {.request = no_request};
	struct steps *s = arg;
	struct err bad;

	(void)result;
	if (e)
		fail_msg("%s", e->msg);
	assert_int_equal(
		keeper_client_connect(&s->loop, dir, "b", &handlers, s, &s->other, &bad), 0);
	rpc_request(s->other, "end", NULL, 0, other_ended, s);
}

static void a_keeper_is_spawned_and_reached_by_its_socket(void **state)
{
	static const struct rpc_handlers handlers = {.request = no_request, .closed = owner_gone};
	struct steps s = {0};
	json_t *owner = keeper_client_owner("test");
	json_t *devices = json_loads(VIRTUAL(""), 0, NULL);
	struct err e;

	(void)state;
	assert_int_equal(uv_loop_init(&s.loop), 0);
	assert_int_equal(
		keeper_client_connect(&s.loop, dir, "b", &handlers, &s, &s.other, &e), -ERR_GONE);
	assert_int_equal(
		keeper_client_spawn(&s.loop, NULL, &handlers, &s, &s.owner, &s.keeper, &e), 0);
	assert_true(getpgid(spawn_pid(s.keeper)) == spawn_pid(s.keeper)); /* no Ctrl-C of ours */
	rpc_request(s.owner, "open",
		json_pack("{s:{s:s, s:s, s:o}, s:s, s:o}", "board", "name", "b", "state_dir", dir,
			"devices", devices, "log_dir", dir, "owner", owner),
		0, board_opened, &s);
	while (!s.owner_closed || !s.other_ended || spawn_pid(s.keeper))
		uv_run(&s.loop, UV_RUN_ONCE);
	assert_int_equal(look(), LOCK_FREE);
	rpc_destroy(s.owner);
	rpc_destroy(s.other);
	spawn_destroy(s.keeper);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s.loop), 0);
}

static void log_of_a_child(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	buf[fread(buf, 1, size - 1, f)] = '\0';
	fclose(f);
}

static void child_exited(void *arg, int64_t status, int number)
{
	struct steps *s = arg;

	assert_int_equal(number, 0);
	s->status = status;
}

static int64_t run_keeper(const char *const *args, char *out, size_t size)
{
	char program[PATH_MAX], path[128];
	struct spawn_spec spec = {.program = program,
		.args = args,
		.fd = -1,
		.log_path = path,
		.exited = child_exited};
	struct steps s = {.status = -1};
	struct err e;

	spec.arg = &s;
	snprintf(path, sizeof(path), "%s/out", dir);
	unlink(path);
	assert_int_equal(program_path("rig-keeper", program, sizeof(program), &e), 0);
	assert_int_equal(uv_loop_init(&s.loop), 0);
	assert_int_equal(spawn_start(&s.loop, &spec, &s.keeper, &e), 0);
	while (spawn_pid(s.keeper))
		uv_run(&s.loop, UV_RUN_ONCE);
	spawn_destroy(s.keeper);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s.loop), 0);
	log_of_a_child(path, out, size);
	return s.status;
}

static void the_program_lists_the_drivers_and_refuses_other_arguments(void **state)
{
	static const char *const drivers_args[] = {"--drivers", NULL};
	static const char *const wrong[][3] = {
		{NULL}, {"--fd", "x", NULL}, {"--fd", "77", NULL}, {"--help", NULL}};
	char out[65536];
	json_t *list;

	(void)state;
	assert_int_equal(run_keeper(drivers_args, out, sizeof(out)), 0);
	list = json_loads(out, 0, NULL);
	assert_non_null(json_object_get(json_object_get(list, "virtual"), "options"));
	json_decref(list);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(run_keeper(wrong[i], out, sizeof(out)), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(the_firmware_boots_and_answers),
		claim(a_clean_cut_at_an_operation_ends_the_upload_before_it),
		claim(a_console_line_cuts_the_power_of_the_board),
		claim(a_killed_keepers_board_is_off_before_the_next_answers),
		claim(a_board_whose_process_dies_is_the_benchs_error),
		claim(a_board_whose_process_dies_while_it_is_made_safe_is_safe),
		claim(flash_comes_back_from_a_snapshot),
		claim(a_board_that_cannot_start_says_why),
		claim(a_keeper_is_spawned_and_reached_by_its_socket),
		claim(the_program_lists_the_drivers_and_refuses_other_arguments),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("keeper and virtual board", tests, NULL, NULL);
}
