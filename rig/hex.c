#include "hex.h"

#include "err.h"
#include "file.h"

#include <stdlib.h>
#include <string.h>

#define ADDRESS_SPACE ((uint64_t)1 << 32)
#define RECORD_BYTES_MAX (255 + 5) /* data, and count, address (2), type, checksum */

/* A data record, kept until all are there and can be sorted. */
struct piece {
	uint32_t address;
	uint32_t size;
	size_t offset; /* into parser.data */
	size_t line;
};

struct parser {
	const char *name;
	size_t line;
	struct hex *hex;
	struct err *e;
	uint64_t base;
	bool segmented; /* base is of a record 02: offsets stay within 64 KiB */
	bool ended;
	struct piece *pieces;
	size_t piece_count, piece_room;
	uint8_t *data; /* room for all the text could hold */
	size_t data_size;
};

enum record_type {
	RECORD_DATA,
	RECORD_END,
	RECORD_SEGMENT_BASE,
	RECORD_SEGMENT_START,
	RECORD_LINEAR_BASE,
	RECORD_LINEAR_START,
	RECORD_TYPES
};

static const char *const type_names[RECORD_TYPES] = {"data", "end of file",
	"extended segment address", "start segment address", "extended linear address",
	"start linear address"};
static const int type_sizes[RECORD_TYPES] = {-1, 0, 2, 4, 2, 4}; /* -1: any */

