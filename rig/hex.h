/*
 * Intel HEX files.
 *
 * Format: Intel, "Hexadecimal Object File Format Specification", revision A, 1988: record types 00
 * (data), 01 (end of file), 02 and 04 (upper address bits), 03 and 05 (start address). Reading is
 * strict, because a half-copied file flashed onto a board looks like a bug of the firmware: every
 * record's length and checksum must be right, the end record must be there and be the last, and no
 * address may be given twice.
 */
#ifndef RIG_HEX_H
#define RIG_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define HEX_FILE_MAX ((size_t)64 << 20) /* bytes of text; a longer file is refused */

/* Bytes without a gap. address + size is at most 2^32. */
struct hex_segment {
	uint32_t address;
	size_t size; /* never 0 */
	uint8_t *bytes;
};

struct hex {
	struct hex_segment *segments; /* by rising address; neighbours never touch */
	size_t count;
	bool has_start; /* a record 03 or 05 was there */
	uint32_t start; /* 05: the address; 03: CS << 16 | IP */
};

/*
 * Fills *hex from len bytes of text. name stands in messages ("app.hex:12: checksum is 3f, expected
 * 3e"). Lines may end in LF or CR LF. ERR_CONFIG with file, line and what was expected. On failure
 * *hex is empty; on success it is finished with hex_finish().
 */
int hex_parse(struct hex *hex, const char *name, const char *text, size_t len, struct err *e);

/* The same from a file; also ERR_IO. */
int hex_load(struct hex *hex, const char *path, struct err *e);

void hex_finish(struct hex *hex);

/*
 * Writes bytes first to last (both included) of the address space into a raw binary file; what no
 * segment covers becomes 0xff, as in erased flash. ERR_USAGE when last < first or the range is over
 * HEX_FILE_MAX; ERR_IO.
 */
int hex_write_binary(
	const struct hex *hex, uint32_t first, uint32_t last, const char *path, struct err *e);

#endif
