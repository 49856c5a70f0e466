#include "drivers/telnet.h"
#include "tests/fuzz/fuzz.h"

const struct fuzz_seed fuzz_seeds[] = {
	FUZZ_TEXT("\xff\xfd\x2c\xff\xfb\x00\xff\xfd\x00\xff\xfd\x03\xff\xfb\x03login: \r\0\r\n"
		  "\xff\xfa\x2c\x65\x00\x01\xc2\x00\xff\xf0\xff\xff\xff\xf1"),
	FUZZ_TEXT("\xff\xfa\x2c\x64ser2net\xff\xf0\xff\xfa\x2c\x6b\x10\xff\xf0\xff\xfe\x00"
		  "a\r\0b\xff\xfc\x00\xff\xfa\xff\xff\xff\xff\xff\xfb\x18"),
	FUZZ_END,
};
const char *const fuzz_words[] = {"\xff\xff", "\xff\xfa\x2c", "\xff\xf0", "\xff\xfb", "\xff\xfd",
	"\xff\xfe", "\xff\xfc", "\r", NULL};
const unsigned fuzz_runs = 60000;

/* What one reading of the input gives; all of it by digest, but for counts. */
struct reading {
	uint32_t data, events; /* digests, FNV-1a */
	size_t data_len, sent;
};

static uint32_t digest(uint32_t sum, const uint8_t *data, size_t len)
{
	while (len--)
		sum = (sum ^ *data++) * 16777619u;
	return sum;
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	struct reading *r = arg;

	FUZZ_HOLDS(len > 0);
	r->data = digest(r->data, data, len);
	r->data_len += len;
}

static void on_option(void *arg, uint8_t option, bool local, bool on)
{
	struct reading *r = arg;
	const uint8_t bytes[] = {option, local, on};

	r->events = digest(r->events, bytes, sizeof(bytes));
}

static void on_sub(void *arg, uint8_t option, const uint8_t *data, size_t len)
{
	struct reading *r = arg;

	FUZZ_HOLDS(len <= TELNET_SUB_MAX);
	r->events = digest(r->events, &option, 1);
	r->events = digest(r->events, data, len);
}

static void on_send(void *arg, const uint8_t *data, size_t len)
{
	struct reading *r = arg;

	r->events = digest(r->events, data, len);
	r->sent += len;
}

static const struct telnet_handlers handlers = {on_data, on_option, on_sub, on_send};

/* Reads the input in pieces of that size. */
static struct reading read_in(const uint8_t *data, size_t size, size_t piece)
{
	struct reading r = {0};
	struct telnet t;

	telnet_init(&t, &handlers, &r);
	telnet_ask(&t, TELNET_COM_PORT, true);
	telnet_ask(&t, TELNET_BINARY, true);
	telnet_ask(&t, TELNET_BINARY, false);
	for (size_t n; size; data += n, size -= n) {
		uint8_t *copy;

		n = size < piece ? size : piece;
		copy = (uint8_t *)fuzz_copy(data, n, 0);
		telnet_receive(&t, copy, n);
		free(copy);
	}
	return r;
}

/* What is escaped is read as it was. */
static void goes_through(const uint8_t *data, size_t size, bool binary)
{
	struct reading r = {0}, plain = {0};
	struct telnet t;
	uint8_t *out = malloc(2 * size + 1);
	size_t len;

	FUZZ_HOLDS(out);
	telnet_init(&t, &handlers, &r);
	t.us[TELNET_BINARY] = t.him[TELNET_BINARY] = binary ? TELNET_YES : TELNET_NO;
	len = telnet_escape(&t, data, size, out);
	FUZZ_HOLDS(len <= 2 * size);
	telnet_receive(&t, out, len);
	if (size)
		on_data(&plain, data, size);
	FUZZ_HOLDS(r.data == plain.data && r.data_len == size && !r.sent && !r.events);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reading whole, bytes;

	if (size > 65536)
		return 0;
	whole = read_in(data, size, size ? size : 1);
	bytes = read_in(data, size, 1);
	FUZZ_HOLDS(whole.data == bytes.data && whole.data_len == bytes.data_len);
	FUZZ_HOLDS(whole.events == bytes.events && whole.sent == bytes.sent);
	FUZZ_HOLDS(whole.data_len <= size && whole.sent <= size + 9);
	goes_through(data, size, true);
	goes_through(data, size, false);
	return 0;
}
