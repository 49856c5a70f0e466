/* What drivers/gpio_v2.c uses of libgpiod 2, on tests/fake_gpio.h. Written after its documentation;
 * an enumeration has the values that it has there. */
#ifndef TESTS_FAKE_GPIOD2_H
#define TESTS_FAKE_GPIOD2_H

#define __LIBGPIOD_GPIOD_H__ /* this host's own is not to be included */

struct gpiod_chip;
struct gpiod_chip_info;
struct gpiod_line_info;
struct gpiod_line_settings;
struct gpiod_line_config;
struct gpiod_request_config;
struct gpiod_line_request;
struct gpiod_edge_event;
struct gpiod_edge_event_buffer;

enum gpiod_line_value {
	GPIOD_LINE_VALUE_ERROR = -1,
	GPIOD_LINE_VALUE_INACTIVE = 0,
	GPIOD_LINE_VALUE_ACTIVE = 1,
};

enum gpiod_line_direction {
	GPIOD_LINE_DIRECTION_AS_IS = 1,
	GPIOD_LINE_DIRECTION_INPUT,
	GPIOD_LINE_DIRECTION_OUTPUT,
};

enum gpiod_line_edge {
	GPIOD_LINE_EDGE_NONE = 1,
	GPIOD_LINE_EDGE_RISING,
	GPIOD_LINE_EDGE_FALLING,
	GPIOD_LINE_EDGE_BOTH,
};

enum gpiod_line_bias {
	GPIOD_LINE_BIAS_AS_IS = 1,
	GPIOD_LINE_BIAS_UNKNOWN,
	GPIOD_LINE_BIAS_DISABLED,
	GPIOD_LINE_BIAS_PULL_UP,
	GPIOD_LINE_BIAS_PULL_DOWN,
};

enum gpiod_line_drive {
	GPIOD_LINE_DRIVE_PUSH_PULL = 1,
	GPIOD_LINE_DRIVE_OPEN_DRAIN,
	GPIOD_LINE_DRIVE_OPEN_SOURCE,
};

enum gpiod_line_clock {
	GPIOD_LINE_CLOCK_MONOTONIC = 1,
	GPIOD_LINE_CLOCK_REALTIME,
	GPIOD_LINE_CLOCK_HTE,
};

enum gpiod_edge_event_type {
	GPIOD_EDGE_EVENT_RISING_EDGE = 1,
	GPIOD_EDGE_EVENT_FALLING_EDGE,
};

struct gpiod_chip *gpiod_chip_open(const char *path);
void gpiod_chip_close(struct gpiod_chip *chip);
struct gpiod_chip_info *gpiod_chip_get_info(struct gpiod_chip *chip);
void gpiod_chip_info_free(struct gpiod_chip_info *info);
const char *gpiod_chip_info_get_name(struct gpiod_chip_info *info);
const char *gpiod_chip_info_get_label(struct gpiod_chip_info *info);
size_t gpiod_chip_info_get_num_lines(struct gpiod_chip_info *info);
struct gpiod_line_info *gpiod_chip_get_line_info(struct gpiod_chip *chip, unsigned int offset);
void gpiod_line_info_free(struct gpiod_line_info *info);
const char *gpiod_line_info_get_name(struct gpiod_line_info *info);
const char *gpiod_line_info_get_consumer(struct gpiod_line_info *info);
bool gpiod_line_info_is_used(struct gpiod_line_info *info);
enum gpiod_line_direction gpiod_line_info_get_direction(struct gpiod_line_info *info);
bool gpiod_line_info_is_active_low(struct gpiod_line_info *info);
struct gpiod_line_settings *gpiod_line_settings_new(void);
void gpiod_line_settings_free(struct gpiod_line_settings *settings);
int gpiod_line_settings_set_direction(
	struct gpiod_line_settings *settings, enum gpiod_line_direction direction);
int gpiod_line_settings_set_edge_detection(
	struct gpiod_line_settings *settings, enum gpiod_line_edge edge);
int gpiod_line_settings_set_bias(struct gpiod_line_settings *settings, enum gpiod_line_bias bias);
int gpiod_line_settings_set_drive(
	struct gpiod_line_settings *settings, enum gpiod_line_drive drive);
void gpiod_line_settings_set_active_low(struct gpiod_line_settings *settings, bool active_low);
int gpiod_line_settings_set_event_clock(
	struct gpiod_line_settings *settings, enum gpiod_line_clock event_clock);
int gpiod_line_settings_set_output_value(
	struct gpiod_line_settings *settings, enum gpiod_line_value value);
