/*
 * The last bytes of an endless stream, any run of them contiguous in memory: the same pages are
 * mapped twice, one after the other, so that nothing is ever moved or wrapped.
 */
#ifndef RIG_RING_H
#define RIG_RING_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

struct ring {
	char *base;
	size_t size;    /* bytes kept */
	uint64_t total; /* bytes appended so far: the position of the next one */
};

/* size must be a multiple of the page size. ERR_NOMEM. */
int ring_init(struct ring *ring, size_t size, struct err *e);
void ring_finish(struct ring *ring);

/* len may be at most size. */
void ring_append(struct ring *ring, const char *data, size_t len);

/* The position of the oldest byte kept. */
uint64_t ring_oldest(const struct ring *ring);

/* The byte at position, which must be kept; those after it follow, up to the newest. */
const char *ring_at(const struct ring *ring, uint64_t position);

#endif
