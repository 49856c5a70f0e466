/*
 * The SMP codec against published vectors:
 * - RFC 8949, Appendix A (CBOR).
 * - CRC-16/XMODEM's check value (catalogue of parametrised CRC algorithms): "123456789" -> 0x31c3.
 * - RFC 4648 section 10 (base64), inside lines.
 * - mcumgr's command-line client resetting an nRF52840 over a serial line, bytes as quoted in
 *   Nordic DevZone question 102545 ("DFU MCUmgr Base64 encoder/decoder"): reset, sequence 0x8a.
 * - The echo answer in the documentation of the crate mcumgr-smp (an indefinite map).
 */
#include "rig/err.h"
#include "rig/smp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof(*(a)))
#define BEGIN "\x06\x09"
#define MORE "\x04\x14"

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;

	for (; hex[0]; hex += 2)
		out[n++] = (uint8_t)strtoul((char[]){hex[0], hex[1], 0}, NULL, 16);
	return n;
}

static void assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
	uint8_t want[256];

	assert_int_equal(len, unhex(hex, want));
	assert_memory_equal(bytes, want, len);
}

struct vector {
	const char *cbor, *json;
};

/* RFC 8949 Appendix A: CBOR and what it is in JSON. Both directions agree on these. */
static const struct vector both_ways[] = {
	{"00", "0"},
	{"01", "1"},
	{"0a", "10"},
	{"17", "23"},
	{"1818", "24"},
	{"1819", "25"},
	{"1864", "100"},
	{"1903e8", "1000"},
	{"1a000f4240", "1000000"},
	{"1b000000e8d4a51000", "1000000000000"},
	{"20", "-1"},
	{"29", "-10"},
	{"3863", "-100"},
	{"3903e7", "-1000"},
	{"fb3ff199999999999a", "1.1"},
	{"fb7e37e43c8800759c", "1.0e+300"},
	{"fbc010666666666666", "-4.1"},
	{"f4", "false"},
	{"f5", "true"},
	{"f6", "null"},
	{"40", "{\"hex\": \"\"}"},
	{"4401020304", "{\"hex\": \"01020304\"}"},
	{"60", "\"\""},
	{"6161", "\"a\""},
	{"6449455446", "\"IETF\""},
	{"62225c", "\"\\\"\\\\\""},
	{"62c3bc", "\"\\u00fc\""},
	{"63e6b0b4", "\"\\u6c34\""},
	{"64f0908591", "\"\\ud800\\udd51\""},
	{"80", "[]"},
	{"83010203", "[1, 2, 3]"},
	{"8301820203820405", "[1, [2, 3], [4, 5]]"},
	{"98190102030405060708090a0b0c0d0e0f101112131415161718181819",
		"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]"},
	{"a0", "{}"},
	{"a26161016162820203", "{\"a\": 1, \"b\": [2, 3]}"},
	{"826161a161626163", "[\"a\", {\"b\": \"c\"}]"},
	{"a56161614161626142616361436164614461656145",
		"{\"a\": \"A\", \"b\": \"B\", \"c\": \"C\", \"d\": \"D\", \"e\": \"E\"}"},
};

/* The same appendix: encodings the decoder takes and the encoder has no need of. */
static const struct vector decode_only[] = {
	{"f90000", "0.0"},
	{"f93c00", "1.0"},
	{"f93e00", "1.5"},
	{"f97bff", "65504.0"},
	{"fa47c35000", "100000.0"},
	{"fa7f7fffff", "3.4028234663852886e+38"},
	{"f90001", "5.960464477539063e-8"},
	{"f90400", "0.00006103515625"},
	{"f9c400", "-4.0"},
	{"f7", "null"},
	{"5f42010243030405ff", "{\"hex\": \"0102030405\"}"},
	{"7f657374726561646d696e67ff", "\"streaming\""},
	{"9fff", "[]"},
	{"9f018202039f0405ffff", "[1, [2, 3], [4, 5]]"},
	{"9f01820203820405ff", "[1, [2, 3], [4, 5]]"},
	{"83018202039f0405ff", "[1, [2, 3], [4, 5]]"},
	{"83019f0203ff820405", "[1, [2, 3], [4, 5]]"},
	{"bf61610161629f0203ffff", "{\"a\": 1, \"b\": [2, 3]}"},
	{"826161bf61626163ff", "[\"a\", {\"b\": \"c\"}]"},
	{"bf6346756ef563416d7421ff", "{\"Fun\": true, \"Amt\": -2}"},
	/* not of the appendix: a key in chunks, and the limits of 64 bits signed */
	{"a17f61616162ff01", "{\"ab\": 1}"},
	{"1b7fffffffffffffff", "9223372036854775807"},
	{"3b7fffffffffffffff", "-9223372036854775808"},
};

