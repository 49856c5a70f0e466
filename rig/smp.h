/*
 * SMP, the Simple Management Protocol of mcumgr, as pure functions: packets, their CBOR bodies, and
 * the lines that carry packets over a serial console. No I/O, no state but the reassembler's.
 *
 * Sources: Zephyr documentation, "SMP Protocol Specification" (header, groups, errors) and "SMP
 * Transport Specification" (serial framing); RFC 8949 (CBOR); RFC 4648 (base64).
 *
 * Errors are ERR_PROTOCOL for what a peer sent wrongly, ERR_USAGE for what cannot be encoded,
 * ERR_NOMEM.
 */
#ifndef RIG_SMP_H
#define RIG_SMP_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define SMP_HEADER_BYTES 8
/* The serial framing's 16-bit length counts the packet and its CRC. */
#define SMP_PACKET_MAX (UINT16_MAX - 2)
/* A line on the console, with its two marker bytes and its newline. */
#define SMP_LINE_MAX 127
/* Maps and arrays within one another; a body has at least one. */
#define SMP_CBOR_DEPTH_MAX 16

enum smp_op { SMP_READ = 0, SMP_READ_ANSWER = 1, SMP_WRITE = 2, SMP_WRITE_ANSWER = 3 };

enum smp_group { SMP_GROUP_OS = 0, SMP_GROUP_IMAGE = 1, SMP_GROUP_STAT = 2, SMP_GROUP_CONFIG = 3 };

/* Commands of the OS group. */
enum smp_os { SMP_OS_ECHO = 0, SMP_OS_MEMORY_POOLS = 3, SMP_OS_RESET = 5, SMP_OS_PARAMETERS = 6 };

/* Commands of the image group. */
enum smp_image { SMP_IMAGE_STATE = 0, SMP_IMAGE_UPLOAD = 1, SMP_IMAGE_ERASE = 5 };

struct smp_header {
	uint8_t op;      /* enum smp_op */
	uint8_t version; /* 0: errors are "rc"; 1: errors may be "err" {group, rc} */
	uint8_t flags;   /* none are defined: 0 */
	uint16_t length; /* bytes after the header; smp_packet_encode() sets it itself */
	uint16_t group;
	uint8_t seq;
	uint8_t id;
};

/* CRC-16/XMODEM: polynomial 0x1021, initial value 0, not reflected. */
uint16_t smp_crc16(const uint8_t *bytes, size_t len);

/*
 * JSON to CBOR. A byte string is {"hex": "00ff"}, an object with that one key; an object that is
 * meant as a map must not look so. Integers, reals (as doubles), booleans, null, text, arrays and
 * objects are themselves; lengths are definite and integers as short as they can be. *bytes is
 * the caller's, to free().
 */
int smp_cbor_encode(const json_t *value, uint8_t **bytes, size_t *len, struct err *e);

/*
 * CBOR to JSON, the reverse. Definite and indefinite lengths are taken, "undefined" becomes null.
 * Refused, with the reason: bytes after the value, tags, keys that are not text, a key twice,
 * integers beyond 64 bits signed, reals that are not finite, text that is not UTF-8 or holds a
 * zero byte, more than SMP_CBOR_DEPTH_MAX levels. *value is a new reference.
 */
int smp_cbor_decode(const uint8_t *bytes, size_t len, json_t **value, struct err *e);

/*
 * A packet: the header in network byte order, then body as CBOR. body NULL: an empty map, which is
 * what mcumgr sends for "no parameters". ERR_USAGE when longer than SMP_PACKET_MAX. *packet is the
 * caller's, to free().
 */
int smp_packet_encode(const struct smp_header *header, const json_t *body, uint8_t **packet,
	size_t *len, struct err *e);

/*
 * Takes a packet apart. len must be exactly the header and the length it announces. *body is a new
 * reference, an object; an empty body is an empty object.
 */
int smp_packet_decode(
	const uint8_t *packet, size_t len, struct smp_header *header, json_t **body, struct err *e);

/*
 * The packet as lines for a serial console: 0x06 0x09, or 0x04 0x14 on lines that continue, then
 * base64 of the length, the packet and its CRC, then a newline; no line longer than SMP_LINE_MAX.
 * *text is the caller's, to free(); it is not terminated.
 */
int smp_lines_encode(
	const uint8_t *packet, size_t len, char **text, size_t *text_len, struct err *e);

/*
 * Puts packets together again, a line at a time. Begin with all bytes zero, or smp_reset(). About
 * 64 KiB: mind the stack.
 */
struct smp_reassembler {
	uint32_t want; /* bytes of packet and CRC that the first line announced; 0: no packet begun
			*/
	uint32_t have;
	uint8_t data[UINT16_MAX];
};

/* Forgets a packet that was begun. */
void smp_reset(struct smp_reassembler *r);

/*
 * Takes one line from the console, with or without its line end. Returns 1 when it completed a
 * packet: *packet and *len are then valid until the next call with r. Returns 0 when more lines
 * are needed or the line is not SMP's: other text shares the console, and may stand before the
 * marker too. A negative error (base64, length or CRC wrong, a continuation without a beginning)
 * drops the packet begun; the next line may begin another.
 */
int smp_reassemble(struct smp_reassembler *r, const char *line, size_t line_len,
	const uint8_t **packet, size_t *len, struct err *e);

/*
 * 0 when an answer's body reports no error; else -ERR_DUT, with the group, the code and, as far as
 * mcumgr names it, its meaning. Both forms are known: "rc", and "err" {group, rc}.
 */
int smp_body_error(const json_t *body, struct err *e);

#endif
