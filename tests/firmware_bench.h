/*
 * What the tests of the demo DUT share: a virtual board in this process that runs it, its console,
 * and SMP spoken with it. Any failure of the bench itself fails the test at once.
 */
#ifndef TESTS_FIRMWARE_BENCH_H
#define TESTS_FIRMWARE_BENCH_H

#include "fixtures/vboard/vboard.h"
#include "rig/err.h"
#include "rig/file.h"
#include "rig/hex.h"
#include "rig/smp.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The memory map of boards/nrf52840dk.lua. */
#define FLASH_BYTES 0x100000u
#define PAGE_BYTES 0x1000u
#define PRIMARY 0xc000u
#define SECONDARY 0x80000u
#define SLOT_BYTES 0x74000u
#define TRAILER (SLOT_BYTES - PAGE_BYTES) /* offset in a slot */
#define SCRATCH 0xf4000u
#define SETTINGS 0xfc000u
#define RECORDED_STEPS 345u /* words of a trailer that are status records */

/* More than the slowest thing the firmware does, in device time. */
#define SETTLE_NS (120ull * 1000000000)
/* More resets than anything needs: it would go on for ever. */
#define SETTLE_RESETS 20u
#define SETTLE_SLICE_NS 500000000ull /* device time between two looks at that */

#define CONSOLE_BYTES (1u << 20)

struct dut {
	struct vboard *vb;
	char console[CONSOLE_BYTES]; /* since dut_forget() */
	size_t len;
	bool cut;            /* since the last power-on */
	unsigned complaints; /* lines of the board's own log: what silicon would not take */
	uint8_t seq;
	struct smp_reassembler reassembler;
};

/* Bytes of a file. */
struct blob {
	uint8_t *bytes;
	size_t len;
};

static inline const char *build_dir(void)
{
	const char *dir = getenv("RIG_BUILD");
	return dir ? dir : "build/release";
}

/* build/firmware does not depend on the variant: it lies beside RIG_BUILD. */
static inline struct blob firmware_file(const char *name)
{
	char path[4096];
	struct err e;
	char *data;
	struct blob b;

	snprintf(path, sizeof(path), "%s/../firmware/%s", build_dir(), name);
	if (file_read(path, 8u << 20, &data, &b.len, &e) < 0)
		fail_msg("%s (make firmware builds it)", e.msg);
	b.bytes = (uint8_t *)data;
	return b;
}

/* The image of a version: 1.0.0/app.bin and the like. */
static inline struct blob firmware_image(const char *version)
{
	char name[256];

	snprintf(name, sizeof(name), "%s/app.bin", version);
	return firmware_file(name);
}

static inline void dut_heard(void *arg, const uint8_t *data, size_t len)
{
	struct dut *d = arg;

	if (d->len + len >= CONSOLE_BYTES)
		d->len = 0;
	memcpy(d->console + d->len, data, len);
	d->len += len;
	d->console[d->len] = '\0';
}

static inline void dut_was_cut(void *arg, const struct vboard_cut *landed)
{
	(void)landed;
	((struct dut *)arg)->cut = true;
}

static inline void dut_log(void *arg, const char *line)
{
	((struct dut *)arg)->complaints++;
	if (getenv("RIG_TEST_LOG"))
		fprintf(stderr, "# %s\n", line);
}

static inline struct dut *dut_create(void)
{
	struct dut *d = calloc(1, sizeof(*d));
	struct err e;

	assert_non_null(d);
	struct vboard_config config = {.soc = vboard_soc_find("nrf52840"),
		.seed = 7,
		.uart_out = dut_heard,
		.cut = dut_was_cut,
		.log = dut_log,
		.arg = d};
	assert_non_null(config.soc);
	d->vb = vboard_create(&config, &e);
	if (!d->vb)
		fail_msg("%s", e.msg);
	return d;
}

static inline void dut_destroy(struct dut *d)
{
	vboard_destroy(d->vb);
	free(d);
}

/* Erased flash with a bootloader and, unless NULL, an image in the primary slot. */
static inline void dut_load(struct dut *d, const char *bootloader, const struct blob *image)
{
	char path[4096];
	struct err e;
	struct hex hex;

	vboard_power(d->vb, false);
	uint8_t *flash = vboard_flash(d->vb);
	memset(flash, 0xff, FLASH_BYTES);
	snprintf(path, sizeof(path), "%s/../firmware/%s", build_dir(), bootloader);
	if (hex_load(&hex, path, &e) < 0)
		fail_msg("%s", e.msg);
	for (size_t i = 0; i < hex.count; i++) {
		assert_in_range(hex.segments[i].address + hex.segments[i].size, 1, PRIMARY);
		memcpy(flash + hex.segments[i].address, hex.segments[i].bytes,
			hex.segments[i].size);
	}
	hex_finish(&hex);
	if (image)
		memcpy(flash + PRIMARY, image->bytes, image->len);
}

