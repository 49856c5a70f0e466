/*
 * What every driver must do, whatever it drives (drivers/driver.h), as tests. A driver brings a
 * struct contract: how to come by a bench for it, and how to make things go wrong there.
 */
#ifndef TESTS_DRIVER_CONTRACT_H
#define TESTS_DRIVER_CONTRACT_H

#include "driver_bench.h"

#include <poll.h>

/* what a contract leaves out is NULL */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define CONTRACT_WITHIN_MS 10000 /* what a keeper gives a device to be made safe */
#define CONTRACT_TOLD_MS 60000   /* what an event gets to come: it is no deadline of a driver's */

struct contract {
	const char *driver;
	const char *options; /* JSON, on top of the defaults */
	/*
	 * Makes what the device needs to be opened, and fills in env, whose loop and event are set.
	 * teardown comes after every device is closed, and takes away what open started too.
	 */
	void *(*setup)(struct driver_env *env);
	void (*teardown)(void *bench);
	/* Makes open fail at its step'th step, from 0, by changing the bench or the options; mend
	 * takes that back. false: there are no more steps. */
	bool (*break_open)(void *bench, unsigned step, json_t *options);
	void (*mend)(void *bench);
	/* An operation that succeeds. */
	void (*start_good)(struct device *dev, struct op *op);
	/* An operation that is under way when this returns, and does not end before unstick, or for
	 * a second or more. NULL: all that this driver does is done at once. */
	void (*start_stuck)(void *bench, struct device *dev, struct op *op);
	void (*unstick)(void *bench);
	/* The device goes away, in the middle of an operation or not; it is back after mend. */
	void (*unplug)(void *bench);
	bool survives;     /* the next operation takes the device up again, or does without it */
	const char *other; /* options of a second instance beside the first; NULL: the same */
	/* Puts into the options what differs from bench to bench: a path, a port. May be NULL. */
	void (*adapt)(void *bench, json_t *options);
	/* Whether there is power, or the line is asserted: as the bench sees it, whatever the
	 * driver says. NULL: it cannot be seen there, or the driver switches nothing. */
	bool (*is_on)(void *bench);
	const char *quick; /* options that switch sooner than the others; NULL: the same */
	bool tells;        /* "lost" and "back", also when nothing is under way, and is taken up */
};

struct contract_bench {
	const struct contract *contract;
	const struct driver *driver;
	uv_loop_t loop;
	struct driver_env env;
	struct events events;
	json_t *options;
	void *bench;
};

static inline int contract_setup(void **state)
{
	struct contract_bench *b = calloc(1, sizeof(*b));

	b->contract = *state;
	b->driver = driver_find(b->contract->driver);
	assert_non_null(b->driver);
	uv_loop_init(&b->loop);
	b->env = (struct driver_env){
		.loop = &b->loop, .board = "b", .event = event_came, .arg = &b->events};
	b->bench = b->contract->setup(&b->env);
	b->options = options_of(b->driver, b->contract->options);
	if (b->contract->adapt)
		b->contract->adapt(b->bench, b->options);
	*state = b;
	return 0;
}

static inline int contract_teardown(void **state)
{
	struct contract_bench *b = *state;

	b->contract->teardown(b->bench);
	close_loop(&b->loop);
	json_decref(b->options);
	free(b);
	return 0;
}

static inline struct device *contract_create(struct contract_bench *b)
{
	struct err e;
	struct device *dev = b->driver->create(&b->env, b->options, &e);

	if (!dev)
		fail_msg("create: %s", e.msg);
	dev->driver = b->driver;
	return dev;
}

