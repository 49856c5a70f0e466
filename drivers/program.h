/*
 * Running somebody's program: its words, its deadline, and what it said last.
 */
#ifndef DRIVERS_PROGRAM_H
#define DRIVERS_PROGRAM_H

#include "../rig/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/*
 * Cuts a command line into words at blanks; quotes, single or double, and backslashes keep what is
 * in or behind them together, as sh(1) does; nothing is expanded. Returns an array ended by NULL
 * for program_words_free(), or NULL: ERR_CONFIG (no word, a quote that is not closed) or ERR_NOMEM.
 */
char **program_words(const char *text, struct err *e);
void program_words_free(char **words);

/* Whether words[0] can be run: a path, or a name on PATH. ERR_BENCH says what is wrong with it. */
int program_check(char *const *words, struct err *e);

/* How a program ended; valid during the call of ended(). */
struct program_end {
	int64_t status;
	int signal;      /* 0: it ended by itself */
	bool timed_out;  /* its deadline passed, and it was killed for that */
	const char *out; /* the last line of its output that is not blank, else "" */
	const char *err; /* the same of its standard error */
};

struct program;

/*
 * Starts a program in a session and process group of its own, with standard input from /dev/null.
 * After timeout_ms the group is killed. ended() is called exactly once, from the loop, when the
 * program itself has ended, whether or not others hold its output still; the program is freed after
 * that. ERR_BENCH: it cannot be started; ERR_NOMEM. NULL then.
 */
struct program *program_start(uv_loop_t *loop, char *const *words, unsigned timeout_ms,
	void (*ended)(void *arg, const struct program_end *end), void *arg, struct err *e);

/* Kills the program with its group; ended() follows. */
void program_kill(struct program *program);

/* Nobody hears of its end any more; it goes on, and is freed when it has ended. */
void program_forget(struct program *program);

#endif
