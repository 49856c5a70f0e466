/*
 * HTTP requests on the loop, by libcurl.
 */
#ifndef DRIVERS_HTTP_H
#define DRIVERS_HTTP_H

#include "../rig/err.h"

#include <stdbool.h>
#include <uv.h>

struct http;
struct http_request;

/* NULL: out of memory. */
struct http *http_create(uv_loop_t *loop);

/* Called exactly once, from the loop. Either e is not NULL (ERR_BENCH: no answer, one line), or
 * status is the answer's, and body its first bytes, as text. */
typedef void http_done_fn(void *arg, const struct err *e, long status, const char *body);

/* GET of url within timeout_ms. No redirection is followed, and no proxy is used. NULL: out of
 * memory. */
struct http_request *http_get(
	struct http *http, const char *url, unsigned timeout_ms, http_done_fn *done, void *arg);

/* Ends a request whose done was not called; it is not called then. */
void http_cancel(struct http_request *request);

/* text as it may stand in a query; for free(). NULL: out of memory. */
char *http_escape(const char *text);

/* Cancels what is under way; closed() is called when nothing of it is left on the loop. */
void http_destroy(struct http *http, void (*closed)(void *arg), void *arg);

#endif