struct gpiod_line_config *gpiod_line_config_new(void);
void gpiod_line_config_free(struct gpiod_line_config *config);
int gpiod_line_config_add_line_settings(struct gpiod_line_config *config,
	const unsigned int *offsets, size_t num_offsets, struct gpiod_line_settings *settings);
struct gpiod_request_config *gpiod_request_config_new(void);
void gpiod_request_config_free(struct gpiod_request_config *config);
void gpiod_request_config_set_consumer(struct gpiod_request_config *config, const char *consumer);
void gpiod_request_config_set_event_buffer_size(
	struct gpiod_request_config *config, size_t event_buffer_size);
struct gpiod_line_request *gpiod_chip_request_lines(struct gpiod_chip *chip,
	struct gpiod_request_config *req_cfg, struct gpiod_line_config *line_cfg);
void gpiod_line_request_release(struct gpiod_line_request *request);
enum gpiod_line_value gpiod_line_request_get_value(
	struct gpiod_line_request *request, unsigned int offset);
int gpiod_line_request_set_value(
	struct gpiod_line_request *request, unsigned int offset, enum gpiod_line_value value);
int gpiod_line_request_get_fd(struct gpiod_line_request *request);
int gpiod_line_request_read_edge_events(struct gpiod_line_request *request,
	struct gpiod_edge_event_buffer *buffer, size_t max_events);
struct gpiod_edge_event_buffer *gpiod_edge_event_buffer_new(size_t capacity);
void gpiod_edge_event_buffer_free(struct gpiod_edge_event_buffer *buffer);
struct gpiod_edge_event *gpiod_edge_event_buffer_get_event(
	struct gpiod_edge_event_buffer *buffer, unsigned long index);
enum gpiod_edge_event_type gpiod_edge_event_get_event_type(struct gpiod_edge_event *event);
uint64_t gpiod_edge_event_get_timestamp_ns(struct gpiod_edge_event *event);
unsigned long gpiod_edge_event_get_line_seqno(struct gpiod_edge_event *event);

/* --- chips and what is known of them ---------------------------------------------------------- */

struct gpiod_chip {
	struct fake_gpio_handle handle;
};

/* Snapshots, as the library's are. */
struct gpiod_chip_info {
	struct fake_gpio_chip chip;
};

struct gpiod_line_info {
	struct fake_gpio_line line;
};

struct gpiod_chip *gpiod_chip_open(const char *path)
{
	struct fake_gpio_chip *known = fake_chip_of(path);
	struct gpiod_chip *chip;

	if (!known || known->refuse) {
		errno = known ? known->refuse : errno;
		return NULL;
	}
	chip = calloc(1, sizeof(*chip));
	chip->handle = (struct fake_gpio_handle){known, NULL, known->born};
	return chip;
}

void gpiod_chip_close(struct gpiod_chip *chip)
{
	free(chip);
}

struct gpiod_chip_info *gpiod_chip_get_info(struct gpiod_chip *chip)
{
	struct gpiod_chip_info *info = fake_dead(&chip->handle) ? NULL : malloc(sizeof(*info));

	if (info)
		info->chip = *chip->handle.chip;
	return info;
}

void gpiod_chip_info_free(struct gpiod_chip_info *info)
{
	free(info);
}

const char *gpiod_chip_info_get_name(struct gpiod_chip_info *info)
{
	return info->chip.name;
}

const char *gpiod_chip_info_get_label(struct gpiod_chip_info *info)
{
	return info->chip.label;
}

size_t gpiod_chip_info_get_num_lines(struct gpiod_chip_info *info)
{
	return info->chip.lines;
}

struct gpiod_line_info *gpiod_chip_get_line_info(struct gpiod_chip *chip, unsigned int offset)
{
	struct gpiod_line_info *info = fake_dead(&chip->handle) ? NULL : malloc(sizeof(*info));

	assert_true(offset < FAKE_LINES);
	if (info)
		info->line = chip->handle.chip->line[offset];
	return info;
}

void gpiod_line_info_free(struct gpiod_line_info *info)
{
	free(info);
}

const char *gpiod_line_info_get_name(struct gpiod_line_info *info)
{
	return info->line.name[0] ? info->line.name : NULL;
}

const char *gpiod_line_info_get_consumer(struct gpiod_line_info *info)
{
	return info->line.consumer[0] ? info->line.consumer : NULL;
}

bool gpiod_line_info_is_used(struct gpiod_line_info *info)
{
	return info->line.used;
}

