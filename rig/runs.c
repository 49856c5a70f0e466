#include "runs.h"

#include "err.h"
#include "journal.h"
#include "known.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TAIL_BYTES 65536 /* in which a journal's last record is looked for first */

static const char *str(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

char *runs_path(const char *state_dir, const char *id, const char *file)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s%s%s", state_dir, id, file ? "/" : "", file ? file : "") < 0)
		return NULL;
	return path;
}

/* --- making one ---------------------------------------------------------------------------- */

static int make_folders(const char *path, struct err *e)
{
	char *part = strdup(path);
	int rc = 0;

	if (!part)
		return err_set(e, ERR_NOMEM, "%s: out of memory", path);
	for (char *p = part + 1; rc == 0 && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			rc = err_errno(e, ERR_IO, errno, "%s", part);
		*p = '/';
	}
	if (rc == 0 && mkdir(part, 0755) != 0 && errno != EEXIST)
		rc = err_errno(e, ERR_IO, errno, "%s", part);
	free(part);
	return rc;
}

/* "scenarios/upgrade_matrix.lua" as "upgrade-matrix". */
static void short_name(const char *scenario, char *name, size_t size)
{
	const char *slash = strrchr(scenario, '/'), *from = slash ? slash + 1 : scenario;
	size_t n = strlen(from);

	if (n > 4 && strcmp(from + n - 4, ".lua") == 0)
		n -= 4;
	snprintf(name, size, "%.*s", (int)(n < INT_MAX ? n : INT_MAX), from);
	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '.')
			*p = '-';
	if (!*name || *name == '.')
		snprintf(name, size, "run");
}

/* The fraction of the second stands before the name, so that ids sort as the runs began. */
static void format_id(const char *name, char *id, size_t size)
{
	struct timespec now;
	char when[32];
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm);
	snprintf(id, size, "%s-%04x-%s", when,
		(unsigned)(((uint64_t)now.tv_nsec << 16) / 1000000000), name);
}

int runs_create(const char *state_dir, const char *scenario, char **id, struct err *e)
{
	char name[64], text[128];
	int rc = make_folders(state_dir, e), tries = 100;

	if (rc != 0)
		return rc;
	short_name(scenario, name, sizeof(name));
	while (tries-- > 0) {
		char *path;

		format_id(name, text, sizeof(text));
		path = runs_path(state_dir, text, NULL);
		rc = path ? mkdir(path, 0755) : -1;
		if (rc != 0 && path && errno != EEXIST)
			tries = 0;
		if (rc != 0)
			err_errno(e, path ? ERR_IO : ERR_NOMEM, errno, "%s/%s", state_dir, text);
		free(path);
		if (rc == 0) {
			*id = strdup(text);
			return *id ? 0 : err_set(e, ERR_NOMEM, "out of memory");
		}
	}
	return -(int)e->code;
}

/* --- one run, from its journal ------------------------------------------------------------- */