/* What is refused, and a word of the reason. */
static const struct vector refused[] = {
	{"1bffffffffffffffff", "63 bits"},
	{"3bffffffffffffffff", "63 bits"},
	{"c249010000000000000000", "tag"},
	{"c074323031332d30332d32315432303a30343a30305a", "tag"},
	{"f97c00", "not finite"},
	{"f97e00", "not finite"},
	{"fb7ff0000000000000", "not finite"},
	{"f0", "begins no value"},
	{"f8ff", "begins no value"},
	{"a201020304", "not text"},
	{"a1410101", "not text"},
	{"a1a001", "not text"},
	{"a1820102", "not text"},
	{"a2616101616102", "twice"},
	{"", "ends before"},
	{"83", "ends before"},
	{"9f01", "ends before"},
	{"6361", "ends before"},
	{"9bffffffffffffffff01", "ends before"},
	{"bbffffffffffffffff", "ends before"},
	{"7bffffffffffffffff61", "ends before"},
	{"0000", "after its value"},
	{"ff", "break"},
	{"8201ff", "break"},
	{"bf6161ff", "break"},
	{"7f4161ff", "chunk"},
	{"7f7f6161ffff", "chunk"},
	{"7f80ff", "chunk"},
	{"5f6161ff", "chunk"},
	{"5f01ff", "chunk"},
	{"61ff", "UTF-8"},
	{"6100", "zero byte"},
	{"a1610001", "zero byte"},
	{"a161ff01", "UTF-8"},
	{"81818181818181818181818181818181818101", "too deep"},
	{"9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f", "too deep"},
};

static void assert_decodes(const struct vector *v)
{
	uint8_t cbor[256];
	size_t len = unhex(v->cbor, cbor);
	json_t *want = json_loads(v->json, JSON_DECODE_ANY, NULL), *value;
	struct err e;

	assert_non_null(want);
	if (smp_cbor_decode(cbor, len, &value, &e))
		fail_msg("%s: %s", v->cbor, e.msg);
	if (!json_equal(value, want))
		fail_msg("%s is not %s", v->cbor, v->json);
	json_decref(value);
	json_decref(want);
}

static void cbor_decodes_rfc8949_appendix_a(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(both_ways); i++)
		assert_decodes(&both_ways[i]);
	for (size_t i = 0; i < LEN(decode_only); i++)
		assert_decodes(&decode_only[i]);
}

static void cbor_encodes_rfc8949_appendix_a(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(both_ways); i++) {
		json_t *value = json_loads(both_ways[i].json, JSON_DECODE_ANY, NULL);
		uint8_t *cbor;
		size_t len;
		struct err e;

		assert_return_code(smp_cbor_encode(value, &cbor, &len, &e), 0);
		assert_hex(cbor, len, both_ways[i].cbor);
		free(cbor);
		json_decref(value);
	}
}

static void cbor_that_is_wrong_is_refused_with_the_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(refused); i++) {
		uint8_t cbor[256];
		size_t len = unhex(refused[i].cbor, cbor);
		json_t *value;
		struct err e;

		assert_int_equal(smp_cbor_decode(cbor, len, &value, &e), -ERR_PROTOCOL);
		if (!strstr(e.msg, refused[i].json))
			fail_msg("%s: expected \"%s\", got \"%s\"", refused[i].cbor,
				refused[i].json, e.msg);
	}
}

