/*
 * The vectors are laid out by hand from MCUboot's documentation; their hashes were computed with
 * another implementation. No encoder of ours is involved.
 */
#include "rig/err.h"
#include "rig/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PROTECTED_AT (32 + 20)
#define TLVS_AT (PROTECTED_AT + 12)

/* version 1.2.772+5, loaded at 0xc000, 20 bytes of body, security counter 42 in the protected area
 */
static const uint8_t vector[] = {0x3d, 0xb8, 0xf3, 0x96, /* magic */
	0x00, 0xc0, 0x00, 0x00,                          /* load address */
	0x20, 0x00,                                      /* header size */
	0x0c, 0x00,                                      /* protected TLV size */
	0x14, 0x00, 0x00, 0x00,                          /* body size */
	0x00, 0x00, 0x00, 0x00,                          /* flags */
	0x01, 0x02, 0x04, 0x03, 0x05, 0x00, 0x00, 0x00,  /* version */
	0x00, 0x00, 0x00, 0x00,                          /* pad */
	/* body */
	0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e,
	0x4f, 0x50, 0x51, 0x52, 0x53,
	/* protected area: 12 bytes, security counter */
	0x08, 0x69, 0x0c, 0x00, 0x50, 0x00, 0x04, 0x00, 0x2a, 0x00, 0x00, 0x00,
	/* area: 40 bytes, SHA-256 */
	0x07, 0x69, 0x28, 0x00, 0x10, 0x00, 0x20, 0x00, 0x27, 0x8c, 0xf0, 0xcb, 0x92, 0x03, 0x8a,
	0x45, 0xfd, 0x3b, 0x72, 0x67, 0xce, 0x1d, 0x92, 0x60, 0xbe, 0x74, 0xf8, 0x97, 0x55, 0xc0,
	0xe6, 0xa2, 0x2f, 0x53, 0x4a, 0x7d, 0x7d, 0x39, 0x3d, 0xfb};

static const uint8_t sha384[] = {0x16, 0xb6, 0x53, 0x8f, 0x03, 0x4b, 0xe6, 0x3e, 0xed, 0x12, 0x1d,
	0x34, 0x77, 0x09, 0xbb, 0x63, 0x15, 0x4a, 0x30, 0xaa, 0x61, 0x4a, 0xd8, 0x36, 0xdc, 0x30,
	0x53, 0xa9, 0xb4, 0xed, 0xce, 0x72, 0xa2, 0x0d, 0x95, 0xab, 0x03, 0x17, 0x63, 0xe2, 0x48,
	0x97, 0xa2, 0x40, 0x00, 0xcf, 0xd3, 0xd3};

static const uint8_t sha512[] = {0x21, 0xc4, 0x75, 0xc7, 0x8b, 0x23, 0x0f, 0x17, 0x05, 0xc5, 0x18,
	0xbc, 0x45, 0x19, 0x65, 0x4e, 0xae, 0xd1, 0x4e, 0x51, 0xea, 0xd9, 0xbe, 0xc6, 0xc7, 0x69,
	0xb0, 0x2d, 0x77, 0xf0, 0x80, 0x60, 0x4b, 0x8b, 0x9d, 0x09, 0x69, 0x09, 0x0e, 0xd4, 0x0d,
	0x8d, 0x59, 0xd5, 0x09, 0x7a, 0x63, 0x4e, 0x8b, 0x34, 0x97, 0xe6, 0x84, 0xb3, 0x53, 0xe5,
	0xf1, 0x56, 0xc0, 0x6e, 0x3a, 0x4b, 0x48, 0x5b};

/* A copy in memory of exactly len bytes, so that the sanitizer sees every byte read too many. */
static int parse(struct image *image, const uint8_t *data, size_t len, struct err *e)
{
	uint8_t *exact = malloc(len ? len : 1);
	int code;

	assert_non_null(exact);
	memcpy(exact, data, len);
	e->msg[0] = '\0';
	code = image_parse(image, "v.bin", exact, len, e);
	free(exact);
	return code;
}

