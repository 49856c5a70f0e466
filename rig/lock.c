#include "lock.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The text is padded to one length, so that one pwrite() replaces it whole for every reader. */
#define TEXT_BYTES 2048

struct lock {
	int fd;
	json_t *text;
	char path[PATH_MAX];
};

static const char *const state_names[] = {
	[LOCK_FREE] = "free",
	[LOCK_LEASED] = "leased",
	[LOCK_DIRTY] = "dirty",
	[LOCK_QUARANTINED] = "quarantined",
};

const char *lock_state_name(enum lock_state state)
{
	return state_names[state];
}

static bool name_is_good(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > 100 || name[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
			return false;
	return true;
}

static int make_folders(char *path, struct err *e)
{
	for (char *slash = path; slash;) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(path, 0755) != 0 && errno != EEXIST)
			return err_errno(e, ERR_IO, errno, "cannot make folder %s", path);
		if (slash)
			*slash = '/';
	}
	return 0;
}

int lock_board_dir(const char *state_dir, const char *board, bool create, char *buf, size_t size,
	struct err *e)
{
	int n;

	if (!name_is_good(board))
		return err_set(e, ERR_USAGE,
			"board name \"%.100s\": letters, digits, '-', '_' and '.' only, at most 100",
			board);
	n = snprintf(buf, size, "%s/.boards/%s", state_dir, board);
	if (n < 0 || (size_t)n >= size)
		return err_set(e, ERR_IO, "%s: the path is too long", state_dir);
	return create ? make_folders(buf, e) : 0;
}

static int file_path(const char *state_dir, const char *board, const char *name, bool create,
	char buf[PATH_MAX], struct err *e)
{
	char dir[PATH_MAX - 32];
	int code = lock_board_dir(state_dir, board, create, dir, sizeof(dir), e);

	if (!code)
		snprintf(buf, PATH_MAX, "%s/%s", dir, name);
	return code;
}

static void time_text(char buf[32])
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* The text of the lock at fd: NULL when it was never written. Text that cannot be read as JSON says
 * nothing about who held it, but a keeper wrote it: dirty. */
static json_t *text_read(int fd)
{
	char buf[TEXT_BYTES];
	ssize_t n = pread(fd, buf, sizeof(buf), 0);
	json_t *text;

	if (n == 0)
		return NULL;
	text = n > 0 ? json_loadb(buf, (size_t)n, 0, NULL) : NULL;
	if (json_is_object(text))
		return text;
	json_decref(text);
	return json_pack("{s:s}", "state", "dirty");
}

static bool text_is_dirty(const json_t *text)
{
	const char *state = json_string_value(json_object_get(text, "state"));

	return text && (!state || strcmp(state, "clean") != 0);
}

static int text_write(struct lock *lock, const char *state, struct err *e)
{
	char buf[TEXT_BYTES];
	size_t len;

	json_object_set_new(lock->text, "state", json_string(state));
	len = json_dumpb(lock->text, buf, sizeof(buf) - 1, JSON_COMPACT);
	if (len == 0 || len > sizeof(buf) - 1)
		return err_set(e, ERR_USAGE, "%s: the holder's text is too long", lock->path);
	memset(buf + len, ' ', sizeof(buf) - len - 1);
	buf[sizeof(buf) - 1] = '\n';
	if (pwrite(lock->fd, buf, sizeof(buf), 0) != (ssize_t)sizeof(buf))
		return err_errno(e, ERR_IO, errno, "%s", lock->path);
	if (fsync(lock->fd) != 0)
		return err_errno(e, ERR_IO, errno, "%s", lock->path);
	return 0;
}

static const char *field(const json_t *text, const char *name)
{
	const char *value = json_string_value(json_object_get(text, name));

	return value ? value : "?";
}

static int busy(const char *board, int fd, struct err *e)
{
	json_t *text = text_read(fd);
	const char *expires = json_string_value(json_object_get(text, "expires"));
	int code;

	code = err_set(e, ERR_BUSY, "board %s is leased by %s@%s (%s, pid %d) since %s%s%s", board,
		field(text, "user"), field(text, "host"), field(text, "what"),
		(int)json_integer_value(json_object_get(text, "pid")), field(text, "since"),
		expires ? ", until " : "", expires ? expires : "");
	json_decref(text);
	return code;
}

static int take(struct lock *lock, const char *board, const json_t *holder, const char *expires,
	json_t **left, struct err *e)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char since[32];
	json_t *before;
	int code;

	lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock->fd < 0)
		return err_errno(e, ERR_IO, errno, "%s", lock->path);
	if (fcntl(lock->fd, F_OFD_SETLK, &range) != 0) {
		if (errno == EAGAIN || errno == EACCES)
			return busy(board, lock->fd, e);
		return err_errno(e, ERR_IO, errno, "%s", lock->path);
	}
	time_text(since);
	lock->text = json_deep_copy(holder);
	if (!lock->text)
		return err_set(e, ERR_NOMEM, "out of memory");
	json_object_set_new(lock->text, "board", json_string(board));
	json_object_set_new(lock->text, "since", json_string(since));
	json_object_set_new(lock->text, "expires", expires ? json_string(expires) : json_null());
	before = text_read(lock->fd);
	code = text_write(lock, "dirty", e);
	if (code || !left || !text_is_dirty(before))
		json_decref(before);
	else
		*left = before;
	return code;
}

