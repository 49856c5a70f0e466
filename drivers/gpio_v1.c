/*
 * gpio_lib.h with libgpiod 1.6.
 *
 * Its edge events come from the kernel's first interface for them, which keeps 16 for a line, drops
 * what is more without a word, and before Linux 5.7 took their time from the wall clock. A word of
 * flash is written in tens of microseconds, so that 16 of them are less than a busy host's pause.
 * Edges are therefore asked for from the kernel's second interface (Linux 5.10, linux/gpio.h, as
 * libgpiod 2 does): it keeps 1024, numbers them, and stamps them with CLOCK_MONOTONIC.
 */
#if RIG_GPIOD < 2

#include "gpio_lib.h"

#include <fcntl.h>
#include <gpiod.h>
#include <linux/gpio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A test brings a folder and a kernel of its own. */
#ifndef GPIO_LIB_DIR
#define GPIO_LIB_DIR "/dev"
#define GPIO_LIB_IOCTL ioctl
#define GPIO_LIB_CLOSE close
#endif

struct gpio_chip {
	struct gpiod_chip *chip;
	char path[256];
};

struct gpio_request {
	struct gpiod_line *line; /* NULL: edges, on fd */
	int fd;
};

const char *gpio_lib_dir(void)
{
	return GPIO_LIB_DIR;
}

static void take_text(char *buf, size_t size, const char *text)
{
	snprintf(buf, size, "%s", text ? text : "");
}

int gpio_lib_chip_open(const char *path, struct gpio_chip **chip, struct gpio_chip_info *info)
{
	struct gpio_chip *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	if (strlen(path) >= sizeof(c->path)) {
		free(c);
		return -ENAMETOOLONG;
	}
	take_text(c->path, sizeof(c->path), path);
	errno = 0;
	c->chip = gpiod_chip_open(path);
	if (!c->chip) {
		free(c);
		return gpio_errno();
	}
	take_text(info->name, sizeof(info->name), gpiod_chip_name(c->chip));
	take_text(info->label, sizeof(info->label), gpiod_chip_label(c->chip));
	info->lines = gpiod_chip_num_lines(c->chip);
	*chip = c;
	return 0;
}

void gpio_lib_chip_close(struct gpio_chip *chip)
{
	if (chip)
		gpiod_chip_close(chip->chip);
	free(chip);
}

int gpio_lib_line_info(struct gpio_chip *chip, unsigned number, struct gpio_line_info *info)
{
	struct gpiod_line *line;

	errno = 0;
	line = gpiod_chip_get_line(chip->chip, number);
	/* what it knows of a line is as old as the last time that it asked */
	if (!line || gpiod_line_update(line) != 0)
		return gpio_errno();
	take_text(info->name, sizeof(info->name), gpiod_line_name(line));
	take_text(info->consumer, sizeof(info->consumer), gpiod_line_consumer(line));
	info->used = gpiod_line_is_used(line);
	info->output = gpiod_line_direction(line) == GPIOD_LINE_DIRECTION_OUTPUT;
	info->active_low = gpiod_line_active_state(line) == GPIOD_LINE_ACTIVE_STATE_LOW;
	return 0;
}

static int value_flags(const struct gpio_spec *spec)
{
	static const int biases[] = {
		[GPIO_BIAS_AS_IS] = 0,
		[GPIO_BIAS_PULL_UP] = GPIOD_LINE_REQUEST_FLAG_BIAS_PULL_UP,
		[GPIO_BIAS_PULL_DOWN] = GPIOD_LINE_REQUEST_FLAG_BIAS_PULL_DOWN,
		[GPIO_BIAS_DISABLED] = GPIOD_LINE_REQUEST_FLAG_BIAS_DISABLE,
	};
	int flags = biases[spec->bias];

	if (spec->active_low)
		flags |= GPIOD_LINE_REQUEST_FLAG_ACTIVE_LOW;
	if (spec->use == GPIO_OUTPUT_OPEN)
		flags |= spec->active_low ? GPIOD_LINE_REQUEST_FLAG_OPEN_DRAIN
					  : GPIOD_LINE_REQUEST_FLAG_OPEN_SOURCE;
	return flags;
}

static int request_value(struct gpio_chip *chip, unsigned number, const struct gpio_spec *spec,
	const char *consumer, struct gpio_request *r)
{
	const struct gpiod_line_request_config config = {
		.consumer = consumer,
		.request_type = spec->use == GPIO_INPUT ? GPIOD_LINE_REQUEST_DIRECTION_INPUT
							: GPIOD_LINE_REQUEST_DIRECTION_OUTPUT,
		.flags = value_flags(spec),
	};

	errno = 0;
	r->line = gpiod_chip_get_line(chip->chip, number);
	if (!r->line || gpiod_line_request(r->line, &config, spec->value) != 0)
		return gpio_errno();
	return 0;
}