enum gpiod_line_direction gpiod_line_info_get_direction(struct gpiod_line_info *info)
{
	return info->line.output ? GPIOD_LINE_DIRECTION_OUTPUT : GPIOD_LINE_DIRECTION_INPUT;
}

bool gpiod_line_info_is_active_low(struct gpiod_line_info *info)
{
	return info->line.active_low;
}

/* --- what is asked for ------------------------------------------------------------------------ */

struct gpiod_line_settings {
	enum gpiod_line_direction direction;
	enum gpiod_line_edge edge;
	enum gpiod_line_bias bias;
	enum gpiod_line_drive drive;
	enum gpiod_line_value value;
	bool active_low;
};

struct gpiod_line_config {
	struct gpiod_line_settings settings;
	unsigned int offset;
	bool filled;
};

struct gpiod_request_config {
	char consumer[32];
	size_t kept;
};

struct gpiod_line_settings *gpiod_line_settings_new(void)
{
	struct gpiod_line_settings *settings = calloc(1, sizeof(*settings));

	settings->direction = GPIOD_LINE_DIRECTION_AS_IS;
	settings->edge = GPIOD_LINE_EDGE_NONE;
	settings->bias = GPIOD_LINE_BIAS_AS_IS;
	settings->drive = GPIOD_LINE_DRIVE_PUSH_PULL;
	return settings;
}

void gpiod_line_settings_free(struct gpiod_line_settings *settings)
{
	free(settings);
}

int gpiod_line_settings_set_direction(
	struct gpiod_line_settings *settings, enum gpiod_line_direction direction)
{
	settings->direction = direction;
	return 0;
}

int gpiod_line_settings_set_edge_detection(
	struct gpiod_line_settings *settings, enum gpiod_line_edge edge)
{
	settings->edge = edge;
	return 0;
}

int gpiod_line_settings_set_bias(struct gpiod_line_settings *settings, enum gpiod_line_bias bias)
{
	assert_int_not_equal(bias, GPIOD_LINE_BIAS_UNKNOWN);
	settings->bias = bias;
	return 0;
}

int gpiod_line_settings_set_drive(struct gpiod_line_settings *settings, enum gpiod_line_drive drive)
{
	settings->drive = drive;
	return 0;
}

void gpiod_line_settings_set_active_low(struct gpiod_line_settings *settings, bool active_low)
{
	settings->active_low = active_low;
}

int gpiod_line_settings_set_event_clock(
	struct gpiod_line_settings *settings, enum gpiod_line_clock event_clock)
{
	(void)settings;
	assert_int_equal(event_clock, GPIOD_LINE_CLOCK_MONOTONIC);
	return 0;
}

int gpiod_line_settings_set_output_value(
	struct gpiod_line_settings *settings, enum gpiod_line_value value)
{
	settings->value = value;
	return 0;
}

struct gpiod_line_config *gpiod_line_config_new(void)
{
	return calloc(1, sizeof(struct gpiod_line_config));
}

void gpiod_line_config_free(struct gpiod_line_config *config)
{
	free(config);
}

int gpiod_line_config_add_line_settings(struct gpiod_line_config *config,
	const unsigned int *offsets, size_t num_offsets, struct gpiod_line_settings *settings)
{
	assert_int_equal(num_offsets, 1);
	*config = (struct gpiod_line_config){*settings, offsets[0], true};
	return 0;
}

struct gpiod_request_config *gpiod_request_config_new(void)
{
	return calloc(1, sizeof(struct gpiod_request_config));
}

void gpiod_request_config_free(struct gpiod_request_config *config)
{
	free(config);
}

void gpiod_request_config_set_consumer(struct gpiod_request_config *config, const char *consumer)
{
	snprintf(config->consumer, sizeof(config->consumer), "%s", consumer);
}

void gpiod_request_config_set_event_buffer_size(
	struct gpiod_request_config *config, size_t event_buffer_size)
{
	config->kept = event_buffer_size;
}

/* --- requests --------------------------------------------------------------------------------- */

struct gpiod_line_request {
	struct fake_gpio_handle handle;
	unsigned int offset;
	int fd;
};

static inline uint64_t fake_edges_of(enum gpiod_line_edge edge)
{
	switch (edge) {
	case GPIOD_LINE_EDGE_RISING:
		return GPIO_V2_LINE_FLAG_EDGE_RISING;
	case GPIOD_LINE_EDGE_FALLING:
		return GPIO_V2_LINE_FLAG_EDGE_FALLING;
	case GPIOD_LINE_EDGE_BOTH:
		return GPIO_V2_LINE_FLAG_EDGE_RISING | GPIO_V2_LINE_FLAG_EDGE_FALLING;
	case GPIOD_LINE_EDGE_NONE:
	default:
		return 0;
	}
}

