#include "scpi.h"

#include "tcp_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 512

enum state {
	DOWN,
	CONNECTING,
	SYNCING, /* it was asked who it is */
	IN_STEP
};

struct scpi {
	uv_loop_t *loop;
	struct tcp_link *link;
	char *ask_id;
	const char *line_end;
	unsigned connect_ms, answer_ms;
	enum state state;
	bool out_of_step; /* an answer may come that nobody waits for */
	bool fresh;       /* the connection was made for who waits now */
	uv_timer_t patience;
	scpi_ready_fn *ready;
	scpi_answer_fn *answer;
	void *arg;          /* of either */
	bool open_question; /* its answer has not come */
	char question[64];  /* for messages */
	char id[LINE_SIZE];
	char line[LINE_SIZE];
	size_t len;
	bool too_long;
	unsigned handles;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void patience_over(uv_timer_t *timer);
static void sync_start(struct scpi *s);

static void wait_for_answer(struct scpi *s)
{
	uv_update_time(s->loop);
	uv_timer_start(&s->patience, patience_over, s->answer_ms, 0);
}

/* Whoever waits hears of it, once. */
static void tell_waiting(struct scpi *s, const struct err *e, const char *answer)
{
	scpi_ready_fn *ready = s->ready;
	scpi_answer_fn *done = s->answer;

	s->ready = NULL;
	s->answer = NULL;
	s->open_question = false;
	uv_timer_stop(&s->patience);
	if (ready)
		ready(s->arg, e);
	else if (done)
		done(s->arg, e, answer);
}

static void go_down(struct scpi *s, const struct err *e)
{
	struct err why = *e;

	s->state = DOWN;
	tcp_link_drop(s->link, &why);
	tell_waiting(s, &why, NULL);
}

static void send_line(struct scpi *s, const char *line)
{
	char text[300];
	int n = snprintf(text, sizeof(text), "%.256s%s", line, s->line_end);

	tcp_link_write(s->link, text, (size_t)n, NULL);
}

static void sync_start(struct scpi *s)
{
	s->state = SYNCING;
	s->out_of_step = false;
	s->len = 0;
	s->too_long = false;
	send_line(s, s->ask_id);
	wait_for_answer(s);
}

static void connect_anew(struct scpi *s)
{
	uv_timer_stop(&s->patience);
	tcp_link_drop(s->link, NULL);
	s->state = CONNECTING;
	s->fresh = true;
	tcp_link_connect(s->link, s->connect_ms);
}

static void patience_over(uv_timer_t *timer)
{
	struct scpi *s = timer->data;
	struct err e;

	if (s->state == SYNCING && !s->fresh) {
		connect_anew(s);
		return;
	}
	s->out_of_step = true;
	if (s->state == IN_STEP && s->ready) { /* what was given up is not answered */
		s->open_question = false;
		sync_start(s);
		return;
	}
	if (s->state == SYNCING) {
		err_set(&e, ERR_BENCH,
			"the instrument is connected, and does not answer %.60s%s within %u ms",
			s->ask_id, s->id[0] ? " as before" : "", s->answer_ms);
		go_down(s, &e);
	} else {
		err_set(&e, ERR_BENCH, "no answer to \"%s\" within %u ms (answer_ms)", s->question,
			s->answer_ms);
		tell_waiting(s, &e, NULL);
	}
}

/* --- lines that come in ----------------------------------------------------------------------- */

static void line_came(struct scpi *s)
{
	struct err e;

	if (s->state == SYNCING) {
		/* what comes before it was meant for another question */
		if (s->id[0] && strcmp(s->line, s->id) != 0)
			return;
		memcpy(s->id, s->line, s->len + 1);
		s->state = IN_STEP;
		tell_waiting(s, NULL, NULL);
	} else if (s->open_question && s->too_long && s->ready) {
		s->open_question = false;
		sync_start(s);
	} else if (s->open_question && s->too_long) {
		s->out_of_step = true;
		err_set(&e, ERR_BENCH, "the answer to \"%s\" has no end", s->question);
		tell_waiting(s, &e, NULL);
	} else if (s->open_question) {
		char answer[LINE_SIZE];

		memcpy(answer, s->line, s->len + 1);
		tell_waiting(s, NULL, answer);
	} else {
		s->out_of_step = true;
	}
}

static void link_in(void *arg, const char *data, size_t len)
{
	struct scpi *s = arg;

	for (size_t i = 0; i < len; i++) {
		char c = data[i];

		if (c == '\n' || c == '\r') {
			s->line[s->len] = '\0';
			if (s->len) /* CR LF ends a line once */
				line_came(s);
			s->len = 0;
			s->too_long = false;
		} else if (s->len < sizeof(s->line) - 1) {
			s->line[s->len++] = c >= ' ' && c <= '~' ? c : '?';
		} else {
			s->too_long = true;
		}
	}
}

static void link_up(void *arg)
{
	sync_start(arg);
}

static void link_down(void *arg, const struct err *e)
{
	struct scpi *s = arg;

	if (!s->ready || s->fresh) {
		go_down(s, e);
		return;
	}
	/* the connection was an old one */
	s->open_question = false;
	connect_anew(s);
}

static const struct tcp_link_handlers link_handlers = {link_up, link_down, link_in};

/* --- what is asked ---------------------------------------------------------------------------- */

void scpi_ready(struct scpi *s, scpi_ready_fn *done, void *arg)
{
	if (s->state == IN_STEP && !s->out_of_step && !s->open_question) {
		done(arg, NULL);
		return;
	}
	s->ready = done;
	s->arg = arg;
	s->fresh = false;
	if (s->open_question)
		return; /* what was given up is waited for first */
	if (s->state == DOWN || !tcp_link_is_up(s->link))
		connect_anew(s);
	else
		sync_start(s);
}

void scpi_tell(struct scpi *s, const char *line)
{
	if (s->state == IN_STEP)
		send_line(s, line);
}

void scpi_ask(struct scpi *s, const char *line, scpi_answer_fn *done, void *arg)
{
	s->answer = done;
	s->arg = arg;
	s->open_question = true;
	snprintf(s->question, sizeof(s->question), "%s", line);
	send_line(s, line);
	wait_for_answer(s);
}

void scpi_give_up(struct scpi *s)
{
	s->ready = NULL;
	s->answer = NULL;
	if (s->state == CONNECTING || s->state == SYNCING) {
		tcp_link_drop(s->link, NULL);
		s->state = DOWN;
		uv_timer_stop(&s->patience);
	}
}

const char *scpi_id(const struct scpi *s)
{
	return s->id;
}

/* --- its life --------------------------------------------------------------------------------- */

static int take_options(struct scpi *s, json_t *given, struct err *e)
{
	json_int_t connect_ms = json_integer_value(json_object_get(given, "connect_ms"));
	json_int_t answer_ms = json_integer_value(json_object_get(given, "answer_ms"));
	const char *end = json_string_value(json_object_get(given, "line_end"));

	if (connect_ms < 10 || connect_ms > 30000 || answer_ms < 10 || answer_ms > 30000)
		return err_set(e, ERR_CONFIG, "connect_ms and answer_ms must be 10 to 30000");
	s->connect_ms = (unsigned)connect_ms;
	s->answer_ms = (unsigned)answer_ms;
	s->line_end = strcmp(end, "lf") == 0     ? "\n"
		      : strcmp(end, "cr") == 0   ? "\r"
		      : strcmp(end, "crlf") == 0 ? "\r\n"
						 : NULL;
	if (!s->line_end)
		return err_set(e, ERR_CONFIG, "line_end must be lf, cr or crlf");
	if (!json_string_value(json_object_get(given, "ask_id"))[0])
		return err_set(e, ERR_CONFIG, "ask_id must not be empty: it keeps answers in step");
	return 0;
}

static int take_link(struct scpi *s, json_t *given, struct err *e)
{
	const char *host = json_string_value(json_object_get(given, "host"));
	json_int_t port = json_integer_value(json_object_get(given, "port"));

	if (!host)
		return err_set(e, ERR_CONFIG, "host is missing: where is the instrument?");
	if (port < 1 || port > 65535)
		return err_set(e, ERR_CONFIG, "port must be 1 to 65535");
	s->link = tcp_link_create(s->loop, host, (unsigned)port, &link_handlers, s);
	return s->link ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

struct scpi *scpi_create(uv_loop_t *loop, json_t *options, struct err *e)
{
	struct scpi *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	s->loop = loop;
	if (take_options(s, options, e) || take_link(s, options, e)) {
		free(s);
		return NULL;
	}
	s->ask_id = strdup(json_string_value(json_object_get(options, "ask_id")));
	if (!s->ask_id)
		abort();
	uv_timer_init(loop, &s->patience);
	s->patience.data = s;
	return s;
}

static void part_closed(struct scpi *s)
{
	void (*closed)(void *arg) = s->closed;
	void *arg = s->closed_arg;

	if (--s->handles)
		return;
	free(s->ask_id);
	free(s);
	closed(arg);
}

static void link_closed(void *arg)
{
	part_closed(arg);
}

static void patience_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

void scpi_destroy(struct scpi *s, void (*closed)(void *arg), void *arg)
{
	s->ready = NULL;
	s->answer = NULL;
	s->closed = closed;
	s->closed_arg = arg;
	s->handles = 2;
	tcp_link_destroy(s->link, link_closed, s);
	uv_close((uv_handle_t *)&s->patience, patience_closed);
}
