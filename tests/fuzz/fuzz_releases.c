#include "rig/err.h"
#include "rig/plan.h"
#include "tests/fuzz/fuzz.h"

const struct fuzz_seed fuzz_seeds[] = {
	FUZZ_TEXT("{\"file\":\"r.lua\",\"product\":\"p\",\"releases\":["
		  "{\"version\":\"1.0.0\",\"date\":\"2025-01-10\",\"line\":3,"
		  "\"images\":{\"application\":\"/a\"}},"
		  "{\"version\":\"1.1.0-rc.1+b\",\"date\":\"2025-05-31\",\"hw\":[\"a\"],"
		  "\"data_format\":1,\"security_counter\":2,\"key\":\"k\",\"min_bootloader\":1,"
		  "\"images\":{\"application\":\"/b\"}},"
		  "{\"version\":\"2.0.0\",\"date\":\"2026-02-28\",\"security_counter\":2,"
		  "\"images\":{\"application\":\"/c\"}}],"
		  "\"policy\":{\"updates\":\"window\",\"window\":{\"months\":6},"
		  "\"downgrade\":true,\"refuse\":[[\"1.0.0\",\"2.0.0\"]],"
		  "\"via\":{\"1.0.0\":\"2.0.0\"},\"line\":9}}"),
	FUZZ_TEXT(
		"{\"product\":\"p\",\"releases\":[{\"version\":\"1.0.0\",\"images\":{\"a\":\"/a\"}"
		"},{\"version\":\"1.0.1\",\"images\":{\"a\":\"/a\"}},{\"version\":\"1.0.2\","
		"\"images\":{\"a\":\"/a\"}},{\"version\":\"1.0.3\",\"images\":{\"a\":\"/a\"}}],"
		"\"policy\":{\"updates\":\"incremental\",\"refuse\":{},\"via\":{\"1.0.0\":"
		"\"1.0.2\"}}}"),
	FUZZ_END,
};
const char *const fuzz_words[] = {"\"any\"", "\"incremental\"", "\"window\"", "\"versions\"",
	"\"1.0.0\"", "\"2.0.0\"", "-alpha.1", "null", "{}", "[]", ",", "true", "9999999999", NULL};
const unsigned fuzz_runs = 100000;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct plan_cost cost = {500, 3000, 400};
	json_t *json = json_loadb((const char *)data, size, 0, NULL);
	struct manifest manifest;
	struct plan plan;
	struct err e;

	if (!json)
		return 0;
	if (manifest_init(&manifest, json, &e) != 0) {
		FUZZ_HOLDS(e.code == ERR_CONFIG && e.msg[0]);
		FUZZ_HOLDS(!manifest.releases);
	} else if (plan_init(&plan, &manifest, NULL, 0, &e) == 0) {
		unsigned long long total = plan_estimate_ms(&plan, &cost);
		json_t *out;

		FUZZ_HOLDS(plan.transition_count == manifest.count * (manifest.count - 1));
		FUZZ_HOLDS(plan_shard(&plan, 3, &cost, &e) == 0);
		FUZZ_HOLDS(plan_estimate_ms(&plan, &cost) <= total + 2 * cost.flash_ms);
		out = plan_to_json(&plan);
		FUZZ_HOLDS(out);
		json_decref(out);
		plan_finish(&plan);
	}
	manifest_finish(&manifest);
	json_decref(json);
	return 0;
}
