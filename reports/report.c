#include "report.h"

#include "../rig/err.h"
#include "../rig/journal.h"
#include "tap.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct report_format *const report_formats[] = {
	&tap_format,
	NULL,
};

const struct report_format *report_find(const char *name)
{
	for (size_t i = 0; report_formats[i]; i++)
		if (strcmp(report_formats[i]->name, name) == 0)
			return report_formats[i];
	return NULL;
}

/* The reports that one pass over a journal feeds. */
struct feed {
	struct report **reports;
	char **bufs; /* with sizes and files: of open_memstream; only in report_write_all() */
	size_t *sizes;
	FILE **files;
	size_t count;
};

static int feed_record(void *arg, json_t *record, struct err *e)
{
	struct feed *f = arg;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < f->count; i++)
		rc = f->reports[i]->format->record(f->reports[i], record, e);
	return rc;
}

/* Feeds all of a journal. What is wrong with the journal itself ends up in the reports. */
static int feed_journal(struct feed *f, const char *path, struct err *e)
{
	bool incomplete = false;
	const char *why = NULL;
	struct err damage;
	int rc = journal_read(path, 1, feed_record, f, &incomplete, e);

	if (rc == -ERR_PROTOCOL) {
		damage = *e;
		why = damage.msg;
		rc = 0;
	} else if (journal_is_live(path)) {
		why = "the run is still going on";
	} else if (incomplete) {
		why = "the run died while it wrote a record";
	}
	for (size_t i = 0; rc == 0 && i < f->count; i++)
		rc = f->reports[i]->format->finish(f->reports[i], why, e);
	return rc;
}

int report_from_journal(const struct report_format *format, const struct report_options *options,
	const char *journal_path, struct err *e)
{
	struct report *r = format->create(options);
	struct feed f = {.reports = &r, .count = 1};
	int rc;

	if (!r)
		return err_set(e, ERR_NOMEM, "report: out of memory");
	rc = feed_journal(&f, journal_path, e);
	format->destroy(r);
	return rc;
}

/* --- all files of a run ------------------------------------------------------------------- */

static int keep_plan(void *arg, json_t *record, struct err *e)
{
	const char *kind = json_string_value(json_object_get(record, "kind"));
	json_t *entry;
	size_t i;

	(void)e;
	if (!kind || strcmp(kind, "plan") != 0)
		return 0;
	json_array_foreach (json_object_get(record, "items"), i, entry) {
		json_t *key = json_object_get(entry, "item");

		if (json_is_string(key))
			json_object_set_new(arg, json_string_value(key), json_true());
	}
	return 1;
}

/* "1.0.0:2.0.0" as a file's name: "1.0.0--2.0.0.tap". */
static char *item_file(const char *key)
{
	char *name = malloc(2 * strlen(key) + sizeof(".tap")), *p = name;

	if (!name)
		return NULL;
	for (; *key; key++) {
		bool plain = isalnum((unsigned char)*key) || strchr("._+-", *key);

		*p++ = (char)(*key == ':' ? '-' : plain ? *key : '_');
		if (*key == ':')
			*p++ = '-';
	}
	memcpy(p, ".tap", sizeof(".tap"));
	return name;
}

static int write_file(const char *path, const char *text, size_t size, struct err *e)
{
	char *aside = NULL;
	FILE *out;
	bool ok;

	if (asprintf(&aside, "%s.new", path) < 0)
		return err_set(e, ERR_NOMEM, "%s: out of memory", path);
	out = fopen(aside, "we");
	ok = out && fwrite(text, 1, size, out) == size;
	if (out && fclose(out) != 0)
		ok = false;
	if (ok && rename(aside, path) == 0) {
		free(aside);
		return 0;
	}
	err_errno(e, ERR_IO, errno, "%s", path);
	unlink(aside);
	free(aside);
	return -(int)e->code;
}

static int open_reports(struct feed *f, json_t *keys, int tap_version, struct err *e)
{
	const char *key = NULL;
	void *iter = json_object_iter(keys);

	f->reports = calloc(json_object_size(keys) + 1, sizeof(*f->reports));
	f->bufs = calloc(json_object_size(keys) + 1, sizeof(*f->bufs));
	f->sizes = calloc(json_object_size(keys) + 1, sizeof(*f->sizes));
	f->files = calloc(json_object_size(keys) + 1, sizeof(*f->files));
	if (!f->reports || !f->bufs || !f->sizes || !f->files)
		return err_set(e, ERR_NOMEM, "report: out of memory");
	/* the first is the whole run's */
	for (;;) {
		size_t i = f->count;
		struct report_options o = {.item = key, .tap_version = tap_version};

		o.out = f->files[i] = open_memstream(&f->bufs[i], &f->sizes[i]);
		f->reports[i] = o.out ? tap_create(&o) : NULL;
		f->count++;
		if (!f->reports[i])
			return err_set(e, ERR_NOMEM, "report: out of memory");
		if (!iter)
			return 0;
		key = json_object_iter_key(iter);
		iter = json_object_iter_next(keys, iter);
	}
}

static int write_reports(struct feed *f, json_t *keys, const char *run_dir, struct err *e)
{
	void *iter = json_object_iter(keys);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < f->count; i++) {
		char *path = NULL, *name = i ? item_file(json_object_iter_key(iter)) : NULL;
		int n = asprintf(&path, "%s/%s%s", run_dir, i ? "transitions/" : tap_format.file,
			name ? name : "");

		rc = n < 0 || (i && !name) ? err_set(e, ERR_NOMEM, "report: out of memory")
					   : write_file(path, f->bufs[i], f->sizes[i], e);
		if (i)
			iter = json_object_iter_next(keys, iter);
		if (n >= 0)
			free(path);
		free(name);
	}
	return rc;
}

static void close_reports(struct feed *f)
{
	for (size_t i = 0; i < f->count; i++) {
		tap_destroy(f->reports[i]);
		if (f->files[i])
			fclose(f->files[i]);
		free(f->bufs[i]);
	}
	free(f->reports);
	free(f->bufs);
	free(f->sizes);
	free(f->files);
}

static int make_folder(const char *run_dir, struct err *e)
{
	char *path = NULL;
	int rc = 0;

	if (asprintf(&path, "%s/transitions", run_dir) < 0)
		return err_set(e, ERR_NOMEM, "report: out of memory");
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		rc = err_errno(e, ERR_IO, errno, "%s", path);
	free(path);
	return rc;
}

int report_write_all(const char *run_dir, int tap_version, struct err *e)
{
	struct feed f = {0};
	json_t *keys = json_object();
	char *journal = NULL;
	int rc;

	if (!keys || asprintf(&journal, "%s/%s", run_dir, JOURNAL_FILE) < 0) {
		json_decref(keys);
		return err_set(e, ERR_NOMEM, "report: out of memory");
	}
	/* damage shows up again, and is reported, when the reports are fed */
	rc = journal_read(journal, 1, keep_plan, keys, NULL, e);
	if (rc == 1 || rc == -ERR_PROTOCOL)
		rc = 0;
	if (rc == 0)
		rc = open_reports(&f, keys, tap_version, e);
	if (rc == 0)
		rc = feed_journal(&f, journal, e);
	if (rc == 0 && json_object_size(keys) > 0)
		rc = make_folder(run_dir, e);
	if (rc == 0)
		rc = write_reports(&f, keys, run_dir, e);
	close_reports(&f);
	json_decref(keys);
	free(journal);
	return rc;
}
