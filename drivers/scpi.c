#include "scpi.h"

#include "scpi_io.h"

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
	struct scpi_io *io;
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
	char guess[LINE_SIZE]; /* what its name may be */
	bool asked_twice;
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
	scpi_io_drop(s->io);
	tell_waiting(s, &why, NULL);
}

static void send_line(struct scpi *s, const char *line)
{
	char text[300];
	int n = snprintf(text, sizeof(text), "%.256s%s", line, s->line_end);

	scpi_io_send(s->io, text, (size_t)n);
}

static void sync_start(struct scpi *s)
{
	s->state = SYNCING;
	s->out_of_step = false;
	s->asked_twice = false;
	s->guess[0] = '\0';
	s->len = 0;
	s->too_long = false;
	send_line(s, s->ask_id);
	wait_for_answer(s);
}

static void connect_anew(struct scpi *s)
{
	uv_timer_stop(&s->patience);
	scpi_io_drop(s->io);
	s->state = CONNECTING;
	s->fresh = true;
	scpi_io_connect(s->io, s->connect_ms);
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

/*
 * Whether a line that came while it was asked who it is says so. What is said at first is its name
 * from then on. On a line where an answer to somebody else's question may still come the name must
 * be said twice.
 */
static bool is_its_name(struct scpi *s)
{
	if (s->id[0])
		return strcmp(s->line, s->id) == 0;
	if (scpi_io_may_be_stale(s->io) && strcmp(s->line, s->guess) != 0) {
		memcpy(s->guess, s->line, s->len + 1);
		if (!s->asked_twice)
			send_line(s, s->ask_id);
		s->asked_twice = true;
		return false;
	}
	memcpy(s->id, s->line, s->len + 1);
	return true;
}

static void line_came(struct scpi *s)
{
	struct err e;

	if (s->state == SYNCING) {
		/* what comes before it was meant for another question */
		if (!is_its_name(s))
			return;
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

static void io_in(void *arg, const char *data, size_t len)
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

static void io_up(void *arg)
{
	sync_start(arg);
}

static void io_down(void *arg, const struct err *e)
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

static const struct scpi_io_handlers io_handlers = {io_up, io_down, io_in};

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
	if (s->state == DOWN || !scpi_io_is_up(s->io))
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
		scpi_io_drop(s->io);
		s->state = DOWN;
		uv_timer_stop(&s->patience);
	}
}

const char *scpi_port(const struct scpi *s)
{
	return scpi_io_port(s->io);
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

struct scpi *scpi_create(uv_loop_t *loop, json_t *options, struct err *e)
{
	struct scpi *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	s->loop = loop;
	if (!take_options(s, options, e))
		s->io = scpi_io_create(loop, options, &io_handlers, s, e);
	if (!s->io) {
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

static void io_closed(void *arg)
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
	scpi_io_destroy(s->io, io_closed, s);
	uv_close((uv_handle_t *)&s->patience, patience_closed);
}
