#include "image.h"

#include "err.h"
#include "file.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0x96f3b83du
#define HEADER_MIN 32
#define TLV_HEADER 4
#define TLV_INFO_MAGIC 0x6907
#define TLV_PROTECTED_MAGIC 0x6908

#define TLV_SECURITY_COUNTER 0x50

/* MCUboot, boot/bootutil/include/bootutil/image.h, "Image trailer TLV types" */
static const struct {
	const char *name;
	uint16_t type;
	bool is_signature;
} tlv_types[] = {
	{"key-hash", 0x01, false},
	{"public-key", 0x02, false},
	{"sha256", 0x10, false},
	{"sha384", 0x11, false},
	{"sha512", 0x12, false},
	{"rsa2048-pss", 0x20, true},
	{"ecdsa224", 0x21, true},
	{"ecdsa", 0x22, true},
	{"rsa3072-pss", 0x23, true},
	{"ed25519", 0x24, true},
	{"pure-signature", 0x25, false},
	{"encryption-rsa2048", 0x30, false},
	{"encryption-aes-kw", 0x31, false},
	{"encryption-ec256", 0x32, false},
	{"encryption-x25519", 0x33, false},
	{"dependency", 0x40, false},
	{"security-counter", TLV_SECURITY_COUNTER, false},
	{"boot-record", 0x60, false},
	{"decompressed-size", 0x70, false},
	{"decompressed-sha", 0x71, false},
	{"decompressed-signature", 0x72, false},
};

static void sum_sha256(const uint8_t *data, size_t len, uint8_t *out)
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, len, data);
	sha256_digest(&ctx, SHA256_DIGEST_SIZE, out);
}

static void sum_sha384(const uint8_t *data, size_t len, uint8_t *out)
{
	struct sha384_ctx ctx;

	sha384_init(&ctx);
	sha384_update(&ctx, len, data);
	sha384_digest(&ctx, SHA384_DIGEST_SIZE, out);
}

static void sum_sha512(const uint8_t *data, size_t len, uint8_t *out)
{
	struct sha512_ctx ctx;

	sha512_init(&ctx);
	sha512_update(&ctx, len, data);
	sha512_digest(&ctx, SHA512_DIGEST_SIZE, out);
}

static const struct hash_type {
	uint16_t type;
	size_t size;
	void (*sum)(const uint8_t *data, size_t len, uint8_t *out);
} hash_types[] = {
	{0x10, SHA256_DIGEST_SIZE, sum_sha256},
	{0x11, SHA384_DIGEST_SIZE, sum_sha384},
	{0x12, SHA512_DIGEST_SIZE, sum_sha512},
};

/* What is being read: bounds for every access. */
struct reader {
	const char *name;
	const uint8_t *data;
	size_t len;
	struct err *e;
};

#define FAIL(r, fmt, ...) err_set((r)->e, ERR_CONFIG, "%s: " fmt, (r)->name, ##__VA_ARGS__)

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static int parse_header(struct reader *r, struct image *image)
{
	const uint8_t *d = r->data;

	if (r->len < HEADER_MIN)
		return FAIL(r, "%zu bytes, an image has a header of %d", r->len, HEADER_MIN);
	if (get32(d) != MAGIC)
		return FAIL(
			r, "no image: begins with %08x, expected %08x", (unsigned)get32(d), MAGIC);
	image->load_address = get32(d + 4);
	image->header_size = get16(d + 8);
	image->protected_size = get16(d + 10);
	image->body_size = get32(d + 12);
	image->flags = get32(d + 16);
	image->version = (struct image_version){
		.major = d[20], .minor = d[21], .revision = get16(d + 22), .build = get32(d + 24)};
	snprintf(image->version_text, sizeof(image->version_text),
		image->version.build ? "%u.%u.%u+%u" : "%u.%u.%u", image->version.major,
		image->version.minor, image->version.revision, (unsigned)image->version.build);
	if (image->header_size < HEADER_MIN)
		return FAIL(
			r, "header size %u, expected at least %d", image->header_size, HEADER_MIN);
	if ((uint64_t)image->header_size + image->body_size > r->len)
		return FAIL(r, "truncated: header and body are %llu bytes, only %zu are there",
			(unsigned long long)image->header_size + image->body_size, r->len);
	return 0;
}

/* Reads the TLV area at offset; *size becomes its size. */
static int parse_area(
	struct reader *r, struct image *image, size_t offset, bool is_protected, size_t *size)
{
	unsigned magic = is_protected ? TLV_PROTECTED_MAGIC : TLV_INFO_MAGIC;
	const char *what = is_protected ? "protected TLV area" : "TLV area";
	size_t end, at;

