#include "rig/cuts.h"
#include "rig/err.h"
#include "tests/fuzz/fuzz.h"

const struct fuzz_seed fuzz_seeds[] = {
	FUZZ_TEXT("57"),
	FUZZ_TEXT("57:torn:7,3:clean,end"),
	FUZZ_TEXT("4294967294:torn:4294967295,1,2,3,4,5,6,7"),
	FUZZ_END,
};
const char *const fuzz_words[] = {
	"torn", "clean", "end", ":", ",", "4294967295", "4294967296", "0", NULL};
const unsigned fuzz_runs = 500000;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size, 1), out[CUTS_TEXT_MAX], again_out[CUTS_TEXT_MAX];
	struct cuts cuts, again;
	struct err e;

	if (cuts_parse(&cuts, text, &e) != 0) {
		FUZZ_HOLDS(e.code == ERR_USAGE && strncmp(e.msg, "cut \"", 5) == 0);
	} else {
		FUZZ_HOLDS(cuts.count >= 1 && cuts.count <= CUTS_MAX);
		cuts_format(&cuts, out);
		FUZZ_HOLDS(cuts_parse(&again, out, &e) == 0);
		FUZZ_HOLDS(cuts_compare(&cuts, &again) == 0);
		FUZZ_HOLDS(strcmp(cuts_format(&again, again_out), out) == 0);
	}
	free(text);
	return 0;
}