static inline struct device *contract_open(struct contract_bench *b)
{
	struct device *dev = contract_create(b);
	struct outcome o;

	b->driver->open(dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	return dev;
}

static inline void contract_works(struct contract_bench *b, struct device *dev)
{
	struct outcome o;

	b->contract->start_good(dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

/* Making safe ends within the time a keeper gives it; whether it succeeds is another matter. */
static inline enum err_code contract_make_safe(struct contract_bench *b, struct device *dev)
{
	struct outcome o;

	b->driver->make_safe(dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	outcome_wait(&b->loop, &o);
	outcome_finish(&o);
	assert_int_not_equal(o.e.code, ERR_TIMEOUT);
	return o.e.code;
}

static inline void contract_cancel(struct outcome *o)
{
	struct err why;

	err_set(&why, ERR_CANCELLED, "given up");
	op_cancel(o->op, &why);
	assert_int_equal(o->done, 1);
	assert_int_equal(o->e.code, ERR_CANCELLED);
}

/* As contract_open(), with the options that switch soon. */
static inline struct device *contract_open_quick(struct contract_bench *b)
{
	if (b->contract->quick) {
		json_decref(b->options);
		b->options = options_of(b->driver, b->contract->quick);
		if (b->contract->adapt)
			b->contract->adapt(b->bench, b->options);
	}
	return contract_open(b);
}

/* The bench sees it, and the driver says what the bench sees. */
static inline void contract_is(struct contract_bench *b, struct device *dev, bool on)
{
	const struct driver *d = b->driver;
	struct outcome o;

	if (b->contract->is_on(b->bench) != on)
		fail_msg("it is %s", on ? "off, and was to be on" : "on, and was to be off");
	(d->power ? d->power->get : d->line->get)(
		dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	outcome_wait(&b->loop, &o);
	if (o.e.code != ERR_UNSUPPORTED) {
		assert_int_equal(o.e.code, ERR_NONE);
		if (json_is_true(json_object_get(o.result, "on")) != on)
			fail_msg("it is %s, and says that it is not", on ? "on" : "off");
	}
	outcome_finish(&o);
}

static inline void contract_switches(struct contract_bench *b, struct device *dev, bool on)
{
	const struct driver *d = b->driver;
	struct outcome o;

	(d->power ? d->power->set : d->line->set)(
		dev, on, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	contract_is(b, dev, on);
}

static inline void contract_wait(struct contract_bench *b, const int *counter, int n)
{
	uint64_t until = uv_hrtime() + (uint64_t)CONTRACT_TOLD_MS * 1000000;

	while (*counter < n) {
		if (uv_hrtime() > until)
			fail_msg("%d of %d events \"%s\" came", *counter, n,
				counter == &b->events.lost ? "lost" : "back");
		uv_run(&b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
	assert_int_equal(*counter, n);
}

/* --- the tests --- */

static inline void contract_descriptor_is_whole(void **state)
{
	struct contract_bench *b = *state;
	struct err e;

	if (driver_check(b->driver, &e))
		fail_msg("%s", e.msg);
}

static inline void contract_never_opened_it_is_made_safe_and_closed(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev = contract_create(b);

	close_device(&b->loop, dev);
	dev = contract_create(b);
	contract_make_safe(b, dev);
	close_device(&b->loop, dev);
}

static inline void contract_opens_works_is_made_safe_and_closes(void **state)
{
	struct contract_bench *b = *state;

	for (int i = 0; i < 2; i++) {
		struct device *dev = contract_open(b);

		contract_works(b, dev);
		assert_int_equal(contract_make_safe(b, dev), ERR_NONE);
		contract_works(b, dev);
		close_device(&b->loop, dev);
	}
	assert_int_equal(b->events.lost, 0);
}

static inline void contract_two_instances_live_in_one_process(void **state)
{
	struct contract_bench *b = *state;
	struct driver_env env = {
		.loop = &b->loop, .board = "other", .event = event_came, .arg = &b->events};
	void *bench = b->contract->setup(&env); /* of its own, as two boards have */
	struct device *one = contract_open(b), *two;
	json_t *options = b->contract->other ? options_of(b->driver, b->contract->other)
					     : json_deep_copy(b->options);
	struct outcome o;
	struct err e;

	if (b->contract->adapt)
		b->contract->adapt(bench, options);
	two = b->driver->create(&env, options, &e);
	assert_non_null(two);
	two->driver = b->driver;
	b->driver->open(two, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	contract_works(b, one);
	contract_works(b, two);
	close_device(&b->loop, one);
	contract_works(b, two);
	close_device(&b->loop, two);
	json_decref(options);
	b->contract->teardown(bench);
}

static inline void contract_open_fails_at_each_step_and_works_when_mended(void **state)
{
	struct contract_bench *b = *state;

	for (unsigned step = 0;; step++) {
		json_t *good = json_deep_copy(b->options);
		struct device *dev;
		struct outcome o;

		if (!b->contract->break_open ||
			!b->contract->break_open(b->bench, step, b->options)) {
			json_decref(good);
			break;
		}
		dev = contract_create(b);
		b->driver->open(dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
		outcome_wait(&b->loop, &o);
		if (o.e.code == ERR_NONE || o.e.code == ERR_TIMEOUT)
			fail_msg("open with step %u broken: %s", step,
				o.e.code ? o.e.msg : "success");
		assert_true(strlen(o.e.msg) > 0 && !strchr(o.e.msg, '\n'));
		contract_make_safe(b, dev);
		close_device(&b->loop, dev);
		b->contract->mend(b->bench);
		json_decref(b->options);
		b->options = good;
		dev = contract_open(b);
		contract_works(b, dev);
		close_device(&b->loop, dev);
	}
}

static inline void contract_closed_while_it_opens_the_open_fails(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev = contract_create(b);
	struct outcome o;

	b->driver->open(dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	close_device(&b->loop, dev);
	assert_int_equal(o.done, 1);
	outcome_finish(&o);
	if (o.e.code != ERR_NONE)
		assert_int_equal(o.e.code, ERR_GONE);
}

static inline void contract_cancelled_while_it_opens_it_can_be_closed(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev = contract_create(b);
	struct outcome o;

	b->driver->open(dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	if (!o.done)
		contract_cancel(&o);
	outcome_finish(&o);
	contract_make_safe(b, dev);
	close_device(&b->loop, dev);
	dev = contract_open(b);
	contract_works(b, dev);
	close_device(&b->loop, dev);
}

/* Gone before an operation: it fails soon, and whatever comes is made safe within bounds. */
static inline void contract_unplugged_before_the_operation_fails(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev = contract_open(b);
	struct outcome o;

	contract_works(b, dev);
	b->contract->unplug(b->bench);
	b->contract->start_good(dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	outcome_wait(&b->loop, &o);
	outcome_finish(&o);
	if (!b->contract->survives && o.e.code != ERR_BENCH && o.e.code != ERR_GONE)
		fail_msg("%s: %s", err_name(o.e.code), o.e.code ? o.e.msg : "it succeeded");
	contract_make_safe(b, dev);
	contract_make_safe(b, dev);
	close_device(&b->loop, dev);
	b->contract->mend(b->bench);
	dev = contract_open(b);
	contract_works(b, dev);
	close_device(&b->loop, dev);
}

static inline void contract_unplugged_after_it_is_made_safe_and_closed(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev = contract_open(b);

	contract_works(b, dev);
	b->contract->unplug(b->bench);
	contract_make_safe(b, dev);
	close_device(&b->loop, dev);
	b->contract->mend(b->bench);
}

static inline void contract_past_its_deadline_the_next_operation_works(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev;
	struct outcome o;

	if (!b->contract->start_stuck)
		return;
	dev = contract_open(b);
	b->contract->start_stuck(b->bench, dev, outcome_start(&b->loop, &o, 100));
	outcome_wait(&b->loop, &o);
	outcome_finish(&o);
	assert_int_equal(o.e.code, ERR_TIMEOUT);
	b->contract->unstick(b->bench);
	contract_works(b, dev);
	close_device(&b->loop, dev);
}

static inline void contract_cancelled_in_the_middle_the_next_operation_works(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev;
	struct outcome o;

	if (!b->contract->start_stuck)
		return;
	dev = contract_open(b);
	b->contract->start_stuck(b->bench, dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_int_equal(o.done, 0);
	contract_cancel(&o);
	b->contract->unstick(b->bench);
	contract_works(b, dev);
	assert_int_equal(o.done, 1);
	close_device(&b->loop, dev);
}

static inline void contract_unplugged_in_the_middle_it_is_the_benchs_error(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev;
	struct outcome o;

	if (!b->contract->start_stuck)
		return;
	dev = contract_open(b);
	b->contract->start_stuck(b->bench, dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	b->contract->unplug(b->bench);
	outcome_wait(&b->loop, &o);
	if (o.e.code != ERR_BENCH && o.e.code != ERR_GONE)
		fail_msg("%s: %s", err_name(o.e.code), o.e.msg);
	if (b->contract->tells)
		contract_wait(b, &b->events.lost, 1);
	contract_make_safe(b, dev);
	close_device(&b->loop, dev);
	b->contract->mend(b->bench);
	dev = contract_open(b);
	contract_works(b, dev);
	close_device(&b->loop, dev);
}

static inline void contract_closed_in_the_middle_the_operation_fails(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev;
	struct outcome o;

	if (!b->contract->start_stuck)
		return;
	dev = contract_open(b);
	b->contract->start_stuck(b->bench, dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	close_device(&b->loop, dev);
	assert_int_equal(o.done, 1);
	assert_int_equal(o.e.code, ERR_GONE);
	b->contract->unstick(b->bench);
}

static inline void contract_stuck_it_is_made_safe_within_bounds(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev;
	struct outcome o, safe;

	if (!b->contract->start_stuck)
		return;
	dev = contract_open(b);
	b->contract->start_stuck(
		b->bench, dev, outcome_start(&b->loop, &o, 10 * CONTRACT_WITHIN_MS));
	/* what hangs altogether may fail to be made safe; it may be tried again, and closed */
	b->driver->make_safe(dev, outcome_start(&b->loop, &safe, 500));
	outcome_wait(&b->loop, &safe);
	outcome_finish(&safe);
	if (!o.done)
		contract_cancel(&o);
	b->contract->unstick(b->bench);
	assert_int_equal(contract_make_safe(b, dev), ERR_NONE);
	contract_works(b, dev);
	close_device(&b->loop, dev);
}

/* A set that does nothing, or the opposite, or another channel's; a read-back that says what was
 * asked for; a safe state that is none. */
static inline void contract_what_it_switches_the_bench_sees(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev;

	if (!b->contract->is_on)
		return;
	dev = contract_open_quick(b);
	for (int i = 0; i < 2; i++) {
		contract_switches(b, dev, true);
		contract_switches(b, dev, false);
	}
	contract_switches(b, dev, true);
	assert_int_equal(contract_make_safe(b, dev), ERR_NONE);
	contract_is(b, dev, false);
	close_device(&b->loop, dev);
}

/* An unplug that nobody notices, a return that is not told, a handle from before. */
static inline void contract_unplugged_at_rest_it_is_told_and_taken_up_again(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev;

	if (!b->contract->tells)
		return;
	dev = contract_open_quick(b);
	for (int i = 1; i <= 2; i++) {
		if (b->contract->is_on)
			contract_switches(b, dev, true);
		b->contract->unplug(b->bench);
		contract_wait(b, &b->events.lost, i);
		b->contract->mend(b->bench);
		contract_wait(b, &b->events.back, i);
		contract_works(b, dev);
	}
	if (b->contract->is_on)
		contract_switches(b, dev, true);
	assert_int_equal(b->events.lost, 2);
	close_device(&b->loop, dev);
}

static const struct {
	const char *claim;
	void (*run)(void **state);
} contract_claims[] = {
	{"the descriptor is whole", contract_descriptor_is_whole},
	{"never opened, it is made safe and closed",
		contract_never_opened_it_is_made_safe_and_closed},
	{"it opens, works, is made safe and closes", contract_opens_works_is_made_safe_and_closes},
	{"two instances live in one process", contract_two_instances_live_in_one_process},
	{"open fails at each step, and works when mended",
		contract_open_fails_at_each_step_and_works_when_mended},
	{"closed while it opens, the open ends once",
		contract_closed_while_it_opens_the_open_fails},
	{"cancelled while it opens, it can be closed",
		contract_cancelled_while_it_opens_it_can_be_closed},
	{"unplugged before an operation, it is the bench's error",
		contract_unplugged_before_the_operation_fails},
	{"unplugged after one, it is made safe within bounds, and closed",
		contract_unplugged_after_it_is_made_safe_and_closed},
	{"past its deadline, the next operation works",
		contract_past_its_deadline_the_next_operation_works},
	{"cancelled in the middle, the next operation works",
		contract_cancelled_in_the_middle_the_next_operation_works},
	{"unplugged in the middle, it is the bench's error",
		contract_unplugged_in_the_middle_it_is_the_benchs_error},
	{"closed in the middle, the operation fails once",
		contract_closed_in_the_middle_the_operation_fails},
	{"stuck, it is made safe within bounds", contract_stuck_it_is_made_safe_within_bounds},
	{"what it switches, the bench sees", contract_what_it_switches_the_bench_sees},
	{"unplugged at rest, it is told, and taken up again",
		contract_unplugged_at_rest_it_is_told_and_taken_up_again},
};

#define CONTRACT_CLAIMS (sizeof(contract_claims) / sizeof(*contract_claims))

/* The tests of one driver, CONTRACT_CLAIMS of them. */
static inline void contract_tests(const struct contract *contract, struct CMUnitTest *tests)
{
	for (size_t i = 0; i < CONTRACT_CLAIMS; i++) {
		char *name;

		assert_true(
			asprintf(&name, "%s: %s", contract->driver, contract_claims[i].claim) > 0);
		tests[i] = (struct CMUnitTest){.name = name,
			.test_func = contract_claims[i].run,
			.setup_func = contract_setup,
			.teardown_func = contract_teardown,
			.initial_state = (void *)(uintptr_t)contract};
	}
}

#endif
