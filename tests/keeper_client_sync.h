/*
 * For tests of the keeper: a client that waits, so that a test reads from top to bottom. One
 * message a line; notifications that come meanwhile are kept.
 */
#ifndef TESTS_KEEPER_CLIENT_SYNC_H
#define TESTS_KEEPER_CLIENT_SYNC_H

#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 20000 /* until a test gives up; no claim is made about time */

struct peer {
	int fd;
	int next_id;
	char *in;
	size_t len, size;
	json_t *notes;   /* notifications so far */
	json_t *answers; /* answers nobody asked for yet */
};

static inline struct peer *peer_create(int fd)
{
	struct peer *p = calloc(1, sizeof(*p));

	p->fd = fd;
	p->notes = json_array();
	p->answers = json_array();
	return p;
}

static inline void peer_destroy(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	json_decref(p->notes);
	json_decref(p->answers);
	free(p->in);
	free(p);
}

static inline void peer_write(struct peer *p, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(p->fd, text, len);

		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

/* One message, or NULL at the end of the connection or of patience. */
static inline json_t *peer_read(struct peer *p, int wait_ms)
{
	for (;;) {
		char *nl = p->len ? memchr(p->in, '\n', p->len) : NULL;
		struct pollfd poll_fd = {.fd = p->fd, .events = POLLIN};
		ssize_t n;

		if (nl) {
			json_t *message = json_loadb(p->in, (size_t)(nl - p->in), 0, NULL);

			p->len -= (size_t)(nl + 1 - p->in);
			memmove(p->in, nl + 1, p->len);
			return message;
		}
		if (p->size - p->len < 65536) {
			p->size = p->len + (1 << 17);
			p->in = realloc(p->in, p->size);
		}
		if (poll(&poll_fd, 1, wait_ms) <= 0)
			return NULL;
		n = read(p->fd, p->in + p->len, p->size - p->len);
		if (n <= 0)
			return NULL;
		p->len += (size_t)n;
	}
}

static inline void peer_sort(struct peer *p, json_t *message)
{
	json_array_append_new(json_object_get(message, "method") ? p->notes : p->answers, message);
}

/* Sends a call; params as json_pack() takes them, NULL for none. Returns its id. */
static inline int peer_send(struct peer *p, const char *method, json_t *params)
{
	json_t *message = json_pack("{s:s, s:i, s:s, s:o*}", "jsonrpc", "2.0", "id", ++p->next_id,
		"method", method, "params", params);
	char *text = json_dumps(message, JSON_COMPACT);
	size_t len = strlen(text);

	text[len] = '\n';
	peer_write(p, text, len + 1);
	free(text);
	json_decref(message);
	return p->next_id;
}

/* The whole answer of a call, a new reference; NULL when the connection ended. */
static inline json_t *peer_wait(struct peer *p, int id)
{
	json_t *message;

	for (;;) {
		for (size_t i = 0; i < json_array_size(p->answers); i++) {
			message = json_array_get(p->answers, i);
			if (json_integer_value(json_object_get(message, "id")) == id) {
				json_incref(message);
				json_array_remove(p->answers, i);
				return message;
			}
		}
		message = peer_read(p, PATIENCE_MS);
		if (!message)
			return NULL;
		peer_sort(p, message);
	}
}

static inline json_t *peer_call(struct peer *p, const char *method, json_t *params)
{
	return peer_wait(p, peer_send(p, method, params));
}

/* Waits for a notification and takes it; NULL when the connection ended. */
static inline json_t *peer_note(struct peer *p, const char *method)
{
	json_t *message;

	for (;;) {
		for (size_t i = 0; i < json_array_size(p->notes); i++) {
			message = json_array_get(p->notes, i);
			if (strcmp(json_string_value(json_object_get(message, "method")), method) ==
				0) {
				json_incref(message);
				json_array_remove(p->notes, i);
				return message;
			}
		}
		message = peer_read(p, PATIENCE_MS);
		if (!message)
			return NULL;
		peer_sort(p, message);
	}
}

/* Reads until the peer closes the connection. */
static inline void peer_drain(struct peer *p)
{
	json_t *message;

	while ((message = peer_read(p, PATIENCE_MS)))
		peer_sort(p, message);
}

/* Of an answer: the error's name, "none" when it succeeded, "(closed)" without an answer. */
static inline const char *answer_error(const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	const char *name =
		json_string_value(json_object_get(json_object_get(error, "data"), "name"));

	if (!answer)
		return "(closed)";
	return error ? (name ? name : "(no name)") : "none";
}

static inline const char *answer_message(const json_t *answer)
{
	const char *text =
		json_string_value(json_object_get(json_object_get(answer, "error"), "message"));

	return text ? text : "(no message)";
}

#endif
