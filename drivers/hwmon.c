/*
 * hwmon: a meter at a sensor that the kernel drives (INA219, INA226, INA3221 and the like), read
 * from /sys/class/hwmon.
 *
 * hwmonN is numbered as devices come, so that a sensor is found anew for each measurement, by its
 * chip's name and where it is on its bus. Reading a register may wait for a slow bus: it is done
 * off the loop. A reading that hangs is left to itself.
 */
#include "driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOT "/sys/class/hwmon"
#define TEXT_SIZE 128

/* What a measurement needs, and gives: all of it its own, for it may outlive the instance. */
struct reading {
	uv_work_t work;
	char root[512], chip[TEXT_SIZE], device[TEXT_SIZE], label[TEXT_SIZE];
	char volts_file[TEXT_SIZE], amps_file[TEXT_SIZE];
	char found[1024]; /* the sensor's folder */
	bool has_volts, has_amps;
	double volts, amps;
	struct err e;  /* ERR_NONE: it is good */
	struct op *op; /* NULL: given up */
	bool checks;
	struct reading *next, **at; /* the instance's list; at is NULL when it is gone */
};

struct hwmon {
	struct device dev;
	struct driver_env env;
	struct reading pattern;
	struct reading *readings;
	uv_timer_t life; /* never started: what close waits for */
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"chip", OPTION_STRING, true, NULL, "the chip's name as the kernel has it: ina226"},
	{"device", OPTION_STRING, false, NULL,
		"where it is, of several: the end of its device's path, as 1-0040"},
	{"label", OPTION_STRING, false, NULL, "or the label that its board's firmware gave it"},
	{"volts", OPTION_STRING, false, "in1_input", "the file with millivolts; \"\": none"},
	{"amps", OPTION_STRING, false, "curr1_input", "the file with milliamperes; \"\": none"},
	{"root", OPTION_STRING, false, ROOT, "where the kernel shows its sensors"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct hwmon *hwmon_of(struct device *dev)
{
	return (struct hwmon *)dev;
}

/* --- the file system; off the loop ------------------------------------------------------------ */

/* The first line of folder/name. Returns 0 or an errno. */
static int read_line(const char *folder, const char *name, char *text, size_t size)
{
	char path[1200];
	ssize_t n;
	int fd, code = 0;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		code = errno;
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return code;
}

/* Where the sensor is on its bus: "1-0040"; "" when that is not known. */
static void device_name(const char *folder, char name[TEXT_SIZE])
{
	char path[1200], real[PATH_MAX];
	const char *slash;

	snprintf(path, sizeof(path), "%s/device", folder);
	slash = realpath(path, real) ? strrchr(real, '/') : NULL;
	snprintf(name, TEXT_SIZE, "%s", slash ? slash + 1 : "");
}

static bool is_wanted(const struct reading *r, const char *folder)
{
	char name[TEXT_SIZE], label[TEXT_SIZE], device[TEXT_SIZE];

	if (read_line(folder, "name", name, sizeof(name)) != 0 || strcmp(name, r->chip) != 0)
		return false;
	if (r->label[0] && (read_line(folder, "label", label, sizeof(label)) != 0 ||
				   strcmp(label, r->label) != 0))
		return false;
	device_name(folder, device);
	return !r->device[0] || strcmp(device, r->device) == 0;
}

/* Finds the one sensor that is meant. */
static int find(struct reading *r, struct err *e)
{
	DIR *dir = opendir(r->root);
	struct dirent *entry;
	unsigned found = 0;
	char folder[1024];

	if (!dir)
		return err_errno(e, ERR_BENCH, errno, "%s", r->root);
	while ((entry = readdir(dir))) {
		snprintf(folder, sizeof(folder), "%s/%s", r->root, entry->d_name);
		if (entry->d_name[0] == '.' || !is_wanted(r, folder))
			continue;
		snprintf(r->found, sizeof(r->found), "%s", folder);
		found++;
	}
	closedir(dir);
	if (found == 1)
		return 0;
	if (found)
		return err_set(e, ERR_BENCH,
			"there are %u sensors %s: name one by device (as 1-0040) or label", found,
			r->chip);
	return err_set(e, ERR_BENCH,
		"there is no sensor %s%s%s%s%s in %s: is its module loaded, and is it declared to "
		"the kernel (device tree, or new_device of its I2C bus)?",
		r->chip, r->device[0] ? " at " : "", r->device, r->label[0] ? " labelled " : "",
		r->label, r->root);
}

/* A number of thousandths from a file of the sensor. */
static int read_value(struct reading *r, const char *file, double *value, bool *has, struct err *e)
{
	char text[64], *end;
	int n;

	*has = file[0] != '\0';
	if (!*has)
		return 0;
	n = read_line(r->found, file, text, sizeof(text));
	if (n)
		return err_errno(e, ERR_BENCH, n, "%s/%s", r->found, file);
	*value = (double)strtoll(text, &end, 10) / 1000;
	if (end == text || *end)
		return err_set(e, ERR_BENCH, "%s/%s holds \"%.40s\", which is no number", r->found,
			file, text);
	return 0;
}

static void read_sensor(uv_work_t *work)
{
	struct reading *r = work->data;

	r->e.code = ERR_NONE;
	if (find(r, &r->e) || read_value(r, r->volts_file, &r->volts, &r->has_volts, &r->e))
		return;
	read_value(r, r->amps_file, &r->amps, &r->has_amps, &r->e);
}

/* --- readings --------------------------------------------------------------------------------- */

static json_t *number_or_null(bool has, double value)
{
	return has ? json_real(value) : json_null();
}

static json_t *result_of(const struct reading *r)
{
	char device[TEXT_SIZE];

	if (!r->checks)
		return json_pack("{s:o, s:o}", "volts", number_or_null(r->has_volts, r->volts),
			"amps", number_or_null(r->has_amps, r->amps));
	device_name(r->found, device);
	return json_pack("{s:[o, s++], s:[]}", "says",
		json_sprintf("%s at %s: %.3f V, %.3f A", r->chip, device, r->volts, r->amps),
		"it is ", r->found, " for now", "mend");
}

/* Takes it off the instance's list, and its operation from it. */
static struct op *reading_take(struct reading *r)
{
	struct op *op = r->op;

	if (r->at) {
		*r->at = r->next;
		if (r->next)
			r->next->at = r->at;
	}
	r->at = NULL;
	r->op = NULL;
	if (op)
		op_on_cancel(op, NULL, NULL);
	return op;
}

static void reading_done(uv_work_t *work, int status)
{
	struct reading *r = work->data;
	struct op *op = reading_take(r);

	(void)status;
	if (op && r->e.code != ERR_NONE)
		op_fail(op, &r->e);
	else if (op)
		op_done(op, result_of(r));
	free(r);
}

static void reading_given_up(struct op *op, void *arg)
{
	(void)op;
	reading_take(arg); /* it is freed when it has been done */
}

static void measure(struct hwmon *h, bool checks, struct op *op)
{
	struct reading *r = malloc(sizeof(*r));

	if (!r) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	*r = h->pattern;
	r->work.data = r;
	r->op = op;
	r->checks = checks;
	r->next = h->readings;
	r->at = &h->readings;
	if (r->next)
		r->next->at = &r->next;
	h->readings = r;
	op_on_cancel(op, reading_given_up, r);
	uv_queue_work(h->env.loop, &r->work, read_sensor, reading_done);
}

/* --- the driver ------------------------------------------------------------------------------- */

static void hwmon_measure(struct device *dev, struct op *op)
{
	measure(hwmon_of(dev), false, op);
}

static void hwmon_check(struct device *dev, struct op *op)
{
	measure(hwmon_of(dev), true, op);
}

/* A meter does the board no harm. */
static void hwmon_make_safe(struct device *dev, struct op *op)
{
	(void)dev;
	op_done(op, NULL);
}

static int copy(json_t *given, const char *name, char *to, size_t size, struct err *e)
{
	const char *text = json_string_value(json_object_get(given, name));

	if (text && strlen(text) >= size)
		return err_set(e, ERR_CONFIG, "%s: at most %zu characters", name, size - 1);
	if (text && strcmp(name, "root") != 0 && strchr(text, '/'))
		return err_set(e, ERR_CONFIG, "%s: a name, not the path \"%.100s\"", name, text);
	snprintf(to, size, "%s", text ? text : "");
	return 0;
}

extern const struct driver driver_hwmon;

static int take_options(struct hwmon *h, json_t *given, struct err *e)
{
	struct reading *r = &h->pattern;

	if (copy(given, "root", r->root, sizeof(r->root), e) ||
		copy(given, "chip", r->chip, sizeof(r->chip), e) ||
		copy(given, "device", r->device, sizeof(r->device), e) ||
		copy(given, "label", r->label, sizeof(r->label), e) ||
		copy(given, "volts", r->volts_file, sizeof(r->volts_file), e) ||
		copy(given, "amps", r->amps_file, sizeof(r->amps_file), e))
		return -(int)e->code;
	if (!r->chip[0])
		return err_set(e, ERR_CONFIG, "chip is empty: ina226, or another name of a chip");
	if (!r->volts_file[0] && !r->amps_file[0])
		return err_set(e, ERR_CONFIG, "volts and amps are both empty: nothing to measure");
	return 0;
}

static struct device *hwmon_create(const struct driver_env *env, json_t *given, struct err *e)
{
	struct hwmon *h = calloc(1, sizeof(*h));

	if (!h) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	h->dev.driver = &driver_hwmon;
	h->env = *env;
	if (take_options(h, given, e)) {
		free(h);
		return NULL;
	}
	uv_timer_init(env->loop, &h->life);
	h->life.data = h;
	return &h->dev;
}

static void life_closed(uv_handle_t *handle)
{
	struct hwmon *h = handle->data;
	void (*closed)(void *arg) = h->closed;
	void *arg = h->closed_arg;

	free(h);
	closed(arg);
}

static void hwmon_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct hwmon *h = hwmon_of(dev);

	while (h->readings) {
		struct op *op = reading_take(h->readings);

		if (op)
			op_failf(op, ERR_GONE, "the device was closed");
	}
	h->closed = closed;
	h->closed_arg = arg;
	uv_close((uv_handle_t *)&h->life, life_closed);
}