static void json_that_cannot_be_sent_is_refused(void **state)
{
	static const char *const bad[] = {
		"{\"hex\": \"0\"}",
		"{\"hex\": \"0g\"}",
		"{\"hex\": \" 00\"}",
		"[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]",
	};

	(void)state;
	for (size_t i = 0; i < LEN(bad); i++) {
		json_t *value = json_loads(bad[i], 0, NULL);
		uint8_t *cbor;
		size_t len;
		struct err e;

		assert_int_equal(smp_cbor_encode(value, &cbor, &len, &e), -ERR_USAGE);
		json_decref(value);
	}
}

static void a_body_too_long_for_a_packet_is_refused(void **state)
{
	/* a map's head, a key of one letter, a text's head with a 16-bit length */
	const size_t fits = SMP_PACKET_MAX - SMP_HEADER_BYTES - 1 - 2 - 3;
	struct smp_header h = {.op = SMP_WRITE};
	char *text = malloc(SMP_PACKET_MAX + 1);
	uint8_t *packet;
	size_t len;
	json_t *body;
	struct err e;

	(void)state;
	memset(text, 'x', SMP_PACKET_MAX + 1);
	body = json_pack("{s: s%}", "d", text, fits);
	assert_return_code(smp_packet_encode(&h, body, &packet, &len, &e), 0);
	assert_int_equal(len, SMP_PACKET_MAX);
	free(packet);
	json_decref(body);
	for (size_t over = fits + 1; over <= SMP_PACKET_MAX + 1; over++) {
		body = json_pack("{s: s%}", "d", text, over);
		assert_int_equal(smp_packet_encode(&h, body, &packet, &len, &e), -ERR_USAGE);
		json_decref(body);
	}
	free(text);
}

static void crc_has_the_published_check_value(void **state)
{
	(void)state;
	assert_int_equal(smp_crc16((const uint8_t *)"123456789", 9), 0x31c3);
	assert_int_equal(smp_crc16(NULL, 0), 0);
}

/* mcumgr's reset request, as its users see it on the wire. */
static const char reset_line[] = BEGIN "AAsCAAABAACKBaA1Qw==\n";

static void a_request_is_byte_for_byte_what_mcumgr_sends(void **state)
{
	struct smp_header h = {
		.op = SMP_WRITE, .group = SMP_GROUP_OS, .seq = 0x8a, .id = SMP_OS_RESET};
	uint8_t *packet;
	char *text;
	size_t len, text_len;
	struct err e;

	(void)state;
	assert_return_code(smp_packet_encode(&h, NULL, &packet, &len, &e), 0);
	assert_hex(packet, len, "0200000100008a05a0");
	assert_return_code(smp_lines_encode(packet, len, &text, &text_len, &e), 0);
	assert_int_equal(text_len, sizeof(reset_line) - 1);
	assert_memory_equal(text, reset_line, text_len);
	free(text);
	free(packet);
}

static void what_mcumgr_sends_is_understood(void **state)
{
	struct smp_reassembler *r = calloc(1, sizeof(*r));
	struct smp_header h;
	const uint8_t *packet;
	size_t len;
	json_t *body;
	struct err e;

	(void)state;
	assert_int_equal(
		smp_reassemble(r, reset_line, sizeof(reset_line) - 1, &packet, &len, &e), 1);
	assert_hex(packet, len, "0200000100008a05a0");
	assert_return_code(smp_packet_decode(packet, len, &h, &body, &e), 0);
	assert_int_equal(h.op, SMP_WRITE);
	assert_int_equal(h.version, 0);
	assert_int_equal(h.group, SMP_GROUP_OS);
	assert_int_equal(h.seq, 0x8a);
	assert_int_equal(h.id, SMP_OS_RESET);
	assert_int_equal(json_object_size(body), 0);
	json_decref(body);
	free(r);
}

