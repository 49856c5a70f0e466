/*
 * Lines of the kernel's GPIO chips, held for as long as their device is open.
 */
#include "gpio.h"

#include "driver.h"
#include "gpio_find.h"
#include "gpio_lib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file descriptor that the loop looks at. It outlives what it belongs to until it is closed. */
struct gpio_poll {
	uv_poll_t poll;
	struct gpio_hold *h;
	size_t line;
};

struct line {
	struct gpio_spec spec;
	struct gpio_place place; /* where it was found last */
	struct gpio_chip *chip;
	struct gpio_request *request; /* NULL: not held */
	struct stat node;             /* its chip's file when it was requested */
	struct gpio_poll *poll;
	char where[160];
};

struct gpio_hold {
	struct driver_env env;
	const struct gpio_hold_events *events;
	void *arg;
	struct line lines[GPIO_LINES_MAX];
	size_t n;
	bool held;
	char lost[512]; /* why the lines are not held any more; "": they are, or never were */
	bool refused;   /* the lines were found when they were looked for last, and not given */
	int watch_fd;   /* inotify of the folder of devices; -1: none */
	struct gpio_poll *watch;
	unsigned handles; /* that are not closed yet */
	bool destroyed;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* --- options ---------------------------------------------------------------------------------- */

static json_t *option(const json_t *options, const char *prefix, const char *name)
{
	char key[64];

	snprintf(key, sizeof(key), "%s%s", prefix, name);
	return json_object_get(options, key);
}

static int take_name(char *buf, size_t size, const char *text, const char *prefix, const char *name,
	struct err *e)
{
	if (!text)
		return 0;
	if (!text[0] || strlen(text) >= size)
		return err_set(e, ERR_CONFIG, "%s%s: a text of 1 to %zu bytes, not \"%.80s\"",
			prefix, name, size - 1, text);
	snprintf(buf, size, "%s", text);
	return 0;
}

static int take_bias(struct gpio_spec *spec, const char *text, struct err *e)
{
	static const char *const names[] = {
		[GPIO_BIAS_AS_IS] = "as-is",
		[GPIO_BIAS_PULL_UP] = "pull-up",
		[GPIO_BIAS_PULL_DOWN] = "pull-down",
		[GPIO_BIAS_DISABLED] = "disabled",
	};

	for (size_t i = 0; text && i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i], text) == 0) {
			spec->bias = (enum gpio_bias)i;
			return 0;
		}
	return text ? err_set(e, ERR_CONFIG,
			      "bias is \"as-is\", \"pull-up\", \"pull-down\" or \"disabled\", not "
			      "\"%.40s\"",
			      text)
		    : 0;
}

static int take_number(struct gpio_spec *spec, const json_t *number, const char *prefix,
	const char *name, struct err *e)
{
	json_int_t value = json_integer_value(number);

	if (value < 0 || value > 65535)
		return err_set(e, ERR_CONFIG, "%s%s: a line's number is 0 to 65535, not %lld",
			prefix, name, (long long)value);
	spec->number = (unsigned)value;
	return 0;
}

int gpio_spec_read(struct gpio_spec *spec, json_t *options, const char *prefix, struct err *e)
{
	json_t *number = option(options, prefix, "line");
	const char *name = json_string_value(option(options, prefix, "line_name"));
	const char *chip = json_string_value(option(options, prefix, "chip"));
	const char *bias = json_string_value(option(options, prefix, "bias"));
	int ret;

	spec->active_low = json_is_true(option(options, prefix, "active_low"));
	ret = take_name(spec->chip, sizeof(spec->chip), chip, prefix, "chip", e);
	if (!ret)
		ret = take_name(spec->name, sizeof(spec->name), name, prefix, "line_name", e);
	if (!ret)
		ret = take_number(spec, number, prefix, "line", e);
	if (!ret)
		ret = take_bias(spec, bias, e);
	if (!ret && number && name)
		ret = err_set(e, ERR_CONFIG, "%sline and %sline_name: give one of the two", prefix,
			prefix);
	if (!ret && number && !spec->chip[0])
		ret = err_set(e, ERR_CONFIG, "%sline is a number: %schip must say on which chip",
			prefix, prefix);
	return ret ? ret : number || name;
}

