/*
 * What switches power, as far as a driver can tell on the host: a supply that speaks SCPI over TCP,
 * pdudaemon's HTTP listener, or a FIFO that programs write into. A thread; it stamps when a request
 * to switch off has been read.
 */
#ifndef TESTS_BENCH_STAND_IN_H
#define TESTS_BENCH_STAND_IN_H

#include <stdint.h>

struct stand_in;

enum stand_in_kind { STAND_IN_SCPI, STAND_IN_HTTP, STAND_IN_FIFO };

/* Listens at a free port of 127.0.0.1, or at a FIFO <dir>/relay. What goes wrong ends the bench. */
struct stand_in *stand_in_create(enum stand_in_kind kind, const char *dir);

/* Its port as digits, or the FIFO's path; lives as long as it does. */
const char *stand_in_where(const struct stand_in *s);

/* Requests to switch off that came so far are not waited for. */
void stand_in_forget(struct stand_in *s);

/* Waits for a request to switch off; when it had been read, by bench_now_ns(). who is named when
 * none comes, which ends the bench. */
uint64_t stand_in_await_off(struct stand_in *s, const char *who);

/* Ends the thread, whoever is connected, and frees. */
void stand_in_destroy(struct stand_in *s);

#endif
