#include "fake_board.h"

#include "bench.h"

#include "rig/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 16
#define SETTLE_US 1000

enum { CONTROL, UART, ORDERS, FIXED };

struct connection {
	bool uart;
	char in[4096];
	size_t len;
};

struct order {
	size_t filler_bytes;
	const char *line;
};

struct fake_board {
	pthread_t thread;
	int orders[2], results[2]; /* pipes */
	struct pollfd fds[FIXED + CONNECTIONS_MAX];
	struct connection connections[CONNECTIONS_MAX];
	size_t count;
	int power_fd, uart_fd; /* of the client that switched on last */
	bool on;
};

static void put(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* it went away */
		text += n;
		len -= (size_t)n;
	}
}

static void answer(int fd, json_t *id, json_t *result)
{
	json_t *message =
		json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "result", result);
	char *text = json_dumps(message, JSON_COMPACT);
	size_t len = strlen(text);

	text[len] = '\n';
	put(fd, text, len + 1);
	free(text);
	json_decref(message);
}

/*
 * A client has a control connection for its power, and one for its UART; the UART of the client
 * that switches on is the last one opened before, or the one opened with it.
 */
static void take_power(struct fake_board *board, int fd, bool on)
{
	struct ucred mine, other;
	socklen_t size = sizeof(mine);

	board->on = on;
	if (!on)
		return;
	board->power_fd = fd;
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &mine, &size);
	for (size_t i = 0; i < board->count; i++) {
		getsockopt(board->fds[FIXED + i].fd, SOL_SOCKET, SO_PEERCRED, &other, &size);
		if (board->connections[i].uart && other.pid == mine.pid)
			board->uart_fd = board->fds[FIXED + i].fd;
	}
}

static void take_line(struct fake_board *board, int fd, const char *line, size_t len)
{
	json_t *message = json_loadb(line, len, 0, NULL);
	json_t *id = json_object_get(message, "id");
	const char *method = json_string_value(json_object_get(message, "method"));
	json_t *on = json_object_get(json_object_get(message, "params"), "on");

	if (!id || !method)
		bench_die("the board was sent what it does not know: %.*s", (int)len, line);
	if (strcmp(method, "power") == 0) {
		take_power(board, fd, json_is_true(on));
		answer(fd, id, json_pack("{s:b}", "on", board->on));
	} else if (strcmp(method, "state") == 0) {
		answer(fd, id,
			json_pack("{s:b, s:i, s:n}", "power", board->on, "operations", 0, "cut"));
	} else { /* pace, mark, cut: nothing to do */
		answer(fd, id, json_object());
	}
	json_decref(message);
}

static void connection_close(struct fake_board *board, size_t i)
{
	close(board->fds[FIXED + i].fd);
	board->count--;
	board->fds[FIXED + i] = board->fds[FIXED + board->count];
	board->connections[i] = board->connections[board->count];
}

/* Reads what there is; false: the end. */
static bool connection_read(struct fake_board *board, size_t i)
{
	struct connection *c = &board->connections[i];
	int fd = board->fds[FIXED + i].fd;
	ssize_t n = read(fd, c->in + c->len, sizeof(c->in) - c->len);
	char *nl;

	if (n <= 0)
		return false;
	c->len += c->uart ? 0 : (size_t)n;
	while ((nl = memchr(c->in, '\n', c->len))) {
		take_line(board, fd, c->in, (size_t)(nl - c->in));
		c->len -= (size_t)(nl + 1 - c->in);
		memmove(c->in, nl + 1, c->len);
	}
	return true;
}

