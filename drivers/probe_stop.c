/*
 * Each count is a run of the probe (probe_ops.run_until), which stops the DUT whenever it comes to
 * the place, writes a line to a log and lets it go on, or leaves it standing at the last one. That
 * the place is set is seen by the log's being there: only then may the update begin.
 *
 * Hits since the mark are kept here, read from the log as it grows; arming ends the run that counts
 * and begins one that ends at the armed one. Whatever comes meanwhile would be missed, and is found
 * out: a run that was given up goes on with its log until it ended.
 */
#include "probe_stop.h"

#include "../rig/probe_port.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_WITHIN_MS (24 * 3600 * 1000) /* the core ends it when it is over */
#define RELEASE_WITHIN_MS 8000

/* The log of a run, read up to offset. */
struct hit_log {
	char *path;
	long offset;
	bool stale; /* from before the mark: nobody wants to know */
};

struct probe_stop {
	struct device dev;
	struct driver_env env;
	const char *kind;
	json_t *place;
	bool trace;
	struct hit_log logs[2]; /* of the run, and of the one before */
	struct hit_log *log;    /* of the run */
	uv_fs_event_t folder;   /* where the log comes to be */
	struct op *run;         /* the probe's; NULL: nothing is counted */
	struct op *starting;    /* waits for the place to be set */
	struct op *ending;      /* waits for the debug port to be free */
	struct op *release;     /* the probe's */
	char *ending_path;      /* where its trace goes; NULL: none is wanted */
	uint64_t ending_from;
	uint32_t *hits; /* addresses, since the mark */
	size_t count, room;
	bool counts;        /* every hit since the mark is, or was, counted */
	uint64_t armed;     /* the hit to stop at; 0: none */
	json_t *fired;      /* where it stopped since the mark, or NULL */
	char trouble[400];  /* why hits are missing; "": none are */
	struct trace *file; /* being written */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* A trace on its way to its file, on a thread of its own. */
struct trace {
	uv_work_t work;
	struct probe_stop *t; /* NULL: closed meanwhile */
	struct op *op;        /* NULL: given up */
	uint32_t *hits;
	size_t count;
	uint64_t from;
	char *path;
	struct err e;
};

static struct probe_stop *stop_of(struct device *dev)
{
	return (struct probe_stop *)dev;
}

/* --- hits ---------------------------------------------------------------------------------------
 */

static int add_hit(struct probe_stop *t, uint32_t address, struct err *e)
{
	if (t->count == t->room) {
		size_t room = t->room ? 2 * t->room : 1024;
		uint32_t *hits = realloc(t->hits, room * sizeof(*hits));

		if (!hits)
			return err_set(e, ERR_NOMEM, "out of memory");
		t->hits = hits;
		t->room = room;
	}
	t->hits[t->count++] = address;
	return 0;
}

/* Takes up the lines that a log has got since it was looked at. */
static int read_log(struct probe_stop *t, struct hit_log *log, struct err *e)
{
	FILE *f = log->stale ? NULL : fopen(log->path, "re");
	char line[80];
	int ret = 0;

	if (log->stale)
		return 0;
	if (!f)
		return errno == ENOENT ? 0 : err_errno(e, ERR_IO, errno, "%s", log->path);
	if (fseek(f, log->offset, SEEK_SET) != 0)
		ret = err_errno(e, ERR_IO, errno, "%s", log->path);
	while (!ret && fgets(line, sizeof(line), f) && strchr(line, '\n')) {
		const char *hex = strstr(line, " 0x");
		char *end = line;
		unsigned long address = hex ? strtoul(hex + 1, &end, 16) : 0;

		if (*end != '\n' || address > UINT32_MAX)
			ret = err_set(e, ERR_BENCH, "%s: \"%.40s\" is no hit", log->path, line);
		else
			ret = add_hit(t, (uint32_t)address, e);
		log->offset = ftell(f);
	}
	fclose(f);
	return ret;
}

static void in_trouble(struct probe_stop *t, const struct err *e)
{
	snprintf(t->trouble, sizeof(t->trouble), "%.380s", e->msg);
	t->env.event(t->env.arg, "note",
		json_pack("{s:s+}", "text",
			t->armed ? "the armed cut will not fire: "
				 : "operations are no longer "
				   "counted: ",
			t->trouble));
	t->armed = 0;
}

/* Brings the count up to date. */
static int counted(struct probe_stop *t, struct err *e)
{
	int ret = read_log(t, t->log, e);

	if (!ret && t->trouble[0])
		ret = err_set(e, ERR_BENCH, "%s", t->trouble);
	return ret;
}

/* --- the run ------------------------------------------------------------------------------------
 */

/* The operation that waited for the run to begin. */
static struct op *take_starting(struct probe_stop *t)
{
	struct op *op = t->starting;

