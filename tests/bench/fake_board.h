/*
 * A board that is only as virtual as the driver "virtual" needs: a thread that listens at
 * control.sock and uart.sock (docs/protocol.md "Virtual board control"), prints lines, and stamps
 * when the request to switch off arrives.
 */
#ifndef TESTS_BENCH_FAKE_BOARD_H
#define TESTS_BENCH_FAKE_BOARD_H

#include <stddef.h>
#include <stdint.h>

struct fake_board;

/* Listens in <dir>/, which must exist. */
struct fake_board *fake_board_create(const char *dir);

/* Waits until the board's clients have gone, then ends the thread and frees. */
void fake_board_destroy(struct fake_board *board);

/*
 * Prints filler_bytes of console lines, waits until they have been read, then prints line and
 * waits for the request to switch off: from the client that last switched on. Returns the
 * nanoseconds from before writing the line to after reading the request.
 */
uint64_t fake_board_fire(struct fake_board *board, size_t filler_bytes, const char *line);

#endif
