#include "rig/err.h"
#include "rig/hex.h"
#include "tests/fuzz/fuzz.h"

const struct fuzz_seed fuzz_seeds[] = {
	FUZZ_TEXT(":10010000214601360121470136007EFE09D2190140\n:0300300002337A1E\n"
		  ":020000021200EA\n:0400000300003800C1\n:00000001FF\n"),
	FUZZ_TEXT(":02000004FFFFFC\n:01FFFF00AB56\n:04000005000000CD2A\n:00000001FF\n"),
	FUZZ_TEXT(":02000200CCDD53\r\n:02000000AABB99\r\n:01000500EE0C\r\n:00000001FF\r\n"),
	FUZZ_END,
};
const char *const fuzz_words[] = {":00000001FF\n", ":020000040001F9\n", ":02000000AABB99\n",
	":01000100AA54\n", ":020000021200EA\n", "\r\n", NULL};
const unsigned fuzz_runs = 300000;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size, 0);
	uint64_t end = 0;
	struct hex hex;
	struct err e;

	if (hex_parse(&hex, "fuzz", text, size, &e) != 0) {
		FUZZ_HOLDS(e.code == ERR_CONFIG && strncmp(e.msg, "fuzz:", 5) == 0);
		FUZZ_HOLDS(!hex.segments && hex.count == 0);
	} else {
		FUZZ_HOLDS(hex.count > 0);
	}
	for (size_t i = 0; i < hex.count; i++) {
		const struct hex_segment *s = &hex.segments[i];

		FUZZ_HOLDS(s->size > 0 && (i == 0 || s->address > end));
		end = (uint64_t)s->address + s->size;
		FUZZ_HOLDS(end <= (uint64_t)1 << 32);
	}
	hex_finish(&hex);
	free(text);
	return 0;
}
