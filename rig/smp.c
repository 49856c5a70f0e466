#include "smp.h"

#include "err.h"

#include <nettle/base64.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Marker bytes of the serial framing (SMP Transport Specification, "UART/serial and console"). */
static const char begin_mark[2] = {0x06, 0x09};
static const char more_mark[2] = {0x04, 0x14};

#define MARK_BYTES sizeof(begin_mark)
#define CRC_BYTES 2
#define LENGTH_BYTES 2
/* Bytes before base64 that fit into a line: (127 - marker - newline) / 4 * 3. */
#define LINE_RAW_MAX ((SMP_LINE_MAX - MARK_BYTES - 1) / 4 * 3)

static uint16_t get_be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void put_be16(uint8_t *bytes, uint16_t n)
{
	bytes[0] = (uint8_t)(n >> 8);
	bytes[1] = (uint8_t)n;
}

uint16_t smp_crc16(const uint8_t *bytes, size_t len)
{
	uint16_t crc = 0;

	for (size_t i = 0; i < len; i++) {
		crc ^= (uint16_t)(bytes[i] << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
	}
	return crc;
}

int smp_packet_encode(const struct smp_header *header, const json_t *body, uint8_t **packet,
	size_t *len, struct err *e)
{
	static const uint8_t empty_map = 0xa0;
	uint8_t *cbor = NULL, *p;
	size_t cbor_len = sizeof(empty_map);
	int ret;

	if (body) {
		ret = smp_cbor_encode(body, &cbor, &cbor_len, e);
		if (ret)
			return ret;
	}
	if (SMP_HEADER_BYTES + cbor_len > SMP_PACKET_MAX) {
		free(cbor);
		return err_set(e, ERR_USAGE, "SMP packet: longer than %d bytes", SMP_PACKET_MAX);
	}
	p = malloc(SMP_HEADER_BYTES + cbor_len);
	if (!p) {
		free(cbor);
		return err_set(e, ERR_NOMEM, "SMP packet: out of memory");
	}
	p[0] = (uint8_t)((header->version & 3) << 3 | (header->op & 7));
	p[1] = header->flags;
	put_be16(p + 2, (uint16_t)cbor_len);
	put_be16(p + 4, header->group);
	p[6] = header->seq;
	p[7] = header->id;
	memcpy(p + SMP_HEADER_BYTES, cbor ? cbor : &empty_map, cbor_len);
	free(cbor);
	*packet = p;
	*len = SMP_HEADER_BYTES + cbor_len;
	return 0;
}

int smp_packet_decode(
	const uint8_t *packet, size_t len, struct smp_header *header, json_t **body, struct err *e)
{
	json_t *value;
	int ret;

	if (len < SMP_HEADER_BYTES)
		return err_set(
			e, ERR_PROTOCOL, "SMP packet: %zu bytes are too few for a header", len);
	*header = (struct smp_header){
		.op = packet[0] & 7,
		.version = packet[0] >> 3 & 3,
		.flags = packet[1],
		.length = get_be16(packet + 2),
		.group = get_be16(packet + 4),
		.seq = packet[6],
		.id = packet[7],
	};
	if (header->length != len - SMP_HEADER_BYTES)
		return err_set(e, ERR_PROTOCOL,
			"SMP packet: its header announces %u bytes of body, %zu came",
			header->length, len - SMP_HEADER_BYTES);
	if (header->length == 0) {
		*body = json_object();
		return *body ? 0 : err_set(e, ERR_NOMEM, "SMP packet: out of memory");
	}
	ret = smp_cbor_decode(packet + SMP_HEADER_BYTES, header->length, &value, e);
	if (ret)
		return err_prefix(e, "SMP body");
	if (!json_is_object(value)) {
		json_decref(value);
		return err_set(e, ERR_PROTOCOL, "SMP body: not a map");
	}
	*body = value;
	return 0;
}

int smp_lines_encode(
	const uint8_t *packet, size_t len, char **text, size_t *text_len, struct err *e)
{
	size_t raw_len = LENGTH_BYTES + len + CRC_BYTES;
	size_t lines = (raw_len + LINE_RAW_MAX - 1) / LINE_RAW_MAX;
	uint8_t *raw;
	char *out, *at;

	if (len > SMP_PACKET_MAX)
		return err_set(e, ERR_USAGE, "SMP packet: longer than %d bytes", SMP_PACKET_MAX);
	raw = malloc(raw_len);
	out = malloc(lines * SMP_LINE_MAX);
	if (!raw || !out) {
		free(raw);
		free(out);
		return err_set(e, ERR_NOMEM, "SMP packet: out of memory");
	}
	put_be16(raw, (uint16_t)(len + CRC_BYTES));
	memcpy(raw + LENGTH_BYTES, packet, len);
	put_be16(raw + LENGTH_BYTES + len, smp_crc16(packet, len));
	at = out;
	for (size_t done = 0; done < raw_len; done += LINE_RAW_MAX) {
		size_t n = raw_len - done < LINE_RAW_MAX ? raw_len - done : LINE_RAW_MAX;

		memcpy(at, done ? more_mark : begin_mark, MARK_BYTES);
		base64_encode_raw(at + MARK_BYTES, n, raw + done);
		at += MARK_BYTES + BASE64_ENCODE_RAW_LENGTH(n);
		*at++ = '\n';
	}
	free(raw);
	*text = out;
	*text_len = (size_t)(at - out);
	return 0;
}

void smp_reset(struct smp_reassembler *r)
{
	r->want = 0;
	r->have = 0;
}

/* Where a marker begins in the line; text without a line end may stand before it. */
static const char *find_mark(const char *line, size_t len, bool *begins)
{
	const char *begin = memmem(line, len, begin_mark, MARK_BYTES);
	const char *more = memmem(line, len, more_mark, MARK_BYTES);

	*begins = begin != NULL;
	return begin ? begin : more;
}

static int reassemble_failed(struct smp_reassembler *r, struct err *e, const char *why)
{
	int ret = err_set(e, ERR_PROTOCOL, "SMP over console: %s (%u of %u bytes came)", why,
		r->have, r->want);

	smp_reset(r);
	return ret;
}

int smp_reassemble(struct smp_reassembler *r, const char *line, size_t line_len,
	const uint8_t **packet, size_t *len, struct err *e)
{
	uint8_t raw[BASE64_DECODE_LENGTH(SMP_LINE_MAX)], *data = raw;
	struct base64_decode_ctx ctx;
	size_t n, text_len;
	bool begins;
	const char *text = find_mark(line, line_len, &begins);

	if (!text)
		return 0;
	text_len = (size_t)(line + line_len - text);
	while (text_len && (text[text_len - 1] == '\n' || text[text_len - 1] == '\r'))
		text_len--;
	if (begins)
		smp_reset(r);
	else if (!r->want)
		return reassemble_failed(r, e, "a line that continues a packet nobody began");
	if (text_len >= SMP_LINE_MAX)
		return reassemble_failed(r, e, "a line of more than 127 bytes");
	base64_decode_init(&ctx);
	if (!base64_decode_update(&ctx, &n, raw, text_len - MARK_BYTES, text + MARK_BYTES) ||
		!base64_decode_final(&ctx))
		return reassemble_failed(r, e, "a line that is not base64");
	if (begins) {
		if (n < LENGTH_BYTES || get_be16(raw) < SMP_HEADER_BYTES + CRC_BYTES)
			return reassemble_failed(r, e, "a length too small for a packet");
		r->want = get_be16(raw);
		data += LENGTH_BYTES;
		n -= LENGTH_BYTES;
	}
	if (n > r->want - r->have)
		return reassemble_failed(r, e, "more bytes than announced");
	memcpy(r->data + r->have, data, n);
	r->have += (uint32_t)n;
	if (r->have < r->want)
		return 0;
	if (smp_crc16(r->data, r->want - CRC_BYTES) != get_be16(r->data + r->want - CRC_BYTES))
		return reassemble_failed(r, e, "the CRC is wrong");
	*packet = r->data;
	*len = r->want - CRC_BYTES;
	smp_reset(r);
	return 1;
}

/* mcumgr's own codes (SMP Protocol Specification, enum mcumgr_err_t). */
static const char *const rc_texts[] = {
	[1] = "unknown error",
	[2] = "no memory",
	[3] = "invalid value",
	[4] = "timed out",
	[5] = "no such entry",
	[6] = "not in this state",
	[7] = "response too large",
	[8] = "not supported",
	[9] = "corrupt",
	[10] = "busy",
	[11] = "access denied",
	[12] = "protocol version too old",
	[13] = "protocol version too new",
};

int smp_body_error(const json_t *body, struct err *e)
{
	const json_t *err = json_object_get(body, "err");
	const char *reason = json_string_value(json_object_get(body, "rsn"));
	json_int_t rc = json_integer_value(json_object_get(err ? err : body, "rc"));
	json_int_t group = json_integer_value(json_object_get(err, "group"));

	if (rc == 0)
		return 0;
	if (err)
		return err_set(e, ERR_DUT,
			"the device refused: error %" JSON_INTEGER_FORMAT
			" of group %" JSON_INTEGER_FORMAT,
			rc, group);
	return err_set(e, ERR_DUT, "the device refused: rc %" JSON_INTEGER_FORMAT " (%s)%s%s", rc,
		rc > 0 && rc < (json_int_t)(sizeof(rc_texts) / sizeof(*rc_texts))
			? rc_texts[rc]
			: "not one of mcumgr's codes",
		reason ? ": " : "", reason ? reason : "");
}
