#include "traces.h"

#include "digest.h"
#include "err.h"
#include "file.h"
#include "oplog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER ".traces"
#define ABOUT_MAX ((size_t)16 << 20) /* bytes of a .json */
#define LEFT_OVER_S 3600             /* after that nobody writes a temporary file any more */

#define PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-"

/* --- names ------------------------------------------------------------------------------------ */

/* A trace's own name in its folder: the key, each ":" as "--". */
struct stem {
	char text[2 * TRACES_NAME_MAX + 1];
};

static int check_name(const char *what, const char *name, const char *chars, struct err *e)
{
	size_t len = strlen(name);

	if (len > 0 && len <= TRACES_NAME_MAX && name[0] != '.' && strspn(name, chars) == len)
		return 0;
	return err_set(e, ERR_USAGE, "%s \"%.150s\" cannot name a trace", what, name);
}

static int check_names(const char *board_type, const char *key, struct err *e)
{
	int code = check_name("board type", board_type, PLAIN, e);

	return code ? code : check_name("key", key, PLAIN ":", e);
}

static struct stem stem_of(const char *key)
{
	struct stem stem = {.text = ""};
	size_t to = 0;

	for (; *key; key++) {
		if (*key == ':')
			stem.text[to++] = '-';
		stem.text[to++] = *key == ':' ? '-' : *key;
	}
	return stem;
}

/* NULL: out of memory, as *e says too. */
static char *join(const char *folder, const char *name, const char *ending, struct err *e)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s%s", folder, name, ending) >= 0)
		return path;
	err_set(e, ERR_NOMEM, "%s/%s%s: out of memory", folder, name, ending);
	return NULL;
}

/* The two files of a trace. */
struct files {
	char *trace, *about;
};

static void files_finish(struct files *files)
{
	free(files->trace);
	free(files->about);
	*files = (struct files){NULL, NULL};
}

static int files_init(struct files *files, const char *folder, const char *stem, struct err *e)
{
	files->trace = join(folder, stem, ".trace", e);
	files->about = files->trace ? join(folder, stem, ".json", e) : NULL;
	if (files->about)
		return 0;
	files_finish(files);
	return -ERR_NOMEM;
}

/* --- bounds ----------------------------------------------------------------------------------- */

struct kept {
	char stem[2 * TRACES_NAME_MAX + 1];
	struct timespec saved;
};

static bool ends(const char *name, const char *ending)
{
	size_t len = strlen(name), n = strlen(ending);

	return len > n && strcmp(name + len - n, ending) == 0;
}

/* The longest ago first; at one time by name, so that the order is one. */
static int by_age(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	if (x->saved.tv_sec != y->saved.tv_sec)
		return x->saved.tv_sec < y->saved.tv_sec ? -1 : 1;
	if (x->saved.tv_nsec != y->saved.tv_nsec)
		return x->saved.tv_nsec < y->saved.tv_nsec ? -1 : 1;
	return strcmp(x->stem, y->stem);
}

/* What a process left behind that was killed while it wrote. */
static void remove_left_over(int dir, const char *name, const struct stat *st)
{
	if (ends(name, ".tmp") && time(NULL) - st->st_mtime > LEFT_OVER_S)
		unlinkat(dir, name, 0);
}