static void a_published_echo_answer_is_understood(void **state)
{
	static const uint8_t answer[] = {3, 0, 0, 16, 0, 0, 66, 0, 191, 97, 114, 107, 72, 101, 108,
		108, 111, 32, 87, 111, 114, 108, 100, 255};
	struct smp_header h;
	json_t *body;
	struct err e;

	(void)state;
	assert_return_code(smp_packet_decode(answer, sizeof(answer), &h, &body, &e), 0);
	assert_int_equal(h.op, SMP_WRITE_ANSWER);
	assert_int_equal(h.seq, 66);
	assert_int_equal(h.length, 16);
	assert_string_equal(json_string_value(json_object_get(body, "r")), "Hello World");
	json_decref(body);
}

static void version_bits_stand_beside_the_operation(void **state)
{
	struct smp_header h = {.op = SMP_WRITE, .version = 1, .group = 0x1234, .seq = 5, .id = 6};
	struct smp_header back;
	uint8_t *packet;
	size_t len;
	json_t *body;
	struct err e;

	(void)state;
	assert_return_code(smp_packet_encode(&h, NULL, &packet, &len, &e), 0);
	assert_hex(packet, len, "0a00000112340506a0");
	assert_return_code(smp_packet_decode(packet, len, &back, &body, &e), 0);
	assert_int_equal(back.op, SMP_WRITE);
	assert_int_equal(back.version, 1);
	assert_int_equal(back.group, 0x1234);
	json_decref(body);
	free(packet);
}

static void a_packet_whose_length_lies_is_refused(void **state)
{
	static const uint8_t lies[] = {1, 0, 0, 2, 0, 0, 0, 0, 0xa0};
	static const uint8_t no_map[] = {1, 0, 0, 1, 0, 0, 0, 0, 0x05};
	static const uint8_t no_body[] = {1, 0, 0, 0, 0, 0, 0, 0};
	struct smp_header h;
	json_t *body;
	struct err e;

	(void)state;
	for (size_t len = 0; len <= sizeof(lies); len++)
		assert_int_equal(smp_packet_decode(lies, len, &h, &body, &e), -ERR_PROTOCOL);
	assert_int_equal(smp_packet_decode(no_map, sizeof(no_map), &h, &body, &e), -ERR_PROTOCOL);
	assert_non_null(strstr(e.msg, "not a map"));
	assert_return_code(smp_packet_decode(no_body, sizeof(no_body), &h, &body, &e), 0);
	assert_int_equal(json_object_size(body), 0);
	json_decref(body);
}

/* Feeds text line by line; returns the number of packets, the last one in *packet. */
static int feed(struct smp_reassembler *r, const char *text, size_t len, const uint8_t **packet,
	size_t *packet_len, int *errors)
{
	int packets = 0;
	struct err e;

	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) + 1 : len;
		int ret = smp_reassemble(r, text, n, packet, packet_len, &e);

		if (ret < 0)
			++*errors;
		else
			packets += ret;
		text += n;
		len -= n;
	}
	return packets;
}

/* Bytes of any number, each different from its neighbours. */
static uint8_t *make_packet(size_t len)
{
	uint8_t *packet = malloc(len);

	for (size_t i = 0; i < len; i++)
		packet[i] = (uint8_t)(i * 37 + (i >> 8));
	return packet;
}

