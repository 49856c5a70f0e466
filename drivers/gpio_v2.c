/*
 * gpio_lib.h with libgpiod 2.x.
 */
#if RIG_GPIOD >= 2

#include "gpio_lib.h"

#include <fcntl.h>
#include <gpiod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A test brings a folder of its own. */
#ifndef GPIO_LIB_DIR
#define GPIO_LIB_DIR "/dev"
#endif

struct gpio_chip {
	struct gpiod_chip *chip;
};

struct gpio_request {
	struct gpiod_line_request *request;
	struct gpiod_edge_event_buffer *buffer; /* of a line with edges */
	unsigned number;
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
	struct gpiod_chip_info *known;

	if (!c)
		return -ENOMEM;
	errno = 0;
	c->chip = gpiod_chip_open(path);
	known = c->chip ? gpiod_chip_get_info(c->chip) : NULL;
	if (!known) {
		int ret = gpio_errno();

		if (c->chip)
			gpiod_chip_close(c->chip);
		free(c);
		return ret;
	}
	take_text(info->name, sizeof(info->name), gpiod_chip_info_get_name(known));
	take_text(info->label, sizeof(info->label), gpiod_chip_info_get_label(known));
	info->lines = (unsigned)gpiod_chip_info_get_num_lines(known);
	gpiod_chip_info_free(known);
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
	struct gpiod_line_info *known;

	errno = 0;
	known = gpiod_chip_get_line_info(chip->chip, number);
	if (!known)
		return gpio_errno();
	take_text(info->name, sizeof(info->name), gpiod_line_info_get_name(known));
	take_text(info->consumer, sizeof(info->consumer), gpiod_line_info_get_consumer(known));
	info->used = gpiod_line_info_is_used(known);
	info->output = gpiod_line_info_get_direction(known) == GPIOD_LINE_DIRECTION_OUTPUT;
	info->active_low = gpiod_line_info_is_active_low(known);
	gpiod_line_info_free(known);
	return 0;
}

static bool has_edges(const struct gpio_spec *spec)
{
	return spec->use == GPIO_INPUT_BOTH || spec->use == GPIO_INPUT_RISING ||
	       spec->use == GPIO_INPUT_FALLING;
}

static enum gpiod_line_edge edge_of(const struct gpio_spec *spec)
{
	switch (spec->use) {
	case GPIO_INPUT_BOTH:
		return GPIOD_LINE_EDGE_BOTH;
	case GPIO_INPUT_RISING:
		return GPIOD_LINE_EDGE_RISING;
	case GPIO_INPUT_FALLING:
		return GPIOD_LINE_EDGE_FALLING;
	case GPIO_INPUT:
	case GPIO_OUTPUT:
	case GPIO_OUTPUT_OPEN:
		break;
	}
	return GPIOD_LINE_EDGE_NONE;
}

/* 0, or -1 with errno set. */
static int fill_settings(struct gpiod_line_settings *settings, const struct gpio_spec *spec)
{
	static const enum gpiod_line_bias biases[] = {
		[GPIO_BIAS_AS_IS] = GPIOD_LINE_BIAS_AS_IS,
		[GPIO_BIAS_PULL_UP] = GPIOD_LINE_BIAS_PULL_UP,
		[GPIO_BIAS_PULL_DOWN] = GPIOD_LINE_BIAS_PULL_DOWN,
		[GPIO_BIAS_DISABLED] = GPIOD_LINE_BIAS_DISABLED,
	};
	bool output = spec->use == GPIO_OUTPUT || spec->use == GPIO_OUTPUT_OPEN;
	enum gpiod_line_drive drive = GPIOD_LINE_DRIVE_PUSH_PULL;

	if (spec->use == GPIO_OUTPUT_OPEN)
		drive = spec->active_low ? GPIOD_LINE_DRIVE_OPEN_DRAIN
					 : GPIOD_LINE_DRIVE_OPEN_SOURCE;
	gpiod_line_settings_set_active_low(settings, spec->active_low);
	if (gpiod_line_settings_set_direction(settings,
		    output ? GPIOD_LINE_DIRECTION_OUTPUT : GPIOD_LINE_DIRECTION_INPUT) != 0 ||
		gpiod_line_settings_set_bias(settings, biases[spec->bias]) != 0)
		return -1;
	if (output)
		return gpiod_line_settings_set_drive(settings, drive) != 0 ||
				       gpiod_line_settings_set_output_value(settings,
					       spec->value ? GPIOD_LINE_VALUE_ACTIVE
							   : GPIOD_LINE_VALUE_INACTIVE) != 0
			       ? -1
			       : 0;
	if (!has_edges(spec))
		return 0;
	return gpiod_line_settings_set_edge_detection(settings, edge_of(spec)) != 0 ||
			       gpiod_line_settings_set_event_clock(
				       settings, GPIOD_LINE_CLOCK_MONOTONIC) != 0
		       ? -1
		       : 0;
}