int gpio_spec_line(
	struct gpio_spec *spec, const json_t *item, const char *option_name, struct err *e)
{
	const char *name = json_string_value(item);

	spec->name[0] = '\0';
	if (name)
		return take_name(spec->name, sizeof(spec->name), name, "", option_name, e);
	if (!spec->chip[0])
		return err_set(e, ERR_CONFIG,
			"%s: line %lld is a number: chip must say on which chip", option_name,
			(long long)json_integer_value(item));
	return take_number(spec, item, "", option_name, e);
}

/* --- handles of the loop ---------------------------------------------------------------------- */

static void free_hold(struct gpio_hold *h)
{
	void (*closed)(void *arg) = h->closed;
	void *arg = h->closed_arg;

	free(h);
	closed(arg);
}

static void poll_closed(uv_handle_t *handle)
{
	struct gpio_poll *p = handle->data;
	struct gpio_hold *h = p->h;

	free(p);
	if (--h->handles == 0 && h->destroyed)
		free_hold(h);
}

/* Before its file descriptor is closed. */
static void stop_poll(struct gpio_poll **p)
{
	if (*p)
		uv_close((uv_handle_t *)&(*p)->poll, poll_closed);
	*p = NULL;
}

static int start_poll(struct gpio_hold *h, int fd, size_t line, uv_poll_cb came,
	struct gpio_poll **started, struct err *e)
{
	struct gpio_poll *p = calloc(1, sizeof(*p));
	int n;

	if (!p)
		return err_set(e, ERR_NOMEM, "out of memory");
	p->h = h;
	p->line = line;
	n = uv_poll_init(h->env.loop, &p->poll, fd);
	if (n != 0) {
		free(p);
		return err_set(e, ERR_BENCH, "%s: %s", h->lines[line].where, uv_strerror(n));
	}
	p->poll.data = p;
	h->handles++;
	*started = p;
	n = uv_poll_start(&p->poll, UV_READABLE, came);
	return n == 0 ? 0 : err_set(e, ERR_BENCH, "%s: %s", h->lines[line].where, uv_strerror(n));
}

/* --- letting go ------------------------------------------------------------------------------- */

static void let_go(struct gpio_hold *h)
{
	for (size_t i = 0; i < h->n; i++) {
		struct line *l = &h->lines[i];

		stop_poll(&l->poll);
		gpio_lib_release(l->request);
		gpio_lib_chip_close(l->chip);
		l->request = NULL;
		l->chip = NULL;
	}
	h->held = false;
}

static void lose(struct gpio_hold *h, const struct line *l, const char *how)
{
	if (!h->held)
		return;
	snprintf(h->lost, sizeof(h->lost),
		"%s is gone: %s: plug it in again, it is taken up when it is back", l->where, how);
	let_go(h);
	h->events->lost(h->arg, h->lost);
}

/* Whether the chip's file is still the one that was opened: a chip that comes back is another. */
static bool is_there(const struct line *l)
{
	struct stat st;

	return stat(l->place.path, &st) == 0 && st.st_ino == l->node.st_ino &&
	       st.st_dev == l->node.st_dev && st.st_rdev == l->node.st_rdev;
}

/* A line's call failed: says so, and finds out whether the chip went away. */
static int failed(struct gpio_hold *h, size_t line, int errnum, const char *what, struct err *e)
{
	const struct line *l = &h->lines[line];

	if (errnum == ENODEV || errnum == ENXIO || !is_there(l))
		lose(h, l, strerror(errnum));
	if (h->lost[0])
		return err_set(e, ERR_BENCH, "%s", h->lost);
	return err_errno(e, ERR_BENCH, errnum, "%s: %s", l->where, what);
}

