/*
 * A serial port on the loop.
 *
 * A port is IDLE until it was opened, UP while it works, GONE from when it went away until it is
 * back. What it is read and written through is a struct line, one for each time it was opened;
 * opening and closing one is a job of the thread pool.
 */
#include "serial_port_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define IN_SIZE 65536
#define DRAIN_MAX (16 * IN_SIZE) /* a DUT that never stops talking does not hold up the loop */
#define RETRY_MS 1000            /* while no event tells: another process has it, or no inotify */
#define NOTE_EVERY_NS 10000000000ULL

static void try_now(struct serial_port *port);
static void retry(uv_timer_t *timer);
static void lose(struct serial_port *port, const char *why);
static void push(struct serial_port *port);

void serial_port_end_op(struct op **op, enum err_code code, const char *fmt, ...)
{
	struct op *it = *op;
	struct err e;
	va_list ap;

	*op = NULL;
	if (!it)
		return;
	op_on_cancel(it, NULL, NULL);
	if (code == ERR_NONE) {
		op_done(it, NULL);
		return;
	}
	va_start(ap, fmt);
	err_vset(&e, code, fmt, ap);
	va_end(ap);
	op_fail(it, &e);
}

/* --- create ----------------------------------------------------------------------------------- */

bool serial_port_named(const json_t *options)
{
	static const char *const names[] = {
		"path", "usb_serial", "usb_path", "usb_vendor", "usb_product"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const json_t *value = json_object_get(options, names[i]);

		if (value && !json_is_null(value))
			return true;
	}
	return false;
}

struct serial_port *serial_port_create(const struct serial_port_conf *conf, struct err *e)
{
	struct serial_port *port = calloc(1, sizeof(*port));

