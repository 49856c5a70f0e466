/*
 * What the benches share: a clock, samples, and a keeper with board "b" in a folder that goes away.
 *
 * A bench measures and prints; it asserts nothing about time. What cannot be measured at all ends
 * the program with bench_die().
 */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The line at which the power is to go, and how it is looked for. */
#define BENCH_LINE "[00099999] <inf> updater: cut here, at number 4711\n"
#define BENCH_PATTERN "cut here, at number \\d+$"

struct peer;

/* Measured values of one thing, in any unit. */
struct samples {
	double *values;
	size_t count, size;
};

struct bench_keeper {
	char dir[64]; /* state and logs */
	pid_t pid;
	struct peer *owner;
};

/* Prints the message and ends the program with status 3. */
void bench_die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* The monotonic clock. */
uint64_t bench_now_ns(void);

/* Waits, so that what is measured next finds everybody asleep. */
void bench_rest(unsigned delay_us);

void samples_add(struct samples *s, double value);
void samples_finish(struct samples *s);

/* The value below which the given share (0 to 1) of the samples lie; 0 without samples. */
double samples_quantile(struct samples *s, double share);

/* Looks at the whole lines in buf, whose rest, of *len bytes then, moves to the front. true:
 * BENCH_LINE's text is in one. */
bool bench_lines_have(char *buf, size_t *len);

/* Path of a program or file below the build folder (RIG_BUILD); holds until the next call. */
const char *bench_build(const char *name);

/* Starts the real rig-keeper in a new folder; it has no board yet. */
void bench_keeper_start(struct bench_keeper *k);

/* Opens board "b" with these devices (JSON text); more (stolen, or NULL) goes into the board. */
void bench_keeper_open(struct bench_keeper *k, const char *devices, json_t *more);

/* Calls; an error ends the program. A new reference to the result. Steals params. */
json_t *bench_call(struct bench_keeper *k, const char *method, json_t *params);

/* Ends the keeper and removes its folder. */
void bench_keeper_end(struct bench_keeper *k);

/* The benches. */
void bench_consoles(void);
void bench_cut(void);
void bench_drivers(void);
void bench_probe(void);
void bench_start(void);

#endif