/* --- taking ----------------------------------------------------------------------------------- */

static void edges_came(uv_poll_t *poll, int status, int events)
{
	struct gpio_poll *p = poll->data;

	(void)events;
	if (status != 0)
		lose(p->h, &p->h->lines[p->line], uv_strerror(status));
	else if (p->h->events->edges)
		p->h->events->edges(p->h->arg, p->line);
}

static int refused(const struct line *l, int errnum, struct err *e)
{
	struct gpio_line_info now = l->place.line;

	if (errnum == EBUSY) {
		/* who it is may have changed since the line was looked for */
		gpio_lib_line_info(l->chip, l->place.number, &now);
		return err_set(e, ERR_BENCH,
			"%s is taken: \"%s\" holds it: end that, or mend the line if two devices "
			"of rig.conf name the same one",
			l->where, now.consumer[0] ? now.consumer : "somebody without a name");
	}
	if (errnum == EINVAL || errnum == EOPNOTSUPP)
		return err_errno(e, ERR_BENCH, errnum,
			"%s: its chip cannot be set up so (bias, edges and open outputs are not "
			"for every chip)",
			l->where);
	return err_errno(e, ERR_BENCH, errnum, "%s: it cannot be requested", l->where);
}

static int take_line(struct gpio_hold *h, size_t i, struct err *e)
{
	struct line *l = &h->lines[i];
	char consumer[32];
	int ret = gpio_find(&l->spec, &l->place, &l->chip, e), fd;

	if (ret)
		return ret;
	snprintf(l->where, sizeof(l->where), "%s", l->place.where);
	if (stat(l->place.path, &l->node) != 0)
		return err_errno(e, ERR_BENCH, errno, "%s: %s", l->where, l->place.path);
	snprintf(consumer, sizeof(consumer), "rig %.18s %s", h->env.board,
		h->env.capability ? h->env.capability : "");
	ret = gpio_lib_request(l->chip, l->place.number, &l->spec, consumer, &l->request);
	h->refused = ret != 0;
	if (ret)
		return refused(l, -ret, e);
	fd = gpio_lib_fd(l->request);
	return fd < 0 ? 0 : start_poll(h, fd, i, edges_came, &l->poll, e);
}

static int take_lines(struct gpio_hold *h, struct err *e)
{
	int ret = 0;

	h->refused = false;
	for (size_t i = 0; !ret && i < h->n; i++)
		ret = take_line(h, i, e);
	if (ret) {
		let_go(h);
		return ret;
	}
	h->held = true;
	if (h->lost[0]) {
		char text[200];

		snprintf(text, sizeof(text), "%s is back", h->lines[0].where);
		h->lost[0] = '\0';
		h->events->back(h->arg, text);
	}
	return 0;
}

/* Something came or went among the devices, or may be opened now that could not be before. */
static void devices_changed(uv_poll_t *poll, int status, int events)
{
	struct gpio_poll *p = poll->data;
	struct gpio_hold *h = p->h;
	char buf[4096] __attribute__((aligned(8)));
	struct err e;

	(void)status;
	(void)events;
	while (read(h->watch_fd, buf, sizeof(buf)) > 0)
		;
	for (size_t i = 0; h->held && i < h->n; i++)
		if (!is_there(&h->lines[i]) || gpio_lib_get(h->lines[i].request) == -ENODEV)
			lose(h, &h->lines[i], "its chip went away");
	if (!h->held && h->lost[0] && take_lines(h, &e) != 0 && h->refused)
		snprintf(
			h->lost, sizeof(h->lost), "the GPIO chip went away, and now %.440s", e.msg);
}

static int start_watch(struct gpio_hold *h, struct err *e)
{
	if (h->watch)
		return 0;
	h->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (h->watch_fd < 0 ||
		inotify_add_watch(h->watch_fd, gpio_lib_dir(),
			IN_CREATE | IN_DELETE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO) < 0)
		return err_errno(e, ERR_BENCH, errno, "%s: it cannot be watched", gpio_lib_dir());
	return start_poll(h, h->watch_fd, 0, devices_changed, &h->watch, e);
}

