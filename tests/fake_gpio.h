/*
 * GPIO chips without a kernel: chips, lines and wires between them, in memory, and a folder with a
 * file for each chip. drivers/gpio_v1.c or gpio_v2.c is made into the test on top of a stand-in for
 * libgpiod's interface of that version (FAKE_GPIOD, 2 unless defined), whatever this host has.
 */
#ifndef TESTS_FAKE_GPIO_H
#define TESTS_FAKE_GPIO_H

#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/gpio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#define FAKE_CHIPS 2
#define FAKE_LINES 8

struct fake_gpio_line {
	char name[32], consumer[32];
	bool used, output, active_low;
	bool open;    /* an open drain, or source */
	bool driven;  /* the level that it drives */
	bool level;   /* what is on it while nothing drives it */
	bool shorted; /* level is on it also when it drives */
	int follows;  /* a line of the same chip that it is wired to; -1: none */
	unsigned bias;
	uint64_t edges; /* GPIO_V2_LINE_FLAG_EDGE_…: those that are told */
	unsigned kept;
	int pipe[2]; /* of edges; -1: none */
	uint32_t seqno;
	int refuse; /* errno of a request; 0: none */
};

struct fake_gpio_chip {
	char name[32], label[32];
	unsigned lines, born; /* how often it was plugged in */
	bool there;
	int refuse; /* errno of an open; 0: none */
	struct fake_gpio_line line[FAKE_LINES];
};

struct fake_kernel {
	struct fake_kernel *below; /* the one before this */
	void *scratch;
	struct fake_gpio_chip chip[FAKE_CHIPS];
	char sets[256]; /* "chip.line=level" of each level that was driven, with spaces between */
};

static struct fake_kernel *fake_kernel;

/* A handle on a line, or on a chip. */
struct fake_gpio_handle {
	struct fake_gpio_chip *chip;
	struct fake_gpio_line *line;
	unsigned born;
};

static inline const char *fake_gpio_dir(void)
{
	return ((struct scratch *)fake_kernel->scratch)->dir;
}

/* --- levels and edges ------------------------------------------------------------------------- */

static inline bool fake_gpio_level(
	const struct fake_gpio_chip *chip, const struct fake_gpio_line *l)
{
	bool drives = l->output && !(l->open && l->driven == l->active_low);

	if (drives && !l->shorted)
		return l->driven;
	if (!l->output && l->follows >= 0)
		return fake_gpio_level(chip, &chip->line[l->follows]);
	return l->level;
}

static inline uint64_t fake_gpio_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The kernel tells an edge, if it is one of those asked for. */
static inline void fake_edge_at(struct fake_gpio_line *l, bool high, uint64_t t_ns)
{
	bool rising = high != l->active_low;
	struct gpio_v2_line_event event = {
		.timestamp_ns = t_ns,
		.id = rising ? GPIO_V2_LINE_EVENT_RISING_EDGE : GPIO_V2_LINE_EVENT_FALLING_EDGE,
	};

	if (!l->used || l->pipe[1] < 0 ||
		!(l->edges &
			(rising ? GPIO_V2_LINE_FLAG_EDGE_RISING : GPIO_V2_LINE_FLAG_EDGE_FALLING)))
		return;
	event.seqno = event.line_seqno = ++l->seqno;
	assert_int_equal(write(l->pipe[1], &event, sizeof(event)), sizeof(event));
}

/* Changes something, by change, and tells the edges that come of it. */
#define FAKE_CHANGE(chip, change)                                                                  \
	do {                                                                                       \
		bool before_[FAKE_LINES];                                                          \
                                                                                                   \
		for (int i_ = 0; i_ < FAKE_LINES; i_++)                                            \
			before_[i_] = fake_gpio_level(chip, &(chip)->line[i_]);                    \
		change;                                                                            \
		for (int i_ = 0; i_ < FAKE_LINES; i_++)                                            \
			if (fake_gpio_level(chip, &(chip)->line[i_]) != before_[i_])               \
				fake_edge_at(&(chip)->line[i_], !before_[i_], fake_gpio_now());    \
	} while (0)

static inline void fake_pull(unsigned chip, unsigned line, bool high)
{
	FAKE_CHANGE(&fake_kernel->chip[chip], fake_kernel->chip[chip].line[line].level = high);
}

static inline void fake_wire(unsigned chip, unsigned line, int to)
{
	FAKE_CHANGE(&fake_kernel->chip[chip], fake_kernel->chip[chip].line[line].follows = to);
}

static inline void fake_pulse(unsigned chip, unsigned line, unsigned times)
{
	while (times--) {
		fake_pull(chip, line, true);
		fake_pull(chip, line, false);
	}
}

/* --- what the interfaces are made of ---------------------------------------------------------- */

static inline struct fake_gpio_chip *fake_chip_of(const char *path)
{
	char real[PATH_MAX], known[PATH_MAX];

	if (!realpath(path, real))
		return NULL;
	for (int i = 0; i < FAKE_CHIPS; i++) {
		struct fake_gpio_chip *c = &fake_kernel->chip[i];

		snprintf(known, sizeof(known), "%s/%s", fake_gpio_dir(), c->name);
		if (c->there && strcmp(known, real) == 0)
			return c;
	}
	errno = ENODEV;
	return NULL;
}

static inline bool fake_dead(const struct fake_gpio_handle *h)
{
	if (h->chip->there && h->born == h->chip->born)
		return false;
	errno = ENODEV;
	return true;
}

