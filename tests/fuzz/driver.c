/*
 * Runs a fuzz target over its seeds, over every truncation of them, and over a fixed number of
 * mutations of them, always the same ones. Speaks TAP.
 *
 *   fuzz_NAME                      the run for `make check`
 *   fuzz_NAME --write-seeds DIR    the seeds as files, for libFuzzer's corpus
 *   fuzz_NAME FILE…                these inputs only: to look into a crash
 */
#include "rig/err.h"
#include "rig/file.h"
#include "tests/fuzz/fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define SIZE_LIMIT 8192 /* bytes of a mutated input */

static uint64_t rng = 0x9e3779b97f4a7c15u;
static uint8_t input[SIZE_LIMIT];
static size_t input_size;

static uint32_t below(size_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return n ? (uint32_t)((rng >> 16) % n) : 0;
}

/* Makes place for n bytes at offset at; as many as fit. */
static size_t open_gap(size_t at, size_t n)
{
	if (n > SIZE_LIMIT - input_size)
		n = SIZE_LIMIT - input_size;
	memmove(input + at + n, input + at, input_size - at);
	input_size += n;
	return n;
}

static void remove_part(size_t at, size_t n)
{
	memmove(input + at, input + at + n, input_size - at - n);
	input_size -= n;
}

static size_t word_count(void)
{
	size_t n = 0;

	while (fuzz_words[n])
		n++;
	return n;
}

static size_t seed_count(void)
{
	size_t n = 0;

	while (fuzz_seeds[n].data)
		n++;
	return n;
}

static void insert_bytes(const void *bytes, size_t n)
{
	size_t at = below(input_size + 1);

	memcpy(input + at, bytes, open_gap(at, n));
}

static void mutate(void)
{
	static const uint8_t odd[] = {0x00, 0x01, 0x7f, 0x80, 0xff, '\n', ' ', '0', '9', '"'};
	size_t at = below(input_size), n;
	const struct fuzz_seed *other;
	uint8_t part[256];

	switch (below(9)) {
	case 0: /* flip a bit */
		if (input_size)
			input[at] ^= (uint8_t)(1u << below(8));
		break;
	case 1: /* another byte */
		if (input_size)
			input[at] = (uint8_t)below(256);
		break;
	case 2: /* a byte that often matters */
		if (input_size)
			input[at] = odd[below(sizeof(odd))];
		break;
	case 3: /* a number close by */
		if (input_size)
			input[at] = (uint8_t)(input[at] + below(5) - 2);
		break;
	case 4: /* leave a part out */
		remove_part(at, input_size ? below(input_size - at) % 64 : 0);
		break;
	case 5: /* cut short */
		input_size = at;
		break;
	case 6: /* a part twice */
		n = input_size - at < sizeof(part) ? input_size - at : sizeof(part);
		n = below(n + 1);
		memcpy(part, input + at, n);
		insert_bytes(part, n);
		break;
	case 7: /* a word */
		if (word_count()) {
			const char *word = fuzz_words[below(word_count())];

			insert_bytes(word, strlen(word));
		}
		break;
	default: /* part of another seed */
		other = &fuzz_seeds[below(seed_count())];
		n = below(other->size);
		insert_bytes(other->data + n, below(other->size - n));
		break;
	}
}

static void load_seed(const struct fuzz_seed *seed)
{
	input_size = seed->size < SIZE_LIMIT ? seed->size : SIZE_LIMIT;
	memcpy(input, seed->data, input_size);
}

/* On a crash the input is kept, to be given as an argument. */
static void crashed(int signal_number)
{
	char name[64];
	struct err e;

	snprintf(name, sizeof(name), "/tmp/fuzz-crash-%ld", (long)getpid());
	if (file_write(name, input, input_size, &e) == 0) {
		printf("not ok - the input is in %s\n", name);
		fflush(stdout);
	}
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static int write_seeds(const char *dir)
{
	for (size_t i = 0; fuzz_seeds[i].data; i++) {
		char path[4096];
		struct err e;

		snprintf(path, sizeof(path), "%s/seed-%zu", dir, i);
		if (file_write(path, fuzz_seeds[i].data, fuzz_seeds[i].size, &e) != 0) {
			fprintf(stderr, "%s\n", e.msg);
			return 1;
		}
	}
	return 0;
}

static int run_files(char **paths)
{
	for (; *paths; paths++) {
		struct err e;
		char *data;
		size_t size;

		if (file_read(*paths, (size_t)64 << 20, &data, &size, &e) != 0) {
			fprintf(stderr, "%s\n", e.msg);
			return 1;
		}
		LLVMFuzzerTestOneInput((const uint8_t *)data, size);
		free(data);
	}
	return 0;
}

int main(int argc, char **argv)
{
	size_t seeds = seed_count();

	if (argc == 3 && strcmp(argv[1], "--write-seeds") == 0)
		return write_seeds(argv[2]);
	if (argc > 1)
		return run_files(argv + 1);
	signal(SIGABRT, crashed);
	signal(SIGSEGV, crashed);
	printf("1..3\n");
	for (size_t i = 0; i < seeds; i++) {
		load_seed(&fuzz_seeds[i]);
		LLVMFuzzerTestOneInput(input, input_size);
	}
	printf("ok 1 - takes its %zu seeds\n", seeds);
	for (size_t i = 0; i < seeds; i++)
		for (size_t size = 0; size < fuzz_seeds[i].size && size < SIZE_LIMIT; size++) {
			load_seed(&fuzz_seeds[i]);
			input_size = size;
			LLVMFuzzerTestOneInput(input, input_size);
		}
	printf("ok 2 - survives every truncation of them\n");
	for (unsigned run = 0; run < fuzz_runs; run++) {
		load_seed(&fuzz_seeds[below(seeds)]);
		for (uint32_t n = 1 + below(6); n > 0; n--)
			mutate();
		LLVMFuzzerTestOneInput(input, input_size);
	}
	printf("ok 3 - survives %u mutations of them\n", fuzz_runs);
	return 0;
}
