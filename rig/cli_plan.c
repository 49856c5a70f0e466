#include "cli.h"

#include "cli_job.h"
#include "spawn.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CLASSES_SHOWN 2 /* items at most, for which classes are listed too */

static const char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : "";
}

static long long number(const json_t *object, const char *name)
{
	return (long long)json_integer_value(json_object_get(object, name));
}

/* What the operations of a campaign are, for people: "operations", "lines of progress". */
static const char *units(const json_t *campaign)
{
	static const char *const names[][2] = {
		{"lines", "lines of progress"},
		{"edges", "edges of progress"},
		{"breakpoints", "breakpoints of progress"},
		{"time", "steps of time"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(text(campaign, "source"), names[i][0]) == 0)
			return names[i][1];
	return "operations";
}

/* The cuts of a class: its entry in the coverage, by name. */
static long long cuts_in(const json_t *campaign, const char *name)
{
	const json_t *class;
	size_t i;

	json_array_foreach (
		json_object_get(json_object_get(campaign, "coverage"), "classes"), i, class)
		if (strcmp(text(class, "name"), name) == 0)
			return number(class, "cuts");
	return 0;
}

static void print_classes(const json_t *campaign)
{
	const json_t *class;
	size_t i;

	json_array_foreach (json_object_get(campaign, "classes"), i, class)
		printf("      %-44s %7lld %s %6lld cuts\n", text(class, "name"),
			number(class, "operations"), units(campaign),
			cuts_in(campaign, text(class, "name")));
}

static void print_time(double seconds)
{
	if (seconds < 120)
		printf("about %.0f s", seconds);
	else if (seconds < 7200)
		printf("about %.0f min", seconds / 60);
	else
		printf("about %.1f h", seconds / 3600);
}

static void print_campaign(const json_t *campaign, bool classes)
{
	json_t *seconds = json_object_get(campaign, "seconds"), *count;
	const char *why, *between = ": ";

	if (json_object_get(campaign, "missing")) {
		printf("      %s\n", text(campaign, "missing"));
		return;
	}
	printf("      %lld %s, %lld trials", number(campaign, "operations"), units(campaign),
		number(campaign, "trials"));
	json_object_foreach (json_object_get(campaign, "by"), why, count) {
		printf("%s%lld %s", between, (long long)json_integer_value(count), why);
		between = ", ";
	}
	if (json_is_number(seconds)) {
		printf("; ");
		print_time(json_number_value(seconds));
	}
	putchar('\n');
	if (classes)
		print_classes(campaign);
	printf("      if all of them land and pass: %s\n",
		text(json_object_get(campaign, "coverage"), "sentence"));
}

static void print_items(const json_t *plan)
{
	const json_t *items = json_object_get(plan, "items"), *item, *campaign;
	bool classes = json_array_size(items) <= CLASSES_SHOWN;
	double seconds = 0;
	size_t i, known = 0, campaigns = 0;

	json_array_foreach (items, i, item) {
		printf("  %-24s %s%s%s\n", text(item, "item"), text(item, "expect"),
			*text(item, "why") ? ": " : "", text(item, "why"));
		campaign = json_object_get(item, "campaign");
		if (!campaign)
			continue;
		print_campaign(campaign, classes);
		campaigns++;
		known += json_is_number(json_object_get(campaign, "seconds"));
		seconds += json_number_value(json_object_get(campaign, "seconds"));
	}
	if (campaigns && known < campaigns)
		printf("time       not known: %zu of %zu items have no trace of these images yet; "
		       "`rig run … --cuts 0` traces them\n",
			campaigns - known, campaigns);
	else if (campaigns) {
		printf("time       ");
		print_time(seconds);
		puts(" on one board, by the trials of earlier runs");
	}
}

/* A worker's answer to a job that is only planned, {"scenario", "plan"}. */
static void print_answer(const json_t *answer)
{
	const json_t *plan = json_object_get(answer, "plan"), *trail, *key;
	const json_t *trails = json_object_get(plan, "trails");
	const json_t *scenario = json_object_get(answer, "scenario");
	size_t i, k;

	printf("scenario   %s: %s\n", text(scenario, "name"), text(scenario, "about"));
	printf("items      %lld\n", number(plan, "total"));
	print_items(plan);
	if (!trails)
		return;
	printf("flashes    %lld instead of %lld\n", number(plan, "flashes"), number(plan, "total"));
	json_array_foreach (trails, i, trail) {
		printf("trail %-4zu", i + 1);
		json_array_foreach (trail, k, key)
			printf(" %s", json_string_value(key));
		putchar('\n');
	}
}

struct plan_command {
	struct cli_job ask;
	struct rpc *worker;
	struct spawned *child;
	bool failed_to_start, closed;
	struct err error;
};

static void worker_said(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct plan_command *pc = arg;
	const char *why = json_string_value(json_object_get(params, "text"));

	if (call)
		cli_refuse_call(arg, call, method, params);
	else if (strcmp(method, "ended") == 0)
		snprintf(pc->error.msg, sizeof(pc->error.msg), "%s", why ? why : "");
}

static void worker_closed(void *arg, const struct err *why)
{
	struct plan_command *pc = arg;

	(void)why;
	pc->closed = true;
}

static const struct rpc_handlers worker_handlers = {worker_said, worker_closed};

static void plan_answered(void *arg, const struct err *e, json_t *result)
{
	struct plan_command *pc = arg;

	if (e) {
		pc->failed_to_start = true;
		pc->error = *e;
		return;
	}
	if (pc->ask.json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_answer(result);
	}
}

int cli_plan(struct cli *cli, int argc, char **argv)
{
	static struct plan_command pc; /* until the process ends, as all of a command */
	static json_t *job;
	struct err e;
	int status;

	pc = (struct plan_command){.ask = {.cli = cli}};
	status = cli_job_parse(&pc.ask, argc, argv);
	if (status >= 0)
		return status;
	if (pc.ask.resume_name)
		return cli_usage(pc.ask.name, "--resume is for rig run");
	if (cli_load(cli, &e) || cli_job_make(&pc.ask, true, &job, &e) ||
		cli_job_worker(cli, NULL, &worker_handlers, &pc, &pc.child, &pc.worker, &e))
		return cli_fail(&e);
	rpc_request(pc.worker, "run", json_pack("{s:O}", "job", job), CLI_JOB_START_MS,
		plan_answered, &pc);
	while (!pc.closed)
		uv_run(&cli->loop, UV_RUN_ONCE);
	rpc_destroy(pc.worker);
	spawn_destroy(pc.child);
	return pc.failed_to_start ? cli_fail(&pc.error) : EXIT_PASS;
}
