/* What drivers/gpio_v1.c uses of libgpiod 1.6, and of the kernel's edges, on tests/fake_gpio.h. */
#ifndef TESTS_FAKE_GPIOD1_H
#define TESTS_FAKE_GPIOD1_H

#define __LIBGPIOD_GPIOD_H__ /* this host's own is not to be included */

enum {
	GPIOD_LINE_DIRECTION_INPUT = 1,
	GPIOD_LINE_DIRECTION_OUTPUT,
};

enum {
	GPIOD_LINE_ACTIVE_STATE_HIGH = 1,
	GPIOD_LINE_ACTIVE_STATE_LOW,
};

enum {
	GPIOD_LINE_REQUEST_DIRECTION_AS_IS = 1,
	GPIOD_LINE_REQUEST_DIRECTION_INPUT,
	GPIOD_LINE_REQUEST_DIRECTION_OUTPUT,
};

enum {
	GPIOD_LINE_REQUEST_FLAG_OPEN_DRAIN = 1 << 0,
	GPIOD_LINE_REQUEST_FLAG_OPEN_SOURCE = 1 << 1,
	GPIOD_LINE_REQUEST_FLAG_ACTIVE_LOW = 1 << 2,
	GPIOD_LINE_REQUEST_FLAG_BIAS_DISABLE = 1 << 3,
	GPIOD_LINE_REQUEST_FLAG_BIAS_PULL_DOWN = 1 << 4,
	GPIOD_LINE_REQUEST_FLAG_BIAS_PULL_UP = 1 << 5,
};

struct gpiod_line_request_config {
	const char *consumer;
	int request_type;
	int flags;
};

struct gpiod_chip;

struct gpiod_line {
	struct fake_gpio_handle handle;
	bool requested;
};

struct gpiod_chip {
	struct fake_gpio_handle handle;
	struct gpiod_line lines[FAKE_LINES];
};

struct gpiod_chip *gpiod_chip_open(const char *path);
void gpiod_chip_close(struct gpiod_chip *chip);
const char *gpiod_chip_name(struct gpiod_chip *chip);
const char *gpiod_chip_label(struct gpiod_chip *chip);
unsigned int gpiod_chip_num_lines(struct gpiod_chip *chip);
struct gpiod_line *gpiod_chip_get_line(struct gpiod_chip *chip, unsigned int offset);
int gpiod_line_update(struct gpiod_line *line);
const char *gpiod_line_name(struct gpiod_line *line);
const char *gpiod_line_consumer(struct gpiod_line *line);
bool gpiod_line_is_used(struct gpiod_line *line);
int gpiod_line_direction(struct gpiod_line *line);
int gpiod_line_active_state(struct gpiod_line *line);
int gpiod_line_request(
	struct gpiod_line *line, const struct gpiod_line_request_config *config, int default_val);
void gpiod_line_release(struct gpiod_line *line);
int gpiod_line_get_value(struct gpiod_line *line);
int gpiod_line_set_value(struct gpiod_line *line, int value);

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
	for (int i = 0; i < FAKE_LINES; i++)
		chip->lines[i].handle =
			(struct fake_gpio_handle){known, &known->line[i], known->born};
	return chip;
}

void gpiod_chip_close(struct gpiod_chip *chip)
{
	for (int i = 0; i < FAKE_LINES; i++)
		if (chip->lines[i].requested)
			gpiod_line_release(&chip->lines[i]);
	free(chip);
}

const char *gpiod_chip_name(struct gpiod_chip *chip)
{
	return chip->handle.chip->name;
}

const char *gpiod_chip_label(struct gpiod_chip *chip)
{
	return chip->handle.chip->label;
}

unsigned int gpiod_chip_num_lines(struct gpiod_chip *chip)
{
	return chip->handle.chip->lines;
}

struct gpiod_line *gpiod_chip_get_line(struct gpiod_chip *chip, unsigned int offset)
{
	if (fake_dead(&chip->handle))
		return NULL;
	assert_true(offset < FAKE_LINES);
	return &chip->lines[offset];
}

int gpiod_line_update(struct gpiod_line *line)
{
	return fake_dead(&line->handle) ? -1 : 0;
}

const char *gpiod_line_name(struct gpiod_line *line)
{
	return line->handle.line->name[0] ? line->handle.line->name : NULL;
}

const char *gpiod_line_consumer(struct gpiod_line *line)
{
	return line->handle.line->consumer[0] ? line->handle.line->consumer : NULL;
}

bool gpiod_line_is_used(struct gpiod_line *line)
{
	return line->handle.line->used;
}

int gpiod_line_direction(struct gpiod_line *line)
{
	return line->handle.line->output ? GPIOD_LINE_DIRECTION_OUTPUT : GPIOD_LINE_DIRECTION_INPUT;
}