static inline void dut_forget(struct dut *d)
{
	d->len = 0;
	d->console[0] = '\0';
}

/* Whether the console shows more resets than anything needs. */
static inline bool dut_loops(const struct dut *d)
{
	unsigned starts = 0;

	for (const char *at = d->console; (at = strstr(at, "boot: demo bootloader")); at++)
		starts++;
	return starts > SETTLE_RESETS;
}

/* Runs until the firmware sleeps with nothing under way and no input left. False: the power went,
 * or it never came to rest. */
static inline bool dut_settle(struct dut *d)
{
	uint64_t end = vboard_time_ns(d->vb) + SETTLE_NS;
	uint64_t look = vboard_time_ns(d->vb) + SETTLE_SLICE_NS;

	while (vboard_time_ns(d->vb) < end) {
		bool soon = false;
		if (vboard_time_ns(d->vb) >= look) {
			if (dut_loops(d))
				return false;
			look = vboard_time_ns(d->vb) + SETTLE_SLICE_NS;
		}
		enum vboard_stop stop = vboard_run(d->vb, look - vboard_time_ns(d->vb));
		if (stop == VBOARD_OFF || stop == VBOARD_HALTED)
			return false;
		if (stop != VBOARD_IDLE)
			continue;
		uint64_t next = vboard_next_event_ns(d->vb, &soon);
		if (soon)
			vboard_skip(d->vb, next);
		else if (!vboard_uart_in_pending(d->vb))
			return true;
	}
	return false;
}

/* Power off and on, and everything up to rest. */
static inline bool dut_boot(struct dut *d)
{
	vboard_power(d->vb, false);
	dut_forget(d);
	d->cut = false;
	smp_reset(&d->reassembler);
	vboard_power(d->vb, true);
	return dut_settle(d);
}

static inline bool dut_said(const struct dut *d, const char *text)
{
	return strstr(d->console, text) != NULL;
}

static inline void assert_said(const struct dut *d, const char *text)
{
	if (!dut_said(d, text))
		fail_msg("\"%s\" is not on the console:\n%s", text, d->console);
}

static inline void assert_not_said(const struct dut *d, const char *text)
{
	if (dut_said(d, text))
		fail_msg("\"%s\" is on the console:\n%s", text, d->console);
}

static inline void assert_runs(const struct dut *d, const char *version)
{
	char line[64];

	snprintf(line, sizeof(line), "app %s ready\r\n", version);
	assert_said(d, line);
}

/* --- SMP ---------------------------------------------------------------------------------------
 */

/* Takes the answer with that number out of the console; NULL: it is not there. */
static inline json_t *dut_answer(struct dut *d, uint8_t seq)
{
	for (char *line = d->console, *end; (end = strchr(line, '\n')); line = end + 1) {
		const uint8_t *packet;
		size_t len;
		struct err e;
		struct smp_header h;
		json_t *body;

		if (smp_reassemble(
			    &d->reassembler, line, (size_t)(end - line), &packet, &len, &e) != 1)
			continue;
		if (smp_packet_decode(packet, len, &h, &body, &e) < 0)
			fail_msg("%s", e.msg);
		if (h.seq == seq)
			return body;
		json_decref(body);
	}
	return NULL;
}

/* Hands a request over without waiting. Steals body. */
static inline void dut_send(struct dut *d, uint8_t op, uint16_t group, uint8_t id, json_t *body)
{
	struct smp_header h = {.op = op, .group = group, .id = id, .seq = ++d->seq};
	uint8_t *packet;
	char *text;
	size_t len, text_len;
	struct err e;

	if (smp_packet_encode(&h, body, &packet, &len, &e) < 0 ||
		smp_lines_encode(packet, len, &text, &text_len, &e) < 0)
		fail_msg("%s", e.msg);
	vboard_uart_in(d->vb, (const uint8_t *)text, text_len);
	free(text);
	free(packet);
	json_decref(body);
}

/* Sends a request and gives the answer's body, or NULL when the power went meanwhile. Steals body.
 */
static inline json_t *dut_try(struct dut *d, uint8_t op, uint16_t group, uint8_t id, json_t *body)
{
	dut_forget(d);
	dut_send(d, op, group, id, body);
	if (!dut_settle(d) && !d->cut)
		fail_msg("the firmware does not come to rest:\n%s", d->console);
	json_t *answer = dut_answer(d, d->seq);
	if (!answer && !d->cut)
		fail_msg("no answer to group %u id %u:\n%s", group, id, d->console);
	return answer;
}

