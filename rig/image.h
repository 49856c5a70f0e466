/*
 * Firmware images in MCUboot's format.
 *
 * Layout: MCUboot documentation, "Design", sections "Image format" and "Protected TLVs"
 * (https://docs.mcuboot.com/design.html), and imgtool's documentation. All fields little-endian:
 *
 *   0 magic 96f3b83d   4 load address   8 header size (16 bits)   10 protected TLV size (16 bits)
 *   12 body size   16 flags   20 version: major (8), minor (8), revision (16), build (32)   28 pad
 *   header size: body, then the protected TLV area if there is one, then the TLV area
 *   TLV area: magic (16 bits; 6908 protected, 6907 not), size with these four bytes (16), then TLVs
 *   TLV: type (16 bits), size without these four bytes (16), value
 *
 * The hash TLV covers header, body and protected TLV area; of an encrypted image, before the
 * encryption, so that it cannot be checked without the key.
 */
#ifndef RIG_IMAGE_H
#define RIG_IMAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define IMAGE_FILE_MAX ((size_t)64 << 20) /* bytes; a longer file is refused */
#define IMAGE_TLVS_MAX 64
#define IMAGE_HASH_MAX 64 /* bytes: SHA-512 */

#define IMAGE_FLAG_ENCRYPTED_AES128 0x04u
#define IMAGE_FLAG_ENCRYPTED_AES256 0x08u
#define IMAGE_FLAG_NON_BOOTABLE 0x10u

enum image_integrity {
	IMAGE_INTACT,    /* the hash TLV is that of the bytes */
	IMAGE_DAMAGED,   /* it is not */
	IMAGE_UNHASHED,  /* there is no hash TLV known here */
	IMAGE_ENCRYPTED, /* the hash cannot be checked without the key */
};

struct image_version {
	uint8_t major, minor;
	uint16_t revision;
	uint32_t build;
};

struct image_tlv {
	uint16_t type;
	uint16_t size;   /* bytes of the value */
	uint32_t offset; /* of the value, from the image's first byte */
	bool is_protected;
};

/* Plain data; holds no pointer into what it was read from. */
struct image {
	uint32_t load_address, flags;
	uint16_t header_size, protected_size; /* protected_size counts its info header */
	uint32_t body_size;
	struct image_version version;
	char version_text[32]; /* "1.2.3", or "1.2.3+4" when the build number is not 0 */
	struct image_tlv tlvs[IMAGE_TLVS_MAX];
	size_t tlv_count;
	size_t size; /* header, body and TLV areas; a slot's trailer lies behind and is no part */

	enum image_integrity integrity;
	const char *hash_name; /* "sha256", "sha384", "sha512"; NULL when unhashed */
	size_t hash_size;
	uint8_t hash[IMAGE_HASH_MAX];     /* as the TLV says */
	uint8_t computed[IMAGE_HASH_MAX]; /* over the bytes, by the same algorithm */
	uint8_t digest[32]; /* SHA-256 of all size bytes: the identity of the whole image */
	bool has_security_counter;
	uint32_t security_counter;
	bool is_signed; /* a signature TLV is there; nothing is said of its being right */
};

/*
 * Reads the image at the beginning of data, which may be longer than the image (a slot read back).
 * name stands in messages. Fails with ERR_CONFIG when it is no whole image: magic, sizes against
 * len, TLV areas. A wrong hash is no failure: it is integrity IMAGE_DAMAGED.
 */
int image_parse(
	struct image *image, const char *name, const uint8_t *data, size_t len, struct err *e);

/* The same from a raw binary file; also ERR_IO. Bytes behind the image are accepted. */
int image_load(struct image *image, const char *path, struct err *e);

/* The name of a TLV type ("sha256", "key-hash", "security-counter"), or NULL for an unknown one. */
const char *image_tlv_name(uint16_t type);

/* "intact", "damaged", "unhashed", "encrypted". */
const char *image_integrity_name(enum image_integrity integrity);

/*
 * {"version", "size", "body_size", "load_address", "flags", "integrity", "hash_name", "hash",
 *  "digest", "signed", "security_counter", "tlvs": [{"type", "name", "size", "protected"}]};
 * hashes in lower-case hex, null where there is none.
 */
json_t *image_to_json(const struct image *image);

/* A release's image as it must stand in flash. */
struct image_reference {
	const char *name; /* the release's version */
	const uint8_t *bytes;
	size_t size; /* of the image (struct image.size), without padding */
};

#define IMAGE_NOBODY ((size_t)-1)

struct image_identity {
	size_t release; /* index of the reference that stands there byte for byte, or IMAGE_NOBODY
			 */
	bool mixed;     /* nobody's, but pages that only one release has come from two or more */
	bool blank;     /* nothing but 0xff in the first page */
	size_t nearest; /* the reference that most bytes agree with; IMAGE_NOBODY without any */
	size_t first_difference; /* offset where nearest begins to differ */
};

/*
 * Says which release's image the first bytes of slot are: header, body and TLVs are compared,
 * never the trailer. page_size in bytes, not 0; it only serves to tell a mixture.
 */
void image_identify(struct image_identity *identity, const uint8_t *slot, size_t len,
	size_t page_size, const struct image_reference *references, size_t count);

#endif