/* The last record, when it is an "end" that a look at the file's tail finds; else NULL. */
static json_t *peek_end(const char *path)
{
	char tail[TAIL_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
	off_t from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
	ssize_t n = size > 0 ? pread(fd, tail, sizeof(tail), from) : -1;
	json_t *record;
	char *start;

	if (fd >= 0)
		close(fd);
	if (n < 2 || tail[n - 1] != '\n')
		return NULL;
	start = memrchr(tail, '\n', (size_t)n - 1);
	if (!start && from > 0)
		return NULL;
	start = start ? start + 1 : tail;
	record = json_loadb(start, (size_t)(tail + n - start), 0, NULL);
	if (str(record, "kind") && strcmp(str(record, "kind"), "end") == 0)
		return record;
	json_decref(record);
	return NULL;
}

static int first_record(void *arg, json_t *record, struct err *e)
{
	(void)e;
	known_record(arg, record);
	return 1;
}

/*
 * Reads no more of a journal than its ends where that says it all: not where it stops without an
 * end, nor where the run was taken up again, because each stretch has a clock of its own.
 */
static int digest(const char *path, struct known *k, struct err *e)
{
	json_t *end = peek_end(path);
	int rc;

	known_init(k);
	if (end && !json_object_get(end, "resumed")) {
		rc = journal_read(path, 1, first_record, k, NULL, e);
		known_record(k, end);
	} else {
		rc = known_read(k, path, e);
	}
	json_decref(end);
	return rc < 0 ? rc : 0;
}

static json_t *board_names(json_t *run)
{
	json_t *names = json_array(), *board;
	size_t i;

	json_array_foreach (json_object_get(run, "boards"), i, board)
		json_array_append(
			names, json_is_string(board) ? board : json_object_get(board, "name"));
	return names;
}

static json_t *make_info(const char *id, const char *path)
{
	struct known k;
	struct err e;
	bool damaged = digest(path, &k, &e) != 0, live = !damaged && journal_is_live(path);
	const char *state = damaged ? "unreadable" : live ? "running" : k.end ? "finished" : "died";
	const char *verdict = str(k.end, "verdict"), *reason = str(k.end, "text");
	json_t *totals = json_object_get(k.end, "totals"), *info;

	if (live)
		verdict = NULL;
	else if (damaged || !verdict)
		verdict = "error";
	if (!reason)
		reason = damaged ? e.msg
			 : live  ? "running"
			 : k.end ? str(k.end, "reason")
				 : "the run died: its journal has no end";
	totals = totals ? json_incref(totals) : known_totals(&k);
	info = json_pack("{ss ss? ss ss? ss? ss? sf so so ss?}", "id", id, "scenario",
		str(json_object_get(k.run, "scenario"), "name"), "state", state, "verdict", verdict,
		"started", str(k.run, "t_wall"), "ended", live ? NULL : str(k.last, "t_wall"),
		"seconds", floor(known_seconds(&k) * 1e3) / 1e3, "boards", board_names(k.run),
		"totals", totals, "reason", reason);
	known_finish(&k);
	return info;
}

int runs_info(const char *state_dir, const char *id, json_t **info, struct err *e)
{
	char *folder, *path;
	int rc = 0;

	if (!*id || *id == '.' || strchr(id, '/'))
		return err_set(e, ERR_USAGE, "there is no run \"%s\"", id);
	folder = runs_path(state_dir, id, NULL);
	path = runs_path(state_dir, id, JOURNAL_FILE);
	*info = NULL;
	if (folder && path && access(folder, F_OK) != 0)
		rc = err_set(e, ERR_USAGE, "there is no run \"%s\"", id);
	else if (!folder || !path || !(*info = make_info(id, path)))
		rc = err_set(e, ERR_NOMEM, "out of memory");
	free(folder);
	free(path);
	return rc;
}

/* --- all of them --------------------------------------------------------------------------- */

/* A folder of a run begins with its time; others may lie about. */
static int is_run(const struct dirent *entry)
{
	const char *name = entry->d_name;

	return strlen(name) > 16 && strspn(name, "0123456789") == 8 && name[8] == '-' &&
	       strspn(name + 9, "0123456789") == 6 && name[15] == '-';
}

/* The ids, the oldest first; the caller frees them with free_ids(). Negative on error. */
static int list_ids(const char *state_dir, struct dirent ***ids, struct err *e)
{
	int n = scandir(state_dir, ids, is_run, alphasort);

	if (n >= 0)
		return n;
	*ids = NULL;
	return errno == ENOENT ? 0 : err_errno(e, ERR_IO, errno, "%s", state_dir);
}

static void free_ids(struct dirent **ids, int n)
{
	for (int i = 0; i < n; i++)
		free(ids[i]);
	free(ids);
}

int runs_list(const char *state_dir, json_t **runs, struct err *e)
{
	struct dirent **ids;
	int n = list_ids(state_dir, &ids, e), rc = n < 0 ? n : 0;

	if (rc != 0)
		return rc;
	*runs = json_array();
	for (int i = 0; rc == 0 && i < n; i++) {
		json_t *info;

		rc = runs_info(state_dir, ids[i]->d_name, &info, e);
		if (rc == 0)
			json_array_append_new(*runs, info);
	}
	free_ids(ids, n);
	if (rc != 0)
		json_decref(*runs);
	return rc;
}

int runs_find(const char *state_dir, const char *part, char **id, struct err *e)
{
	struct dirent **ids;
	int n = list_ids(state_dir, &ids, e), found = -1, matches = 0, rc = 0;
	char names[400] = "";
	size_t used = 0;

	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		const char *name = ids[i]->d_name;
		bool last = strcmp(part, "last") == 0 && i == n - 1;

		if (strcmp(name, part) == 0 || last) {
			found = i;
			matches = 1;
			break;
		}
		if (!*part || !strstr(name, part))
			continue;
		found = i;
		matches++;
		if (used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, " %s", name);
	}
	if (matches == 1)
		*id = strdup(ids[found]->d_name);
	if (matches == 0)
		rc = err_set(e, ERR_USAGE, "there is no run \"%s\" in %s", part, state_dir);
	else if (matches > 1)
		rc = err_set(e, ERR_USAGE, "\"%s\" is more than one run:%s", part, names);
	else if (!*id)
		rc = err_set(e, ERR_NOMEM, "out of memory");
	free_ids(ids, n);
	return rc;
}

/* --- clearing away ------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static bool is_running(const char *state_dir, const char *id)
{
	char *journal = runs_path(state_dir, id, JOURNAL_FILE);
	bool live = !journal || journal_is_live(journal);

	free(journal);
	return live;
}

int runs_remove(const char *state_dir, const char *id, struct err *e)
{
	char *path = runs_path(state_dir, id, NULL);
	int rc = 0;

	if (!path)
		return err_set(e, ERR_NOMEM, "out of memory");
	if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		rc = err_errno(e, ERR_IO, errno, "%s", path);
	free(path);
	return rc;
}

int runs_prune(const char *state_dir, unsigned keep_count, struct err *e)
{
	struct dirent **ids;
	int n = list_ids(state_dir, &ids, e), rc = n < 0 ? n : 0;
	unsigned ended = 0;

	for (int i = n - 1; rc == 0 && i >= 0; i--) {
		if (is_running(state_dir, ids[i]->d_name) || ended++ < keep_count)
			continue;
		rc = runs_remove(state_dir, ids[i]->d_name, e);
	}
	if (n >= 0)
		free_ids(ids, n);
	return rc;
}
