/*
 * CBOR bodies as JSON values. libcbor's streaming side is used, not its tree: the tree allocates
 * what a length announces, and here the peer is a device that may announce anything.
 */
#include "smp.h"

#include "err.h"

#include <cbor.h>
#include <math.h>
#include <nettle/base16.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
	uint8_t *data;
	size_t len, size;
};

static uint8_t *buffer_extend(struct buffer *b, size_t more)
{
	if (!b->data || more > b->size - b->len) {
		size_t size = b->size ? b->size : 64;
		uint8_t *data;

		while (size - b->len < more)
			size *= 2;
		data = realloc(b->data, size);
		if (!data)
			return NULL;
		b->data = data;
		b->size = size;
	}
	return b->data + b->len;
}

/* --- JSON to CBOR --- */

#define HEAD_MAX ((size_t)9) /* RFC 8949 section 3: initial byte and at most eight more */

static int encode_value(struct buffer *out, const json_t *value, int depth, struct err *e);

static int encode_room(struct buffer *out, size_t more, struct err *e)
{
	if (more > SMP_PACKET_MAX || out->len + more > SMP_PACKET_MAX + HEAD_MAX)
		return err_set(e, ERR_USAGE, "SMP body: longer than %d bytes", SMP_PACKET_MAX);
	if (!buffer_extend(out, more))
		return err_set(e, ERR_NOMEM, "SMP body: out of memory");
	return 0;
}

static int encode_head(struct buffer *out, size_t (*head)(size_t, unsigned char *, size_t),
	size_t n, struct err *e)
{
	int ret = encode_room(out, HEAD_MAX, e);

	if (!ret)
		out->len += head(n, out->data + out->len, HEAD_MAX);
	return ret;
}

static int encode_text(struct buffer *out, const char *text, size_t len, struct err *e)
{
	int ret = encode_head(out, cbor_encode_string_start, len, e);

	if (!ret)
		ret = encode_room(out, len, e);
	if (ret)
		return ret;
	memcpy(out->data + out->len, text, len);
	out->len += len;
	return 0;
}

static int encode_hex(struct buffer *out, const json_t *hex, struct err *e)
{
	const char *text = json_string_value(hex);
	size_t digits = json_string_length(hex), len = digits / 2;
	struct base16_decode_ctx ctx;
	int ret;

	if (digits % 2 || strspn(text, "0123456789abcdefABCDEF") != digits)
		return err_set(e, ERR_USAGE, "SMP body: {\"hex\": …} holds no whole hex bytes");
	ret = encode_head(out, cbor_encode_bytestring_start, len, e);
	if (!ret)
		ret = encode_room(out, len, e);
	if (ret)
		return ret;
	base16_decode_init(&ctx);
	base16_decode_update(&ctx, &len, out->data + out->len, digits, text);
	out->len += len;
	return 0;
}

static int encode_object(struct buffer *out, const json_t *value, int depth, struct err *e)
{
	const json_t *hex = json_object_get(value, "hex");
	const char *key;
	size_t key_len;
	json_t *item;
	int ret;

	if (json_is_string(hex) && json_object_size(value) == 1)
		return encode_hex(out, hex, e);
	ret = encode_head(out, cbor_encode_map_start, json_object_size(value), e);
	json_object_keylen_foreach((json_t *)value, key, key_len, item)
	{
		if (!ret)
			ret = encode_text(out, key, key_len, e);
		if (!ret)
			ret = encode_value(out, item, depth + 1, e);
	}
	return ret;
}

static int encode_array(struct buffer *out, const json_t *value, int depth, struct err *e)
{
	int ret = encode_head(out, cbor_encode_array_start, json_array_size(value), e);

	for (size_t i = 0; !ret && i < json_array_size(value); i++)
		ret = encode_value(out, json_array_get(value, i), depth + 1, e);
	return ret;
}