static void reads_every_field_of_the_published_layout(void **state)
{
	struct image image;
	struct err e;

	(void)state;
	assert_int_equal(parse(&image, vector, sizeof(vector), &e), 0);
	assert_int_equal(image.load_address, 0xc000);
	assert_int_equal(image.header_size, 32);
	assert_int_equal(image.protected_size, 12);
	assert_int_equal(image.body_size, 20);
	assert_int_equal(image.flags, 0);
	assert_int_equal(image.version.major, 1);
	assert_int_equal(image.version.minor, 2);
	assert_int_equal(image.version.revision, 772);
	assert_int_equal(image.version.build, 5);
	assert_string_equal(image.version_text, "1.2.772+5");
	assert_int_equal(image.size, sizeof(vector));
	assert_int_equal(image.tlv_count, 2);
	assert_int_equal(image.tlvs[0].type, 0x50);
	assert_true(image.tlvs[0].is_protected);
	assert_int_equal(image.tlvs[1].type, 0x10);
	assert_false(image.tlvs[1].is_protected);
	assert_int_equal(image.tlvs[1].size, 32);
	assert_int_equal(image.tlvs[1].offset, TLVS_AT + 8);
	assert_true(image.has_security_counter);
	assert_int_equal(image.security_counter, 42);
	assert_false(image.is_signed);
	assert_int_equal(image.integrity, IMAGE_INTACT);
	assert_string_equal(image.hash_name, "sha256");
}

/* https://dev.to/ripan030/mcuboot-signing-and-header-analysis-203j shows these bytes of a Zephyr
 * image: the header's first 20 at 0, the TLV area's first 8 at 0xf0c8. */
static void reads_the_sizes_of_a_published_dump(void **state)
{
	static const uint8_t header[] = {
		0x3d, 0xb8, 0xf3, 0x96, 0, 0, 0, 0, 0x00, 0x02, 0, 0, 0xc8, 0xee, 0, 0, 0, 0, 0, 0};
	static const uint8_t area[] = {0x07, 0x69, 0x28, 0x00, 0x10, 0x00, 0x20, 0x00};
	uint8_t *data = calloc(1, 0xf0c8 + 0x28);
	struct image image;
	struct err e;

	(void)state;
	assert_non_null(data);
	memcpy(data, header, sizeof(header));
	memcpy(data + 0xf0c8, area, sizeof(area));
	assert_int_equal(image_parse(&image, "dump", data, 0xf0c8 + 0x28, &e), 0);
	assert_int_equal(image.header_size, 0x200);
	assert_int_equal(image.body_size, 0xeec8);
	assert_int_equal(image.size, 0xf0c8 + 0x28);
	assert_int_equal(image.tlv_count, 1);
	assert_int_equal(image.integrity, IMAGE_DAMAGED); /* the body is not the dump's */
	free(data);
}

static void a_flipped_bit_anywhere_in_what_is_hashed_is_seen(void **state)
{
	(void)state;
	for (size_t bit = 0; bit < TLVS_AT * 8; bit++) {
		uint8_t data[sizeof(vector)];
		struct image image;
		struct err e;

		memcpy(data, vector, sizeof(vector));
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (parse(&image, data, sizeof(data), &e) == 0)
			assert_int_not_equal(image.integrity, IMAGE_INTACT);
		else
			assert_int_equal(e.code, ERR_CONFIG);
	}
}

static void a_flipped_bit_anywhere_changes_the_digest(void **state)
{
	struct image good;
	struct err e;

	(void)state;
	assert_int_equal(parse(&good, vector, sizeof(vector), &e), 0);
	for (size_t bit = 0; bit < sizeof(vector) * 8; bit++) {
		uint8_t data[sizeof(vector)];
		struct image image;

		memcpy(data, vector, sizeof(vector));
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (parse(&image, data, sizeof(data), &e) == 0)
			assert_memory_not_equal(image.digest, good.digest, sizeof(good.digest));
	}
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(vector); len++) {
		struct image image;
		struct err e;

		assert_int_equal(parse(&image, vector, len, &e), -ERR_CONFIG);
		assert_true(strncmp(e.msg, "v.bin: ", 7) == 0);
	}
}

static void what_lies_behind_the_image_is_no_part_of_it(void **state)
{
	uint8_t slot[4096];
	struct image image, alone;
	struct err e;

	(void)state;
	memset(slot, 0x5a, sizeof(slot));
	memcpy(slot, vector, sizeof(vector));
	assert_int_equal(parse(&image, slot, sizeof(slot), &e), 0);
	assert_int_equal(parse(&alone, vector, sizeof(vector), &e), 0);
	assert_int_equal(image.size, sizeof(vector));
	assert_memory_equal(image.digest, alone.digest, sizeof(image.digest));
}

