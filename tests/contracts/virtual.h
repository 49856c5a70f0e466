/* virtual: a board's process (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_VIRTUAL_H
#define TESTS_CONTRACTS_VIRTUAL_H

#include "../driver_contract.h"
#include "../scratch.h"
#include "rig/rpc.h"

#include <poll.h>
#include <sys/socket.h>

struct virtual_bench {
	void *scratch;
	uv_loop_t *loop;
};

static void *virtual_setup(struct driver_env *env)
{
	struct virtual_bench *b = calloc(1, sizeof(*b));

	assert_int_equal(scratch_setup(&b->scratch), 0);
	b->loop = env->loop;
	env->capability = "power";
	env->board_dir = env->log_dir = ((struct scratch *)b->scratch)->dir;
	return b;
}

/* Sends the board's process a signal, if there is one. */
static void virtual_signal(struct virtual_bench *b, int number)
{
	const char *path = scratch_path(b->scratch, "vboard/control.sock");
	struct ucred who;
	socklen_t len = sizeof(who);
	struct err e;
	int fd = rpc_connect_unix(path, &e);

	if (fd < 0)
		return;
	assert_return_code(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len), 0);
	close(fd);
	kill(who.pid, number);
	while (number == SIGKILL && (fd = rpc_connect_unix(path, &e)) >= 0) {
		close(fd);
		poll(NULL, 0, 1);
	}
}

static void virtual_teardown(void *bench)
{
	struct virtual_bench *b = bench;

	virtual_signal(b, SIGKILL);
	scratch_teardown(&b->scratch);
	free(b);
}

static bool virtual_break_open(void *bench, unsigned step, json_t *options)
{
	virtual_signal(bench, SIGKILL);
	if (step == 0)
		json_object_set_new(options, "program", json_string("/no/such/vboard"));
	else
		json_object_set_new(options, "soc", json_string("none"));
	return step < 2;
}

static void virtual_mend(void *bench)
{
	(void)bench; /* open starts the board's process */
}

static void virtual_start(struct device *dev, struct op *op)
{
	dev->driver->power->get(dev, op);
}

static void virtual_start_stuck(void *bench, struct device *dev, struct op *op)
{
	virtual_signal(bench, SIGSTOP);
	dev->driver->power->get(dev, op);
}

static void virtual_unstick(void *bench)
{
	virtual_signal(bench, SIGCONT);
}

static void virtual_unplug(void *bench)
{
	virtual_signal(bench, SIGKILL);
}

static const struct contract contract_virtual = {"virtual", "{}", virtual_setup, virtual_teardown,
	virtual_break_open, virtual_mend, virtual_start, virtual_start_stuck, virtual_unstick,
	virtual_unplug, false, NULL};

#endif
