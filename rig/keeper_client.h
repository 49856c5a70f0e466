/*
 * The way to a keeper: start one, or connect to the one that lives (docs/protocol.md "Keeper").
 */
#ifndef RIG_KEEPER_CLIENT_H
#define RIG_KEEPER_CLIENT_H

#include "rpc.h"

struct spawned;

/*
 * Starts a keeper and returns its owner's connection in *out; the first call on it must be "open".
 * The keeper runs in a session of its own and appends what it prints to log_path (NULL: to our
 * standard error). It ends by itself when this connection closes, unless it was opened with "hand".
 * child may be NULL; else *child is the caller's, for spawn_destroy(). Returns 0; ERR_BENCH when
 * rig-keeper cannot be started, ERR_IO, ERR_NOMEM.
 */
int keeper_client_spawn(uv_loop_t *loop, const char *log_path, const struct rpc_handlers *handlers,
	void *arg, struct rpc **out, struct spawned **child, struct err *e);

/*
 * Connects to the keeper that holds board. Returns 0 and the connection in *out; ERR_GONE when no
 * keeper lives there; ERR_NOMEM.
 */
int keeper_client_connect(uv_loop_t *loop, const char *state_dir, const char *board,
	const struct rpc_handlers *handlers, void *arg, struct rpc **out, struct err *e);

/*
 * The "owner" of open: {user, host, pid, what} of this process; what says for which purpose ("run
 * 20250110-1", "rig power"). Returns a new object, NULL when out of memory.
 */
json_t *keeper_client_owner(const char *what);

#endif
