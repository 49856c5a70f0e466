/*
 * Starting our own programs: keeper, worker, virtual board.
 *
 * The child gets a session of its own when asked, so that a terminal's Ctrl-C reaches only the
 * command line; it inherits no descriptor but the ones named here, because every descriptor of ours
 * is close-on-exec.
 */
#ifndef RIG_SPAWN_H
#define RIG_SPAWN_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#define SPAWN_FD 3 /* where the child finds the descriptor it was given */

/* A child that was started here; kept until its owner calls spawn_destroy(). */
struct spawned;

struct spawn_spec {
	const char *program;     /* a path, or a name that is looked up on PATH */
	const char *const *args; /* what follows the program's name; ended by NULL */
	/* Becomes SPAWN_FD in the child and is closed here, also on failure. Negative: none. */
	int fd;
	/* The file that standard output and error are appended to, created with mode 0600. NULL:
	 * both stay the caller's. Standard input is always /dev/null. */
	const char *log_path;
	const char *cwd;  /* NULL: the caller's */
	bool own_session; /* setsid(): no terminal, no signals from its keys */
	/* Called once when the child ended: status is its exit status, or signal the signal that
	 * ended it. May be NULL. */
	void (*exited)(void *arg, int64_t status, int signal);
	void *arg;
};

/*
 * Starts a child on loop, which reaps it when it ends. *out is the caller's, for spawn_destroy();
 * the child keeps the loop running until it ends. out may be NULL: then it does not, and is freed
 * when it has ended. Returns 0; ERR_BENCH when the program is missing or cannot be run, ERR_IO for
 * the log file, ERR_NOMEM.
 */
int spawn_start(
	uv_loop_t *loop, const struct spawn_spec *spec, struct spawned **out, struct err *e);

/* The child's process id; also its session and process group when own_session was set. 0 once it
 * has ended and was reaped. */
pid_t spawn_pid(const struct spawned *child);

/* Forgets the child, which lives on when it still runs (and stays a zombie when it ends before we
 * do); exited() is not called any more. The memory goes in the loop's next turn. NULL is accepted.
 */
void spawn_destroy(struct spawned *child);

/*
 * The path of one of our programs: beside the running executable when it is there, else beside the
 * executable's folder (a test in tests/), else the bare name for PATH. Writes into buf; ERR_BENCH
 * when it is in none of these.
 */
int program_path(const char *name, char *buf, size_t size, struct err *e);

#endif
