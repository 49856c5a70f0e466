#include "rig/judge.h"
#include "tests/fuzz/fuzz.h"

const struct fuzz_seed fuzz_seeds[] = {
	FUZZ_TEXT("{\"from\":\"1.0.0\",\"to\":\"2.0.0\",\"expect\":\"upgrade\",\"limits\":"
		  "{\"ready_within_ms\":10000,\"max_resets\":3},\"update\":{\"accepted\":true},"
		  "\"boots\":[{\"ready\":true,\"resets\":1,\"ms\":120,\"version\":\"2.0.0\"}],"
		  "\"primary\":{\"release\":\"2.0.0\",\"mixed\":false,\"hash\":\"aa\"},"
		  "\"user_data\":{\"ok\":true},\"status\":{\"slots\":[{\"slot\":0,\"version\":"
		  "\"2.0.0\",\"hash\":\"aa\",\"active\":true,\"confirmed\":true}]},\"reboot\":"
		  "{\"boot\":{\"ready\":true,\"version\":\"2.0.0\"}}}"),
	FUZZ_TEXT("{\"from\":\"1.0.0\",\"to\":\"2.0.0\",\"expect\":\"upgrade-via\",\"path\":"
		  "[\"1.5.0\",\"2.0.0\"],\"cut\":{\"requested\":\"57\",\"operations\":100,"
		  "\"commit\":57,\"fired\":true,\"landed\":{\"agreement\":\"agrees\",\"done\":56,"
		  "\"torn\":false,\"text\":\"t\"}},\"boots\":[{\"ready\":true,\"version\":"
		  "\"1.0.0\"}],\"retry\":{\"accepted\":true,\"boot\":{\"ready\":true,"
		  "\"version\":\"2.0.0\"}}}"),
	FUZZ_TEXT("{\"from\":\"1.0.0\",\"to\":\"1.2.1\",\"expect\":\"revert\",\"cut\":"
		  "{\"requested\":\"57\",\"new_at\":60,\"old_at\":50,\"landed\":{\"done\":56}},"
		  "\"boots\":[{\"ready\":true,\"version\":\"1.0.0\"}],\"status\":{\"slots\":"
		  "[{\"slot\":0,\"active\":true,\"confirmed\":false}]},\"fallback\":"
		  "{\"release\":\"1.0.0\"},\"retry\":{\"accepted\":true},\"later\":{\"to\":"
		  "\"2.0.0\",\"accepted\":true,\"boot\":{\"ready\":true}},\"writes\":"
		  "{\"outside\":[{\"op\":1,\"address\":4096,\"kind\":\"erase\"}],\"unerased\":"
		  "[{\"op\":2,\"address\":0}],\"outside_total\":9,\"checked\":100}}"),
	FUZZ_TEXT(
		"{\"from\":\"1.0.0\",\"to\":\"2.0.0\",\"expect\":\"upgrade\",\"bench\":"
		"\"the probe does not answer\",\"unanswered\":\"version\",\"boots\":[{\"ready\":false}],\"writes\":"
		"{\"outside\":[],\"unerased\":[],\"checked\":1}}"),
	FUZZ_END,
};
const char *const fuzz_words[] = {"null", "true", "false", "{}", "[]", "\"refuse\"", "\"revert\"",
	"\"upgrade\"", "\"bench\":\"x\",", "1e300", "-1", "\"skewed\"", "\"unknown\"", ",", NULL};
const unsigned fuzz_runs = 100000;

/* Where the bench failed, nothing is said of the device: that is the one finding. */
static bool is_just(const json_t *observations, const json_t *findings)
{
	bool failed = json_is_string(json_object_get(observations, "bench"));
	const json_t *finding;
	size_t i;

	json_array_foreach (findings, i, finding)
		failed = failed || strcmp(json_string_value(json_object_get(finding, "name")),
					   "bench-error") == 0;
	return !failed ||
	       (json_array_size(findings) == 1 && judge_verdict(findings) == VERDICT_ERROR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = json_loadb((const char *)data, size, 0, NULL);
	json_t *findings, *finding;
	bool all_hold = true;
	size_t i;

	if (!json)
		return 0;
	findings = judge(json);
	FUZZ_HOLDS(findings);
	FUZZ_HOLDS(is_just(json, findings));
	json_array_foreach (findings, i, finding) {
		bool ok = json_is_true(json_object_get(finding, "ok"));

		all_hold = all_hold && ok;
		FUZZ_HOLDS(json_string_length(json_object_get(finding, "what")) > 0);
		FUZZ_HOLDS(ok || json_string_length(json_object_get(finding, "expected")) > 0);
	}
	FUZZ_HOLDS((judge_verdict(findings) == VERDICT_PASS) ==
		   (all_hold && json_array_size(findings) > 0));
	json_decref(findings);
	json_decref(json);
	return 0;
}
