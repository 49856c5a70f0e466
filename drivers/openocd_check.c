#include "openocd_check.h"

#include "openocd_jobs.h"
#include "openocd_usb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(json_t *list, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(list, json_string(text));
}

/* A line of what rig_check found out: "version V", "volts V", "dut 0xCPUID" or "mute why". */
static void take_line(const char *line, json_t *result)
{
	json_t *says = json_object_get(result, "says"), *mend = json_object_get(result, "mend");

	if (strncmp(line, "version ", 8) == 0) {
		say(says, "%.100s", line + 8);
	} else if (strncmp(line, "volts ", 6) == 0) {
		say(says, "the adapter measures %.20s V at the DUT", line + 6);
		json_object_set_new(result, "volts", json_real(strtod(line + 6, NULL)));
	} else if (strncmp(line, "dark ", 5) == 0) {
		say(says, "the DUT has no power now: whether it answers was not tried");
	} else if (strncmp(line, "dut ", 4) == 0) {
		say(says, "the DUT answers, CPUID %.20s", line + 4);
	} else if (strncmp(line, "mute ", 5) == 0) {
		say(mend, "the DUT does not answer: give it power; if it has, look at the debug "
			  "cable, or try a lower speed_khz");
	}
}

static void finish_check(struct openocd *oc, struct job *job, const char *text)
{
	const char *adapter = openocd_option(oc, "adapter"), *serial = openocd_option(oc, "serial");
	json_t *says = json_array(), *mend = json_array();
	json_t *result = json_pack("{s:o, s:o}", "says", says, "mend", mend);
	char trouble[500], *copy = strdup(text), *rest = NULL;

	(void)job;
	say(says, "adapter %s%s%s", adapter, serial ? ", serial " : "", serial ? serial : "");
	for (char *line = copy ? strtok_r(copy, "\n", &rest) : NULL; line;
		line = strtok_r(NULL, "\n", &rest))
		take_line(line, result);
	free(copy);
	openocd_usb_check(openocd_probe_kind(adapter), serial, trouble, sizeof(trouble));
	if (trouble[0])
		say(mend, "%s", trouble);
	job_done(oc, result);
}

static void start_check(struct openocd *oc, struct job *job, const char *text)
{
	(void)text;
	/* who had not taken the debug port before finds it free again */
	job_run(oc, "check", strdup(job->hold_port ? "rig_check keep" : "rig_check free"),
		finish_check);
}

void openocd_check(struct device *dev, struct op *op)
{
	struct openocd *oc = (struct openocd *)dev;
	struct job *job = job_enqueue(oc, op, start_check);

	if (!job)
		return;
	job->hold_port = oc->taken;
	jobs_start(oc);
}