static int encode_scalar(struct buffer *out, const json_t *value, struct err *e)
{
	int ret = encode_room(out, HEAD_MAX, e);
	json_int_t n = json_integer_value(value);
	uint8_t *at;

	if (ret)
		return ret;
	at = out->data + out->len;
	if (json_is_integer(value))
		/* -1 - n is what CBOR stores of a negative n; ~n is the same without overflow */
		out->len += n < 0 ? cbor_encode_negint(~(uint64_t)n, at, HEAD_MAX)
				  : cbor_encode_uint((uint64_t)n, at, HEAD_MAX);
	else if (json_is_real(value))
		out->len += cbor_encode_double(json_real_value(value), at, HEAD_MAX);
	else if (json_is_boolean(value))
		out->len += cbor_encode_bool(json_is_true(value), at, HEAD_MAX);
	else
		out->len += cbor_encode_null(at, HEAD_MAX);
	return 0;
}

static int encode_value(struct buffer *out, const json_t *value, int depth, struct err *e)
{
	if (depth > SMP_CBOR_DEPTH_MAX)
		return err_set(e, ERR_USAGE, "SMP body: more than %d levels", SMP_CBOR_DEPTH_MAX);
	if (json_is_object(value))
		return encode_object(out, value, depth, e);
	if (json_is_array(value))
		return encode_array(out, value, depth, e);
	if (json_is_string(value))
		return encode_text(out, json_string_value(value), json_string_length(value), e);
	return encode_scalar(out, value, e);
}

int smp_cbor_encode(const json_t *value, uint8_t **bytes, size_t *len, struct err *e)
{
	struct buffer out = {0};
	int ret = encode_value(&out, value, 0, e);

	if (ret) {
		free(out.data);
		return ret;
	}
	*bytes = out.data;
	*len = out.len;
	return 0;
}

/* --- CBOR to JSON --- */

enum level_kind { LEVEL_ARRAY, LEVEL_MAP, LEVEL_TEXT, LEVEL_BYTES };

/* What is open: an array, a map, or a string that comes in chunks. */
struct level {
	enum level_kind kind;
	bool indefinite;
	uint64_t left;       /* items or pairs to come, if definite */
	json_t *container;   /* of an array or a map */
	struct buffer bytes; /* of a string in chunks; of a map the key that waits for its value */
	bool has_key;
};

struct builder {
	struct level levels[SMP_CBOR_DEPTH_MAX + 1];
	size_t depth; /* levels in use */
	json_t *value;
	struct err *e;
	int ret;
};

static void fail(struct builder *b, const char *why)
{
	if (!b->ret)
		b->ret = err_set(b->e, ERR_PROTOCOL, "CBOR: %s", why);
}

static struct level *top(struct builder *b)
{
	return b->depth ? &b->levels[b->depth - 1] : NULL;
}

static void level_finish(struct level *l)
{
	json_decref(l->container);
	free(l->bytes.data);
	memset(l, 0, sizeof(*l));
}

static void set_pair(struct builder *b, struct level *map, json_t *value)
{
	const char *key = (const char *)map->bytes.data;
	size_t len = map->bytes.len;

	if (!map->has_key)
		fail(b, "a key that is not text");
	else if (json_object_getn(map->container, key, len))
		fail(b, "a key twice in one map");
	else if (json_object_setn(map->container, key, len, value))
		fail(b, "a key that is not UTF-8");
	map->has_key = false;
	map->bytes.len = 0;
}

/* Puts a whole value where it belongs, and closes every definite container that is full then. */
static void add(struct builder *b, json_t *value)
{
	while (value && !b->ret) {
		struct level *l = top(b);

		if (!l) {
			b->value = value;
			return;
		}
		if (l->kind == LEVEL_MAP)
			set_pair(b, l, value);
		else if (l->kind == LEVEL_ARRAY)
			json_array_append(l->container, value);
		else
			fail(b, "a chunk of a string that is not of its kind");
		json_decref(value);
		value = NULL;
		if (!l->indefinite && --l->left == 0 && !b->ret) {
			value = json_incref(l->container);
			level_finish(l);
			b->depth--;
		}
	}
	json_decref(value);
}