static inline json_t *dut_read(struct dut *d, uint16_t group, uint8_t id, json_t *body)
{
	return dut_try(d, SMP_READ, group, id, body);
}

static inline json_t *dut_write(struct dut *d, uint16_t group, uint8_t id, json_t *body)
{
	return dut_try(d, SMP_WRITE, group, id, body);
}

/* The answer's rc, 0 when it has none. Steals answer. */
static inline int rc_of(json_t *answer)
{
	assert_non_null(answer);
	int rc = (int)json_integer_value(json_object_get(answer, "rc"));
	json_decref(answer);
	return rc;
}

static inline json_t *json_hex(const uint8_t *bytes, size_t len)
{
	char *text = malloc(2 * len + 1);

	assert_non_null(text);
	text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	json_t *hex = json_pack("{s:s}", "hex", text);
	free(text);
	return hex;
}

/* --- settings ----------------------------------------------------------------------------------
 */

static inline int setting_write(struct dut *d, const char *name, const void *value, size_t len)
{
	return rc_of(dut_write(
		d, 3, 0, json_pack("{s:s,s:o}", "name", name, "val", json_hex(value, len))));
}

/* Whether the setting reads back as value. */
static inline bool setting_is(struct dut *d, const char *name, const void *value, size_t len)
{
	json_t *answer = dut_read(d, 3, 0, json_pack("{s:s}", "name", name));
	json_t *want = json_hex(value, len);
	bool same = answer && json_equal(json_object_get(answer, "val"), want);

	json_decref(want);
	json_decref(answer);
	return same;
}

/* --- images ------------------------------------------------------------------------------------
 */

/* The bytes of the image's hash TLV: the last ones of an image that has nothing behind it. */
static inline const uint8_t *image_hash(const struct blob *image)
{
	return image->bytes + image->len - 32;
}

/*
 * Uploads at most max_chunks chunks of an image, from where the DUT says. Returns the rc of the
 * last answer, 0 when there was none wrong; -1 when the power went. *off is where it stopped.
 */
static inline int dut_upload_part(
	struct dut *d, const struct blob *image, unsigned max_chunks, uint32_t *off)
{
	uint8_t sha[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, image->len, image->bytes);
	sha256_digest(&ctx, sizeof(sha), sha);
	*off = 0;
	for (unsigned n = 0; n < max_chunks && (n == 0 || *off < image->len); n++) {
		size_t part = image->len - *off < 1900 ? image->len - *off : 1900;
		json_t *body = json_pack("{s:I,s:o}", "off", (json_int_t)*off, "data",
			json_hex(image->bytes + *off, part));
		if (*off == 0) {
			json_object_set_new(body, "len", json_integer((json_int_t)image->len));
			json_object_set_new(body, "sha", json_hex(sha, 32));
		}
		json_t *answer = dut_write(d, 1, 1, body);
		if (!answer)
			return -1;
		json_t *next = json_object_get(answer, "off");
		if (!next)
			return rc_of(answer);
		*off = (uint32_t)json_integer_value(next);
		json_decref(answer);
	}
	return 0;
}

static inline int dut_upload(struct dut *d, const struct blob *image)
{
	uint32_t off;

	return dut_upload_part(d, image, UINT_MAX, &off);
}

/* Asks for a test (or a permanent swap) of the image. */
static inline int dut_request_swap(struct dut *d, const struct blob *image, bool confirm)
{
	json_t *answer = dut_write(d, 1, 0,
		json_pack(
			"{s:o,s:b}", "hash", json_hex(image_hash(image), 32), "confirm", confirm));
	return answer ? rc_of(answer) : -1;
}

/* Resets by command, and everything up to rest. False: it did not come to rest. */
static inline bool dut_reset(struct dut *d)
{
	dut_forget(d);
	dut_send(d, SMP_WRITE, SMP_GROUP_OS, SMP_OS_RESET, NULL);
	return dut_settle(d);
}

/* Upload, test, reset. False: the power went on the way. Refusals fail the test. */
static inline bool dut_update(struct dut *d, const struct blob *image)
{
	int rc = dut_upload(d, image);
	if (rc == 0)
		rc = dut_request_swap(d, image, false);
	if (rc > 0)
		fail_msg("the update is refused: rc %d", rc);
	return rc == 0 && dut_reset(d);
}

/* Whether the slot holds exactly that image. */
static inline bool slot_holds(struct dut *d, uint32_t slot, const struct blob *image)
{
	uint8_t *copy = malloc(image->len);

	assert_non_null(copy);
	bool same = vboard_peek(d->vb, slot, copy, image->len) &&
		    memcmp(copy, image->bytes, image->len) == 0;
	free(copy);
	return same;
}

#endif
