#include "rig/err.h"
#include "rig/image.h"
#include "tests/fuzz/fuzz.h"

/* The images of tests/test_image.c: with a protected area, and with a hash and a signature. */
static const char with_counter[] =
	"\x3d\xb8\xf3\x96\x00\xc0\x00\x00\x20\x00\x0c\x00\x14\x00\x00\x00"
	"\x00\x00\x00\x00\x01\x02\x04\x03\x05\x00\x00\x00\x00\x00\x00\x00"
	"@ABCDEFGHIJKLMNOPQRS"
	"\x08\x69\x0c\x00\x50\x00\x04\x00\x2a\x00\x00\x00"
	"\x07\x69\x28\x00\x10\x00\x20\x00\x27\x8c\xf0\xcb\x92\x03\x8a\x45\xfd\x3b\x72\x67"
	"\xce\x1d\x92\x60\xbe\x74\xf8\x97\x55\xc0\xe6\xa2\x2f\x53\x4a\x7d\x7d\x39\x3d\xfb";
static const char with_signature[] =
	"\x3d\xb8\xf3\x96\x00\x00\x00\x00\x20\x00\x00\x00\x04\x00\x00\x00"
	"\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	"abcd"
	"\x07\x69\x1c\x00\x22\x00\x08\x00sigsigsi\x01\x00\x08\x00keykeyke";

const struct fuzz_seed fuzz_seeds[] = {
	FUZZ_TEXT(with_counter),
	FUZZ_TEXT(with_signature),
	FUZZ_END,
};
const char *const fuzz_words[] = {
	"\x07\x69", "\x08\x69", "\x3d\xb8\xf3\x96", "\x10", "\x20", "\xff\xff\xff\xff", NULL};
const unsigned fuzz_runs = 300000;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = (uint8_t *)fuzz_copy(data, size, 0);
	struct image image;
	struct err e;

	if (image_parse(&image, "fuzz", bytes, size, &e) != 0) {
		FUZZ_HOLDS(e.code == ERR_CONFIG && strncmp(e.msg, "fuzz: ", 6) == 0);
	} else {
		struct image_reference self = {"self", bytes, image.size};
		struct image_identity identity;
		json_t *json = image_to_json(&image);

		FUZZ_HOLDS(json);
		FUZZ_HOLDS(image.size <= size && image.tlv_count <= IMAGE_TLVS_MAX);
		for (size_t i = 0; i < image.tlv_count; i++)
			FUZZ_HOLDS((size_t)image.tlvs[i].offset + image.tlvs[i].size <= image.size);
		image_identify(&identity, bytes, size, 64, &self, 1);
		FUZZ_HOLDS(identity.release == 0 && !identity.mixed);
		json_decref(json);
	}
	free(bytes);
	return 0;
}