/* Lists the traces of an open folder but the one named; *kept is the caller's to free. */
static int list_kept(DIR *dir, const char *but, struct kept **kept, size_t *count, struct err *e)
{
	struct kept *list = NULL;
	struct dirent *entry;
	size_t n = 0, room = 0;
	struct stat st;

	while ((entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		remove_left_over(dirfd(dir), entry->d_name, &st);
		if (!ends(entry->d_name, ".trace") || len - 6 >= sizeof(list->stem))
			continue;
		if (n == room) {
			struct kept *grown = realloc(list, (room += 256) * sizeof(*list));

			if (!grown) {
				free(list);
				return err_set(e, ERR_NOMEM, "traces: out of memory");
			}
			list = grown;
		}
		snprintf(list[n].stem, sizeof(list[n].stem), "%.*s", (int)(len - 6), entry->d_name);
		list[n].saved = st.st_mtim;
		n += strcmp(list[n].stem, but) != 0;
	}
	*kept = list;
	*count = n;
	return 0;
}

static void remove_one(int dir, const char *stem)
{
	char name[2 * TRACES_NAME_MAX + sizeof(".trace")];

	/* in this order: a trace that nothing is known of still counts, and goes the next time */
	snprintf(name, sizeof(name), "%s.json", stem);
	unlinkat(dir, name, 0);
	snprintf(name, sizeof(name), "%s.trace", stem);
	unlinkat(dir, name, 0);
}

/* Removes the oldest, so that with the one named there are at most TRACES_MAX. */
static int remove_oldest(const char *folder, const char *but, struct err *e)
{
	DIR *dir = opendir(folder);
	struct kept *kept = NULL;
	size_t count = 0;
	int code;

	if (!dir)
		return err_errno(e, ERR_IO, errno, "%s", folder);
	code = list_kept(dir, but, &kept, &count, e);
	if (count)
		qsort(kept, count, sizeof(*kept), by_age);
	for (size_t i = 0; i + TRACES_MAX < count + 1; i++)
		remove_one(dirfd(dir), kept[i].stem);
	free(kept);
	closedir(dir);
	return code;
}

/* --- saving ----------------------------------------------------------------------------------- */

static int make_folder(const char *path, struct err *e)
{
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return 0;
	return err_errno(e, ERR_IO, errno, "%s", path);
}

/* Makes the folder of a board type; *folder is the caller's to free. */
static int make_folders(const char *state_dir, const char *board_type, char **folder, struct err *e)
{
	char *all = join(state_dir, FOLDER, "", e);
	int code = -ERR_NOMEM;

	*folder = all ? join(all, board_type, "", e) : NULL;
	if (*folder) {
		code = make_folder(all, e);
		if (!code)
			code = make_folder(*folder, e);
	}
	free(all);
	return code;
}

static int copy_file(const char *from, const char *to, struct err *e)
{
	char *data = NULL;
	size_t len = 0;
	int code = file_read(from, OPLOG_FILE_MAX, &data, &len, e);

	if (!code)
		code = file_write(to, data, len, e);
	free(data);
	return code;
}

/*
 * The digest binds the two files, which cannot be replaced at one stroke: of what two processes
 * save at once, or one that is killed between them, nothing is found that does not belong together.
 */
static int write_about(const char *path, const char *key, const char *identity, const char *digest,
	const json_t *meta, struct err *e)
{
	json_t *about = json_pack("{s:s, s:s, s:s, s:O?}", "key", key, "identity", identity,
		"sha256", digest, "meta", meta);
	char *text = about ? json_dumps(about, JSON_INDENT(1)) : NULL;
	int code = text ? file_write(path, text, strlen(text), e)
			: err_set(e, ERR_USAGE, "%s: identity is no text in UTF-8", path);

	free(text);
	json_decref(about);
	return code;
}

static int save(const struct files *files, const char *key, const char *identity, const char *path,
	const json_t *meta, struct err *e)
{
	char digest[DIGEST_HEX_SIZE];
	int code = digest_file(path, digest, e);

	if (!code)
		code = copy_file(path, files->trace, e);
	if (!code)
		code = write_about(files->about, key, identity, digest, meta, e);
	return code;
}

int traces_save(const char *state_dir, const char *board_type, const char *key,
	const char *identity, const char *path, const json_t *meta, struct err *e)
{
	struct files files = {NULL, NULL};
	char *folder = NULL;
	struct stem stem;
	int code = check_names(board_type, key, e);

	if (code)
		return code;
	stem = stem_of(key);
	code = make_folders(state_dir, board_type, &folder, e);
	if (!code)
		code = files_init(&files, folder, stem.text, e);
	if (!code)
		code = save(&files, key, identity, path, meta, e);
	if (!code)
		code = remove_oldest(folder, stem.text, e);
	files_finish(&files);
	free(folder);
	return code;
}

/* --- finding ---------------------------------------------------------------------------------- */

static bool says(const json_t *about, const char *field, const char *text)
{
	const char *value = json_string_value(json_object_get(about, field));

	return value && strcmp(value, text) == 0;
}

static int missing(struct err *e, const char *key, const char *why)
{
	return err_set(e, ERR_USAGE, "no trace of %s: %s", key, why);
}

/* Reads what is known of a trace and holds it against the trace itself. */
static int check_about(const struct files *files, const char *key, const char *identity,
	json_t **about, struct err *e)
{
	char digest[DIGEST_HEX_SIZE], *text = NULL;
	size_t len = 0;
	int code;

	if (access(files->about, F_OK) != 0)
		return missing(e, key, "none was kept");
	code = file_read(files->about, ABOUT_MAX, &text, &len, e);
	if (code == -ERR_NOMEM)
		return code;
	if (code)
		return missing(e, key, "what was kept cannot be read");
	*about = json_loadb(text, len, 0, NULL);
	free(text);
	if (!says(*about, "key", key))
		return missing(e, key, "what was kept is damaged, or is another's");
	if (!says(*about, "identity", identity))
		return missing(e, key,
			"the one that was kept is of other images, or of a board that is traced another way");
	if (digest_file(files->trace, digest, e) != 0 || !says(*about, "sha256", digest))
		return missing(e, key, "what was kept is damaged");
	return 0;
}

int traces_find(const char *state_dir, const char *board_type, const char *key,
	const char *identity, char **path, json_t **meta, struct err *e)
{
	struct files files = {NULL, NULL};
	char *all, *folder = NULL;
	json_t *about = NULL;
	int code = check_names(board_type, key, e);

	*path = NULL;
	*meta = NULL;
	if (code)
		return code;
	all = join(state_dir, FOLDER, "", e);
	if (all)
		folder = join(all, board_type, "", e);
	code = folder ? files_init(&files, folder, stem_of(key).text, e) : -ERR_NOMEM;
	if (!code)
		code = check_about(&files, key, identity, &about, e);
	if (!code) {
		json_t *kept = json_object_get(about, "meta");

		*meta = kept ? json_incref(kept) : json_null();
		*path = files.trace;
		files.trace = NULL;
	}
	json_decref(about);
	files_finish(&files);
	free(folder);
	free(all);
	return code;
}
