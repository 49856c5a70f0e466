#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int ring_init(struct ring *ring, size_t size, struct err *e)
{
	int fd = memfd_create("rig-ring", MFD_CLOEXEC);
	char *base = MAP_FAILED;
	int code = 0;

	memset(ring, 0, sizeof(*ring));
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		base = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t half = 0; half < 2 && base != MAP_FAILED; half++)
		if (mmap(base + half * size, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED) {
			munmap(base, 2 * size);
			base = MAP_FAILED;
		}
	if (base == MAP_FAILED)
		code = err_errno(e, ERR_NOMEM, errno, "memory for %zu bytes of console", size);
	else
		*ring = (struct ring){.base = base, .size = size};
	if (fd >= 0)
		close(fd);
	return code;
}

void ring_finish(struct ring *ring)
{
	if (ring->base)
		munmap(ring->base, 2 * ring->size);
	ring->base = NULL;
}

void ring_append(struct ring *ring, const char *data, size_t len)
{
	memcpy(ring->base + ring->total % ring->size, data, len);
	ring->total += len;
}

uint64_t ring_oldest(const struct ring *ring)
{
	return ring->total > ring->size ? ring->total - ring->size : 0;
}

const char *ring_at(const struct ring *ring, uint64_t position)
{
	return ring->base + position % ring->size;
}
