#include "evidence.h"

#include "digest.h"
#include "err.h"
#include "file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_LEN_MAX 200 /* of a folder; a file's name may have 255 */

/* A key as a folder's name: "1.0.0:2.0.0" as "1.0.0--2.0.0". */
static int folder_name(char name[NAME_LEN_MAX + 1], const char *key, struct err *e)
{
	size_t n = 0;

	if (!*key || *key == '.')
		return err_set(e, ERR_USAGE, "evidence: \"%.100s\" is no name for a folder", key);
	for (const char *c = key; *c; c++) {
		if (n + 2 > NAME_LEN_MAX)
			return err_set(
				e, ERR_USAGE, "evidence: the name is too long: %.100s…", key);
		if (*c == ':')
			name[n++] = '-';
		name[n++] = isalnum((unsigned char)*c) || strchr("._+=,-", *c) ? *c
			    : *c == ':'                                        ? '-'
									       : '_';
	}
	name[n] = '\0';
	return 0;
}

static int make_folder(const char *path, struct err *e)
{
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return err_errno(e, ERR_IO, errno, "%s", path);
	return 0;
}

int evidence_create(
	char rel[PATH_MAX], const char *run_dir, const char *item, const char *trial, struct err *e)
{
	char item_name[NAME_LEN_MAX + 1], trial_name[NAME_LEN_MAX + 1], path[PATH_MAX];
	int code = folder_name(item_name, item, e);

	if (code == 0)
		code = folder_name(trial_name, trial, e);
	for (int depth = 0; code == 0 && depth < 3; depth++) {
		snprintf(rel, PATH_MAX, "evidence%s%s%s%s", depth > 0 ? "/" : "",
			depth > 0 ? item_name : "", depth > 1 ? "/" : "",
			depth > 1 ? trial_name : "");
		if (snprintf(path, sizeof(path), "%s/%s", run_dir, rel) >= (int)sizeof(path))
			code = err_set(e, ERR_USAGE, "%s: the path is too long", run_dir);
		else
			code = make_folder(path, e);
	}
	return code;
}

static int path_of(
	char path[PATH_MAX], const char *run_dir, const char *rel, const char *name, struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s/%s", run_dir, rel, name) >= PATH_MAX)
		return err_set(e, ERR_USAGE, "%s: the path is too long", run_dir);
	return 0;
}

int evidence_copy(const char *run_dir, const char *rel, const char *name, const char *path,
	uint64_t from, uint64_t limit, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), code;
	struct stat st;
	char to[PATH_MAX], *data = NULL;
	size_t size, got = 0;
	ssize_t n = 0;

	if (fd < 0 || fstat(fd, &st) != 0) {
		code = err_errno(e, ERR_IO, errno, "%s", path);
		if (fd >= 0)
			close(fd);
		return code;
	}
	from = from < (uint64_t)st.st_size ? from : (uint64_t)st.st_size;
	if (limit && (uint64_t)st.st_size - from > limit)
		from = (uint64_t)st.st_size - limit;
	size = (size_t)((uint64_t)st.st_size - from);
	data = malloc(size + 1);
	while (data && got < size &&
		(n = pread(fd, data + got, size - got, (off_t)(from + got))) > 0)
		got += (size_t)n;
	if (!data)
		code = err_set(e, ERR_NOMEM, "%s: out of memory", path);
	else if (n < 0)
		code = err_errno(e, ERR_IO, errno, "%s", path);
	else
		code = path_of(to, run_dir, rel, name, e);
	close(fd);
	if (code == 0)
		code = file_write(to, data, got, e);
	free(data);
	return code;
}

int evidence_write(
	const char *run_dir, const char *rel, const char *name, const char *text, struct err *e)
{
	char path[PATH_MAX];
	int code = path_of(path, run_dir, rel, name, e);

	return code ? code : file_write(path, text, strlen(text), e);
}

/* {name: SHA-256} of what lies in the folder; what cannot be read is null. */
static json_t *hashes(const char *folder)
{
	json_t *files = json_object();
	DIR *dir = opendir(folder);
	struct dirent *entry;
	struct err e;

	while (dir && (entry = readdir(dir))) {
		char path[PATH_MAX], hex[DIGEST_HEX_SIZE];

		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "trial.json") == 0 ||
			snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >=
				(int)sizeof(path))
			continue;
		json_object_set_new(files, entry->d_name,
			digest_file(path, hex, &e) ? json_null() : json_string(hex));
	}
	if (dir)
		closedir(dir);
	return files;
}

int evidence_describe(const char *run_dir, const char *rel, const json_t *record,
	const char *replay, struct err *e)
{
	json_t *whole = json_deep_copy(record);
	char folder[PATH_MAX], *text = NULL, *line = NULL;
	int code = 0;

	if (snprintf(folder, sizeof(folder), "%s/%s", run_dir, rel) >= (int)sizeof(folder))
		code = err_set(e, ERR_USAGE, "%s: the path is too long", run_dir);
	if (code == 0 && replay && asprintf(&line, "%s\n", replay) >= 0) {
		code = evidence_write(run_dir, rel, "replay.txt", line, e);
		free(line);
	}
	if (code == 0) {
		json_object_set_new(whole, "files", hashes(folder));
		text = json_dumps(whole, JSON_INDENT(2) | JSON_SORT_KEYS);
		code = text ? evidence_write(run_dir, rel, "trial.json", text, e)
			    : err_set(e, ERR_NOMEM, "out of memory");
	}
	free(text);
	json_decref(whole);
	return code;
}