static inline int fake_take(struct fake_gpio_handle *h, const char *consumer)
{
	struct fake_gpio_line *l = h->line;

	if (fake_dead(h))
		return -1;
	if (l->refuse || l->used) {
		errno = l->refuse ? l->refuse : EBUSY;
		return -1;
	}
	l->used = true;
	l->seqno = 0;
	snprintf(l->consumer, sizeof(l->consumer), "%s", consumer);
	return 0;
}

static inline void fake_drive(struct fake_gpio_handle *h, bool active)
{
	struct fake_gpio_line *l = h->line;
	size_t len = strlen(fake_kernel->sets);
	bool high = active != l->active_low;

	snprintf(fake_kernel->sets + len, sizeof(fake_kernel->sets) - len, "%s%d.%d=%d",
		len ? " " : "", (int)(h->chip - fake_kernel->chip), (int)(l - h->chip->line), high);
	FAKE_CHANGE(h->chip, l->driven = high);
}

static inline int fake_make_pipe(struct fake_gpio_line *l)
{
	assert_return_code(pipe2(l->pipe, O_CLOEXEC), 0);
	return l->pipe[0];
}

/* The reading end is closed by who reads, for it may be the one interface's or the other's. */
static inline void fake_release(const struct fake_gpio_handle *h)
{
	struct fake_gpio_line *l = h->line;

	if (h->born != h->chip->born || !h->chip->there)
		return;
	if (l->pipe[1] >= 0)
		close(l->pipe[1]);
	l->pipe[0] = l->pipe[1] = -1;
	FAKE_CHANGE(h->chip, l->output = l->open = false);
	l->used = false;
	l->edges = 0;
	l->consumer[0] = '\0';
}

static inline int fake_get(const struct fake_gpio_handle *h)
{
	if (fake_dead(h))
		return -1;
	return fake_gpio_level(h->chip, h->line) != h->line->active_low;
}

/* --- plugging --------------------------------------------------------------------------------- */

/* A chip's file, in path. */
static inline const char *fake_path(const struct fake_gpio_chip *c, char path[128])
{
	snprintf(path, 128, "%.64s/%.31s", fake_gpio_dir(), c->name);
	return path;
}

static inline void fake_plug(unsigned chip)
{
	struct fake_gpio_chip *c = &fake_kernel->chip[chip];
	char path[128];
	int fd;

	if (c->there)
		return;
	c->there = true;
	c->born++;
	fd = open(fake_path(c, path), O_CREAT | O_EXCL | O_CLOEXEC | O_RDWR, 0644);
	assert_return_code(fd, errno);
	close(fd);
}

static inline void fake_unplug(unsigned chip)
{
	struct fake_gpio_chip *c = &fake_kernel->chip[chip];
	char path[128];

	c->there = false;
	for (int i = 0; i < FAKE_LINES; i++) {
		struct fake_gpio_line *l = &c->line[i];

		if (l->pipe[1] >= 0)
			close(l->pipe[1]);
		l->pipe[0] = l->pipe[1] = -1;
		l->used = l->output = l->open = false;
		l->consumer[0] = '\0';
	}
	unlink(fake_path(c, path));
}

/* Two chips: gpiochip0 [rig-relays], gpiochip1 [rig-board], of eight lines each. */
static inline struct fake_kernel *fake_boot(void)
{
	static const char *const labels[] = {"rig-relays", "rig-board"};
	static const char *const names[FAKE_CHIPS][FAKE_LINES] = {
		{"RELAY1", "SENSE1", "RELAY2", "SENSE2", "RAIL_A", "RAIL_B", "RAIL_C", ""},
		{"RESET", "BOOT", "FLASH1", "FLASH2", "", "", "TWICE", "TWICE"}};
	struct fake_kernel *k = calloc(1, sizeof(*k));

	k->below = fake_kernel;
	fake_kernel = k;
	assert_int_equal(scratch_setup(&k->scratch), 0);
	for (unsigned i = 0; i < FAKE_CHIPS; i++) {
		struct fake_gpio_chip *c = &k->chip[i];

		snprintf(c->name, sizeof(c->name), "gpiochip%u", i);
		snprintf(c->label, sizeof(c->label), "%s", labels[i]);
		c->lines = FAKE_LINES;
		for (unsigned j = 0; j < FAKE_LINES; j++) {
			c->line[j].pipe[0] = c->line[j].pipe[1] = -1;
			c->line[j].follows = -1;
			snprintf(c->line[j].name, sizeof(c->line[j].name), "%s", names[i][j]);
		}
		fake_plug(i);
	}
	k->chip[0].line[1].follows = 0;
	k->chip[0].line[3].follows = 2;
	return k;
}

static inline void fake_halt(struct fake_kernel *k)
{
	for (unsigned i = 0; i < FAKE_CHIPS; i++)
		fake_unplug(i);
	fake_kernel = k->below;
	scratch_teardown(&k->scratch);
	free(k);
}

/* --- the interface ---------------------------------------------------------------------------- */

#ifndef FAKE_GPIOD
#define FAKE_GPIOD 2
#endif
#undef RIG_GPIOD
#define RIG_GPIOD FAKE_GPIOD
#define GPIO_LIB_DIR fake_gpio_dir()

#if FAKE_GPIOD == 1
#include "fake_gpiod1.h"
#define GPIO_LIB_IOCTL fake_ioctl
#define GPIO_LIB_CLOSE fake_gpio_close

#include "drivers/gpio_v1.c" /* NOLINT(bugprone-suspicious-include) */
#else
#include "fake_gpiod2.h"

#include "drivers/gpio_v2.c" /* NOLINT(bugprone-suspicious-include) */
#endif

#endif