static int make_request(struct gpio_chip *chip, unsigned number, const struct gpio_spec *spec,
	const char *consumer, struct gpio_request *r)
{
	struct gpiod_line_settings *settings = gpiod_line_settings_new();
	struct gpiod_line_config *lines = gpiod_line_config_new();
	struct gpiod_request_config *config = gpiod_request_config_new();
	int ret = -ENOMEM;

	errno = 0;
	if (settings && lines && config) {
		gpiod_request_config_set_consumer(config, consumer);
		if (has_edges(spec))
			gpiod_request_config_set_event_buffer_size(config, GPIO_EDGES_KEPT);
		if (fill_settings(settings, spec) == 0 &&
			gpiod_line_config_add_line_settings(lines, &number, 1, settings) == 0)
			r->request = gpiod_chip_request_lines(chip->chip, config, lines);
		ret = r->request ? 0 : gpio_errno();
	}
	if (settings)
		gpiod_line_settings_free(settings);
	if (lines)
		gpiod_line_config_free(lines);
	if (config)
		gpiod_request_config_free(config);
	return ret;
}

static int prepare_edges(struct gpio_request *r)
{
	errno = 0;
	r->buffer = gpiod_edge_event_buffer_new(64);
	if (!r->buffer || fcntl(gpiod_line_request_get_fd(r->request), F_SETFL, O_NONBLOCK) != 0)
		return gpio_errno();
	return 0;
}

int gpio_lib_request(struct gpio_chip *chip, unsigned number, const struct gpio_spec *spec,
	const char *consumer, struct gpio_request **request)
{
	struct gpio_request *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	r->number = number;
	ret = make_request(chip, number, spec, consumer, r);
	if (!ret && has_edges(spec))
		ret = prepare_edges(r);
	if (ret)
		gpio_lib_release(r);
	else
		*request = r;
	return ret;
}

void gpio_lib_release(struct gpio_request *request)
{
	if (request && request->buffer)
		gpiod_edge_event_buffer_free(request->buffer);
	if (request && request->request)
		gpiod_line_request_release(request->request);
	free(request);
}

int gpio_lib_get(struct gpio_request *request)
{
	int value;

	errno = 0;
	value = (int)gpiod_line_request_get_value(request->request, request->number);
	return value < 0 ? gpio_errno() : value;
}

int gpio_lib_set(struct gpio_request *request, bool active)
{
	errno = 0;
	return gpiod_line_request_set_value(request->request, request->number,
		       active ? GPIOD_LINE_VALUE_ACTIVE : GPIOD_LINE_VALUE_INACTIVE) == 0
		       ? 0
		       : gpio_errno();
}

int gpio_lib_fd(struct gpio_request *request)
{
	return request->buffer ? gpiod_line_request_get_fd(request->request) : -1;
}

int gpio_lib_edges(struct gpio_request *request, struct gpio_edge *edges, size_t max)
{
	int n;

	errno = 0;
	n = gpiod_line_request_read_edge_events(
		request->request, request->buffer, max < 64 ? max : 64);
	if (n <= 0)
		return gpio_errno();
	for (int i = 0; i < n; i++) {
		struct gpiod_edge_event *event =
			gpiod_edge_event_buffer_get_event(request->buffer, (unsigned long)i);

		edges[i] = (struct gpio_edge){.t_ns = gpiod_edge_event_get_timestamp_ns(event),
			.number = (uint32_t)gpiod_edge_event_get_line_seqno(event),
			.rising = gpiod_edge_event_get_event_type(event) ==
				  GPIOD_EDGE_EVENT_RISING_EDGE};
	}
	return n;
}

#endif
