/*
 * The virtual board on the host as a bench in the guest has it (docs/bench-vm.md, "The board"): its
 * power on a relay's line, its flash operations as edges of another, its UART on an FTDI port, and
 * its probe where OpenOCD looks for it.
 */
#ifndef TESTS_VM_VM_BOARD_H
#define TESTS_VM_VM_BOARD_H

#include "fixtures/bench-vm/bridge.h"
#include "vm.h"

#include <inttypes.h>
#include <jansson.h>
#include <sys/mman.h>

#define VM_BOARD_FLASH 0 /* lines of the bank */
#define VM_BOARD_RELAY 1
#define VM_BOARD_SERIAL "RIG3"

struct vm_board {
	struct vm_gpio gpio; /* label "rig:board", lines "FLASH" and "RELAY" */
	pid_t bridge;
	const volatile struct bridge_times *times;
};

/* Joins the wires. The board is off until RELAY is high. */
static inline void vm_board_join(struct vm_board *b)
{
	static const char *const names[] = {"FLASH", "RELAY", NULL};
	double until = vm_now_s() + VM_WITHIN_S;
	void *map;
	int fd;

	vm_gpio_bank_create(&b->gpio, "board", 2, names);
	unlink(BRIDGE_TIMES);
	b->bridge = vm_start((const char *const[]){"bridge_guest", b->gpio.sim, "0", "1", NULL});
	vm_wait_for(BRIDGE_TIMES, VM_WITHIN_S);
	fd = open(BRIDGE_TIMES, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	map = mmap(NULL, sizeof(struct bridge_times), PROT_READ, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	close(fd);
	b->times = map;
	/* the file may be found before it has its size */
	for (struct stat st; stat(BRIDGE_TIMES, &st) != 0 || st.st_size == 0 || !b->times->ready;) {
		if (vm_now_s() > until)
			fail_msg("the board's wires are not joined after %d s", VM_WITHIN_S);
		poll(NULL, 0, 10);
	}
}

/* Takes the wires apart again; the lines must have been let go of. */
static inline void vm_board_part(struct vm_board *b)
{
	vm_stop(b->bridge);
	munmap((void *)(uintptr_t)b->times, sizeof(struct bridge_times));
	vm_gpio_bank_destroy(&b->gpio);
}

/* A method of the board's control socket (docs/protocol.md, "Virtual board control"): the truth
 * that a bench does not have. params: JSON. A new reference. */
static inline json_t *vm_board_call(const char *method, const char *params)
{
	char line[1024], answer[4096];
	json_t *result;

	snprintf(line, sizeof(line), "board %s %s", method, params);
	vm_ask(line, answer, sizeof(answer));
	result = json_loads(answer, JSON_DECODE_ANY, NULL);
	if (!result)
		fail_msg("the board, asked \"%s\", said \"%s\"", line, answer);
	return result;
}

static inline json_int_t vm_board_number(const char *method, const char *params, const char *key)
{
	json_t *result = vm_board_call(method, params);
	json_int_t number = json_integer_value(json_object_get(result, key));

	json_decref(result);
	return number;
}

/* Waits until the host has switched the power as the relay says. */
static inline void vm_board_wait_power(const struct vm_board *b, bool on)
{
	double until = vm_now_s() + VM_WITHIN_S;

	while ((b->times->on != 0) != on) {
		if (vm_now_s() > until)
			fail_msg("the board is not %s after %d s", on ? "on" : "off", VM_WITHIN_S);
		poll(NULL, 0, 1);
	}
}

/* One cut, after the power has gone: what it cost, and where the time went. */
struct vm_landing {
	json_int_t wanted, landed; /* flash operations since the mark */
	double whole_ms; /* operation wanted happened … the power was off, on the host */
	double inner_ms; /* its edge was in the guest … the relay's line was seen to turn */
};

/* What told of the operation came at came_ns in the guest, and not with its edge. */
static inline void vm_board_came(const struct vm_board *b, struct vm_landing *l, uint64_t came_ns)
{
	l->inner_ms = (double)(int64_t)(b->times->seen_ns - came_ns) / 1e6;
}

/* Of the cut that was to fall at operation wanted. The rest of whole_ms is transport: the way of
 * the edge to the guest, and of the relay to the host. */
static inline struct vm_landing vm_board_landing(const struct vm_board *b, unsigned wanted)
{
	struct vm_landing l = {.wanted = wanted};
	char params[32];
	json_t *times;

	vm_board_wait_power(b, false);
	/* those done under a debugger count too: the flash has them */
	l.landed = vm_board_number("state", "{}", "operations") +
		   vm_board_number("state", "{}", "probe_operations");
	snprintf(params, sizeof(params), "%u", wanted);
	times = vm_board_call("times", params);
	l.whole_ms = (double)(json_integer_value(json_object_get(times, "off_ns")) -
			      json_integer_value(json_object_get(times, "op_ns"))) /
		     1e6;
	json_decref(times);
	l.inner_ms = (double)(int64_t)(b->times->seen_ns - b->times->pull_ns[wanted - 1]) / 1e6;
	return l;
}

#endif
