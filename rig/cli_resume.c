#include "cli_resume.h"

#include "cli.h"
#include "err.h"
#include "journal.h"
#include "known.h"
#include "lock.h"
#include "rpc.h"
#include "run_resume.h"
#include "runs.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DYING_MS 10000

/*
 * A worker that was killed holds its journal for some moments longer; one that listens is no such.
 */
static bool is_running(struct cli *cli, const char *id, const char *journal)
{
	char *path = runs_path(cli_state_dir(cli), id, "worker.sock");
	struct err e;

	for (unsigned i = 0; i < DYING_MS / 20 && journal_is_live(journal); i++) {
		int fd = path ? rpc_connect_unix(path, &e) : -1;

		if (fd >= 0) {
			close(fd);
			break;
		}
		poll(NULL, 0, 20);
	}
	free(path);
	return journal_is_live(journal);
}

/* Why a run with this journal is not taken up again. */
static int refuse(const struct known *k, struct err *e)
{
	const char *reason = json_string_value(json_object_get(k->end, "reason"));

	if (!known_unfinished(k))
		return err_set(e, ERR_USAGE, "it has ended (%s): nothing is left to do", reason);
	if (!k->run || !k->plan)
		return err_set(
			e, ERR_USAGE, "its journal stops before the plan: nothing was run yet");
	return 0;
}

int resume_find(struct cli *cli, const char *name, struct resume *r, struct err *e)
{
	char *journal;
	struct known k;
	int code;

	*r = (struct resume){0};
	code = runs_find(cli_state_dir(cli), name, &r->id, e);
	if (code)
		return code;
	r->dir = runs_path(cli_state_dir(cli), r->id, NULL);
	journal = runs_path(cli_state_dir(cli), r->id, JOURNAL_FILE);
	if (!r->dir || !journal) {
		free(journal);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	known_init(&k);
	if (is_running(cli, r->id, journal))
		code = err_set(
			e, ERR_USAGE, "it is still running; `rig cancel %s` stops it", r->id);
	if (code == 0)
		code = known_read(&k, journal, e);
	if (code == 0)
		code = refuse(&k, e);
	r->run = json_incref(k.run);
	known_finish(&k);
	free(journal);
	return code ? err_prefix(e, "run %s cannot be taken up again", r->id) : 0;
}

void resume_finish(struct resume *r)
{
	free(r->id);
	free(r->dir);
	json_decref(r->run);
	*r = (struct resume){0};
}

json_t *resume_boards(const struct resume *r)
{
	json_t *names = json_array(), *board;
	size_t i;

	json_array_foreach (json_object_get(r->run, "boards"), i, board)
		json_array_append(names, json_object_get(board, "name"));
	return names;
}

json_t *resume_options(const struct resume *r)
{
	return json_deep_copy(json_object_get(r->run, "options"));
}

const char *resume_scenario(const struct resume *r)
{
	return json_string_value(json_object_get(json_object_get(r->run, "scenario"), "path"));
}

int resume_job(const struct resume *r, json_t *job, struct err *e)
{
	const json_t *scenario = json_object_get(r->run, "scenario");
	json_t *given = json_object_get(scenario, "given_path");

	if (run_resume_check(r->run, job, e))
		return err_prefix(e, "run %s cannot be taken up again", r->id);
	/* so that replay commands read as those before */
	if (given)
		json_object_set(job, "scenario_as_given", given);
	json_object_set_new(job, "resume", json_true());
	return 0;
}

bool resume_comes_free(const struct cli *cli, const struct resume *r, const json_t *job)
{
	json_t *boards = json_object_get(job, "boards"), *board;
	char what[128];
	bool ours = true;
	size_t i;

	snprintf(what, sizeof(what), "run %s", r->id);
	json_array_foreach (boards, i, board) {
		const char *name = json_string_value(json_object_get(board, "name")), *holder;
		enum lock_state state;
		json_t *text = NULL;
		struct err e;

		if (lock_look(cli_state_dir(cli), name, &state, &text, &e))
			continue;
		holder = json_string_value(json_object_get(text, "what"));
		if (state == LOCK_LEASED && (!holder || strcmp(holder, what) != 0))
			ours = false;
		json_decref(text);
	}
	return ours;
}
