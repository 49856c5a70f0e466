#include "rig/err.h"
#include "rig/landing.h"
#include "tests/fuzz/fuzz.h"

#define FLASH 4096

const struct fuzz_seed fuzz_seeds[] = {
	FUZZ_TEXT("1 erase 0x0 256\n2 program 0x0 0xdeadbeef\n3 program 0x4 0x00000000\n"
		  "4 erase 0x100 256\n5 program 0x100 0x12345678\n"),
	FUZZ_TEXT("1 erase 0x0 256 0\n2 program 0x0 0xdeadbeef 1\n3 program 0x4 0x0 12\n"),
	FUZZ_TEXT("1 line upload 10 %\n2 line \n"),
	FUZZ_TEXT("1 edge\n2 edge 1\n"),
	FUZZ_TEXT("1 time 10000\n2 time 20000 1\n"),
	FUZZ_TEXT("1 breakpoint 0x100\n2 breakpoint 0x200 4294967295\n"),
	FUZZ_TEXT("1 program 0xffc 0x0\n2 program 0x10001200 0x0\n3 erase 0x0 4096\n"),
	FUZZ_END,
};
const char *const fuzz_words[] = {"erase ", "program ", "line ", "edge", "breakpoint ", "time ",
	"0x", "\n", "0xffffffff", "4294967295", "1 ", "2 ", NULL};
const unsigned fuzz_runs = 100000;

/* What parses can be walked: the flash that an operation in the middle leaves is found again. */
static void walk(const struct oplog *log)
{
	static uint8_t before[FLASH], after[FLASH];
	struct landing_flash flash = {.base = 0, .size = FLASH, .before = before, .after = after};
	struct landing landing;
	bool found = false;
	struct err e;

	memset(before, 0x5a, sizeof(before));
	memcpy(after, before, sizeof(after));
	for (size_t i = 0; i < log->count / 2; i++) {
		const struct oplog_op *op = &log->ops[i];

		if (op->address > FLASH || op->size > FLASH - op->address)
			continue;
		for (uint32_t k = 0; k < op->size; k++)
			after[op->address + k] =
				op->kind == OPLOG_ERASE
					? 0xff
					: after[op->address + k] & (uint8_t)(op->value >> 8 * k);
	}
	FUZZ_HOLDS(landing_find(&landing, &flash, log, &e) == 0);
	for (size_t i = 0; i < landing.count; i++)
		found = found ||
			(!landing.ranges[i].torn && landing.ranges[i].first <= log->count / 2 &&
				log->count / 2 <= landing.ranges[i].last);
	FUZZ_HOLDS(found);
	landing_finish(&landing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size, 0);
	struct oplog log;
	struct err e;

	if (oplog_parse(&log, "fuzz", text, size, &e) != 0) {
		FUZZ_HOLDS(e.code == ERR_PROTOCOL && strncmp(e.msg, "fuzz:", 5) == 0);
		FUZZ_HOLDS(!log.ops);
	} else {
		for (size_t i = 1; i < log.count; i++)
			FUZZ_HOLDS(log.ops[i].boot >= log.ops[i - 1].boot);
		walk(&log);
	}
	oplog_finish(&log);
	free(text);
	return 0;
}