static void stop_watch(struct gpio_hold *h)
{
	stop_poll(&h->watch);
	if (h->watch_fd >= 0)
		close(h->watch_fd);
	h->watch_fd = -1;
}

int gpio_hold_open(struct gpio_hold *h, struct err *e)
{
	int ret;

	if (h->held)
		return 0;
	/* first, so that nothing is missed that happens while lines are looked for */
	ret = start_watch(h, e);
	if (!ret)
		ret = take_lines(h, e);
	if (ret && !h->lost[0])
		stop_watch(h);
	return ret;
}

struct gpio_hold *gpio_hold_create(const struct driver_env *env, const struct gpio_spec *specs,
	size_t n, const struct gpio_hold_events *events, void *arg)
{
	struct gpio_hold *h = n <= GPIO_LINES_MAX ? calloc(1, sizeof(*h)) : NULL;

	if (!h)
		return NULL;
	h->env = *env;
	h->events = events;
	h->arg = arg;
	h->watch_fd = -1;
	h->n = n;
	for (size_t i = 0; i < n; i++) {
		h->lines[i].spec = specs[i];
		gpio_spec_text(&specs[i], h->lines[i].where, sizeof(h->lines[i].where));
	}
	return h;
}

void gpio_hold_destroy(struct gpio_hold *h, void (*closed)(void *arg), void *arg)
{
	h->destroyed = true;
	h->closed = closed;
	h->closed_arg = arg;
	let_go(h);
	stop_watch(h);
	if (h->handles == 0)
		free_hold(h);
}

/* --- using ------------------------------------------------------------------------------------ */

int gpio_hold_ready(const struct gpio_hold *h, struct err *e)
{
	if (h->held)
		return 0;
	return err_set(e, ERR_BENCH, "%s", h->lost[0] ? h->lost : "the GPIO lines are not open");
}

const char *gpio_where(const struct gpio_hold *h, size_t line)
{
	return h->lines[line].where;
}

int gpio_get(struct gpio_hold *h, size_t line, bool *active, struct err *e)
{
	int ret = gpio_hold_ready(h, e), value;

	if (ret)
		return ret;
	value = gpio_lib_get(h->lines[line].request);
	if (value < 0)
		return failed(h, line, -value, "it cannot be read", e);
	*active = value == 1;
	return 0;
}

int gpio_set(struct gpio_hold *h, size_t line, bool active, struct err *e)
{
	int ret = gpio_hold_ready(h, e);

	if (ret)
		return ret;
	ret = gpio_lib_set(h->lines[line].request, active);
	return ret ? failed(h, line, -ret, "it cannot be set", e) : 0;
}

int gpio_edges(struct gpio_hold *h, size_t line, struct gpio_edge *edges, size_t max, struct err *e)
{
	int ret = gpio_hold_ready(h, e);

	if (ret)
		return ret;
	ret = gpio_lib_edges(h->lines[line].request, edges, max);
	if (ret == -EAGAIN)
		return 0;
	return ret < 0 ? failed(h, line, -ret, "its edges cannot be read", e) : ret;
}

int gpio_describe(struct gpio_hold *h, size_t line, char *buf, size_t size, struct err *e)
{
	struct line *l = &h->lines[line];
	struct gpio_line_info now;
	bool active;
	int ret = gpio_get(h, line, &active, e);

	if (ret)
		return ret;
	ret = gpio_lib_line_info(l->chip, l->place.number, &now);
	if (ret)
		return failed(h, line, -ret, "it cannot be asked about", e);
	snprintf(buf, size, "%s: %s, active %s, held by \"%s\", %s now", l->where,
		now.output ? "output" : "input", now.active_low ? "low" : "high", now.consumer,
		active ? "active" : "inactive");
	return 0;
}
