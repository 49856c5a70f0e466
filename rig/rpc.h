/*
 * JSON-RPC 2.0 over a stream socket, one message a line (https://www.jsonrpc.org/specification).
 * The one protocol between rig, worker, keeper and virtual board. Both sides may call. Batches are
 * not used and are refused.
 *
 * An error travels as {"code": -32000 - enum err_code, "message": msg, "data": {"name": "bench"}};
 * the peer gets back the same code and text. The standard codes stand for malformed messages.
 */
#ifndef RIG_RPC_H
#define RIG_RPC_H

#include "err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define RPC_LINE_MAX ((size_t)8 << 20) /* bytes; a longer message closes the connection */

struct rpc;

/*
 * A call from the peer that wants an answer; answer it exactly once, at any later time, also when
 * the connection has closed meanwhile.
 */
struct rpc_call;

struct rpc_handlers {
	/*
	 * A request (call is not NULL) or a notification (call is NULL). params is borrowed: an
	 * object, or NULL when there were none.
	 */
	void (*request)(void *arg, struct rpc_call *call, const char *method, json_t *params);
	/* The connection ended: the peer closed it (its sending side suffices), takes no more, or
	 * sent rubbish. Calls that waited have failed
	 * with ERR_GONE before. The owner still calls rpc_destroy(). */
	void (*closed)(void *arg, const struct err *why);
};

/* Reply to rpc_request(): e is NULL on success; result is borrowed. Called exactly once. */
typedef void rpc_reply_fn(void *arg, const struct err *e, json_t *result);

/*
 * Takes the connected stream socket fd, also on failure. NULL: out of memory, or not a stream
 * socket. From then on the process ignores SIGPIPE, unless it handles it otherwise.
 */
struct rpc *rpc_create(uv_loop_t *loop, int fd, const struct rpc_handlers *handlers, void *arg);

/*
 * Fails the calls that wait with ERR_GONE, closes and frees. NULL is accepted. No handler runs
 * after it. What was sent before is still written as far as the socket takes it without waiting.
 */
void rpc_destroy(struct rpc *rpc);

/*
 * Sends a request. Steals params, which may be NULL. timeout_ms 0 means that the peer owns the
 * deadline; it is for calls the peer promised to end. reply runs exactly once, from the loop or,
 * when the connection is closed already, from within this call.
 */
void rpc_request(struct rpc *rpc, const char *method, json_t *params, unsigned timeout_ms,
	rpc_reply_fn *reply, void *arg);

/*
 * The same with params as JSON text, an object, or NULL. For what must go out at once: nothing is
 * made but the line. method must need no escapes in JSON.
 */
void rpc_request_text(struct rpc *rpc, const char *method, const char *params, unsigned timeout_ms,
	rpc_reply_fn *reply, void *arg);

/* Sends a notification. Steals params. Does nothing on a closed connection. */
void rpc_notify(struct rpc *rpc, const char *method, json_t *params);

/* The same with params as rpc_request_text() takes them. */
void rpc_notify_text(struct rpc *rpc, const char *method, const char *params);

/* Answers a call; frees it. Steals result; NULL is sent as null. */
void rpc_answer(struct rpc_call *call, json_t *result);

/* Answers a call with an error; frees it. */
void rpc_answer_err(struct rpc_call *call, const struct err *e);

/* The answer as an op_done_fn: pass a struct rpc_call as arg of op_start(). */
void rpc_answer_op(void *call, const struct err *e, json_t *result);

/* Bytes accepted for sending that the socket did not take yet: a slow reader shows here. */
size_t rpc_backlog_bytes(const struct rpc *rpc);

/* The connection's socket, for SO_PEERCRED; it stays rpc's. */
int rpc_fd(const struct rpc *rpc);

/*
 * Unix sockets by path. A path longer than sun_path is reached through its folder, so it may be of
 * any length. Listening replaces a stale socket file, and fails with ERR_BUSY when someone listens
 * there. mode is the socket file's. Return a close-on-exec fd, non-blocking, or a negative error.
 */
int rpc_listen_unix(const char *path, unsigned mode, struct err *e);
int rpc_connect_unix(const char *path, struct err *e);

#endif