int lock_take(const char *state_dir, const char *board, const json_t *holder, const char *expires,
	struct lock **out, json_t **left, struct err *e)
{
	struct lock *lock = calloc(1, sizeof(*lock));
	int code;

	*out = NULL;
	if (left)
		*left = NULL;
	if (!lock)
		return err_set(e, ERR_NOMEM, "out of memory");
	lock->fd = -1;
	code = file_path(state_dir, board, "lock", true, lock->path, e);
	if (!code)
		code = take(lock, board, holder, expires, left, e);
	if (!code) {
		*out = lock;
		return 0;
	}
	if (lock->fd >= 0)
		close(lock->fd);
	json_decref(lock->text);
	free(lock);
	return code;
}

int lock_renew(struct lock *lock, const char *expires, struct err *e)
{
	json_object_set_new(lock->text, "expires", expires ? json_string(expires) : json_null());
	return text_write(lock, "dirty", e);
}

int lock_release(struct lock *lock, bool clean, struct err *e)
{
	int code;

	if (!lock)
		return 0;
	code = text_write(lock, clean ? "clean" : "dirty", e);
	close(lock->fd);
	json_decref(lock->text);
	free(lock);
	return code;
}

static int look_at_lock(const char *path, enum lock_state *state, json_t **text, struct err *e)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(path, O_RDWR | O_CLOEXEC), code = 0;
	json_t *found = NULL;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, ERR_IO, errno, "%s", path);
	if (fcntl(fd, F_OFD_GETLK, &range) != 0)
		code = err_errno(e, ERR_IO, errno, "%s", path);
	if (!code) {
		found = text_read(fd);
		if (range.l_type != F_UNLCK)
			*state = LOCK_LEASED;
		else if (text_is_dirty(found))
			*state = LOCK_DIRTY;
	}
	close(fd);
	if (text && *state != LOCK_FREE)
		*text = found;
	else
		json_decref(found);
	return code;
}

int lock_look(const char *state_dir, const char *board, enum lock_state *state, json_t **text,
	struct err *e)
{
	char path[PATH_MAX];
	int code = file_path(state_dir, board, "quarantine", false, path, e);

	*state = LOCK_FREE;
	if (text)
		*text = NULL;
	if (code)
		return code;
	if (access(path, F_OK) == 0) {
		*state = LOCK_QUARANTINED;
		if (text)
			*text = json_load_file(path, 0, NULL);
		return 0;
	}
	code = file_path(state_dir, board, "lock", false, path, e);
	return code ? code : look_at_lock(path, state, text, e);
}

/* Replaces path by text in one step that survives a loss of power. */
static int replace_file(const char *path, const char *text, struct err *e)
{
	char tmp[PATH_MAX + 16], dir[PATH_MAX];
	size_t len = strlen(text);
	int fd, folder, code = 0;

	snprintf(tmp, sizeof(tmp), "%s.new", path);
	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, ERR_IO, errno, "%s", tmp);
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) != 0)
		code = err_errno(e, ERR_IO, errno, "%s", tmp);
	close(fd);
	if (!code && rename(tmp, path) != 0)
		code = err_errno(e, ERR_IO, errno, "%s", path);
	folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder >= 0) {
		fsync(folder);
		close(folder);
	}
	return code;
}

int lock_quarantine(const char *state_dir, const char *board, const char *reason,
	const json_t *holder, struct err *e)
{
	char path[PATH_MAX], since[32];
	json_t *text;
	char *dump;
	int code = file_path(state_dir, board, "quarantine", true, path, e);

	if (code)
		return code;
	time_text(since);
	text = json_pack("{s:s, s:s, s:s, s:o}", "board", board, "since", since, "reason", reason,
		"holder", holder ? json_deep_copy(holder) : json_null());
	dump = json_dumps(text, JSON_INDENT(1));
	code = dump ? replace_file(path, dump, e) : err_set(e, ERR_NOMEM, "out of memory");
	free(dump);
	json_decref(text);
	return code;
}

int lock_clear_quarantine(const char *state_dir, const char *board, struct err *e)
{
	char path[PATH_MAX];
	int code = file_path(state_dir, board, "quarantine", false, path, e);

	if (code)
		return code;
	if (unlink(path) == 0)
		return 0;
	if (errno == ENOENT)
		return err_set(e, ERR_USAGE, "board %s is not quarantined", board);
	return err_errno(e, ERR_IO, errno, "%s", path);
}