static uint64_t edge_flags(const struct gpio_spec *spec)
{
	static const uint64_t biases[] = {
		[GPIO_BIAS_AS_IS] = 0,
		[GPIO_BIAS_PULL_UP] = GPIO_V2_LINE_FLAG_BIAS_PULL_UP,
		[GPIO_BIAS_PULL_DOWN] = GPIO_V2_LINE_FLAG_BIAS_PULL_DOWN,
		[GPIO_BIAS_DISABLED] = GPIO_V2_LINE_FLAG_BIAS_DISABLED,
	};
	uint64_t flags = GPIO_V2_LINE_FLAG_INPUT | biases[spec->bias];

	if (spec->active_low)
		flags |= GPIO_V2_LINE_FLAG_ACTIVE_LOW;
	if (spec->use != GPIO_INPUT_FALLING)
		flags |= GPIO_V2_LINE_FLAG_EDGE_RISING;
	if (spec->use != GPIO_INPUT_RISING)
		flags |= GPIO_V2_LINE_FLAG_EDGE_FALLING;
	return flags;
}

static int request_edges(struct gpio_chip *chip, unsigned number, const struct gpio_spec *spec,
	const char *consumer, struct gpio_request *r)
{
	struct gpio_v2_line_request ask = {
		.offsets = {number},
		.config.flags = edge_flags(spec),
		.num_lines = 1,
		.event_buffer_size = GPIO_EDGES_KEPT,
	};
	int fd = open(chip->path, O_RDWR | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return gpio_errno();
	take_text(ask.consumer, sizeof(ask.consumer), consumer);
	errno = 0;
	if (GPIO_LIB_IOCTL(fd, GPIO_V2_GET_LINE_IOCTL, &ask) != 0)
		ret = gpio_errno();
	close(fd);
	if (ret)
		return ret;
	r->fd = ask.fd;
	if (fcntl(r->fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(r->fd, F_SETFD, FD_CLOEXEC) != 0) {
		ret = gpio_errno();
		close(r->fd);
	}
	return ret;
}

int gpio_lib_request(struct gpio_chip *chip, unsigned number, const struct gpio_spec *spec,
	const char *consumer, struct gpio_request **request)
{
	struct gpio_request *r = calloc(1, sizeof(*r));
	bool edges = spec->use == GPIO_INPUT_BOTH || spec->use == GPIO_INPUT_RISING ||
		     spec->use == GPIO_INPUT_FALLING;
	int ret;

	if (!r)
		return -ENOMEM;
	r->fd = -1;
	ret = edges ? request_edges(chip, number, spec, consumer, r)
		    : request_value(chip, number, spec, consumer, r);
	if (ret)
		free(r);
	else
		*request = r;
	return ret;
}

void gpio_lib_release(struct gpio_request *request)
{
	if (request && request->line)
		gpiod_line_release(request->line);
	else if (request)
		GPIO_LIB_CLOSE(request->fd);
	free(request);
}

int gpio_lib_get(struct gpio_request *request)
{
	struct gpio_v2_line_values values = {.mask = 1};
	int value;

	errno = 0;
	if (request->line) {
		value = gpiod_line_get_value(request->line);
		return value < 0 ? gpio_errno() : value;
	}
	if (GPIO_LIB_IOCTL(request->fd, GPIO_V2_LINE_GET_VALUES_IOCTL, &values) != 0)
		return gpio_errno();
	return (int)(values.bits & 1);
}

int gpio_lib_set(struct gpio_request *request, bool active)
{
	errno = 0;
	if (!request->line)
		return -EPERM;
	return gpiod_line_set_value(request->line, active) == 0 ? 0 : gpio_errno();
}

int gpio_lib_fd(struct gpio_request *request)
{
	return request->fd;
}

int gpio_lib_edges(struct gpio_request *request, struct gpio_edge *edges, size_t max)
{
	struct gpio_v2_line_event events[64];
	size_t n = sizeof(events) / sizeof(*events);
	ssize_t len;

	if (n > max)
		n = max;
	errno = 0;
	len = read(request->fd, events, n * sizeof(*events));
	if (len <= 0 || (size_t)len % sizeof(*events) != 0)
		return gpio_errno();
	n = (size_t)len / sizeof(*events);
	for (size_t i = 0; i < n; i++)
		edges[i] = (struct gpio_edge){.t_ns = events[i].timestamp_ns,
			.number = events[i].line_seqno,
			.rising = events[i].id == GPIO_V2_LINE_EVENT_RISING_EDGE};
	return (int)n;
}

#endif