static void add_text(struct builder *b, const char *text, size_t len)
{
	struct level *l = top(b);
	json_t *value;

	/* a zero byte is legal in both CBOR and JSON, but readers of JSON refuse it by default */
	if (memchr(text, '\0', len)) {
		fail(b, "text with a zero byte");
		return;
	}
	if (l && l->kind == LEVEL_MAP && !l->has_key) {
		uint8_t *at = buffer_extend(&l->bytes, len);

		if (!at) {
			fail(b, "out of memory");
			return;
		}
		memcpy(at, text, len);
		l->bytes.len += len;
		l->has_key = true;
		return;
	}
	value = json_stringn(text, len);
	if (value)
		add(b, value);
	else
		fail(b, "text that is not UTF-8");
}

static void add_bytes(struct builder *b, const uint8_t *bytes, size_t len)
{
	char *hex = malloc(BASE16_ENCODE_LENGTH(len) + 1);

	if (!hex) {
		fail(b, "out of memory");
		return;
	}
	base16_encode_update(hex, len, bytes);
	add(b, json_pack("{s: s%}", "hex", hex, BASE16_ENCODE_LENGTH(len)));
	free(hex);
}

/* A string came: the value itself, or a chunk of one. */
static void on_string(struct builder *b, enum level_kind kind, const uint8_t *bytes, size_t len)
{
	struct level *l = top(b);
	uint8_t *at;

	if (!l || l->kind != kind) {
		if (kind == LEVEL_TEXT)
			add_text(b, (const char *)bytes, len);
		else
			add_bytes(b, bytes, len);
		return;
	}
	at = buffer_extend(&l->bytes, len);
	if (!at) {
		fail(b, "out of memory");
		return;
	}
	memcpy(at, bytes, len);
	l->bytes.len += len;
}

static void push(struct builder *b, enum level_kind kind, bool indefinite, uint64_t left)
{
	struct level *l = top(b);
	/* one entry more than the depth allowed, for a chunked string in the innermost container */
	size_t max = kind == LEVEL_TEXT || kind == LEVEL_BYTES ? SMP_CBOR_DEPTH_MAX + 1
							       : SMP_CBOR_DEPTH_MAX;

	if (b->ret)
		return;
	if (b->depth >= max) {
		fail(b, "nested too deep");
		return;
	}
	if (l && (l->kind == LEVEL_TEXT || l->kind == LEVEL_BYTES)) {
		fail(b, "a chunk of a string that is not of its kind");
		return;
	}
	if (l && l->kind == LEVEL_MAP && !l->has_key && kind != LEVEL_TEXT) {
		fail(b, "a key that is not text");
		return;
	}
	l = &b->levels[b->depth++];
	*l = (struct level){.kind = kind, .indefinite = indefinite, .left = left};
	if (kind == LEVEL_ARRAY)
		l->container = json_array();
	else if (kind == LEVEL_MAP)
		l->container = json_object();
	if (!indefinite && left == 0) {
		json_t *empty = json_incref(l->container);

		level_finish(l);
		b->depth--;
		add(b, empty);
	}
}

static void on_break(void *arg)
{
	struct builder *b = arg;
	struct level *l = top(b), closed;

	if (!l || !l->indefinite || l->has_key) {
		fail(b, "a break where none may be");
		return;
	}
	closed = *l;
	memset(l, 0, sizeof(*l));
	b->depth--;
	if (closed.kind == LEVEL_TEXT)
		add_text(b, closed.bytes.data ? (const char *)closed.bytes.data : "",
			closed.bytes.len);
	else if (closed.kind == LEVEL_BYTES)
		add_bytes(b, closed.bytes.data, closed.bytes.len);
	else
		add(b, json_incref(closed.container));
	level_finish(&closed);
}

static void add_uint(void *arg, uint64_t n)
{
	if (n > INT64_MAX)
		fail(arg, "an integer of more than 63 bits");
	else
		add(arg, json_integer((json_int_t)n));
}