static void packets_of_every_size_come_back_whole(void **state)
{
	static const size_t sizes[] = {SMP_HEADER_BYTES, 88, 89, 90, 91, 92, 93, 94, 180, 181, 182,
		183, 184, 185, 186, 1000, 4096, SMP_PACKET_MAX};
	struct smp_reassembler *r = calloc(1, sizeof(*r));

	(void)state;
	for (size_t i = 0; i < LEN(sizes); i++) {
		uint8_t *packet = make_packet(sizes[i]);
		const uint8_t *back;
		size_t text_len, back_len;
		int errors = 0;
		char *text;
		struct err e;

		assert_return_code(smp_lines_encode(packet, sizes[i], &text, &text_len, &e), 0);
		for (char *at = text, *end; at < text + text_len; at = end + 1) {
			end = memchr(at, '\n', (size_t)(text + text_len - at));
			assert_non_null(end);
			assert_in_range(end + 1 - at, 3, SMP_LINE_MAX);
		}
		assert_int_equal(feed(r, text, text_len, &back, &back_len, &errors), 1);
		assert_int_equal(errors, 0);
		assert_int_equal(back_len, sizes[i]);
		assert_memory_equal(back, packet, back_len);
		free(text);
		free(packet);
	}
	free(r);
}

static void a_packet_longer_than_the_framing_counts_is_refused(void **state)
{
	uint8_t *packet = make_packet(SMP_PACKET_MAX + 1);
	size_t len;
	char *text;
	struct err e;

	(void)state;
	assert_int_equal(smp_lines_encode(packet, SMP_PACKET_MAX + 1, &text, &len, &e), -ERR_USAGE);
	free(packet);
}

static void log_text_between_and_before_lines_is_ignored(void **state)
{
	struct smp_reassembler *r = calloc(1, sizeof(*r));
	uint8_t *packet = make_packet(250);
	char *text, mixed[2048];
	size_t text_len, len = 0, back_len;
	const uint8_t *back;
	int errors = 0;
	struct err e;

	(void)state;
	assert_return_code(smp_lines_encode(packet, 250, &text, &text_len, &e), 0);
	for (char *at = text; at < text + text_len;) {
		char *end = (char *)memchr(at, '\n', (size_t)(text + text_len - at)) + 1;

		/* a whole line of text, a prompt before the marker, and CR LF */
		len += (size_t)snprintf(mixed + len, sizeof(mixed) - len, "[00:01] hello\r\n$ ");
		memcpy(mixed + len, at, (size_t)(end - at));
		len += (size_t)(end - at) - 1;
		memcpy(mixed + len, "\r\n", 2);
		len += 2;
		at = end;
	}
	assert_int_equal(feed(r, mixed, len, &back, &back_len, &errors), 1);
	assert_int_equal(errors, 0);
	assert_memory_equal(back, packet, 250);
	free(text);
	free(packet);
	free(r);
}

static void a_crc_on_a_line_of_its_own_is_taken(void **state)
{
	/* the same reset, as a device may split it: the final line may hold nothing but the CRC */
	static const char text[] = BEGIN "AAsCAAABAACKBaA=\n" MORE "NUM=\n";
	struct smp_reassembler *r = calloc(1, sizeof(*r));
	const uint8_t *packet;
	size_t len;
	int errors = 0;

	(void)state;
	assert_int_equal(feed(r, text, sizeof(text) - 1, &packet, &len, &errors), 1);
	assert_int_equal(errors, 0);
	assert_hex(packet, len, "0200000100008a05a0");
	free(r);
}

static void lines_carry_rfc4648_base64(void **state)
{
	/* RFC 4648 section 10: BASE64("foobar") = "Zm9vYmFy"; here within a packet that begins at a
	 * multiple of three, behind the length */
	static const uint8_t packet[] = "\0foobar\0";
	size_t len;
	char *text;
	struct err e;

	(void)state;
	assert_return_code(smp_lines_encode(packet, sizeof(packet) - 1, &text, &len, &e), 0);
	assert_memory_equal(text + 2 + 4, "Zm9vYmFy", 8);
	free(text);
}