/* The vector without protected area, with one TLV of the given type. */
static size_t with_tlv(uint8_t *data, uint16_t type, const uint8_t *value, size_t size)
{
	memcpy(data, vector, PROTECTED_AT);
	data[10] = 0;
	memcpy(data + PROTECTED_AT, (const uint8_t[]){0x07, 0x69, (uint8_t)(8 + size), 0}, 4);
	memcpy(data + PROTECTED_AT + 4,
		(const uint8_t[]){(uint8_t)type, (uint8_t)(type >> 8), (uint8_t)size, 0}, 4);
	memcpy(data + PROTECTED_AT + 8, value, size);
	return PROTECTED_AT + 8 + size;
}

static void longer_hashes_are_checked_too(void **state)
{
	uint8_t data[256];
	struct image image;
	struct err e;
	size_t len;

	(void)state;
	len = with_tlv(data, 0x11, sha384, sizeof(sha384));
	assert_int_equal(parse(&image, data, len, &e), 0);
	assert_string_equal(image.hash_name, "sha384");
	assert_int_equal(image.integrity, IMAGE_INTACT);
	len = with_tlv(data, 0x12, sha512, sizeof(sha512));
	assert_int_equal(parse(&image, data, len, &e), 0);
	assert_string_equal(image.hash_name, "sha512");
	assert_int_equal(image.integrity, IMAGE_INTACT);
	data[40] ^= 1;
	assert_int_equal(parse(&image, data, len, &e), 0);
	assert_int_equal(image.integrity, IMAGE_DAMAGED);
}

static void an_image_without_hash_is_neither_intact_nor_damaged(void **state)
{
	uint8_t data[256];
	struct image image;
	struct err e;
	size_t len = with_tlv(data, 0xa0, (const uint8_t *)"x", 1);

	(void)state;
	assert_int_equal(parse(&image, data, len, &e), 0);
	assert_int_equal(image.integrity, IMAGE_UNHASHED);
	assert_null(image.hash_name);
	assert_null(image_tlv_name(0xa0));
}

static void an_encrypted_image_cannot_be_checked(void **state)
{
	uint8_t data[sizeof(vector)];
	struct image image;
	struct err e;

	(void)state;
	memcpy(data, vector, sizeof(vector));
	data[16] = IMAGE_FLAG_ENCRYPTED_AES128;
	assert_int_equal(parse(&image, data, sizeof(data), &e), 0);
	assert_int_equal(image.integrity, IMAGE_ENCRYPTED);
}

static void signatures_and_key_hashes_are_known_by_name(void **state)
{
	uint8_t data[256];
	struct image image;
	struct err e;
	size_t len = with_tlv(data, 0x22, (const uint8_t *)"signature", 9);

	(void)state;
	assert_int_equal(parse(&image, data, len, &e), 0);
	assert_true(image.is_signed);
	assert_string_equal(image_tlv_name(0x22), "ecdsa");
	assert_string_equal(image_tlv_name(0x01), "key-hash");
	assert_string_equal(image_tlv_name(0x50), "security-counter");
}

static void a_build_of_0_is_not_written(void **state)
{
	uint8_t data[sizeof(vector)];
	struct image image;
	struct err e;

	(void)state;
	memcpy(data, vector, sizeof(vector));
	data[24] = 0;
	assert_int_equal(parse(&image, data, sizeof(data), &e), 0);
	assert_string_equal(image.version_text, "1.2.772");
	memset(data + 20, 0xff, 8);
	assert_int_equal(parse(&image, data, sizeof(data), &e), 0);
	assert_string_equal(image.version_text, "255.255.65535+4294967295");
}