/* --- what there is ---------------------------------------------------------------------------- */

static void list_sensor(json_t *found, const char *folder)
{
	char name[TEXT_SIZE], device[TEXT_SIZE], text[32];

	/* what measures both is a supply's meter; a processor's temperature is not meant */
	if (read_line(folder, "name", name, sizeof(name)) != 0 ||
		read_line(folder, "in1_input", text, sizeof(text)) != 0 ||
		read_line(folder, "curr1_input", text, sizeof(text)) != 0)
		return;
	device_name(folder, device);
	json_array_append_new(found,
		json_pack("{s:o, s:s, s:o}", "what", json_sprintf("sensor %s at %s", name, device),
			"at", folder, "conf",
			json_sprintf(
				"meter = { driver = \"hwmon\", chip = \"%s\", device = \"%s\" },",
				name, device)));
}

static int hwmon_scan(json_t *found, struct err *e)
{
	DIR *dir = opendir(ROOT);
	struct dirent *entry;
	char folder[600];

	(void)e; /* a kernel without sensors has no such folder */
	while (dir && (entry = readdir(dir))) {
		snprintf(folder, sizeof(folder), "%s/%s", ROOT, entry->d_name);
		if (entry->d_name[0] != '.')
			list_sensor(found, folder);
	}
	if (dir)
		closedir(dir);
	return 0;
}

static const struct meter_ops meter = {.measure = hwmon_measure};

const struct driver driver_hwmon = {
	.name = "hwmon",
	.help = "a meter: a sensor that the kernel drives, such as an INA226",
	.options = options,
	.create = hwmon_create,
	.open = hwmon_measure, /* which finds it, and reads it once */
	.make_safe = hwmon_make_safe,
	.close = hwmon_close,
	.check = hwmon_check,
	.scan = hwmon_scan,
	.meter = &meter,
};