	if (r->len - offset < TLV_HEADER)
		return FAIL(r, "truncated: no %s at offset %zu", what, offset);
	if (get16(r->data + offset) != magic)
		return FAIL(r, "%s at offset %zu begins with %04x, expected %04x", what, offset,
			get16(r->data + offset), magic);
	*size = get16(r->data + offset + 2);
	if (*size < TLV_HEADER)
		return FAIL(r, "%s of %zu bytes, expected at least %d", what, *size, TLV_HEADER);
	if (r->len - offset < *size)
		return FAIL(r, "truncated: %s of %zu bytes, only %zu are there", what, *size,
			r->len - offset);
	end = offset + *size;
	for (at = offset + TLV_HEADER; at < end;) {
		struct image_tlv *tlv = &image->tlvs[image->tlv_count];

		if (image->tlv_count == IMAGE_TLVS_MAX)
			return FAIL(r, "more than %d TLVs", IMAGE_TLVS_MAX);
		if (end - at < TLV_HEADER)
			return FAIL(r, "%zu bytes behind the last TLV of the %s", end - at, what);
		tlv->type = get16(r->data + at);
		tlv->size = get16(r->data + at + 2);
		tlv->offset = (uint32_t)(at + TLV_HEADER);
		tlv->is_protected = is_protected;
		if (end - at - TLV_HEADER < tlv->size)
			return FAIL(r, "TLV of type %04x at offset %zu runs over the end of the %s",
				tlv->type, at, what);
		at += TLV_HEADER + tlv->size;
		image->tlv_count++;
	}
	return 0;
}

static const struct image_tlv *find_tlv(const struct image *image, uint16_t type)
{
	for (size_t i = 0; i < image->tlv_count; i++)
		if (image->tlvs[i].type == type)
			return &image->tlvs[i];
	return NULL;
}

/* hashed: bytes of header, body and protected TLV area. */
static int check_hash(struct reader *r, struct image *image, size_t hashed)
{
	const struct image_tlv *tlv = NULL;
	const struct hash_type *type = NULL;

	image->integrity = IMAGE_UNHASHED;
	for (size_t i = 0; i < sizeof(hash_types) / sizeof(*hash_types) && !tlv; i++) {
		type = &hash_types[i];
		tlv = find_tlv(image, type->type);
	}
	if (!tlv)
		return 0;
	image->hash_name = image_tlv_name(type->type);
	image->hash_size = type->size;
	if (tlv->size != type->size)
		return FAIL(r, "%s TLV of %u bytes, expected %zu", image->hash_name, tlv->size,
			type->size);
	memcpy(image->hash, r->data + tlv->offset, type->size);
	if (image->flags & (IMAGE_FLAG_ENCRYPTED_AES128 | IMAGE_FLAG_ENCRYPTED_AES256)) {
		image->integrity = IMAGE_ENCRYPTED;
		return 0;
	}
	type->sum(r->data, hashed, image->computed);
	image->integrity = memcmp(image->hash, image->computed, type->size) == 0 ? IMAGE_INTACT
										 : IMAGE_DAMAGED;
	return 0;
}

static int take_tlvs(struct reader *r, struct image *image)
{
	const struct image_tlv *counter = find_tlv(image, TLV_SECURITY_COUNTER);

	for (size_t i = 0; i < sizeof(tlv_types) / sizeof(*tlv_types); i++)
		if (tlv_types[i].is_signature && find_tlv(image, tlv_types[i].type))
			image->is_signed = true;
	if (!counter)
		return 0;
	if (counter->size != 4)
		return FAIL(r, "security-counter TLV of %u bytes, expected 4", counter->size);
	image->has_security_counter = true;
	image->security_counter = get32(r->data + counter->offset);
	return 0;
}

int image_parse(
	struct image *image, const char *name, const uint8_t *data, size_t len, struct err *e)
{
	struct reader r = {.name = name, .data = data, .len = len, .e = e};
	size_t offset, size = 0;
	int code;

	memset(image, 0, sizeof(*image));
	code = parse_header(&r, image);
	if (code)
		return code;
	offset = (size_t)image->header_size + image->body_size;
	if (image->protected_size) {
		code = parse_area(&r, image, offset, true, &size);
		if (code)
			return code;
		if (size != image->protected_size)
			return FAIL(&r, "protected TLV area of %zu bytes, the header says %u", size,
				image->protected_size);
		offset += size;
	}
	code = parse_area(&r, image, offset, false, &size);
	if (code)
		return code;
	image->size = offset + size;
	code = check_hash(&r, image, offset);
	if (!code)
		code = take_tlvs(&r, image);
	if (!code)
		sum_sha256(data, image->size, image->digest);
	return code;
}

int image_load(struct image *image, const char *path, struct err *e)
{
	char *data;
	size_t len;
	int code;

	memset(image, 0, sizeof(*image));
	code = file_read(path, IMAGE_FILE_MAX, &data, &len, e);
	if (code)
		return code;
	code = image_parse(image, path, (const uint8_t *)data, len, e);
	free(data);
	return code;
}

