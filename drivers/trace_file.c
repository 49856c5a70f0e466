#include "trace_file.h"

#include "../rig/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct trace_file {
	uv_work_t work;
	struct trace_file **slot; /* NULL: closed meanwhile */
	struct op *op;            /* NULL: given up */
	char *text;
	size_t len;
	uint64_t operations;
	struct err e;
	char path[];
};

static void write_file(uv_work_t *work)
{
	struct trace_file *f = work->data;

	file_write(f->path, f->text, f->len, &f->e);
}

static void written(uv_work_t *work, int status)
{
	struct trace_file *f = work->data;
	struct op *op = f->op;

	(void)status;
	if (f->slot)
		*f->slot = NULL;
	if (op) {
		op_on_cancel(op, NULL, NULL);
		if (f->e.code != ERR_NONE)
			op_fail(op, &f->e);
		else
			op_done(op, json_pack("{s:I}", "operations", (json_int_t)f->operations));
	}
	free(f->text);
	free(f);
}

static void given_up(struct op *op, void *arg)
{
	struct trace_file *f = arg;

	(void)op;
	f->op = NULL;
}

void trace_file_write(struct trace_file **slot, uv_loop_t *loop, const char *path, char *text,
	size_t len, uint64_t operations, struct op *op)
{
	struct trace_file *f = NULL;

	if (path[0] != '/')
		op_failf(op, ERR_USAGE, "trace: the path must be absolute, not \"%.200s\"", path);
	else if (*slot)
		op_failf(op, ERR_BUSY, "a trace is being written already");
	else if (!(f = calloc(1, sizeof(*f) + strlen(path) + 1)))
		op_failf(op, ERR_NOMEM, "out of memory");
	if (!f) {
		free(text);
		return;
	}
	memcpy(f->path, path, strlen(path) + 1);
	f->slot = slot;
	f->op = op;
	f->text = text;
	f->len = len;
	f->operations = operations;
	f->e.code = ERR_NONE;
	f->work.data = f;
	*slot = f;
	op_on_cancel(op, given_up, f);
	uv_queue_work(loop, &f->work, write_file, written);
}

void trace_file_abandon(struct trace_file **slot)
{
	struct trace_file *f = *slot;
	struct op *op = f ? f->op : NULL;

	if (!f)
		return;
	f->slot = NULL;
	f->op = NULL;
	*slot = NULL;
	if (!op)
		return;
	op_on_cancel(op, NULL, NULL);
	op_failf(op, ERR_GONE, "the device was closed");
}

int trigger_cut_at(const json_t *cut, const char *name, const char *one, uint64_t count,
	uint64_t *at, struct err *e)
{
	const json_t *op = json_object_get(cut, "op");
	const char *tear = json_string_value(json_object_get(cut, "tear"));

	if (!json_is_integer(op) || json_integer_value(op) < 1)
		return err_set(e, ERR_UNSUPPORTED,
			"%s fires at a %s by its number (op, from 1 on), and at nothing else", name,
			one);
	if (tear && strcmp(tear, "clean") != 0)
		return err_set(e, ERR_UNSUPPORTED,
			"a %.20s cut is not for %s: it does not know when an operation of the "
			"flash is under way; only clean cuts can be asked of it",
			tear, name);
	*at = (uint64_t)json_integer_value(op);
	if (*at <= count)
		return err_set(e, ERR_USAGE,
			"%s %" PRIu64 " is past already: %" PRIu64 " came since the mark", one, *at,
			count);
	return 0;
}