	if (port)
		port->in = malloc(IN_SIZE);
	if (!port || !port->in) {
		free(port);
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	if (serial_want_parse(&port->want, conf->options, e) != 0 ||
		serial_settings_parse(&port->settings, conf->options, e) != 0) {
		free(port->in);
		free(port);
		return NULL;
	}
	serial_want_text(&port->want, port->name, sizeof(port->name));
	port->loop = conf->loop;
	port->handlers = conf->handlers;
	port->arg = conf->arg;
	port->shared = conf->shared;
	port->may_be_absent = conf->may_be_absent;
	port->last = &port->first;
	uv_timer_init(port->loop, &port->retry);
	uv_timer_init(port->loop, &port->break_timer);
	uv_timer_init(port->loop, &port->lock_timer);
	port->retry.data = port->break_timer.data = port->lock_timer.data = port;
	return port;
}

bool serial_port_is_open(const struct serial_port *port)
{
	return port->state == PORT_UP;
}

const char *serial_port_name(const struct serial_port *port)
{
	return port->name;
}

void serial_port_not_open(const struct serial_port *port, struct op *op)
{
	if (!op)
		return;
	if (port->closing)
		op_failf(op, ERR_GONE, "%s was closed", port->name);
	else if (port->state == PORT_IDLE)
		op_failf(op, ERR_BENCH, "%s is not open", port->name);
	else if (port->may_be_absent)
		op_failf(op, ERR_DUT,
			"%s is not there: the DUT has no power, or its firmware has not brought its USB "
			"up",
			port->name);
	else
		op_failf(op, ERR_BENCH, "%s is not there: plug it in again", port->name);
}

/* --- closing ---------------------------------------------------------------------------------- */

/* Frees the port when the last that refers to it is gone. */
static void settle(struct serial_port *port)
{
	void (*closed)(void *arg) = port->closed;
	void *arg = port->closed_arg;

	if (!port->closing || port->handles || port->lines || port->attempt)
		return;
	free(port->in);
	free(port);
	closed(arg);
}

static void line_closed(uv_work_t *work, int status)
{
	struct line *line = work->data;
	struct serial_port *port = line->port;

	(void)status;
	free(line);
	port->lines--;
	if ((port->state == PORT_GONE && !uv_is_active((uv_handle_t *)&port->retry)) ||
		port->opening)
		try_now(port);
	settle(port);
}

static void close_line_work(uv_work_t *work)
{
	struct line *line = work->data;

	serial_link_close(&line->link);
}

void serial_port_line_idle(struct line *line)
{
	if (line->polled || line->jobs)
		return;
	line->work.data = line;
	uv_queue_work(line->port->loop, &line->work, close_line_work, line_closed);
}

static void poll_closed(uv_handle_t *handle)
{
	struct line *line = (struct line *)handle;

	line->polled = false;
	serial_port_line_idle(line);
}

static void close_line(struct line *line)
{
	line->closing = true;
	if (line->polled)
		uv_close((uv_handle_t *)&line->poll, poll_closed);
	else
		serial_port_line_idle(line);
}

static void handle_closed(uv_handle_t *handle)
{
	struct serial_port *port = handle->data;

	port->handles--;
	settle(port);
}

/* --- what the kernel counts ------------------------------------------------------------------- */

static void tell_counts(struct serial_port *port)
{
	const struct serial_counts *c = &port->counted, *t = &port->told;
	char text[1024];

	snprintf(text, sizeof(text),
		"%s: the kernel counted %d bytes lost in the UART, %d lost in its buffer, %d framing "
		"errors, %d parity errors since the last such note: what the console shows is not all",
		port->name, c->overrun - t->overrun, c->buf_overrun - t->buf_overrun,
		c->frame - t->frame, c->parity - t->parity);
	port->told = *c;
	port->told_ns = uv_hrtime();
	if (port->handlers->note)
		port->handlers->note(port->arg, text);
}

static bool counted_more(const struct serial_counts *now, const struct serial_counts *then)
{
	return now->overrun != then->overrun || now->buf_overrun != then->buf_overrun ||
	       now->frame != then->frame || now->parity != then->parity;
}

/* Looks whether bytes were lost or damaged; tells at once, then at most every ten seconds, and at
 * the end. */
static void look_at_counts(struct serial_port *port, bool last)
{
	if (!port->counts || !port->line)
		return;
	serial_backend->counts(port->line->link.fd, &port->counted);
	if (counted_more(&port->counted, &port->told) &&
		(last || !port->told_ns || uv_hrtime() - port->told_ns >= NOTE_EVERY_NS))
		tell_counts(port);
}

/* --- reading ---------------------------------------------------------------------------------- */

void serial_port_take_in(struct serial_port *port, size_t most)
{
	struct line *line = port->line;
	size_t total = 0;
	ssize_t n;

	while (port->line == line && total < most) {
		n = read(line->link.fd, port->in, IN_SIZE);
		if (n > 0) {
			total += (size_t)n;
			if (port->handlers->bytes && (!port->shared || port->locked))
				port->handlers->bytes(port->arg, port->in, (size_t)n);
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else if (n < 0 && errno == EAGAIN) {
			break;
		} else {
			lose(port, "went away: was it unplugged, or did its hub lose power?");
		}
	}
	if (total)
		look_at_counts(port, false);
}

void serial_port_drain(struct serial_port *port)
{
	if (port->line && (!port->shared || port->locked))
		serial_port_take_in(port, DRAIN_MAX);
}

static void polled(uv_poll_t *poll, int status, int events)
{
	struct line *line = (struct line *)poll;
	struct serial_port *port = line->port;

	/* what came before it went away is there to be read */
	if (!line->closing && (status < 0 || (events & (UV_READABLE | UV_DISCONNECT))))
		serial_port_take_in(
			port, status < 0 || (events & UV_DISCONNECT) ? DRAIN_MAX : IN_SIZE);
	if (!line->closing && (events & UV_WRITABLE))
		push(port);
	if (!line->closing && (status < 0 || (events & UV_DISCONNECT)))
		lose(port, "went away: was it unplugged, or did its hub lose power?");
}

void serial_port_poll(struct serial_port *port)
{
	int events = UV_DISCONNECT;

	if (!port->line)
		return;
	if (!port->shared || port->locked)
		events |= UV_READABLE;
	if (port->first)
		events |= UV_WRITABLE;
	uv_poll_start(&port->line->poll, events, polled);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void unlink_sending(struct serial_port *port, struct sending *s)
{
	struct sending **p = &port->first;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	if (!s->next)
		port->last = p;
}

/* Sends what waits, as much as the kernel takes. */
static void push(struct serial_port *port)
{
	struct sending *s;
	ssize_t n;

	while (port->line && (s = port->first)) {
		n = s->len ? write(port->line->link.fd, s->data + s->off, s->len - s->off) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			lose(port, "went away while bytes were sent: was it unplugged?");
			return;
		}
		if (n < 0 || (n == 0 && s->len))
			break;
		s->off += (size_t)n;
		if (s->off < s->len)
			continue;
		unlink_sending(port, s);
		serial_port_end_op(&s->op, ERR_NONE, NULL);
		free(s);
	}
	serial_port_poll(port);
}

static void fail_sendings(struct serial_port *port, enum err_code code, const char *why)
{
	struct sending *s;

	while ((s = port->first)) {
		unlink_sending(port, s);
		serial_port_end_op(
			&s->op, code, "%s: %zu of %zu bytes were sent", why, s->off, s->len);
		free(s);
	}
}

static void give_up_sending(struct op *op, void *arg)
{
	struct sending *s = arg;
	struct serial_port *port = s->port;

	(void)op;
	unlink_sending(port, s);
	free(s);
	serial_port_poll(port);
}

void serial_port_write(struct serial_port *port, const char *data, size_t len, struct op *op)
{
	struct sending *s;
	bool idle = !port->first;

	if (!port->line) {
		serial_port_not_open(port, op);
		return;
	}
	s = malloc(sizeof(*s) + len);
	if (!s) {
		serial_port_end_op(&op, ERR_NOMEM, "out of memory");
		return;
	}
	*s = (struct sending){.port = port, .op = op, .len = len};
	memcpy(s->data, data, len);
	*port->last = s;
	port->last = &s->next;
	if (op)
		op_on_cancel(op, give_up_sending, s);
	if (idle)
		push(port);
}

/* --- waiting for it to come back -------------------------------------------------------------- */

static void watch_closed(uv_handle_t *handle)
{
	struct watch *watch = (struct watch *)handle;
	struct serial_port *port = watch->port;

	close(watch->fd);
	free(watch);
	port->handles--;
	settle(port);
}

static void stop_watching(struct serial_port *port)
{
	uv_timer_stop(&port->retry);
	if (port->watch)
		uv_close((uv_handle_t *)&port->watch->poll, watch_closed);
	port->watch = NULL;
}

/* A device came, or udev has set who may use it. */
static void came(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = (struct watch *)poll;
	char names[4096];

	(void)status;
	(void)events;
	while (read(watch->fd, names, sizeof(names)) > 0)
		;
	try_now(watch->port);
}

/* Without inotify the timer alone has to do. */
static void start_watching(struct serial_port *port)
{
	struct watch *watch = port->watch ? NULL : calloc(1, sizeof(*watch));

	if (!watch)
		return;
	watch->port = port;
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->fd < 0 ||
		inotify_add_watch(watch->fd, serial_dev_dir,
			IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR) < 0 ||
		uv_poll_init(port->loop, &watch->poll, watch->fd) != 0) {
		if (watch->fd >= 0)
			close(watch->fd);
		free(watch);
		return;
	}
	port->watch = watch;
	port->handles++;
	uv_poll_start(&watch->poll, UV_READABLE, came);
}

/* Everything that is under way on the line ends. */
static void fail_all(struct serial_port *port, enum err_code code, const char *why)
{
	serial_port_lines_fail(port, code, why);
	fail_sendings(port, code, why);
}

static void lose(struct serial_port *port, const char *why)
{
	struct line *line = port->line;
	char reason[768];

	look_at_counts(port, true);
	if (port->line != line)
		return; /* closed by who heard of it */
	snprintf(reason, sizeof(reason), "%s %s", port->name, why);
	port->line = NULL;
	port->locked = false;
	port->state = PORT_GONE;
	port->lost_ns = uv_hrtime();
	close_line(line);
	start_watching(port);
	if (port->handlers->lost)
		port->handlers->lost(port->arg, reason);
	fail_all(port, port->may_be_absent ? ERR_DUT : ERR_BENCH, reason);
	if (port->state == PORT_GONE)
		try_now(port);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void attempt_work(uv_work_t *work)
{
	struct attempt *a = work->data;

	a->code = serial_link_open(
		&a->line->link, &a->want, &a->port->settings, a->port->shared, &a->e);
}

static int attach(struct serial_port *port, struct line *line, struct err *e)
{
	int ret = uv_poll_init(port->loop, &line->poll, line->link.fd);

	if (ret != 0)
		return err_set(e, ERR_BENCH, "%s: it cannot be waited for: %s",
			line->link.place.path, uv_strerror(ret));
	line->polled = true;
	port->line = line;
	port->state = PORT_UP;
	port->dtr = port->settings.dtr;
	port->rts = port->settings.rts;
	port->in_break = false;
	serial_place_text(&line->link.place, port->name, sizeof(port->name));
	/* the next one to bear that file's name may be another */
	if (port->want.path[0] && !port->known)
		port->known = serial_want_of(&line->link.place, &port->again);
	port->counts = serial_backend->counts(line->link.fd, &port->counted);
	port->told = port->counted;
	serial_port_poll(port);
	return 0;
}

static void up(struct serial_port *port)
{
	uint64_t gone_ms = (uv_hrtime() - port->lost_ns) / 1000000;
	bool was_lost = port->lost_ns != 0;

	stop_watching(port);
	port->lost_ns = 0;
	if (was_lost && port->handlers->back)
		port->handlers->back(port->arg, port->name, gone_ms);
	serial_port_end_op(&port->opening, ERR_NONE, NULL);
}

static void not_up(struct serial_port *port, const struct err *e)
{
	if (port->state == PORT_IDLE && port->may_be_absent && e->code == ERR_GONE &&
		port->opening) {
		port->state = PORT_GONE;
		port->lost_ns = uv_hrtime();
		start_watching(port);
		port->try_again = true; /* it may have come before it was watched for */
		serial_port_end_op(&port->opening, ERR_NONE, NULL);
	} else if (port->opening) {
		serial_port_end_op(
			&port->opening, e->code == ERR_GONE ? ERR_BENCH : e->code, "%s", e->msg);
	}
	if (port->state != PORT_GONE)
		return;
	if (port->try_again)
		try_now(port);
	else if (e->code != ERR_GONE || !port->watch)
		uv_timer_start(&port->retry, retry, RETRY_MS, 0);
}

static void attempted(uv_work_t *work, int status)
{
	struct attempt *a = work->data;
	struct serial_port *port = a->port;
	struct line *line = a->line;
	struct err e = a->e;
	int code = a->code;

	(void)status;
	port->attempt = NULL;
	free(a);
	if (code) {
		free(line);
		port->lines--;
	} else if (port->closing || (port->state == PORT_IDLE && !port->opening)) {
		close_line(line);
	} else if ((code = attach(port, line, &e)) != 0) {
		close_line(line);
	}
	if (port->closing)
		settle(port);
	else if (code)
		not_up(port, &e);
	else if (port->line)
		up(port);
}

static void retry(uv_timer_t *timer)
{
	try_now(timer->data);
}

/* Tries to open it, unless that is being tried, or the last line is not closed yet: its end is the
 * next occasion. */
static void try_now(struct serial_port *port)
{
	struct attempt *a;

	uv_timer_stop(&port->retry);
	port->try_again = port->attempt != NULL;
	if (port->attempt || port->lines || port->closing)
		return;
	a = calloc(1, sizeof(*a));
	if (a)
		a->line = calloc(1, sizeof(*a->line));
	if (!a || !a->line) {
		free(a);
		serial_port_end_op(&port->opening, ERR_NOMEM, "out of memory");
		uv_timer_start(&port->retry, retry, RETRY_MS, 0);
		return;
	}
	a->port = a->line->port = port;
	a->want = port->known ? port->again : port->want;
	a->work.data = a;
	port->attempt = a;
	port->lines++;
	uv_queue_work(port->loop, &a->work, attempt_work, attempted);
}

static void give_up_opening(struct op *op, void *arg)
{
	struct serial_port *port = arg;

	(void)op;
	port->opening = NULL;
}

void serial_port_open(struct serial_port *port, struct op *op)
{
	if (port->closing) {
		serial_port_not_open(port, op);
	} else if (port->line) {
		op_done(op, NULL);
	} else if (port->opening) {
		op_failf(op, ERR_BUSY, "%s is being opened already", port->name);
	} else {
		port->opening = op;
		op_on_cancel(op, give_up_opening, port);
		try_now(port);
	}
}

void serial_port_close(struct serial_port *port, void (*closed)(void *arg), void *arg)
{
	struct line *line;
	char why[600];

	look_at_counts(port, true);
	line = port->line;
	port->closing = true;
	port->closed = closed;
	port->closed_arg = arg;
	port->line = NULL;
	port->state = PORT_IDLE;
	snprintf(why, sizeof(why), "%s was closed", port->name);
	serial_port_end_op(&port->opening, ERR_GONE, "%s", why);
	fail_all(port, ERR_GONE, why);
	if (line)
		close_line(line);
	stop_watching(port);
	port->handles += 3;
	uv_close((uv_handle_t *)&port->retry, handle_closed);
	uv_close((uv_handle_t *)&port->break_timer, handle_closed);
	uv_close((uv_handle_t *)&port->lock_timer, handle_closed);
}
