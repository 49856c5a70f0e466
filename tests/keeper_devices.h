/*
 * What tests of the keeper with fake devices share: what was asked of the devices, and what makes
 * the DUT speak and the probe do something.
 */
#ifndef TESTS_KEEPER_DEVICES_H
#define TESTS_KEEPER_DEVICES_H

#include "keeper_bench.h"
#include "keeper_fakes.h"

/* What was asked of the devices, one line each. */
static inline const char *device_log(void)
{
	static char text[16384];
	char path[128];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/.boards/b/fake.log", dir);
	f = fopen(path, "r");
	if (f) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	return text;
}

static inline void forget_device_log(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/.boards/b/fake.log", dir);
	unlink(path);
}

static inline void wait_log(const char *text)
{
	for (int ms = 0; !strstr(device_log(), text); ms += 5) {
		if (ms > PATIENCE_MS)
			fail_msg("never in the devices' log: %s", text);
		poll(NULL, 0, 5);
	}
}

#define assert_log_begins(want) assert_memory_equal(device_log(), want, strlen(want))
#define assert_log_has(want) assert_non_null(strstr(device_log(), want))

static inline void say(struct peer *p, const char *text)
{
	assert_answer(peer_call(p, "console.write", json_pack("{s:s}", "data", text)), "none");
}

static inline json_t *command(struct peer *p, const char *text)
{
	return peer_call(p, "probe.command", json_pack("{s:s}", "text", text));
}

#endif
