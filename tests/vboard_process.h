/*
 * The virtual board as a process, for a test: started in a folder, spoken to without a loop.
 */
#ifndef TESTS_VBOARD_PROCESS_H
#define TESTS_VBOARD_PROCESS_H

#include "../rig/rpc.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GIVE_UP_MS 20000 /* nothing in these tests takes so long unless it hangs */

struct process {
	pid_t pid;
	char dir[512];
	int control, uart;
	unsigned id;
	char line[65536]; /* from the control socket, not yet a whole line */
	size_t line_len;
	char out[1 << 20]; /* from the UART */
	size_t out_len;
	json_t *notes; /* notifications, in order */
};

static inline void process_fail(const char *what)
{
	fprintf(stderr, "# %s\n", what);
	abort();
}

static inline int64_t process_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for input at fd; false when the time is up. */
static inline bool process_wait(int fd, int64_t until_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t left = until_ms - process_now_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

static inline int process_connect(const struct process *p, const char *name)
{
	char path[600];
	struct err e;

	snprintf(path, sizeof(path), "%s/%s", p->dir, name);
	int fd = rpc_connect_unix(path, &e);
	if (fd < 0)
		process_fail(e.msg);
	return fd;
}

/* Starts vboard in dir with more arguments (NULL ends them) and waits until it is ready. The exit
 * status when it ends before, -1 when it is ready. */
static inline int process_start(struct process *p, const char *dir, const char *const *more)
{
	char program[600], fd_text[16];
	const char *argv[16] = {program, "--dir", dir, "--ready-fd", fd_text};
	int ready[2], argc = 5, status;
	char byte;

	memset(p, 0, sizeof(*p));
	p->control = p->uart = -1;
	snprintf(p->dir, sizeof(p->dir), "%s", dir);
	snprintf(program, sizeof(program), "%s/vboard", getenv("RIG_BUILD"));
	if (pipe(ready) < 0)
		process_fail("pipe");
	snprintf(fd_text, sizeof(fd_text), "%d", ready[1]);
	while (more && *more && argc < 15)
		argv[argc++] = *more++;
	p->pid = fork();
	if (p->pid == 0) {
		close(ready[0]);
		execv(program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1) {
		close(ready[0]);
		waitpid(p->pid, &status, 0);
		p->pid = 0;
		return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
	}
	close(ready[0]);
	p->notes = json_array();
	p->control = process_connect(p, "control.sock");
	p->uart = process_connect(p, "uart.sock");
	return -1;
}

/* The next line of the control socket, or NULL at its end or when the time is up. */
static inline json_t *process_line(struct process *p, int64_t until_ms)
{
	for (;;) {
		char *end = memchr(p->line, '\n', p->line_len);
		if (end) {
			json_t *message = json_loadb(p->line, (size_t)(end - p->line), 0, NULL);
			p->line_len -= (size_t)(end + 1 - p->line);
			memmove(p->line, end + 1, p->line_len);
			return message;
		}
		if (!process_wait(p->control, until_ms))
			return NULL;
		ssize_t n =
			recv(p->control, p->line + p->line_len, sizeof(p->line) - p->line_len, 0);
		if (n <= 0)
			return NULL;
		p->line_len += (size_t)n;
	}
}

/* Calls a method; params is a JSON text without the braces ("" for none). The answer, to be freed:
 * "result" or "error" in it. */
static inline json_t *process_call(struct process *p, const char *method, const char *params)
{
	char text[2048];
	int len = snprintf(text, sizeof(text),
		"{\"jsonrpc\": \"2.0\", \"id\": %u, \"method\": \"%s\", \"params\": {%s}}\n",
		++p->id, method, params);
	int64_t until = process_now_ms() + GIVE_UP_MS;
	json_t *message;

	if (send(p->control, text, (size_t)len, MSG_NOSIGNAL) != len)
		process_fail("the control socket takes nothing");
	while ((message = process_line(p, until))) {
		json_t *id = json_object_get(message, "id");
		if (json_is_integer(id) && json_integer_value(id) == p->id)
			return message;
		json_array_append_new(p->notes, message);
	}
	process_fail(text);
	return NULL;
}

/* The same for a call that must succeed; its result is borrowed until the next one. */
static inline json_t *process_do(struct process *p, const char *method, const char *params)
{
	static json_t *last;

	json_decref(last);
	last = process_call(p, method, params);
	if (!json_object_get(last, "result")) {
		char *text = json_dumps(last, 0);
		process_fail(text);
	}
	return json_object_get(last, "result");
}

/* Reads the UART until it has said text since the last process_forget(). */
static inline bool process_says(struct process *p, const char *text)
{
	int64_t until = process_now_ms() + GIVE_UP_MS;

	for (;;) {
		p->out[p->out_len] = '\0';
		if (strstr(p->out, text))
			return true;
		if (!process_wait(p->uart, until))
			return false;
		ssize_t n = recv(p->uart, p->out + p->out_len, sizeof(p->out) - 1 - p->out_len, 0);
		if (n <= 0)
			return false;
		p->out_len += (size_t)n;
	}
}

static inline void process_forget(struct process *p)
{
	p->out_len = 0;
}

/* Waits for a notification of that name; borrowed, its params. */
static inline json_t *process_note(struct process *p, const char *name)
{
	int64_t until = process_now_ms() + GIVE_UP_MS;
	json_t *message, *note;
	size_t i;

	for (;;) {
		json_array_foreach (p->notes, i, note) {
			const char *method = json_string_value(json_object_get(note, "method"));
			if (method && !strcmp(method, name))
				return json_object_get(note, "params");
		}
		message = process_line(p, until);
		if (!message)
			return NULL;
		json_array_append_new(p->notes, message);
	}
}

/* Waits for its end; the exit status, or 255 when a signal ended it or it had to be killed. */
static inline int process_end(struct process *p)
{
	int64_t until = process_now_ms() + GIVE_UP_MS;
	int status = 0;

	while (p->pid && waitpid(p->pid, &status, WNOHANG) == 0) {
		struct timespec pause = {0, 2000000};
		if (process_now_ms() > until) {
			kill(p->pid, SIGKILL);
			waitpid(p->pid, &status, 0);
			break;
		}
		nanosleep(&pause, NULL);
	}
	if (p->control >= 0)
		close(p->control);
	if (p->uart >= 0)
		close(p->uart);
	json_decref(p->notes);
	p->pid = 0;
	p->control = p->uart = -1;
	p->notes = NULL;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static inline int process_quit(struct process *p)
{
	process_do(p, "quit", "");
	return process_end(p);
}

/* Puts a test program at the start of the folder's flash.bin, the rest erased. */
static inline void process_flash(const char *dir, const char *program)
{
	static uint8_t flash[1 << 20];
	char path[1024];

	memset(flash, 0xff, sizeof(flash));
	snprintf(path, sizeof(path), "%s/../testfw/%s.bin", getenv("RIG_BUILD"), program);
	FILE *f = fopen(path, "rb");
	if (!f || !fread(flash, 1, sizeof(flash), f))
		process_fail("no test program; run make testfw");
	fclose(f);
	snprintf(path, sizeof(path), "%s/flash.bin", dir);
	f = fopen(path, "wb");
	if (!f || fwrite(flash, sizeof(flash), 1, f) != 1 || fclose(f))
		process_fail("cannot write flash.bin");
}

#endif
