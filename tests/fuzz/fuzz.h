/*
 * Fuzz targets. Each tests/fuzz/fuzz_NAME.c has the entry that libFuzzer calls, and seeds that the
 * built-in driver (driver.c) mutates for `make check`; `make fuzz` runs the same targets under
 * libFuzzer. A target traps when something that must hold does not.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A valid input to start from; ended by data NULL. */
struct fuzz_seed {
	const char *data;
	size_t size;
};

#define FUZZ_TEXT(text)                                                                            \
	{                                                                                          \
		(text), sizeof(text) - 1                                                           \
	}
#define FUZZ_END                                                                                   \
	{                                                                                          \
		NULL, 0                                                                            \
	}

extern const struct fuzz_seed fuzz_seeds[];
extern const char *const fuzz_words[]; /* worth inserting; ended by NULL */
extern const unsigned fuzz_runs;       /* of the driver: what takes about a second */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_HOLDS(condition)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

/* A copy that ends where the input ends, so that the sanitizer sees every byte read too many; and
 * a 0 behind it when text is asked for. */
static inline char *fuzz_copy(const uint8_t *data, size_t size, int text)
{
	char *copy = malloc(size + 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	copy[size] = '\0';
	if (!text) {
		char *exact = realloc(copy, size ? size : 1);

		copy = exact ? exact : copy;
	}
	return copy;
}

#endif