static void says_what_is_wrong_with_what_is_no_image(void **state)
{
	static const struct {
		size_t offset;
		uint8_t byte;
		const char *message;
	} cases[] = {
		{0, 0x3c, "v.bin: no image: begins with 96f3b83c, expected 96f3b83d"},
		{8, 0x1f, "v.bin: header size 31, expected at least 32"},
		{12, 0xff, "v.bin: truncated: header and body are 287 bytes, only 104 are there"},
		{10, 0x08, "v.bin: protected TLV area of 12 bytes, the header says 8"},
		{10, 0x00, "v.bin: TLV area at offset 52 begins with 6908, expected 6907"},
		{PROTECTED_AT, 0x07,
			"v.bin: protected TLV area at offset 52 begins with 6907, expected 6908"},
		{PROTECTED_AT + 2, 0x03,
			"v.bin: protected TLV area of 3 bytes, expected at least 4"},
		{PROTECTED_AT + 2, 0xff,
			"v.bin: truncated: protected TLV area of 255 bytes, only 52 are there"},
		{PROTECTED_AT + 6, 0x05,
			"v.bin: TLV of type 0050 at offset 56 runs over the end of the protected "
			"TLV area"},
		{PROTECTED_AT + 6, 0x03,
			"v.bin: 1 bytes behind the last TLV of the protected TLV "
			"area"},
		{TLVS_AT + 2, 0x29, "v.bin: truncated: TLV area of 41 bytes, only 40 are there"},
		{TLVS_AT + 4, 0x12, "v.bin: sha512 TLV of 32 bytes, expected 64"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint8_t data[sizeof(vector)];
		struct image image;
		struct err e;

		memcpy(data, vector, sizeof(vector));
		data[cases[i].offset] = cases[i].byte;
		assert_int_equal(parse(&image, data, sizeof(data), &e), -ERR_CONFIG);
		assert_string_equal(e.msg, cases[i].message);
	}
}

static void a_size_that_would_overflow_is_refused(void **state)
{
	uint8_t data[sizeof(vector)];
	struct image image;
	struct err e;

	(void)state;
	memcpy(data, vector, sizeof(vector));
	memset(data + 12, 0xff, 4);
	assert_int_equal(parse(&image, data, sizeof(data), &e), -ERR_CONFIG);
	assert_string_equal(e.msg,
		"v.bin: truncated: header and body are 4294967327 bytes, only 104 are there");
}

static void more_tlvs_than_there_is_room_for_are_refused(void **state)
{
	uint8_t data[PROTECTED_AT + 4 + 4 * (IMAGE_TLVS_MAX + 1)] = {0};
	size_t area = sizeof(data) - PROTECTED_AT;
	struct image image;
	struct err e;

	(void)state;
	memcpy(data, vector, PROTECTED_AT);
	data[10] = 0;
	memcpy(data + PROTECTED_AT,
		(const uint8_t[]){0x07, 0x69, (uint8_t)area, (uint8_t)(area >> 8)}, 4);
	assert_int_equal(parse(&image, data, sizeof(data), &e), -ERR_CONFIG);
	assert_string_equal(e.msg, "v.bin: more than 64 TLVs");
}

static void loads_from_a_file(void **state)
{
	char path[] = "/tmp/test_image.XXXXXX";
	int fd = mkstemp(path);
	struct image image;
	struct err e;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, vector, sizeof(vector)), sizeof(vector));
	close(fd);
	assert_int_equal(image_load(&image, path, &e), 0);
	assert_int_equal(image.integrity, IMAGE_INTACT);
	unlink(path);
	assert_int_equal(image_load(&image, path, &e), -ERR_IO);
}

static void becomes_json(void **state)
{
	struct image image;
	struct err e;
	json_t *json, *expected;

	(void)state;
	assert_int_equal(parse(&image, vector, sizeof(vector), &e), 0);
	json = image_to_json(&image);
	expected = json_pack(
		"{s:s, s:i, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:b, s:i, s:[{s:i, s:s, s:i, s:b}, "
		"{s:i, s:s, s:i, s:b}]}",
		"version", "1.2.772+5", "size", 104, "body_size", 20, "load_address", 0xc000,
		"flags", 0, "integrity", "intact", "hash_name", "sha256", "hash",
		"278cf0cb92038a45fd3b7267ce1d9260be74f89755c0e6a22f534a7d7d393dfb", "digest",
		"7b546ffc7d7fe0205593d661e2d4e9efbbf8211e98b54d8af93f222aa58eda22", "signed", 0,
		"security_counter", 42, "tlvs", "type", 0x50, "name", "security-counter", "size", 4,
		"protected", 1, "type", 0x10, "name", "sha256", "size", 32, "protected", 0);
	assert_non_null(expected);
	assert_true(json_equal(json, expected));
	json_decref(json);
	json_decref(expected);
}

/* Two releases of 40 and 30 bytes; pages of 8. */
static uint8_t old_bytes[40], new_bytes[30];
static const struct image_reference releases[] = {
	{"1.0.0", old_bytes, sizeof(old_bytes)}, {"2.0.0", new_bytes, sizeof(new_bytes)}};