static void add_negint(void *arg, uint64_t n)
{
	if (n > INT64_MAX)
		fail(arg, "an integer of more than 63 bits");
	else
		add(arg, json_integer(-1 - (json_int_t)n));
}

static void on_uint8(void *arg, uint8_t n)
{
	add_uint(arg, n);
}

static void on_uint16(void *arg, uint16_t n)
{
	add_uint(arg, n);
}

static void on_uint32(void *arg, uint32_t n)
{
	add_uint(arg, n);
}

static void on_negint8(void *arg, uint8_t n)
{
	add_negint(arg, n);
}

static void on_negint16(void *arg, uint16_t n)
{
	add_negint(arg, n);
}

static void on_negint32(void *arg, uint32_t n)
{
	add_negint(arg, n);
}

static void on_double(void *arg, double x)
{
	if (isfinite(x))
		add(arg, json_real(x));
	else
		fail(arg, "a number that is not finite");
}

static void on_float(void *arg, float x)
{
	on_double(arg, x);
}

static void on_text(void *arg, cbor_data bytes, size_t len)
{
	on_string(arg, LEVEL_TEXT, bytes, len);
}

static void on_bytes(void *arg, cbor_data bytes, size_t len)
{
	on_string(arg, LEVEL_BYTES, bytes, len);
}

static void on_text_start(void *arg)
{
	push(arg, LEVEL_TEXT, true, 0);
}

static void on_bytes_start(void *arg)
{
	push(arg, LEVEL_BYTES, true, 0);
}

static void on_array(void *arg, size_t n)
{
	push(arg, LEVEL_ARRAY, false, n);
}

static void on_map(void *arg, size_t n)
{
	push(arg, LEVEL_MAP, false, n);
}

static void on_indef_array(void *arg)
{
	push(arg, LEVEL_ARRAY, true, 0);
}

static void on_indef_map(void *arg)
{
	push(arg, LEVEL_MAP, true, 0);
}

static void on_null(void *arg)
{
	add(arg, json_null());
}

static void on_boolean(void *arg, bool x)
{
	add(arg, json_boolean(x));
}

static void on_tag(void *arg, uint64_t tag)
{
	(void)tag;
	fail(arg, "a tag, which SMP does not use");
}

static const struct cbor_callbacks callbacks = {
	.uint8 = on_uint8,
	.uint16 = on_uint16,
	.uint32 = on_uint32,
	.uint64 = add_uint,
	.negint8 = on_negint8,
	.negint16 = on_negint16,
	.negint32 = on_negint32,
	.negint64 = add_negint,
	.byte_string_start = on_bytes_start,
	.byte_string = on_bytes,
	.string = on_text,
	.string_start = on_text_start,
	.indef_array_start = on_indef_array,
	.array_start = on_array,
	.indef_map_start = on_indef_map,
	.map_start = on_map,
	.tag = on_tag,
	.float2 = on_float,
	.float4 = on_float,
	.float8 = on_double,
	.undefined = on_null,
	.null = on_null,
	.boolean = on_boolean,
	.indef_break = on_break,
};

int smp_cbor_decode(const uint8_t *bytes, size_t len, json_t **value, struct err *e)
{
	struct builder b = {.e = e};
	size_t at = 0;

	while (!b.ret && !b.value) {
		struct cbor_decoder_result r =
			cbor_stream_decode(bytes + at, len - at, &callbacks, &b);

		if (r.status == CBOR_DECODER_NEDATA)
			fail(&b, "ends before its value does");
		else if (r.status != CBOR_DECODER_FINISHED)
			fail(&b, "a byte that begins no value");
		at += r.read;
	}
	if (!b.ret && at != len)
		fail(&b, "bytes after its value");
	while (b.depth)
		level_finish(&b.levels[--b.depth]);
	if (b.ret) {
		json_decref(b.value);
		return err_prefix(e, "byte %zu of %zu", at, len);
	}
	*value = b.value;
	return 0;
}