	t->starting = NULL;
	uv_fs_event_stop(&t->folder);
	if (op)
		op_on_cancel(op, NULL, NULL);
	return op;
}

static void fire(struct probe_stop *t, json_t *result)
{
	json_t *fields = json_pack("{s:I, s:s, s:s, s:O*, s:O*}", "op", (json_int_t)t->armed,
		"kind", t->kind, "tear", "clean", "address", json_object_get(result, "address"),
		"t_ns", json_object_get(result, "t_ns"));

	json_decref(t->fired);
	t->fired = json_incref(fields);
	t->armed = 0;
	t->env.event(t->env.arg, "trigger", fields);
}

/* The probe's run is over: it came there for the last time, or failed. */
static void run_ended(void *arg, const struct err *e, json_t *result)
{
	struct probe_stop *t = arg;
	struct op *starting;
	struct err why;

	if (!t->run) /* given up */
		return;
	t->run = NULL;
	starting = take_starting(t);
	if (starting && e) {
		t->armed = 0;
		t->counts = false;
		op_fail(starting, e);
		return;
	}
	/* that it has come to the armed hit so soon says that the place was set */
	if (starting)
		op_done(starting, NULL);
	if (e) {
		t->counts = false;
		in_trouble(t, e);
		return;
	}
	fire(t, result);
	if (!t->closing && read_log(t, t->log, &why))
		in_trouble(t, &why);
}

/* Gives the run up; the DUT runs on. */
static void stop_run(struct probe_stop *t)
{
	struct op *run = t->run;
	struct err why;

	t->run = NULL;
	err_set(&why, ERR_CANCELLED, "counting ended");
	if (run)
		op_cancel(run, &why);
}

static void log_may_be_there(uv_fs_event_t *handle, const char *name, int events, int status)
{
	struct probe_stop *t = handle->data;
	struct hit_log *before = t->log == t->logs ? t->logs + 1 : t->logs;
	size_t count = t->count;
	struct op *op;
	struct err e;
	int ret;

	(void)name;
	(void)events;
	(void)status;
	if (!t->starting || access(t->log->path, F_OK))
		return;
	/* the run before has ended by now, and its log with it */
	ret = read_log(t, before, &e);
	if (!ret && t->armed && t->count != count)
		ret = err_set(&e, ERR_BENCH,
			"the DUT came to the place while the cut was being armed: arm it while the "
			"DUT is at rest");
	op = take_starting(t);
	if (!ret) {
		op_done(op, NULL);
		return;
	}
	stop_run(t);
	t->armed = 0;
	op_fail(op, &e);
}

static void start_given_up(struct op *op, void *arg)
{
	struct probe_stop *t = arg;

	(void)op;
	t->starting = NULL;
	uv_fs_event_stop(&t->folder);
	t->armed = 0;
	t->counts = false;
	stop_run(t);
}

/* Counts from here on, to the armed hit if there is one; op is done once the place is set. */
static void start_run(struct probe_stop *t, struct op *op)
{
	json_t *spec = json_deep_copy(t->place);
	struct op *run = op_start(t->env.loop, "count", RUN_WITHIN_MS, run_ended, t);
	int ret;

	t->log = t->log == t->logs ? t->logs + 1 : t->logs;
	t->log->offset = 0;
	t->log->stale = false;
	unlink(t->log->path);
	ret = uv_fs_event_start(&t->folder, log_may_be_there, t->env.board_dir, 0);
	if (!spec || !run || ret) {
		json_decref(spec);
		if (run)
			op_failf(run, ERR_CANCELLED, "not begun");
		op_failf(op, ret ? ERR_IO : ERR_NOMEM, "%s: %s", t->env.board_dir,
			ret ? uv_strerror(ret) : "out of memory");
		return;
	}
	json_object_set_new(
		spec, "count", json_integer(t->armed ? (json_int_t)(t->armed - t->count) : 0));
	json_object_set_new(spec, "log", json_string(t->log->path));
	t->run = run;
	t->starting = op;
	op_on_cancel(op, start_given_up, t);
	probe_port_run_until(t->env.probe, spec, run);
	json_decref(spec);
}

/* --- the trace ----------------------------------------------------------------------------------
 */

static void write_trace(uv_work_t *work)
{
	struct trace *tr = work->data;
	FILE *f = fopen(tr->path, "we");
	bool bad = !f;

	for (uint64_t n = tr->from; !bad && n <= tr->count; n++)
		bad = fprintf(f, "%" PRIu64 " breakpoint 0x%08" PRIx32 "\n", n, tr->hits[n - 1]) <
		      0;
	if (f && fclose(f) != 0)
		bad = true;
	if (bad)
		err_errno(&tr->e, ERR_IO, errno, "%s", tr->path);
}

static void trace_free(struct trace *tr)
{
	free(tr->hits);
	free(tr->path);
	free(tr);
}

static void trace_written(uv_work_t *work, int status)
{
	struct trace *tr = work->data;
	struct op *op = tr->op;

	(void)status;
	if (tr->t)
		tr->t->file = NULL;
	if (op) {
		op_on_cancel(op, NULL, NULL);
		if (tr->e.code != ERR_NONE)
			op_fail(op, &tr->e);
		else
			op_done(op, json_pack("{s:I}", "operations", (json_int_t)tr->count));
	}
	trace_free(tr);
}

static void trace_given_up(struct op *op, void *arg)
{
	struct trace *tr = arg;

	(void)op;
	tr->op = NULL;
}

/* path is stolen. */
static void start_trace(struct probe_stop *t, char *path, uint64_t from, struct op *op)
{
	struct trace *tr = calloc(1, sizeof(*tr));
	uint32_t *hits = malloc(t->count * sizeof(*hits) + 1);

	if (!tr || !hits) {
		free(tr);
		free(hits);
		free(path);
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	if (t->count)
		memcpy(hits, t->hits, t->count * sizeof(*hits));
	*tr = (struct trace){.t = t,
		.op = op,
		.hits = hits,
		.count = t->count,
		.from = from ? from : 1,
		.path = path};
	tr->work.data = tr;
	t->file = tr;
	op_on_cancel(op, trace_given_up, tr);
	uv_queue_work(t->env.loop, &tr->work, write_trace, trace_written);
}

/* --- the end of counting ------------------------------------------------------------------------
 */

static struct op *take_ending(struct probe_stop *t, char **path)
{
	struct op *op = t->ending;

	*path = t->ending_path;
	t->ending = NULL;
	t->ending_path = NULL;
	if (op)
		op_on_cancel(op, NULL, NULL);
	return op;
}

/* The debug port is free, and the log whole. */
static void released(void *arg, const struct err *e, json_t *result)
{
	struct probe_stop *t = arg;
	char *path;
	struct op *op;
	struct err why;

	(void)result;
	t->release = NULL;
	op = take_ending(t, &path);
	if (!op) {
		free(path);
		return;
	}
	if (e)
		op_fail(op, e);
	else if (counted(t, &why) != 0)
		op_fail(op, &why);
	else if (path) {
		start_trace(t, path, t->ending_from, op);
		return;
	} else {
		op_done(op, NULL);
	}
	free(path);
}

/* Waits no longer for the debug port. */
static void drop_release(struct probe_stop *t)
{
	struct err why;

	err_set(&why, ERR_CANCELLED, "nobody waits for it");
	if (t->release)
		op_cancel(t->release, &why);
}

static void end_given_up(struct op *op, void *arg)
{
	struct probe_stop *t = arg;

	(void)op;
	free(t->ending_path);
	t->ending_path = NULL;
	t->ending = NULL;
	drop_release(t);
}

/* Ends counting, lets go of the debug port, and writes the trace to path unless that is NULL. */
static void end_run(struct probe_stop *t, const char *path, uint64_t from, struct op *op)
{
	char *copy = path ? strdup(path) : NULL;

	t->armed = 0;
	stop_run(t);
	t->release = path && !copy ? NULL
				   : op_start(t->env.loop, "let go of the debug port",
					     RELEASE_WITHIN_MS, released, t);
	if (!t->release) {
		free(copy);
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	t->ending = op;
	t->ending_path = copy;
	t->ending_from = from;
	op_on_cancel(op, end_given_up, t);
	probe_port_release(t->env.probe, t->release);
}

/* --- trigger ------------------------------------------------------------------------------------
 */

static bool is_busy(const struct probe_stop *t, struct op *op)
{
	if (!t->starting && !t->release && !t->file)
		return false;
	op_failf(op, ERR_BUSY, "the operation before is still under way");
	return true;
}

static void stop_mark(struct device *dev, struct op *op)
{
	struct probe_stop *t = stop_of(dev);
	bool rests, wanted = t->armed || t->trace;
	struct err e;

	if (is_busy(t, op))
		return;
	/* a run that has not come to the place yet is what the mark asks for */
	rests = t->run && t->count == 0 && read_log(t, t->log, &e) == 0 && t->count == 0;
	t->count = 0;
	t->trouble[0] = '\0';
	t->counts = wanted;
	json_decref(t->fired);
	t->fired = NULL;
	if (rests || !wanted) {
		op_done(op, NULL);
		return;
	}
	stop_run(t);
	/* what the run before still writes belongs to before the mark */
	t->log->stale = true;
	start_run(t, op);
}

/* The hit that cut asks for. */
static int read_cut(const struct probe_stop *t, const json_t *cut, uint64_t *at, struct err *e)
{
	const json_t *op = json_object_get(cut, "op");
	const char *tear = json_string_value(json_object_get(cut, "tear"));
	const char *name = t->dev.driver->name;

	if (!json_is_integer(op) || json_integer_value(op) < 1)
		return err_set(e, ERR_UNSUPPORTED,
			"%s fires at an operation by its number (op, from 1 on), and at nothing else",
			name);
	if (tear && strcmp(tear, "clean") != 0)
		return err_set(e, ERR_UNSUPPORTED,
			"a %.20s cut is not for %s: the DUT stands still when the power goes, so no "
			"operation is cut in its middle; only clean cuts can be asked of it",
			tear, name);
	*at = (uint64_t)json_integer_value(op);
	if (*at <= t->count)
		return err_set(e, ERR_USAGE,
			"operation %" PRIu64 " is past already: %zu came since the mark", *at,
			t->count);
	return 0;
}

static void stop_arm(struct device *dev, json_t *cut, struct op *op)
{
	struct probe_stop *t = stop_of(dev);
	uint64_t at = 0;
	struct err e;

	if (is_busy(t, op))
		return;
	if (counted(t, &e) != 0 || read_cut(t, cut, &at, &e) != 0) {
		op_fail(op, &e);
		return;
	}
	/* without a run since the mark, the DUT is taken to have rested since then */
	stop_run(t);
	t->armed = at;
	t->counts = true;
	start_run(t, op);
}

static void stop_disarm(struct device *dev, struct op *op)
{
	struct probe_stop *t = stop_of(dev);

	if (is_busy(t, op))
		return;
	if (t->run)
		end_run(t, NULL, 0, op);
	else if (t->trouble[0])
		op_failf(op, ERR_BENCH, "%s", t->trouble);
	else
		op_done(op, NULL);
}

static void stop_state(struct device *dev, struct op *op)
{
	struct probe_stop *t = stop_of(dev);
	struct err e;

	if (counted(t, &e) != 0)
		op_fail(op, &e);
	else
		op_done(op, json_pack("{s:I, s:n, s:O?}", "operations", (json_int_t)t->count,
				    "power", "cut", t->fired));
}

static void stop_trace(struct device *dev, const char *path, uint64_t from, struct op *op)
{
	struct probe_stop *t = stop_of(dev);

	if (is_busy(t, op))
		return;
	if (path[0] != '/')
		op_failf(op, ERR_USAGE, "trace: the path must be absolute, not \"%.200s\"", path);
	else if (t->trouble[0])
		op_failf(op, ERR_BENCH, "%s", t->trouble);
	else if (!t->counts)
		op_failf(op, ERR_UNSUPPORTED,
			"operations were not counted since the mark: set trace = true for %s",
			t->dev.driver->name);
	else
		end_run(t, path, from, op);
}

const struct trigger_ops probe_stop_trigger = {
	.mark = stop_mark,
	.arm = stop_arm,
	.disarm = stop_disarm,
	.state = stop_state,
	.trace = stop_trace,
};

/* --- the device ---------------------------------------------------------------------------------
 */

static void stop_free(struct probe_stop *t)
{
	for (int i = 0; i < 2; i++) {
		if (t->logs[i].path)
			unlink(t->logs[i].path);
		free(t->logs[i].path);
	}
	json_decref(t->place);
	json_decref(t->fired);
	free(t->hits);
	free(t);
}

struct device *probe_stop_create(const struct driver_env *env, const struct driver *driver,
	const char *kind, json_t *place, bool trace, struct err *e)
{
	struct probe_stop *t = place && env->probe ? calloc(1, sizeof(*t)) : NULL;
	bool good = t != NULL;

	for (int i = 0; good && i < 2; i++)
		if (asprintf(&t->logs[i].path, "%s/%s-%d.log", env->board_dir, driver->name, i) <
			0) {
			t->logs[i].path = NULL;
			good = false;
		}
	if (!good) {
		if (env->probe)
			err_set(e, ERR_NOMEM, "out of memory");
		else
			err_set(e, ERR_CONFIG,
				"it works through the board's probe, and there is none: add probe = "
				"{ driver = \"openocd\", … } to the board");
		json_decref(place);
		if (t) {
			t->place = NULL;
			stop_free(t);
		}
		return NULL;
	}
	t->dev.driver = driver;
	t->env = *env;
	t->kind = kind;
	t->place = place;
	t->trace = trace;
	t->log = t->logs;
	uv_fs_event_init(env->loop, &t->folder);
	t->folder.data = t;
	return &t->dev;
}

/* The probe is opened before; that the DUT can be stopped is seen when it is. */
void probe_stop_open(struct device *dev, struct op *op)
{
	/* what a process before left, when it was killed */
	for (int i = 0; i < 2; i++)
		unlink(stop_of(dev)->logs[i].path);
	op_done(op, NULL);
}

/* Ends what is under way. The probe lets go of the DUT itself, as it is made safe. */
static void end_all(struct probe_stop *t, enum err_code code, const char *why)
{
	char *path;
	struct op *starting = take_starting(t), *ending = take_ending(t, &path);

	free(path);
	t->armed = 0;
	stop_run(t);
	drop_release(t);
	if (starting)
		op_failf(starting, code, "%s", why);
	if (ending)
		op_failf(ending, code, "%s", why);
}

void probe_stop_make_safe(struct device *dev, struct op *op)
{
	end_all(stop_of(dev), ERR_CANCELLED, "the board is made safe");
	op_done(op, NULL);
}

static void folder_closed(uv_handle_t *handle)
{
	struct probe_stop *t = handle->data;
	void (*closed)(void *arg) = t->closed;
	void *arg = t->closed_arg;

	stop_free(t);
	closed(arg);
}

void probe_stop_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct probe_stop *t = stop_of(dev);
	struct trace *tr = t->file;
	struct op *op;
	struct err why;

	t->closing = true;
	t->closed = closed;
	t->closed_arg = arg;
	end_all(t, ERR_GONE, "the device was closed");
	err_set(&why, ERR_GONE, "the device was closed");
	if (tr) {
		op = tr->op;
		tr->t = NULL;
		tr->op = NULL;
		if (op) {
			op_on_cancel(op, NULL, NULL);
			op_fail(op, &why);
		}
	}
	uv_close((uv_handle_t *)&t->folder, folder_closed);
}

void probe_stop_check(struct device *dev, struct op *op)
{
	const struct probe_stop *t = stop_of(dev);
	char *place = json_dumps(t->place, JSON_COMPACT);
	json_t *says = json_array();

	json_array_append_new(says, json_sprintf("counts by a %s of the board's probe: %s", t->kind,
					    place ? place : ""));
	json_array_append_new(says,
		json_string(
			t->trace ? "the probe holds the DUT from a mark on, and stops it at each "
				   "operation"
				 : "the probe holds the DUT while a cut is armed, and stops it at "
				   "each operation; without one nothing is counted (trace = "
				   "false)"));
	free(place);
	op_done(op, json_pack("{s:o, s:[]}", "says", says, "mend"));
}
