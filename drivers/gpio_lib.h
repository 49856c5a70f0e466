/*
 * What gpio.c needs of libgpiod, in one shape for both of its interfaces: gpio_v1.c is made with
 * libgpiod 1.6, gpio_v2.c with 2.x, as pkg-config finds it (RIG_GPIOD in the Makefile).
 *
 * Functions that can fail return a negative errno.
 */
#ifndef DRIVERS_GPIO_LIB_H
#define DRIVERS_GPIO_LIB_H

#include "gpio.h"

#include <errno.h>

/* Edges that the kernel keeps for a line until they are read; more than it gives are lost. */
#define GPIO_EDGES_KEPT 1024

struct gpio_chip_info {
	char name[32], label[32];
	unsigned lines;
};

struct gpio_line_info {
	char name[32];     /* "": it has none */
	char consumer[32]; /* "": none, or it did not say */
	bool used, output, active_low;
};

struct gpio_chip;
struct gpio_request;

/* errno as these functions return it; never 0. */
static inline int gpio_errno(void)
{
	return errno > 0 ? -errno : -EIO;
}

/* Where chips are: /dev. */
const char *gpio_lib_dir(void);

/* The chip at path; info is filled in. */
int gpio_lib_chip_open(const char *path, struct gpio_chip **chip, struct gpio_chip_info *info);
void gpio_lib_chip_close(struct gpio_chip *chip);
int gpio_lib_line_info(struct gpio_chip *chip, unsigned number, struct gpio_line_info *info);

/* Requests a line as spec says; its chip must be open for as long. The request's file descriptor
 * does not block. */
int gpio_lib_request(struct gpio_chip *chip, unsigned number, const struct gpio_spec *spec,
	const char *consumer, struct gpio_request **request);
void gpio_lib_release(struct gpio_request *request);

/* 0 or 1. */
int gpio_lib_get(struct gpio_request *request);
int gpio_lib_set(struct gpio_request *request, bool active);

/* Of a line with edges: readable when some wait; borrowed. */
int gpio_lib_fd(struct gpio_request *request);
/* How many were read; -EAGAIN: none wait. */
int gpio_lib_edges(struct gpio_request *request, struct gpio_edge *edges, size_t max);

#endif