int gpiod_line_active_state(struct gpiod_line *line)
{
	return line->handle.line->active_low ? GPIOD_LINE_ACTIVE_STATE_LOW
					     : GPIOD_LINE_ACTIVE_STATE_HIGH;
}

int gpiod_line_request(
	struct gpiod_line *line, const struct gpiod_line_request_config *config, int default_val)
{
	struct fake_gpio_line *l = line->handle.line;

	if (fake_take(&line->handle, config->consumer) != 0)
		return -1;
	line->requested = true;
	l->active_low = config->flags & GPIOD_LINE_REQUEST_FLAG_ACTIVE_LOW;
	l->bias = config->flags & GPIOD_LINE_REQUEST_FLAG_BIAS_PULL_UP ? 1 : 0;
	if (config->flags & GPIOD_LINE_REQUEST_FLAG_OPEN_DRAIN)
		assert_true(l->active_low);
	if (config->flags & GPIOD_LINE_REQUEST_FLAG_OPEN_SOURCE)
		assert_false(l->active_low);
	if (config->request_type != GPIOD_LINE_REQUEST_DIRECTION_OUTPUT)
		return 0;
	l->open = config->flags &
		  (GPIOD_LINE_REQUEST_FLAG_OPEN_DRAIN | GPIOD_LINE_REQUEST_FLAG_OPEN_SOURCE);
	l->output = true;
	fake_drive(&line->handle, default_val);
	return 0;
}

void gpiod_line_release(struct gpiod_line *line)
{
	if (line->requested)
		fake_release(&line->handle);
	line->requested = false;
}

int gpiod_line_get_value(struct gpiod_line *line)
{
	return fake_get(&line->handle);
}

int gpiod_line_set_value(struct gpiod_line *line, int value)
{
	if (fake_dead(&line->handle))
		return -1;
	fake_drive(&line->handle, value);
	return 0;
}

/* --- the kernel's own ------------------------------------------------------------------------- */

/* The line whose edges are read from fd. */
static inline struct fake_gpio_line *fake_gpio_line_of(int fd, struct fake_gpio_chip **chip)
{
	for (struct fake_kernel *k = fake_kernel; k; k = k->below)
		for (int i = 0; i < FAKE_CHIPS * FAKE_LINES; i++) {
			*chip = &k->chip[i / FAKE_LINES];
			if ((*chip)->line[i % FAKE_LINES].pipe[0] == fd)
				return &(*chip)->line[i % FAKE_LINES];
		}
	return NULL;
}

static inline int fake_request_edges(int fd, struct gpio_v2_line_request *ask)
{
	char link[64], path[PATH_MAX];
	struct fake_gpio_handle h = {0};
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	assert_true(n > 0);
	path[n] = '\0';
	h.chip = fake_chip_of(path);
	if (!h.chip)
		return -1;
	assert_int_equal(ask->num_lines, 1);
	assert_true(ask->config.flags & GPIO_V2_LINE_FLAG_INPUT);
	assert_false(ask->config.flags & GPIO_V2_LINE_FLAG_EVENT_CLOCK_REALTIME);
	h.line = &h.chip->line[ask->offsets[0]];
	h.born = h.chip->born;
	if (fake_take(&h, ask->consumer) != 0)
		return -1;
	h.line->active_low = ask->config.flags & GPIO_V2_LINE_FLAG_ACTIVE_LOW;
	h.line->bias = ask->config.flags & GPIO_V2_LINE_FLAG_BIAS_PULL_UP ? 1 : 0;
	h.line->edges = ask->config.flags;
	h.line->kept = ask->event_buffer_size;
	ask->fd = fake_make_pipe(h.line);
	return 0;
}

static inline int fake_ioctl(int fd, unsigned long what, void *arg)
{
	struct gpio_v2_line_values *values = arg;
	struct fake_gpio_chip *chip;
	struct fake_gpio_line *l;

	if (what == GPIO_V2_GET_LINE_IOCTL)
		return fake_request_edges(fd, arg);
	assert_int_equal(what, GPIO_V2_LINE_GET_VALUES_IOCTL);
	l = fake_gpio_line_of(fd, &chip);
	if (!l) {
		errno = ENODEV;
		return -1;
	}
	values->bits = fake_gpio_level(chip, l) != l->active_low;
	return 0;
}

/* The kernel lets go of a line when the last file descriptor of its request is closed. */
static inline int fake_gpio_close(int fd)
{
	struct fake_gpio_chip *chip;
	struct fake_gpio_line *l = fake_gpio_line_of(fd, &chip);

	if (l)
		fake_release(&(struct fake_gpio_handle){chip, l, chip->born});
	return close(fd);
}

#endif
