/*
 * The Lua host: one sandboxed state for a run's scenario, a coroutine (a task) per item.
 *
 * A script waits by yielding to this host and never in C: each wait is handed to the owner through
 * the hooks, and the owner resumes the task exactly once per wait. A script is stopped by dropping
 * its task, never by an error that it could catch. The state knows nothing of keepers or devices.
 *
 * A script that is stuck in one call of a library function, where it cannot be stopped, gets the
 * process SIGVTALRM after 10 seconds of processor time: whoever has a host handles that or is
 * ended.
 */
#ifndef RIG_LUA_HOST_H
#define RIG_LUA_HOST_H

#include "err.h"

#include <jansson.h>
#include <stdbool.h>

struct host;
struct task;

struct host_hooks {
	/*
	 * A script waits for something: method with params (borrowed), on the task's board or, for
	 * methods that begin with "host.", on the run itself. The owner calls host_resume() later,
	 * from the loop, never from within this hook.
	 */
	void (*wait)(void *arg, struct task *task, const char *method, json_t *params);
	/*
	 * A script did something that needs no waiting: a record for the journal. Steals fields.
	 * Returns 0 or a negative error, which stops the run: the script cannot catch it.
	 */
	int (*record)(
		void *arg, struct task *task, const char *kind, json_t *fields, struct err *e);
	/*
	 * The item is over. outcome is borrowed: {"verdict", "error": {code, message, where,
	 * traceback}, "skipped": reason}. The task is freed after the hook returns.
	 */
	void (*finished)(void *arg, struct task *task, json_t *outcome);
	/* A script has run for long without waiting; resume it with host_continue() from the loop.
	 */
	void (*busy)(void *arg, struct task *task);
};

/*
 * Loads the scenario. data_dir holds rig/board.lua, boards/ and scenarios/; the scenario may
 * require "rig", "boards.X" (beside the bench's configuration first, then data_dir) and
 * "scenarios.lib.X". Errors: ERR_CONFIG with file and line. The owner frees it with host_destroy().
 */
struct host *host_create(const char *scenario_path, const char *config_dir, const char *data_dir,
	const struct host_hooks *hooks, void *arg, struct err *e);

/* Drops every task and frees. NULL is accepted. */
void host_destroy(struct host *host);

/* {"name", "over", "needs": […], "about", "kinds": […], "order"}; borrowed until host_destroy(). */
const json_t *host_scenario(const struct host *host);

/*
 * Starts an item: context = {"board": the board object, "item": …, "options": …, "seed",
 * "releases": …}, borrowed. The task's first steps run before this returns, so hooks may be called
 * from within, the last of them finished; the task is known to the owner by what they get.
 * ERR_SCRIPT when it could not be made.
 */
int host_start(struct host *host, json_t *context, void *owner, struct err *e);

/* The owner's pointer given to host_start(). */
void *host_task_owner(const struct task *task);

/* Ends the task's wait: with an error (the script sees it raised), or with result (borrowed, may be
 * NULL). */
void host_resume(struct task *task, const struct err *e, json_t *result);

/* Goes on after the busy hook. */
void host_continue(struct task *task);

/* Stops a task where it waits; nothing of it runs any more. */
void host_drop(struct task *task);

#endif