static void fill_releases(void)
{
	for (size_t i = 0; i < sizeof(old_bytes); i++)
		old_bytes[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(new_bytes); i++)
		new_bytes[i] = (uint8_t)(0x80 + i);
}

static struct image_identity identify(const uint8_t *slot, size_t len)
{
	struct image_identity identity;

	image_identify(&identity, slot, len, 8, releases, 2);
	return identity;
}

static void a_slot_is_told_by_its_bytes_and_not_by_its_trailer(void **state)
{
	uint8_t slot[64];
	struct image_identity id;

	(void)state;
	fill_releases();
	memset(slot, 0xff, sizeof(slot));
	id = identify(slot, sizeof(slot));
	assert_true(id.blank);
	assert_true(id.release == IMAGE_NOBODY);
	assert_false(id.mixed);

	memcpy(slot, old_bytes, sizeof(old_bytes));
	slot[63] = 0;
	id = identify(slot, sizeof(slot));
	assert_int_equal(id.release, 0);
	assert_false(id.blank);
	assert_false(id.mixed);

	/* a shorter image over a longer one: what is behind it does not matter */
	memcpy(slot, new_bytes, sizeof(new_bytes));
	id = identify(slot, sizeof(slot));
	assert_int_equal(id.release, 1);
	assert_false(id.mixed);
}

static void pages_of_two_releases_are_a_mixture(void **state)
{
	uint8_t slot[64];
	struct image_identity id;

	(void)state;
	fill_releases();
	memset(slot, 0xff, sizeof(slot));
	memcpy(slot, old_bytes, sizeof(old_bytes));
	memcpy(slot, new_bytes, 8);
	id = identify(slot, sizeof(slot));
	assert_true(id.release == IMAGE_NOBODY);
	assert_true(id.mixed);
	assert_int_equal(id.nearest, 0);
	assert_int_equal(id.first_difference, 0);
}

static void a_flipped_bit_is_nobody_and_no_mixture(void **state)
{
	uint8_t slot[64];
	struct image_identity id;

	(void)state;
	fill_releases();
	memset(slot, 0xff, sizeof(slot));
	memcpy(slot, old_bytes, sizeof(old_bytes));
	slot[17] ^= 0x10;
	id = identify(slot, sizeof(slot));
	assert_true(id.release == IMAGE_NOBODY);
	assert_false(id.mixed);
	assert_int_equal(id.nearest, 0);
	assert_int_equal(id.first_difference, 17);
}

static void a_slot_shorter_than_the_image_is_not_the_image(void **state)
{
	struct image_identity id;

	(void)state;
	fill_releases();
	id = identify(old_bytes, 39);
	assert_true(id.release == IMAGE_NOBODY);
	assert_int_equal(id.nearest, 0);
	id = identify(old_bytes, 0);
	assert_true(id.release == IMAGE_NOBODY);
	assert_false(id.blank);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_field_of_the_published_layout),
		cmocka_unit_test(reads_the_sizes_of_a_published_dump),
		cmocka_unit_test(a_flipped_bit_anywhere_in_what_is_hashed_is_seen),
		cmocka_unit_test(a_flipped_bit_anywhere_changes_the_digest),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(what_lies_behind_the_image_is_no_part_of_it),
		cmocka_unit_test(longer_hashes_are_checked_too),
		cmocka_unit_test(an_image_without_hash_is_neither_intact_nor_damaged),
		cmocka_unit_test(an_encrypted_image_cannot_be_checked),
		cmocka_unit_test(signatures_and_key_hashes_are_known_by_name),
		cmocka_unit_test(a_build_of_0_is_not_written),
		cmocka_unit_test(says_what_is_wrong_with_what_is_no_image),
		cmocka_unit_test(a_size_that_would_overflow_is_refused),
		cmocka_unit_test(more_tlvs_than_there_is_room_for_are_refused),
		cmocka_unit_test(loads_from_a_file),
		cmocka_unit_test(becomes_json),
		cmocka_unit_test(a_slot_is_told_by_its_bytes_and_not_by_its_trailer),
		cmocka_unit_test(pages_of_two_releases_are_a_mixture),
		cmocka_unit_test(a_flipped_bit_is_nobody_and_no_mixture),
		cmocka_unit_test(a_slot_shorter_than_the_image_is_not_the_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
