#include "stand_in.h"

#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define PATIENCE_MS 20000 /* until the bench gives up; no claim is made about time */

enum { END, LISTENS, FIXED };

struct client {
	char in[4096];
	size_t len;
};

struct stand_in {
	enum stand_in_kind kind;
	pthread_t thread;
	int end[2], stamps[2]; /* pipes */
	struct pollfd fds[FIXED + CLIENTS_MAX];
	struct client clients[CLIENTS_MAX];
	size_t count;
	bool on;
	char where[PATH_MAX];
};

/* --- what it understands ---------------------------------------------------------------------- */

static void say(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		return; /* it went away, and poll() says so */
}

static void switch_to(struct stand_in *s, bool on, uint64_t read_ns)
{
	s->on = on;
	if (!on && write(s->stamps[1], &read_ns, sizeof(read_ns)) != sizeof(read_ns))
		bench_die("the stand-in cannot tell of what came");
}

static void take_scpi(struct stand_in *s, int fd, const char *line, uint64_t read_ns)
{
	if (strcmp(line, "OUTP OFF") == 0 || strcmp(line, "OUTP ON") == 0)
		switch_to(s, line[6] == 'N', read_ns);
	else if (strcmp(line, "*IDN?") == 0)
		say(fd, "RIG,STAND-IN,1,1\n");
	else if (strcmp(line, "SYST:ERR?") == 0)
		say(fd, "0,\"No error\"\n");
	else if (strcmp(line, "OUTP?") == 0)
		say(fd, s->on ? "1\n" : "0\n");
	else if (strcmp(line, "MEAS:VOLT?") == 0)
		say(fd, s->on ? "3.3\n" : "0.0\n");
	else if (strchr(line, '?'))
		bench_die("the supply was asked what it does not know: %s", line);
}

/* Of a request only the first line says anything; the empty one ends it. */
static void take_http(struct stand_in *s, int fd, const char *line, uint64_t read_ns)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
	static const char no[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

	if (strncmp(line, "GET /power/control/off?", 23) == 0 ||
		strncmp(line, "GET /power/control/on?", 22) == 0) {
		switch_to(s, line[20] == 'n', read_ns);
		say(fd, ok);
	} else if (strncmp(line, "GET ", 4) == 0) {
		say(fd, no);
	}
}

static void take_line(struct stand_in *s, int fd, char *line, uint64_t read_ns)
{
	line[strcspn(line, "\r")] = '\0';
	if (s->kind == STAND_IN_SCPI)
		take_scpi(s, fd, line, read_ns);
	else if (s->kind == STAND_IN_HTTP)
		take_http(s, fd, line, read_ns);
	else if (strcmp(line, "off") == 0)
		switch_to(s, false, read_ns);
}

/* --- the thread ------------------------------------------------------------------------------- */

/* Reads what there is; false: the end. */
static bool client_read(struct stand_in *s, size_t i)
{
	struct client *c = &s->clients[i];
	int fd = s->fds[FIXED + i].fd;
	ssize_t n = read(fd, c->in + c->len, sizeof(c->in) - c->len);
	uint64_t read_ns = bench_now_ns();
	char *nl;

	if (n <= 0)
		return false;
	c->len += (size_t)n;
	while ((nl = memchr(c->in, '\n', c->len))) {
		*nl = '\0';
		take_line(s, fd, c->in, read_ns);
		c->len -= (size_t)(nl + 1 - c->in);
		memmove(c->in, nl + 1, c->len);
	}
	return true;
}

static void client_add(struct stand_in *s, int fd)
{
	if (fd < 0)
		return;
	if (s->count == CLIENTS_MAX)
		bench_die("the stand-in has too many clients");
	s->clients[s->count].len = 0;
	s->fds[FIXED + s->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void client_close(struct stand_in *s, size_t i)
{
	close(s->fds[FIXED + i].fd);
	s->count--;
	s->fds[FIXED + i] = s->fds[FIXED + s->count];
	s->clients[i] = s->clients[s->count];
}

static void client_accept(struct stand_in *s)
{
	int fd = accept4(s->fds[LISTENS].fd, NULL, NULL, SOCK_CLOEXEC), yes = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	client_add(s, fd);
}

static void *run(void *arg)
{
	struct stand_in *s = arg;

	while (!s->fds[END].revents) {
		poll(s->fds, FIXED + s->count, -1);
		for (size_t i = s->count; i-- > 0;)
			if (s->fds[FIXED + i].revents && !client_read(s, i))
				client_close(s, i);
		if (s->fds[LISTENS].revents)
			client_accept(s);
	}
	while (s->count)
		client_close(s, s->count - 1);
	return NULL;
}

/* --- from outside ----------------------------------------------------------------------------- */

static int listen_somewhere(struct stand_in *s)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);

	if (bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, CLIENTS_MAX) != 0 ||
		getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		bench_die("no port is free: %s", strerror(errno));
	snprintf(s->where, sizeof(s->where), "%d", ntohs(at.sin_port));
	return fd;
}

/* Open for writing too, so that it does not end with a program. */
static int make_fifo(struct stand_in *s, const char *dir)
{
	int fd;

	snprintf(s->where, sizeof(s->where), "%s/relay", dir);
	if (mkfifo(s->where, 0600) != 0)
		bench_die("%s: %s", s->where, strerror(errno));
	fd = open(s->where, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		bench_die("%s: %s", s->where, strerror(errno));
	return fd;
}

struct stand_in *stand_in_create(enum stand_in_kind kind, const char *dir)
{
	struct stand_in *s = calloc(1, sizeof(*s));

	if (!s || pipe2(s->end, O_CLOEXEC) || pipe2(s->stamps, O_CLOEXEC))
		bench_die("no pipe for the stand-in");
	s->kind = kind;
	s->fds[END] = (struct pollfd){.fd = s->end[0], .events = POLLIN};
	s->fds[LISTENS] = (struct pollfd){.fd = -1, .events = POLLIN};
	if (kind == STAND_IN_FIFO)
		client_add(s, make_fifo(s, dir));
	else
		s->fds[LISTENS].fd = listen_somewhere(s);
	if (pthread_create(&s->thread, NULL, run, s) != 0)
		bench_die("no thread for the stand-in");
	return s;
}

const char *stand_in_where(const struct stand_in *s)
{
	return s->where;
}

/* The next stamp, if one comes within wait_ms. */
static bool take_stamp(struct stand_in *s, int wait_ms, uint64_t *ns)
{
	struct pollfd fd = {.fd = s->stamps[0], .events = POLLIN};

	return poll(&fd, 1, wait_ms) == 1 && read(fd.fd, ns, sizeof(*ns)) == sizeof(*ns);
}

void stand_in_forget(struct stand_in *s)
{
	uint64_t ns;

	while (take_stamp(s, 0, &ns))
		;
}

uint64_t stand_in_await_off(struct stand_in *s, const char *who)
{
	uint64_t ns;

	if (!take_stamp(s, PATIENCE_MS, &ns))
		bench_die("%s did not switch off", who);
	return ns;
}

void stand_in_destroy(struct stand_in *s)
{
	say(s->end[1], "+");
	pthread_join(s->thread, NULL);
	for (int i = 0; i < 2; i++) {
		close(s->end[i]);
		close(s->stamps[i]);
	}
	if (s->fds[LISTENS].fd >= 0)
		close(s->fds[LISTENS].fd);
	if (s->kind == STAND_IN_FIFO)
		unlink(s->where);
	free(s);
}
