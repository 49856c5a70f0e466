/*
 * What tests of the keeper share: a keeper in a process of its own, board "b" in a folder that goes
 * away with the test, and what is asserted of answers.
 */
#ifndef TESTS_KEEPER_BENCH_H
#define TESTS_KEEPER_BENCH_H

#include "../rig/keeper.h"
#include "../rig/lock.h"
#include "../rig/rpc.h"
#include "keeper_client_sync.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char dir[64];
static pid_t keeper_pid;
static const char *board_keys; /* more of the board, as JSON; or NULL */

static inline int make_dir(void **state)
{
	(void)state;
	board_keys = NULL;
	snprintf(dir, sizeof(dir), "/tmp/rig-keeper-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline int remove_dir(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A keeper in a process of its own; the answer is its owner's end. */
static inline struct peer *start_keeper_with(const struct driver *(*find_driver)(const char *name))
{
	struct keeper_options options = {.find_driver = find_driver, .safe_within_ms = 2000};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	keeper_pid = fork();
	if (keeper_pid == 0) {
		close(pair[0]);
		options.fd = pair[1];
		exit(keeper_run(&options));
	}
	close(pair[1]);
	return peer_create(pair[0]);
}

static inline int wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* devices as JSON text; more are further params of open, or NULL. */
static inline json_t *open_board(struct peer *owner, const char *devices, json_t *more)
{
	json_t *parsed = json_loads(devices, 0, NULL);
	json_t *params = json_pack("{s:{s:s, s:s, s:o}, s:s, s:{s:s, s:s, s:i, s:s}}", "board",
		"name", "b", "state_dir", dir, "devices", parsed, "log_dir", dir, "owner", "user",
		"ann", "host", "lab", "pid", (int)getpid(), "what", "run 7");

	assert_non_null(parsed);
	if (board_keys)
		json_object_update_new(json_object_get(params, "board"),
			json_loads(board_keys, JSON_REJECT_DUPLICATES, NULL));
	json_object_update_missing(params, more);
	json_decref(more);
	return peer_call(owner, "open", params);
}

#define assert_answer(answer, name)                                                                \
	do {                                                                                       \
		json_t *answer_ = (answer);                                                        \
		if (strcmp(answer_error(answer_), name) != 0)                                      \
			print_message("# %s\n", answer_message(answer_));                          \
		assert_string_equal(answer_error(answer_), name);                                  \
		json_decref(answer_);                                                              \
	} while (0)

#define assert_refused(answer, name, text)                                                         \
	do {                                                                                       \
		json_t *refusal_ = (answer);                                                       \
		assert_string_equal(answer_error(refusal_), name);                                 \
		if (!strstr(answer_message(refusal_), text))                                       \
			fail_msg("\"%s\" is not in: %s", text, answer_message(refusal_));          \
		json_decref(refusal_);                                                             \
	} while (0)

static inline void end(struct peer *owner)
{
	assert_answer(peer_call(owner, "end", NULL), "none");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 0);
}

static inline enum lock_state look(void)
{
	enum lock_state state;
	struct err e;

	assert_int_equal(lock_look(dir, "b", &state, NULL, &e), 0);
	return state;
}

static inline struct peer *stranger(void)
{
	char path[128];
	struct err e;
	int fd;

	snprintf(path, sizeof(path), "%s/.boards/b/keeper.sock", dir);
	fd = rpc_connect_unix(path, &e);
	assert_true(fd >= 0);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return peer_create(fd);
}

static inline json_t *on(bool value)
{
	return json_pack("{s:b}", "on", value);
}

static inline json_t *by_hand(bool implicit)
{
	return json_pack("{s:b, s:b}", "hand", 1, "implicit", implicit);
}

static inline int send_expect(struct peer *p, const char *pattern, int timeout_ms)
{
	return peer_send(p, "console.expect",
		json_pack("{s:s, s:i}", "pattern", pattern, "timeout_ms", timeout_ms));
}

static inline json_t *params_of(json_t *note)
{
	return json_object_get(note, "params");
}

static inline json_t *result_of(json_t *answer)
{
	return json_object_get(answer, "result");
}

#define claim(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

#endif
