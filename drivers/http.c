#include "http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define BODY_SIZE 256

struct http {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	struct http_request *requests;
	unsigned watches; /* that are not closed yet */
	bool timer_closed;
	void (*closed)(void *arg);
	void *closed_arg;
};

struct http_request {
	struct http *http;
	struct http_request *next;
	CURL *easy;
	http_done_fn *done;
	void *arg;
	char body[BODY_SIZE];
	size_t len;
	char error[CURL_ERROR_SIZE];
};

/* A socket of libcurl's. */
struct watch {
	uv_poll_t poll;
	struct http *http;
	curl_socket_t socket;
};

static void maybe_closed(struct http *http)
{
	void (*closed)(void *arg) = http->closed;
	void *arg = http->closed_arg;

	if (!http->timer_closed || http->watches)
		return;
	free(http);
	closed(arg);
}

/* --- requests --------------------------------------------------------------------------------- */

/* Of one that is in no list any more. */
static void request_release(struct http_request *r)
{
	curl_multi_remove_handle(r->http->multi, r->easy);
	curl_easy_cleanup(r->easy);
	free(r);
}

static void request_free(struct http_request *r)
{
	struct http_request **at = &r->http->requests;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	request_release(r);
}

void http_cancel(struct http_request *request)
{
	request_free(request);
}

static void request_ended(struct http_request *r, CURLcode code)
{
	struct http_request it = *r;
	struct err e;
	long status = 0;

	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK)
		err_set(&e, ERR_BENCH, "%.300s", r->error[0] ? r->error : curl_easy_strerror(code));
	request_free(r);
	it.done(it.arg, code != CURLE_OK ? &e : NULL, status, it.body);
}

/* Tells of the requests that ended; whoever hears of one may start or cancel others. */
static void tell_ended(struct http *http)
{
	CURLMsg *message;
	int left;

	while (!http->closed && (message = curl_multi_info_read(http->multi, &left))) {
		void *r = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		request_ended(r, message->data.result);
	}
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_request *r = arg;
	size_t n = size * count;

	for (size_t i = 0; i < n && r->len < sizeof(r->body) - 1; i++) {
		char c = data[i];

		r->body[r->len++] = c >= ' ' && c <= '~' ? c : ' ';
	}
	while (r->len && r->body[r->len - 1] == ' ')
		r->len--;
	r->body[r->len] = '\0';
	return n;
}

struct http_request *http_get(
	struct http *http, const char *url, unsigned timeout_ms, http_done_fn *done, void *arg)
{
	struct http_request *r = calloc(1, sizeof(*r));

	if (r)
		r->easy = curl_easy_init();
	if (!r || !r->easy) {
		free(r);
		return NULL;
	}
	r->http = http;
	r->done = done;
	r->arg = arg;
	r->next = http->requests;
	http->requests = r;
	curl_easy_setopt(r->easy, CURLOPT_URL, url);
	curl_easy_setopt(r->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->error);
	curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
	curl_multi_add_handle(http->multi, r->easy);
	return r;
}

char *http_escape(const char *text)
{
	char *escaped = curl_easy_escape(NULL, text, 0);
	char *copy = escaped ? strdup(escaped) : NULL;

	curl_free(escaped);
	return copy;
}

/* --- libcurl on the loop ---------------------------------------------------------------------- */

static void socket_ready(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct http *http = w->http;
	int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;

	flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
	flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
	curl_multi_socket_action(http->multi, w->socket, flags, &running);
	tell_ended(http);
}

static void watch_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;
	struct http *http = w->http;

	free(w);
	http->watches--;
	maybe_closed(http);
}

static struct watch *watch_new(struct http *http, curl_socket_t socket)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w || uv_poll_init_socket(http->loop, &w->poll, socket) != 0) {
		free(w);
		return NULL;
	}
	w->poll.data = w;
	w->http = http;
	w->socket = socket;
	http->watches++;
	curl_multi_assign(http->multi, socket, w);
	return w;
}

static int watch_socket(CURL *easy, curl_socket_t socket, int what, void *arg, void *watch)
{
	struct http *http = arg;
	struct watch *w = watch;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			uv_close((uv_handle_t *)&w->poll, watch_closed);
		curl_multi_assign(http->multi, socket, NULL);
		return 0;
	}
	if (!w)
		w = watch_new(http, socket);
	if (!w)
		return -1;
	events |= what != CURL_POLL_OUT ? UV_READABLE : 0;
	events |= what != CURL_POLL_IN ? UV_WRITABLE : 0;
	uv_poll_start(&w->poll, events, socket_ready);
	return 0;
}

static void timer_over(uv_timer_t *timer)
{
	struct http *http = timer->data;
	int running;

	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	tell_ended(http);
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct http *http = arg;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&http->timer);
	else
		uv_timer_start(&http->timer, timer_over, (uint64_t)timeout_ms, 0);
	return 0;
}

struct http *http_create(uv_loop_t *loop)
{
	struct http *http = calloc(1, sizeof(*http));

	if (http)
		http->multi = curl_multi_init();
	if (!http || !http->multi) {
		free(http);
		return NULL;
	}
	http->loop = loop;
	uv_timer_init(loop, &http->timer);
	http->timer.data = http;
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	return http;
}

static void timer_closed(uv_handle_t *handle)
{
	struct http *http = handle->data;

	http->timer_closed = true;
	maybe_closed(http);
}

void http_destroy(struct http *http, void (*closed)(void *arg), void *arg)
{
	struct http_request *next;

	http->closed = closed;
	http->closed_arg = arg;
	for (struct http_request *r = http->requests; r; r = next) {
		next = r->next;
		request_release(r);
	}
	http->requests = NULL;
	/* its last connections are closed with it, through watch_socket() */
	curl_multi_cleanup(http->multi);
	uv_close((uv_handle_t *)&http->timer, timer_closed);
}
