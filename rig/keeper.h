/*
 * A board's keeper: holds its lock and its devices, serves the keeper's part of docs/protocol.md,
 * and makes the board safe before it lets the lock go, however it ends.
 */
#ifndef RIG_KEEPER_H
#define RIG_KEEPER_H

struct driver;

struct keeper_options {
	int fd; /* the owner's connection; taken */
	const struct driver *(*find_driver)(const char *name);
	unsigned safe_within_ms; /* bound on making safe; 0: 10 s */
};

/*
 * Serves until the lease is over. Returns the process's exit status: 0 when the board was left
 * safe (or was never taken), 1 when it could not be opened or not be made safe. Handles SIGTERM,
 * SIGINT and SIGHUP as the end of the lease.
 */
int keeper_run(const struct keeper_options *options);

#endif
