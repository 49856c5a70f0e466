/*
 * One loop with a USB driver's devices on it, for the tests of what is particular to the driver: on
 * the devices of tests/fake_usb.h, or on those of the bench VM.
 */
#ifndef TESTS_USB_BENCH_H
#define TESTS_USB_BENCH_H

#include "driver_bench.h"

struct usb_bench {
	uv_loop_t loop;
	struct driver_env env;
	struct device *open[4]; /* what a test that fails leaves */
	int lost, back;
	char text[256]; /* of the last of them */
};

static inline void usb_bench_event(void *arg, const char *name, json_t *fields)
{
	struct usb_bench *b = arg;
	bool lost = strcmp(name, "lost") == 0;
	const char *text = json_string_value(json_object_get(fields, lost ? "reason" : "text"));

	assert_true(lost || strcmp(name, "back") == 0);
	assert_non_null(text);
	*(lost ? &b->lost : &b->back) += 1;
	snprintf(b->text, sizeof(b->text), "%s", text);
	json_decref(fields);
}

static inline int usb_bench_setup(void **state)
{
	struct usb_bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	b->env = (struct driver_env){
		.loop = &b->loop, .board = "b", .event = usb_bench_event, .arg = b};
	*state = b;
	return 0;
}

/* dev is closed already, or about to be. */
static inline void usb_forget(struct usb_bench *b, const struct device *dev)
{
	for (size_t i = 0; i < sizeof(b->open) / sizeof(*b->open); i++)
		if (b->open[i] == dev)
			b->open[i] = NULL;
}

static inline void usb_closed(struct usb_bench *b, struct device *dev)
{
	usb_forget(b, dev);
	close_device(&b->loop, dev);
}

static inline int usb_bench_teardown(void **state)
{
	struct usb_bench *b = *state;

	for (size_t i = 0; i < sizeof(b->open) / sizeof(*b->open); i++)
		if (b->open[i])
			close_device(&b->loop, b->open[i]);
	close_loop(&b->loop);
	free(b);
	return 0;
}

static inline struct device *usb_create(
	struct usb_bench *b, const char *name, const char *options, struct err *e)
{
	const struct driver *driver = driver_find(name);
	json_t *opts = options_of(driver, options);
	struct device *dev = driver->create(&b->env, opts, e);
	size_t i = 0;

	if (dev) {
		dev->driver = driver;
		while (i < 3 && b->open[i])
			i++;
		b->open[i] = dev;
	}
	json_decref(opts);
	return dev;
}

static inline struct device *usb_opened(struct usb_bench *b, const char *name, const char *options)
{
	struct outcome o;
	struct err e;
	struct device *dev = usb_create(b, name, options, &e);

	if (!dev)
		fail_msg("create: %s", e.msg);
	dev->driver->open(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	return dev;
}

static inline void assert_open_fails(
	struct usb_bench *b, const char *name, const char *options, const char *text)
{
	struct outcome o;
	struct err e;
	struct device *dev = usb_create(b, name, options, &e);

	assert_non_null(dev);
	dev->driver->open(dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, text);
	outcome_finish(&o);
	usb_closed(b, dev);
}

static inline void assert_options_refused(
	struct usb_bench *b, const char *name, const char *options, const char *text)
{
	struct err e;

	assert_null(usb_create(b, name, options, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	if (!strstr(e.msg, text))
		fail_msg("expected \"%s\", got: %s", text, e.msg);
}

/* Sets, and demands that it is verified so. */
static inline void assert_sets(
	struct usb_bench *b, struct device *dev, bool on, const char *verified)
{
	struct outcome o;

	dev->driver->power->set(dev, on, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "verified")), verified);
	outcome_finish(&o);
}

static inline void assert_set_fails(
	struct usb_bench *b, struct device *dev, bool on, enum err_code code, const char *text)
{
	struct outcome o;

	dev->driver->power->set(dev, on, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, code, text);
	outcome_finish(&o);
}

static inline void assert_reads(struct usb_bench *b, struct device *dev, bool on)
{
	struct outcome o;

	dev->driver->power->get(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_int_equal(json_is_true(json_object_get(o.result, "on")), on);
	outcome_finish(&o);
}

/* The text at field[0] of what check says. */
static inline void assert_checks(
	struct usb_bench *b, struct device *dev, const char *field, const char *text)
{
	const char *said;
	struct outcome o;

	dev->driver->check(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	said = json_string_value(json_array_get(json_object_get(o.result, field), 0));
	assert_non_null(said);
	if (!strstr(said, text))
		fail_msg("expected \"%s\", got: %s", text, said);
	outcome_finish(&o);
}

static inline void waited(void *arg, const struct err *e, json_t *result)
{
	(void)result;
	*(bool *)arg = e->code == ERR_TIMEOUT;
}

/* Waits until so many events of a kind have come. */
static inline void wait_for(struct usb_bench *b, const int *count, int wanted)
{
	bool late = false;
	struct op *op = op_start(&b->loop, "an event", 60000, waited, &late);
	struct err enough;

	while (*count < wanted && !late)
		uv_run(&b->loop, UV_RUN_ONCE);
	err_set(&enough, ERR_CANCELLED, "it came");
	if (!late)
		op_cancel(op, &enough);
	assert_true(*count >= wanted);
}

/* What scan finds, one line each: "what|at|conf|mend\n". */
static inline char *scanned(const char *name)
{
	json_t *found = json_array(), *entry;
	char *text = NULL;
	size_t i, size;
	struct err e;
	FILE *f = open_memstream(&text, &size);

	assert_return_code(driver_find(name)->scan(found, &e), 0);
	json_array_foreach (found, i, entry) {
		const char *mend = json_string_value(json_object_get(entry, "mend"));

		fprintf(f, "%s|%s|%s|%s\n", json_string_value(json_object_get(entry, "what")),
			json_string_value(json_object_get(entry, "at")),
			json_string_value(json_object_get(entry, "conf")), mend ? mend : "");
	}
	fclose(f);
	json_decref(found);
	return text;
}

#endif
