/*
 * pty: a console at a pseudo-terminal, or anything like one, that a simulator or socat makes.
 *
 * A terminal below /dev/pts is gone for good when its other end is closed, and its number is given
 * to whoever asks next. So one that was lost is taken up again only when the link that leads to it
 * was made anew; never by its number.
 */
#include "driver.h"

#include "path_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define DRAIN_READS 256 /* what drain reads at most: 4 MiB */
#define READ_SIZE 16384

struct pty;

/* The open terminal; lives until its handle is closed. */
struct port {
	uv_poll_t poll;
	int fd;
	struct pty *pty; /* NULL: nobody's any more */
};

/* Bytes on their way. */
struct sending {
	struct sending *next;
	struct pty *pty;
	struct op *op;
	size_t len, sent;
	char data[];
};

/* Which file a path leads to, told from one that took its place. */
struct identity {
	dev_t dev;
	ino_t ino;
	struct timespec changed;
};

struct pty {
	struct device dev;
	struct driver_env env;
	char path[PATH_MAX];
	char target[PATH_MAX]; /* where path led when it was opened */
	struct identity identity;
	struct port *port; /* NULL: not open, or lost */
	struct sending *sendings;
	struct path_watch *watch; /* it was lost, and is waited for */
	char lost[512];           /* why; "": it is not lost */
	uint64_t lost_at_ns;
	uv_timer_t life; /* never started: what close waits for */
	void (*closed)(void *arg);
	void *closed_arg;
	char in[READ_SIZE];
};

static const struct driver_option options[] = {
	{"path", OPTION_STRING, true, NULL,
		"the terminal, or better a link to it that is made anew with it"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct pty *pty_of(struct device *dev)
{
	return (struct pty *)dev;
}

/* --- what was sent ---------------------------------------------------------------------------- */

static void pty_lose(struct pty *p, const char *why);

/* Takes the first sending off, and its operation. */
static struct op *sending_take(struct pty *p)
{
	struct sending *s = p->sendings;
	struct op *op = s->op;

	p->sendings = s->next;
	free(s);
	op_on_cancel(op, NULL, NULL);
	return op;
}

static void fail_sendings(struct pty *p, enum err_code code, const char *why)
{
	while (p->sendings)
		op_failf(sending_take(p), (int)code, "%s", why);
}

/* What was not written yet is not sent any more. */
static void sending_given_up(struct op *op, void *arg)
{
	struct sending *s = arg, **at = &s->pty->sendings;

	(void)op;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	free(s);
}

static void port_ready(uv_poll_t *poll, int status, int events);

static void port_listen(struct pty *p)
{
	uv_poll_start(&p->port->poll, UV_READABLE | (p->sendings ? UV_WRITABLE : 0), port_ready);
}

/* Writes what the terminal takes. */
static void send_some(struct pty *p)
{
	while (p->port && p->sendings) {
		struct sending *s = p->sendings;
		ssize_t n = write(p->port->fd, s->data + s->sent, s->len - s->sent);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			pty_lose(p, strerror(errno));
			return;
		}
		s->sent += (size_t)n;
		if (s->sent == s->len)
			op_done(sending_take(p), NULL);
	}
}

static void pty_write(struct device *dev, const char *data, size_t len, struct op *op)
{
	struct pty *p = pty_of(dev);
	struct sending *s, **last = &p->sendings;

	if (!p->port) {
		op_failf(op, ERR_BENCH, "%s", p->lost[0] ? p->lost : "it is not open");
		return;
	}
	s = malloc(sizeof(*s) + len);
	if (!s) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	*s = (struct sending){NULL, p, op, len, 0};
	memcpy(s->data, data, len);
	while (*last)
		last = &(*last)->next;
	*last = s;
	op_on_cancel(op, sending_given_up, s);
	if (p->sendings == s)
		send_some(p);
	if (p->port && p->sendings)
		port_listen(p);
}

/* --- what comes in ---------------------------------------------------------------------------- */

/* One read; whether there may be more. A terminal whose other end is closed says so with EIO, or
 * with the end of file. */
static bool read_some(struct pty *p, bool may_lose)
{
	ssize_t n = read(p->port->fd, p->in, sizeof(p->in));

	if (n > 0)
		p->env.console_in(p->env.arg, p->in, (size_t)n);
	else if (may_lose && n == 0)
		pty_lose(p, "its other end was closed");
	else if (may_lose && errno != EAGAIN && errno != EINTR)
		pty_lose(p, errno == EIO ? "its other end was closed" : strerror(errno));
	return n > 0;
}

static void port_ready(uv_poll_t *poll, int status, int events)
{
	struct port *port = poll->data;
	struct pty *p = port->pty;

	if (p && (status < 0 || (events & UV_READABLE)))
		read_some(p, true);
	/* libuv has stopped looking; most kernels have thrown away what was not read by now */
	for (int i = 0; port->pty && status < 0 && i < DRAIN_READS && read_some(p, true); i++)
		;
	if (port->pty && status < 0)
		pty_lose(p, "its other end was closed");
	if (port->pty && (events & UV_WRITABLE)) {
		send_some(p);
		if (port->pty && !p->sendings)
			port_listen(p);
	}
}

static void pty_drain(struct device *dev)
{
	struct pty *p = pty_of(dev);

	for (int i = 0; p->port && i < DRAIN_READS && read_some(p, false); i++)
		;
}

/* --- open, lost, back ------------------------------------------------------------------------- */

static void port_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The terminal is closed at once, so that it can be opened again: handles close in no order. */
static void port_drop(struct pty *p)
{
	struct port *port = p->port;

	p->port = NULL;
	if (!port)
		return;
	port->pty = NULL;
	uv_close((uv_handle_t *)&port->poll, port_closed);
	close(port->fd);
}

static int no_permission(const char *path, struct err *e)
{
	struct stat st;
	struct group *group = stat(path, &st) == 0 ? getgrgid(st.st_gid) : NULL;

	return err_set(e, ERR_BENCH,
		"%.300s: no permission: it belongs to the group %s (usermod -aG, then log in "
		"again)",
		path, group ? group->gr_name : "of another");
}

static int open_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == EACCES)
		return no_permission(path, e);
	if (errno == ENOENT)
		return err_set(e, ERR_BENCH,
			"%.300s is not there: is the program that makes it running?", path);
	if (errno == EIO)
		return err_set(e, ERR_BENCH, "%.300s: its other end is closed", path);
	if (errno == EBUSY)
		return err_set(e, ERR_BENCH, "%.300s is in use by another process", path);
	return err_errno(e, ERR_BENCH, errno, "%.300s", path);
}