static void a_broken_line_is_an_error_and_the_next_packet_is_whole(void **state)
{
	static const struct {
		const char *line, *why;
	} bad[] = {
		{BEGIN "AAsCAAABAACKBaA1RA==", "CRC"},
		{BEGIN "AAsCAAABAACKBqA1Qw==", "CRC"},
		{BEGIN "AAsCAAAB*ACKBaA1Qw==", "base64"},
		{BEGIN "AAsCAAABAACKBaA1Qw=", "base64"},
		{BEGIN "AAoCAAABAACKBaA1Qw==", "more bytes"},
		{BEGIN "AAkCAAABAACKBaA1Qw==", "too small"},
		{BEGIN, "too small"},
		{BEGIN "AA==", "too small"},
		{MORE "AAsCAAABAACKBaA1Qw==", "nobody began"},
		{BEGIN "AAsCAAABAACKBaA1Qw==AAsCAAABAACKBaA1Qw==AAsCAAABAACKBaA1Qw==AAsCAAABAAC"
		       "KBaA1Qw==AAsCAAABAACKBaA1Qw==AAsCAAABAACKBaA1Qw==AAsCAAABAACKBaA1Qw==",
			"127"},
	};
	struct smp_reassembler *r = calloc(1, sizeof(*r));
	const uint8_t *packet;
	size_t len;
	struct err e;

	(void)state;
	for (size_t i = 0; i < LEN(bad); i++) {
		assert_int_equal(
			smp_reassemble(r, bad[i].line, strlen(bad[i].line), &packet, &len, &e),
			-ERR_PROTOCOL);
		if (!strstr(e.msg, bad[i].why))
			fail_msg("expected \"%s\", got \"%s\"", bad[i].why, e.msg);
		assert_int_equal(
			smp_reassemble(r, reset_line, sizeof(reset_line) - 1, &packet, &len, &e),
			1);
	}
	free(r);
}

static void a_new_beginning_drops_the_packet_begun_before(void **state)
{
	struct smp_reassembler *r = calloc(1, sizeof(*r));
	uint8_t *packet = make_packet(300);
	const uint8_t *back;
	size_t text_len, back_len;
	int errors = 0;
	char *text;
	struct err e;

	(void)state;
	assert_return_code(smp_lines_encode(packet, 300, &text, &text_len, &e), 0);
	assert_int_equal(feed(r, text, SMP_LINE_MAX, &back, &back_len, &errors), 0);
	assert_int_equal(feed(r, reset_line, sizeof(reset_line) - 1, &back, &back_len, &errors), 1);
	assert_int_equal(errors, 0);
	assert_int_equal(back_len, 9);
	free(text);
	free(packet);
	free(r);
}

static void an_answer_that_reports_an_error_is_the_devices_fault(void **state)
{
	static const struct vector answers[] = {
		{"{\"rc\": 6, \"rsn\": \"x\"}", "the device refused: rc 6 (not in this state): x"},
		{"{\"rc\": 8}", "the device refused: rc 8 (not supported)"},
		{"{\"rc\": 300}", "the device refused: rc 300 (not one of mcumgr's codes)"},
		{"{\"rc\": -1}", "the device refused: rc -1 (not one of mcumgr's codes)"},
		{"{\"err\": {\"group\": 1, \"rc\": 4}}", "the device refused: error 4 of group 1"},
		{"{\"rc\": 0}", NULL},
		{"{\"off\": 12}", NULL},
		{"{\"err\": {\"group\": 1, \"rc\": 0}}", NULL},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < LEN(answers); i++) {
		json_t *body = json_loads(answers[i].cbor, 0, NULL);
		int ret = smp_body_error(body, &e);

		assert_int_equal(ret, answers[i].json ? -ERR_DUT : 0);
		if (ret)
			assert_string_equal(e.msg, answers[i].json);
		json_decref(body);
	}
}

