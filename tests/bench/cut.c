/*
 * From a line on the DUT's console to the request that switches its power off: the real keeper and
 * its driver, beside a bare poll loop that does only this.
 */
#include "bench.h"
#include "fake_board.h"

#include "rig/lock.h"
#include "rig/rpc.h"
#include "tests/keeper_client_sync.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define EARLY 2000
#define LATE 150
#define MEGABYTE ((size_t)1 << 20)

/* --- the bare loop ---------------------------------------------------------------------------- */

static int bare_connect(const char *dir, const char *name)
{
	char path[PATH_MAX];
	struct err e;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = rpc_connect_unix(path, &e);
	if (fd < 0)
		bench_die("%s", e.msg);
	return fd;
}

static void bare_write(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		_exit(1);
}

/* Switches off at the text and, told so by a byte on orders, on again. Never returns. */
static void bare_loop(const char *dir, int orders, int ready)
{
	struct pollfd fds[] = {{.fd = bare_connect(dir, "uart.sock"), .events = POLLIN},
		{.fd = bare_connect(dir, "control.sock"), .events = POLLIN},
		{.fd = orders, .events = POLLIN}};
	static char buf[65536];
	char answer[4096];
	size_t len = 0;

	for (;;) {
		poll(fds, 3, -1);
		if (fds[0].revents) {
			ssize_t n = read(fds[0].fd, buf + len, sizeof(buf) - len);

			if (n <= 0)
				_exit(0);
			len += (size_t)n;
			if (bench_lines_have(buf, &len))
				bare_write(fds[1].fd,
					"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"power\","
					"\"params\":{\"on\":false}}\n");
		}
		if (fds[1].revents) {
			if (read(fds[1].fd, answer, sizeof(answer)) <= 0)
				_exit(0);
			bare_write(ready, "+");
		}
		if (fds[2].revents) {
			if (read(fds[2].fd, answer, 1) <= 0)
				_exit(0);
			bare_write(fds[1].fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"power\","
					      "\"params\":{\"on\":true}}\n");
		}
	}
}

struct bare {
	pid_t pid;
	int orders, ready;
};

static void bare_start(struct bare *bare, const char *dir)
{
	int orders[2], ready[2];

	if (pipe2(orders, O_CLOEXEC) || pipe2(ready, O_CLOEXEC))
		bench_die("no pipe");
	bare->pid = fork();
	if (bare->pid == 0) {
		close(orders[1]);
		close(ready[0]);
		bare_loop(dir, orders[0], ready[1]);
	}
	close(orders[0]);
	close(ready[1]);
	bare->orders = orders[1];
	bare->ready = ready[0];
}

static void bare_await(struct bare *bare)
{
	char byte;

	if (read(bare->ready, &byte, 1) != 1)
		bench_die("the bare loop is gone");
}

static double bare_once(struct bare *bare, struct fake_board *board, size_t filler_bytes)
{
	uint64_t ns;

	bare_write(bare->orders, "+");
	bare_await(bare);
	ns = fake_board_fire(board, filler_bytes, BENCH_LINE);
	bare_await(bare);
	return (double)ns / 1000;
}

static void bare_end(struct bare *bare)
{
	close(bare->orders);
	waitpid(bare->pid, NULL, 0);
	close(bare->ready);
}

/* --- the rig ---------------------------------------------------------------------------------- */

static double rig_once(struct bench_keeper *k, struct fake_board *board, size_t filler_bytes)
{
	json_t *note;
	uint64_t ns;

	json_decref(bench_call(k, "power.set", json_pack("{s:b}", "on", 1)));
	json_decref(
		bench_call(k, "cut.arm", json_pack("{s:{s:s}}", "on", "console", BENCH_PATTERN)));
	ns = fake_board_fire(board, filler_bytes, BENCH_LINE);
	note = peer_note(k->owner, "cut");
	if (!note)
		bench_die("the keeper did not tell of the cut");
	json_decref(note);
	json_array_clear(k->owner->notes);
	return (double)ns / 1000;
}

static void print_row(const char *name, struct samples *s, struct samples *bare, const char *target)
{
	printf("  %-34s %8.1f %8.1f %8zu", name, samples_quantile(s, 0.5),
		samples_quantile(s, 0.99), s->count);
	if (bare)
		printf("   %.2f x bare", samples_quantile(s, 0.5) / samples_quantile(bare, 0.5));
	printf("%s%s\n", *target ? "   target: " : "", target);
}

static void measure(struct bench_keeper *k, struct bare *bare, struct fake_board *board,
	size_t count, size_t filler_bytes, const char *when)
{
	struct samples rig_us = {0}, bare_us = {0};
	char name[64];

	/* in turn, so that whatever else the machine does disturbs both alike */
	for (size_t i = 0; i < count; i++) {
		samples_add(&bare_us, bare_once(bare, board, filler_bytes));
		samples_add(&rig_us, rig_once(k, board, filler_bytes));
	}
	snprintf(name, sizeof(name), "bare poll loop, %s", when);
	print_row(name, &bare_us, NULL, "");
	snprintf(name, sizeof(name), "rig-keeper, %s", when);
	print_row(name, &rig_us, &bare_us, "1.3 x bare, p99 500 us");
	samples_finish(&rig_us);
	samples_finish(&bare_us);
}

void bench_cut(void)
{
	char dir[PATH_MAX], board_dir[PATH_MAX - 16];
	struct bench_keeper k;
	struct fake_board *board;
	struct bare bare;
	struct err e;

	bench_keeper_start(&k);
	if (lock_board_dir(k.dir, "b", true, board_dir, sizeof(board_dir), &e) != 0)
		bench_die("%s", e.msg);
	snprintf(dir, sizeof(dir), "%s/vboard", board_dir);
	if (mkdir(dir, 0755) != 0)
		bench_die("%s cannot be made", dir);
	board = fake_board_create(dir);
	bare_start(&bare, dir);
	bench_keeper_open(&k,
		"{\"power\": {\"driver\": \"virtual\"}, \"console\": {\"driver\": \"virtual\"}}",
		NULL);
	printf("Console line to power-off request, us %9s %8s %8s\n", "p50", "p99", "n");
	measure(&k, &bare, board, EARLY, 0, "early");
	measure(&k, &bare, board, LATE, MEGABYTE, "after 1 MiB");
	bench_keeper_end(&k);
	bare_end(&bare);
	fake_board_destroy(board);
}