static void connection_accept(struct fake_board *board, int which)
{
	int fd = accept4(board->fds[which].fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (board->count == CONNECTIONS_MAX)
		bench_die("the board has too many clients");
	board->connections[board->count] = (struct connection){.uart = which == UART};
	board->fds[FIXED + board->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void print_filler(int fd, size_t left)
{
	static const char text[] =
		"[00012345] <inf> updater: chunk stored, all is well, the next one is asked for\n";
	char block[64 * (sizeof(text) - 1)];
	int unread = 1;

	for (size_t at = 0; at < sizeof(block); at += sizeof(text) - 1)
		memcpy(block + at, text, sizeof(text) - 1);
	for (; left >= sizeof(block); left -= sizeof(block))
		put(fd, block, sizeof(block));
	/* a Unix socket counts here what its peer has not read */
	while (unread && ioctl(fd, SIOCOUTQ, &unread) == 0)
		bench_rest(100);
}

static uint64_t fire(struct fake_board *board, const struct order *order)
{
	size_t len = strlen(order->line), i = 0;
	struct connection *c;
	uint64_t begin, end;

	while (i < board->count && board->fds[FIXED + i].fd != board->power_fd)
		i++;
	if (i == board->count)
		bench_die("nobody switched the board on");
	c = &board->connections[i];
	print_filler(board->uart_fd, order->filler_bytes);
	bench_rest(SETTLE_US); /* for what was read to be dealt with */
	begin = bench_now_ns();
	put(board->uart_fd, order->line, len);
	/* all else is quiet: what comes in at this connection is the request to switch off */
	c->len += (size_t)read(board->power_fd, c->in + c->len, sizeof(c->in) - c->len);
	end = bench_now_ns();
	if (!memmem(c->in, c->len, "\"power\"", 7) || c->in[c->len - 1] != '\n')
		bench_die("the board was asked something else: %.*s", (int)c->len, c->in);
	take_line(board, board->power_fd, c->in, c->len);
	c->len = 0;
	if (board->on)
		bench_die("the board was not switched off");
	return end - begin;
}

static void *run(void *arg)
{
	struct fake_board *board = arg;
	struct order order;
	uint64_t result;

	for (;;) {
		poll(board->fds, FIXED + board->count, -1);
		for (size_t i = board->count; i-- > 0;)
			if (board->fds[FIXED + i].revents && !connection_read(board, i))
				connection_close(board, i);
		for (int which = CONTROL; which <= UART; which++)
			if (board->fds[which].revents)
				connection_accept(board, which);
		if (!board->fds[ORDERS].revents)
			continue;
		if (read(board->orders[0], &order, sizeof(order)) != sizeof(order))
			return NULL;
		result = fire(board, &order);
		if (write(board->results[1], &result, sizeof(result)) != sizeof(result))
			return NULL;
	}
}

static int listen_at(const char *dir, const char *name)
{
	char path[PATH_MAX];
	struct err e;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = rpc_listen_unix(path, 0600, &e);
	if (fd < 0)
		bench_die("%s", e.msg);
	return fd;
}

struct fake_board *fake_board_create(const char *dir)
{
	struct fake_board *board = calloc(1, sizeof(*board));

	if (!board || pipe2(board->orders, O_CLOEXEC) || pipe2(board->results, O_CLOEXEC))
		bench_die("no pipe for the board");
	board->fds[CONTROL] =
		(struct pollfd){.fd = listen_at(dir, "control.sock"), .events = POLLIN};
	board->fds[UART] = (struct pollfd){.fd = listen_at(dir, "uart.sock"), .events = POLLIN};
	board->fds[ORDERS] = (struct pollfd){.fd = board->orders[0], .events = POLLIN};
	board->power_fd = board->uart_fd = -1;
	if (pthread_create(&board->thread, NULL, run, board) != 0)
		bench_die("no thread for the board");
	return board;
}

void fake_board_destroy(struct fake_board *board)
{
	close(board->orders[1]); /* the thread ends */
	pthread_join(board->thread, NULL);
	close(board->orders[0]);
	close(board->results[0]);
	close(board->results[1]);
	while (board->count)
		connection_close(board, 0);
	close(board->fds[CONTROL].fd);
	close(board->fds[UART].fd);
	free(board);
}

uint64_t fake_board_fire(struct fake_board *board, size_t filler_bytes, const char *line)
{
	struct order order = {filler_bytes, line};
	uint64_t result;

	if (write(board->orders[1], &order, sizeof(order)) != sizeof(order) ||
		read(board->results[0], &result, sizeof(result)) != sizeof(result))
		bench_die("the board is gone");
	return result;
}