struct gpiod_line_request *gpiod_chip_request_lines(struct gpiod_chip *chip,
	struct gpiod_request_config *req_cfg, struct gpiod_line_config *line_cfg)
{
	const struct gpiod_line_settings *s = &line_cfg->settings;
	struct fake_gpio_line *l = &chip->handle.chip->line[line_cfg->offset];
	struct gpiod_line_request *r;

	assert_true(line_cfg->filled);
	r = calloc(1, sizeof(*r));
	*r = (struct gpiod_line_request){
		{chip->handle.chip, l, chip->handle.born}, line_cfg->offset, -1};
	if (fake_take(&r->handle, req_cfg->consumer) != 0) {
		free(r);
		return NULL;
	}
	l->active_low = s->active_low;
	l->bias = s->bias == GPIOD_LINE_BIAS_PULL_UP ? 1 : 0;
	l->kept = (unsigned)req_cfg->kept;
	l->open = s->drive != GPIOD_LINE_DRIVE_PUSH_PULL;
	if (l->open)
		assert_int_equal(s->drive == GPIOD_LINE_DRIVE_OPEN_DRAIN, s->active_low);
	l->output = s->direction == GPIOD_LINE_DIRECTION_OUTPUT;
	l->edges = fake_edges_of(s->edge);
	if (l->output)
		fake_drive(&r->handle, s->value == GPIOD_LINE_VALUE_ACTIVE);
	r->fd = fake_make_pipe(l);
	return r;
}

void gpiod_line_request_release(struct gpiod_line_request *request)
{
	fake_release(&request->handle);
	close(request->fd);
	free(request);
}

enum gpiod_line_value gpiod_line_request_get_value(
	struct gpiod_line_request *request, unsigned int offset)
{
	assert_int_equal(offset, request->offset);
	return (enum gpiod_line_value)fake_get(&request->handle);
}

int gpiod_line_request_set_value(
	struct gpiod_line_request *request, unsigned int offset, enum gpiod_line_value value)
{
	assert_int_equal(offset, request->offset);
	if (fake_dead(&request->handle))
		return -1;
	fake_drive(&request->handle, value == GPIOD_LINE_VALUE_ACTIVE);
	return 0;
}

int gpiod_line_request_get_fd(struct gpiod_line_request *request)
{
	return request->fd;
}

/* --- edges ------------------------------------------------------------------------------------ */

struct gpiod_edge_event {
	struct gpio_v2_line_event event;
};

struct gpiod_edge_event_buffer {
	size_t capacity, n;
	struct gpiod_edge_event events[];
};

struct gpiod_edge_event_buffer *gpiod_edge_event_buffer_new(size_t capacity)
{
	struct gpiod_edge_event_buffer *buffer =
		calloc(1, sizeof(*buffer) + capacity * sizeof(buffer->events[0]));

	buffer->capacity = capacity;
	return buffer;
}

void gpiod_edge_event_buffer_free(struct gpiod_edge_event_buffer *buffer)
{
	free(buffer);
}

int gpiod_line_request_read_edge_events(struct gpiod_line_request *request,
	struct gpiod_edge_event_buffer *buffer, size_t max_events)
{
	ssize_t n;

	if (fake_dead(&request->handle))
		return -1;
	if (max_events > buffer->capacity)
		max_events = buffer->capacity;
	n = read(request->fd, buffer->events, max_events * sizeof(buffer->events[0]));
	buffer->n = n > 0 ? (size_t)n / sizeof(buffer->events[0]) : 0;
	return n < 0 ? -1 : (int)buffer->n;
}

struct gpiod_edge_event *gpiod_edge_event_buffer_get_event(
	struct gpiod_edge_event_buffer *buffer, unsigned long index)
{
	assert_true(index < buffer->n);
	return &buffer->events[index];
}

enum gpiod_edge_event_type gpiod_edge_event_get_event_type(struct gpiod_edge_event *event)
{
	return event->event.id == GPIO_V2_LINE_EVENT_RISING_EDGE ? GPIOD_EDGE_EVENT_RISING_EDGE
								 : GPIOD_EDGE_EVENT_FALLING_EDGE;
}

uint64_t gpiod_edge_event_get_timestamp_ns(struct gpiod_edge_event *event)
{
	return event->event.timestamp_ns;
}

unsigned long gpiod_edge_event_get_line_seqno(struct gpiod_edge_event *event)
{
	return event->event.line_seqno;
}

#endif