/* Bytes as they are, both ways: no echo, no line editing, no signals. */
static int make_raw(const struct pty *p, int fd, struct err *e)
{
	struct termios t;

	if (tcgetattr(fd, &t) != 0)
		return err_errno(e, ERR_BENCH, errno, "%.300s is no terminal", p->path);
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (tcsetattr(fd, TCSANOW, &t) != 0)
		return err_errno(e, ERR_BENCH, errno, "%.300s: raw mode", p->path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(e, ERR_BENCH,
			"%.300s is in use: another process, or another board of rig.conf, has "
			"locked it",
			p->path);
	return 0;
}

static int port_start(struct pty *p, int fd, struct err *e)
{
	struct port *port = calloc(1, sizeof(*port));
	int n;

	if (!port)
		return err_set(e, ERR_NOMEM, "out of memory");
	n = uv_poll_init(p->env.loop, &port->poll, fd);
	if (n != 0) {
		free(port);
		return err_set(
			e, ERR_BENCH, "%.300s cannot be listened to: %s", p->path, uv_strerror(n));
	}
	port->poll.data = port;
	port->fd = fd;
	port->pty = p;
	p->port = port;
	port_listen(p);
	return 0;
}

/* Which link, or file, stands at path now. */
static struct identity identify(const char *path)
{
	struct stat st = {0};

	if (lstat(path, &st) != 0)
		return (struct identity){0};
	return (struct identity){st.st_dev, st.st_ino, st.st_ctim};
}

static bool same(const struct identity *a, const struct identity *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

static int pty_attempt(struct pty *p, struct err *e)
{
	struct identity identity = identify(p->path);
	char target[PATH_MAX];
	int fd = open_file(p->path, e), ret;

	if (fd < 0)
		return fd;
	ret = make_raw(p, fd, e);
	if (!ret)
		ret = port_start(p, fd, e);
	if (ret) {
		close(fd);
		return ret;
	}
	p->identity = identity;
	if (realpath(p->path, target))
		memcpy(p->target, target, sizeof(target));
	return 0;
}

static bool below_pts(const char *path)
{
	return strncmp(path, "/dev/pts/", 9) == 0;
}

static void pty_returned(struct pty *p)
{
	char text[700];

	snprintf(text, sizeof(text), "%.300s leads to %.300s, after %llu ms", p->path, p->target,
		(unsigned long long)((uv_hrtime() - p->lost_at_ns) / 1000000));
	p->lost[0] = '\0';
	path_watch_stop(p->watch);
	p->watch = NULL;
	p->env.event(p->env.arg, "back", json_pack("{s:s}", "text", text));
}

/* Something changed where it was: perhaps it is there again. */
static void path_changed(void *arg)
{
	struct pty *p = arg;
	struct identity now = identify(p->path);
	struct err e;

	if (!p->watch || (below_pts(p->target) && same(&now, &p->identity)))
		return;
	if (pty_attempt(p, &e) == 0)
		pty_returned(p);
}

static void pty_lose(struct pty *p, const char *why)
{
	bool for_good = below_pts(p->path);
	struct err e;

	port_drop(p);
	snprintf(p->lost, sizeof(p->lost), "%.300s: %s%s", p->path, why,
		for_good ? " (not waited for: its number may become another's; give a link to it)"
			 : "");
	p->lost_at_ns = uv_hrtime();
	if (!for_good) {
		p->watch = path_watch_start(p->env.loop, p->path, path_changed, p, &e);
		if (!p->watch)
			snprintf(p->lost, sizeof(p->lost), "%.200s: %s; %.200s", p->path, why,
				e.msg);
	}
	p->env.event(p->env.arg, "lost", json_pack("{s:s}", "reason", p->lost));
	fail_sendings(p, ERR_BENCH, p->lost);
	path_changed(p); /* it may have been there again before it was watched */
}

/* --- the driver ------------------------------------------------------------------------------- */

extern const struct driver driver_pty;

static struct device *pty_create(const struct driver_env *env, json_t *given, struct err *e)
{
	const char *path = json_string_value(json_object_get(given, "path"));
	struct pty *p;

	if (path[0] != '/' || strlen(path) > 300) {
		err_set(e, ERR_CONFIG, "path: give the whole path, from / on, not \"%.300s\"",
			path);
		return NULL;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	p->dev.driver = &driver_pty;
	p->env = *env;
	snprintf(p->path, sizeof(p->path), "%s", path);
	uv_timer_init(env->loop, &p->life);
	p->life.data = p;
	return &p->dev;
}

static void pty_open(struct device *dev, struct op *op)
{
	struct pty *p = pty_of(dev);
	struct err e;

	if (p->port || pty_attempt(p, &e) == 0)
		op_done(op, NULL);
	else
		op_fail(op, &e);
}

/* Nothing that a console does harms the board. What still waits to be sent is not for a board
 * without power. */
static void pty_make_safe(struct device *dev, struct op *op)
{
	fail_sendings(pty_of(dev), ERR_CANCELLED, "the board is made safe");
	op_done(op, NULL);
}

static void life_closed(uv_handle_t *handle)
{
	struct pty *p = handle->data;
	void (*closed)(void *arg) = p->closed;
	void *arg = p->closed_arg;

	free(p);
	closed(arg);
}

static void pty_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct pty *p = pty_of(dev);

	port_drop(p);
	path_watch_stop(p->watch);
	p->watch = NULL;
	fail_sendings(p, ERR_GONE, "the console was closed");
	p->closed = closed;
	p->closed_arg = arg;
	uv_close((uv_handle_t *)&p->life, life_closed);
}

static void pty_check(struct device *dev, struct op *op)
{
	struct pty *p = pty_of(dev);
	json_t *mend = json_array();

	if (!p->port) {
		json_decref(mend);
		op_failf(op, ERR_BENCH, "%s", p->lost[0] ? p->lost : "it is not open");
		return;
	}
	if (below_pts(p->path))
		json_array_append_new(mend,
			json_string("its number changes whenever it is made anew: have a link made "
				    "to it (socat: link=PATH) and give that"));
	op_done(op, json_pack("{s:[s+++], s:o}", "says", p->path, " leads to ", p->target,
			    ", which is open", "mend", mend));
}

static const struct console_ops console = {.write = pty_write, .drain = pty_drain};

const struct driver driver_pty = {
	.name = "pty",
	.help = "a console at a pseudo-terminal that a simulator or socat makes",
	.options = options,
	.create = pty_create,
	.open = pty_open,
	.make_safe = pty_make_safe,
	.close = pty_close,
	.check = pty_check,
	.console = &console,
};