const char *image_tlv_name(uint16_t type)
{
	for (size_t i = 0; i < sizeof(tlv_types) / sizeof(*tlv_types); i++)
		if (tlv_types[i].type == type)
			return tlv_types[i].name;
	return NULL;
}

const char *image_integrity_name(enum image_integrity integrity)
{
	static const char *const names[] = {[IMAGE_INTACT] = "intact",
		[IMAGE_DAMAGED] = "damaged",
		[IMAGE_UNHASHED] = "unhashed",
		[IMAGE_ENCRYPTED] = "encrypted"};

	return names[integrity];
}

static json_t *hex_text(const uint8_t *bytes, size_t len)
{
	char text[2 * IMAGE_HASH_MAX + 1];

	if (len == 0)
		return json_null();
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

json_t *image_to_json(const struct image *image)
{
	json_t *tlvs = json_array();

	for (size_t i = 0; i < image->tlv_count; i++) {
		const struct image_tlv *t = &image->tlvs[i];

		json_array_append_new(tlvs, json_pack("{s:i, s:s?, s:i, s:b}", "type", t->type,
						    "name", image_tlv_name(t->type), "size",
						    t->size, "protected", t->is_protected));
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:s?, s:o, s:o, s:b, s:o, s:o}", "version",
		image->version_text, "size", (json_int_t)image->size, "body_size",
		(json_int_t)image->body_size, "load_address", (json_int_t)image->load_address,
		"flags", (json_int_t)image->flags, "integrity",
		image_integrity_name(image->integrity), "hash_name", image->hash_name, "hash",
		hex_text(image->hash, image->hash_size), "digest",
		hex_text(image->digest, sizeof(image->digest)), "signed", image->is_signed,
		"security_counter",
		image->has_security_counter ? json_integer(image->security_counter) : json_null(),
		"tlvs", tlvs);
}

/* The page's bytes of a reference, without what lies behind its end; NULL behind it. */
static const uint8_t *page_of(
	const struct image_reference *ref, size_t offset, size_t page_size, size_t *len)
{
	if (offset >= ref->size)
		return NULL;
	*len = ref->size - offset < page_size ? ref->size - offset : page_size;
	return ref->bytes + offset;
}

/* The only reference that has what slot has in this page; IMAGE_NOBODY if none or several. */
static size_t page_owner(const uint8_t *slot, size_t slot_len, size_t offset, size_t page_size,
	const struct image_reference *refs, size_t count)
{
	size_t owner = IMAGE_NOBODY, len;

	for (size_t i = 0; i < count; i++) {
		const uint8_t *page = page_of(&refs[i], offset, page_size, &len);

		if (!page || slot_len - offset < len || memcmp(slot + offset, page, len) != 0)
			continue;
		if (owner != IMAGE_NOBODY)
			return IMAGE_NOBODY;
		owner = i;
	}
	return owner;
}

static void find_nearest(struct image_identity *identity, const uint8_t *slot, size_t len,
	const struct image_reference *refs, size_t count)
{
	size_t best = 0;

	for (size_t i = 0; i < count; i++) {
		size_t common = refs[i].size < len ? refs[i].size : len;
		size_t first = common, same = 0;

		for (size_t at = 0; at < common; at++) {
			if (slot[at] == refs[i].bytes[at])
				same++;
			else if (first == common)
				first = at;
		}
		if (same == refs[i].size && refs[i].size > 0 && identity->release == IMAGE_NOBODY)
			identity->release = i;
		if (identity->nearest == IMAGE_NOBODY || same > best) {
			best = same;
			identity->nearest = i;
			identity->first_difference = first;
		}
	}
}

void image_identify(struct image_identity *identity, const uint8_t *slot, size_t len,
	size_t page_size, const struct image_reference *references, size_t count)
{
	size_t first_owner = IMAGE_NOBODY;
	size_t page = len < page_size ? len : page_size;

	*identity = (struct image_identity){
		.release = IMAGE_NOBODY, .nearest = IMAGE_NOBODY, .blank = page > 0};
	for (size_t i = 0; i < page && identity->blank; i++)
		identity->blank = slot[i] == 0xff;
	find_nearest(identity, slot, len, references, count);
	if (identity->release != IMAGE_NOBODY) {
		identity->nearest = identity->release;
		identity->first_difference = references[identity->release].size;
		return;
	}
	for (size_t at = 0; at < len; at += page_size) {
		size_t owner = page_owner(slot, len, at, page_size, references, count);

		if (owner == IMAGE_NOBODY)
			continue;
		if (first_owner != IMAGE_NOBODY && owner != first_owner)
			identity->mixed = true;
		first_owner = owner;
	}
}