#define FAIL(p, fmt, ...)                                                                          \
	err_set((p)->e, ERR_CONFIG, "%s:%zu: " fmt, (p)->name, (p)->line, ##__VA_ARGS__)

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static int take_data(struct parser *p, const uint8_t *record)
{
	uint32_t size = record[0], offset = (uint32_t)record[1] << 8 | record[2];
	uint64_t address = p->base + offset;

	if (size == 0)
		return 0;
	if (p->segmented && offset + size > 0x10000)
		return FAIL(p, "the record runs over the end of its 64 KiB segment");
	if (address + size > ADDRESS_SPACE)
		return FAIL(p, "the record runs over the end of the 32-bit address space");
	if (p->piece_count == p->piece_room) {
		size_t room = p->piece_room ? p->piece_room * 2 : 1024;
		struct piece *grown = realloc(p->pieces, room * sizeof(*grown));

		if (!grown)
			return err_set(p->e, ERR_NOMEM, "%s: out of memory", p->name);
		p->pieces = grown;
		p->piece_room = room;
	}
	p->pieces[p->piece_count++] = (struct piece){.address = (uint32_t)address,
		.size = size,
		.offset = p->data_size,
		.line = p->line};
	memcpy(p->data + p->data_size, record + 4, size);
	p->data_size += size;
	return 0;
}

static int take_record(struct parser *p, const uint8_t *record)
{
	const uint8_t *data = record + 4;
	uint32_t address = (uint32_t)record[1] << 8 | record[2];
	unsigned type = record[3];

	if (type >= RECORD_TYPES)
		return FAIL(p, "record type %02x, expected 00 to 05", type);
	if (type_sizes[type] >= 0 && record[0] != type_sizes[type])
		return FAIL(p, "%s record with %u data bytes, expected %d", type_names[type],
			record[0], type_sizes[type]);
	if (type != RECORD_DATA && type != RECORD_END && address != 0)
		return FAIL(p, "%s record with address %04x, expected 0000", type_names[type],
			(unsigned)address);
	switch ((enum record_type)type) {
	case RECORD_DATA:
		return take_data(p, record);
	case RECORD_END:
		p->ended = true;
		return 0;
	case RECORD_SEGMENT_BASE:
		p->base = (uint64_t)(data[0] << 8 | data[1]) << 4;
		p->segmented = true;
		return 0;
	case RECORD_LINEAR_BASE:
		p->base = (uint64_t)(data[0] << 8 | data[1]) << 16;
		p->segmented = false;
		return 0;
	case RECORD_SEGMENT_START:
	case RECORD_LINEAR_START:
		if (p->hex->has_start)
			return FAIL(p, "a second start address");
		p->hex->has_start = true;
		p->hex->start = (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 |
				(uint32_t)data[2] << 8 | data[3];
		return 0;
	case RECORD_TYPES:
		break;
	}
	return 0;
}

static int take_line(struct parser *p, const char *line, size_t len)
{
	uint8_t record[RECORD_BYTES_MAX];
	size_t bytes;
	uint8_t sum = 0;

	if (line[0] != ':')
		return FAIL(p, "a record begins with ':'");
	if (p->ended)
		return FAIL(p, "a record after the end of file record");
	line++;
	len--;
	for (size_t i = 0; i < len; i++)
		if (digit(line[i]) < 0)
			return FAIL(p, "column %zu: expected a hexadecimal digit", i + 2);
	if (len % 2 != 0)
		return FAIL(p, "an odd number of digits: the record is cut short");
	bytes = len / 2;
	if (bytes < 5)
		return FAIL(p, "%zu bytes, expected at least 5: the record is cut short", bytes);
	if (bytes > sizeof(record))
		return FAIL(p, "%zu bytes, expected at most %zu", bytes, sizeof(record));
	for (size_t i = 0; i < bytes; i++)
		record[i] = (uint8_t)(digit(line[2 * i]) << 4 | digit(line[2 * i + 1]));
	if (bytes != (size_t)record[0] + 5)
		return FAIL(p, "the record says %u data bytes and has %zu", record[0], bytes - 5);
	for (size_t i = 0; i < bytes - 1; i++)
		sum = (uint8_t)(sum + record[i]);
	sum = (uint8_t)-sum;
	if (record[bytes - 1] != sum)
		return FAIL(p, "checksum is %02x, expected %02x", record[bytes - 1], sum);
	return take_record(p, record);
}

static int by_address(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

/* Joins the sorted pieces from first on, up to the next gap, into one segment. */
static int join(struct parser *p, size_t first, size_t *next)
{
	struct hex_segment *segment = &p->hex->segments[p->hex->count];
	uint64_t end = p->pieces[first].address;
	size_t size = 0, i;

	for (i = first; i < p->piece_count && p->pieces[i].address == end; i++)
		end += p->pieces[i].size;
	size = (size_t)(end - p->pieces[first].address);
	segment->bytes = malloc(size);
	if (!segment->bytes)
		return err_set(p->e, ERR_NOMEM, "%s: out of memory", p->name);
	segment->address = p->pieces[first].address;
	segment->size = size;
	p->hex->count++;
	*next = i;
	size = 0;
	for (i = first; i < *next; i++) {
		memcpy(segment->bytes + size, p->data + p->pieces[i].offset, p->pieces[i].size);
		size += p->pieces[i].size;
	}
	return 0;
}

static int merge(struct parser *p)
{
	size_t gaps = 1, next = 0;
	int code;

	if (p->piece_count == 0)
		return err_set(p->e, ERR_CONFIG, "%s: no data", p->name);
	qsort(p->pieces, p->piece_count, sizeof(*p->pieces), by_address);
	for (size_t i = 1; i < p->piece_count; i++) {
		const struct piece *a = &p->pieces[i - 1], *b = &p->pieces[i];
		uint64_t end = (uint64_t)a->address + a->size;

		if (b->address < end)
			return err_set(p->e, ERR_CONFIG,
				"%s:%zu: address 0x%08x was given in line %zu already", p->name,
				b->line > a->line ? b->line : a->line, (unsigned)b->address,
				b->line > a->line ? a->line : b->line);
		gaps += b->address > end;
	}
	p->hex->segments = calloc(gaps, sizeof(*p->hex->segments));
	if (!p->hex->segments)
		return err_set(p->e, ERR_NOMEM, "%s: out of memory", p->name);
	while (next < p->piece_count) {
		code = join(p, next, &next);
		if (code)
			return code;
	}
	return 0;
}

static int parse_lines(struct parser *p, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((nl ? nl : end) - text);
		int code;

		p->line++;
		if (n > 0 && text[n - 1] == '\r')
			n--;
		code = n > 0 ? take_line(p, text, n) : 0;
		if (code)
			return code;
		text = nl ? nl + 1 : end;
	}
	p->line += p->line == 0;
	if (!p->ended)
		return FAIL(p, "the file ends without an end of file record: it is truncated");
	return merge(p);
}

int hex_parse(struct hex *hex, const char *name, const char *text, size_t len, struct err *e)
{
	struct parser p = {.name = name, .hex = hex, .e = e};
	int code;

	memset(hex, 0, sizeof(*hex));
	if (len > HEX_FILE_MAX)
		return err_set(e, ERR_CONFIG, "%s: larger than %zu bytes", name, HEX_FILE_MAX);
	p.data = malloc(len / 2 + 1);
	if (!p.data)
		return err_set(e, ERR_NOMEM, "%s: out of memory", name);
	code = parse_lines(&p, text, len);
	free(p.pieces);
	free(p.data);
	if (code)
		hex_finish(hex);
	return code;
}

int hex_load(struct hex *hex, const char *path, struct err *e)
{
	char *text;
	size_t len;
	int code;

	memset(hex, 0, sizeof(*hex));
	code = file_read(path, HEX_FILE_MAX, &text, &len, e);
	if (code)
		return code;
	code = hex_parse(hex, path, text, len, e);
	free(text);
	return code;
}

void hex_finish(struct hex *hex)
{
	for (size_t i = 0; i < hex->count; i++)
		free(hex->segments[i].bytes);
	free(hex->segments);
	memset(hex, 0, sizeof(*hex));
}

int hex_write_binary(
	const struct hex *hex, uint32_t first, uint32_t last, const char *path, struct err *e)
{
	uint64_t size = (uint64_t)last - first + 1;
	uint8_t *out;
	int code;

	if (last < first || size > HEX_FILE_MAX)
		return err_set(e, ERR_USAGE, "%s: range 0x%x to 0x%x", path, (unsigned)first,
			(unsigned)last);
	out = malloc((size_t)size);
	if (!out)
		return err_set(e, ERR_NOMEM, "%s: out of memory", path);
	memset(out, 0xff, (size_t)size);
	for (size_t i = 0; i < hex->count; i++) {
		const struct hex_segment *s = &hex->segments[i];
		uint64_t begin = s->address, end = begin + s->size;
		uint64_t from = begin > first ? begin : first;
		uint64_t to = end < (uint64_t)last + 1 ? end : (uint64_t)last + 1;

		if (from < to)
			memcpy(out + (from - first), s->bytes + (from - begin),
				(size_t)(to - from));
	}
	code = file_write(path, out, (size_t)size, e);
	free(out);
	return code;
}