/* xorshift32: the same mutations on every run */
static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static void mutated_cbor_is_decoded_or_refused_never_worse(void **state)
{
	uint32_t seed = 0x5eed;
	unsigned decoded = 0, rejected = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		const struct vector *v =
			round % 2 ? &both_ways[next_random(&seed) % LEN(both_ways)]
				  : &decode_only[next_random(&seed) % LEN(decode_only)];
		uint8_t cbor[256], *exact, *again;
		size_t len = unhex(v->cbor, cbor), again_len;
		json_t *value, *back;
		struct err e;

		for (unsigned n = next_random(&seed) % 4; n; n--)
			cbor[next_random(&seed) % len] = (uint8_t)next_random(&seed);
		if (next_random(&seed) % 4 == 0)
			len = next_random(&seed) % len + 1;
		/* of its exact size, so that a sanitizer sees one byte too many */
		exact = malloc(len);
		memcpy(exact, cbor, len);
		if (smp_cbor_decode(exact, len, &value, &e)) {
			assert_int_equal(e.code, ERR_PROTOCOL);
			rejected++;
		} else if (smp_cbor_encode(value, &again, &again_len, &e)) {
			/* a map that happens to look like {"hex": …} */
			assert_int_equal(e.code, ERR_USAGE);
			json_decref(value);
		} else {
			assert_return_code(smp_cbor_decode(again, again_len, &back, &e), 0);
			assert_true(json_equal(value, back));
			free(again);
			json_decref(back);
			json_decref(value);
			decoded++;
		}
		free(exact);
	}
	assert_true(decoded > 1000 && rejected > 1000);
}

static void mutated_lines_give_the_packet_or_none_never_another(void **state)
{
	struct smp_reassembler *r = calloc(1, sizeof(*r));
	uint8_t *packet = make_packet(300);
	uint32_t seed = 0xf00d;
	unsigned whole = 0, lost = 0;
	size_t text_len;
	char *text;
	struct err e;

	(void)state;
	assert_return_code(smp_lines_encode(packet, 300, &text, &text_len, &e), 0);
	for (int round = 0; round < 20000; round++) {
		char *copy = malloc(text_len);
		const uint8_t *back;
		size_t back_len, len = text_len;
		int errors = 0;

		memcpy(copy, text, text_len);
		for (unsigned n = next_random(&seed) % 3; n; n--)
			copy[next_random(&seed) % len] = (char)next_random(&seed);
		if (next_random(&seed) % 8 == 0)
			len = next_random(&seed) % len;
		smp_reset(r);
		if (feed(r, copy, len, &back, &back_len, &errors) == 0) {
			lost++;
		} else {
			assert_int_equal(back_len, 300);
			assert_memory_equal(back, packet, 300);
			whole++;
		}
		free(copy);
	}
	assert_true(whole > 1000 && lost > 1000);
	free(text);
	free(packet);
	free(r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(cbor_decodes_rfc8949_appendix_a),
		cmocka_unit_test(cbor_encodes_rfc8949_appendix_a),
		cmocka_unit_test(cbor_that_is_wrong_is_refused_with_the_reason),
		cmocka_unit_test(json_that_cannot_be_sent_is_refused),
		cmocka_unit_test(a_body_too_long_for_a_packet_is_refused),
		cmocka_unit_test(crc_has_the_published_check_value),
		cmocka_unit_test(a_request_is_byte_for_byte_what_mcumgr_sends),
		cmocka_unit_test(what_mcumgr_sends_is_understood),
		cmocka_unit_test(a_published_echo_answer_is_understood),
		cmocka_unit_test(version_bits_stand_beside_the_operation),
		cmocka_unit_test(a_packet_whose_length_lies_is_refused),
		cmocka_unit_test(packets_of_every_size_come_back_whole),
		cmocka_unit_test(a_packet_longer_than_the_framing_counts_is_refused),
		cmocka_unit_test(log_text_between_and_before_lines_is_ignored),
		cmocka_unit_test(a_crc_on_a_line_of_its_own_is_taken),
		cmocka_unit_test(lines_carry_rfc4648_base64),
		cmocka_unit_test(a_broken_line_is_an_error_and_the_next_packet_is_whole),
		cmocka_unit_test(a_new_beginning_drops_the_packet_begun_before),
		cmocka_unit_test(an_answer_that_reports_an_error_is_the_devices_fault),
		cmocka_unit_test(mutated_cbor_is_decoded_or_refused_never_worse),
		cmocka_unit_test(mutated_lines_give_the_packet_or_none_never_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
