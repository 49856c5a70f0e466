#include "journal.h"

#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct journal {
	int fd;
	char *path;
	uint64_t seq;
	off_t size_bytes;  /* up to here the file holds whole records */
	struct err broken; /* of the write that failed; nothing is written after it */
	char *last;        /* the text of the last record */
};

struct journal_reader {
	int fd;
	char *path;
	uint64_t from_seq, seq;
	char *buf; /* buf[start .. end) was read and not yet consumed */
	size_t start, end, cap;
	off_t consumed_bytes; /* of the file, as whole lines */
};

static const char *const own_fields[] = {"seq", "t_mono_ns", "t_wall", "kind", "board", "trial"};

/* --- writing ------------------------------------------------------------------------------ */

static int lock_for_writing(struct journal *j, struct err *e)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(j->fd, F_OFD_SETLK, &fl) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return err_set(e, ERR_BUSY, "journal %s: another process writes it", j->path);
	return err_errno(e, ERR_IO, errno, "journal %s: lock", j->path);
}

static struct journal *open_for_writing(const char *path, int flags, struct err *e)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (!j || !(j->path = strdup(path))) {
		free(j);
		err_set(e, ERR_NOMEM, "journal %s: out of memory", path);
		return NULL;
	}
	j->fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | flags, 0644);
	if (j->fd < 0)
		err_errno(e, ERR_IO, errno, "journal %s", path);
	else if (lock_for_writing(j, e) == 0)
		return j;
	journal_destroy(j);
	return NULL;
}

struct journal *journal_create(const char *path, struct err *e)
{
	return open_for_writing(path, O_CREAT | O_EXCL, e);
}

static int find_end(struct journal *j, struct err *e)
{
	struct journal_reader *r = journal_reader_create(j->path, 1, e);
	json_t *record;
	int rc;

	if (!r)
		return -(int)e->code;
	while ((rc = journal_reader_next(r, &record, e)) > 0)
		json_decref(record);
	j->seq = r->seq;
	j->size_bytes = r->consumed_bytes;
	journal_reader_destroy(r);
	return rc;
}

struct journal *journal_resume(const char *path, struct err *e)
{
	struct journal *j = open_for_writing(path, 0, e);

	if (!j)
		return NULL;
	if (find_end(j, e) == 0) {
		if (ftruncate(j->fd, j->size_bytes) == 0)
			return j;
		err_errno(e, ERR_IO, errno, "journal %s: cut off the line that stops short", path);
	}
	journal_destroy(j);
	return NULL;
}

static void format_wall(char *text, size_t size)
{
	struct timespec now;
	struct tm tm;
	char seconds[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, size, "%s.%03dZ", seconds, (int)(now.tv_nsec / 1000000));
}

static json_t *make_record(const struct journal *j, const char *kind, const char *board,
	const char *trial, json_t *fields)
{
	struct timespec mono;
	char wall[48];
	json_int_t seq = (json_int_t)j->seq + 1;
	json_t *record;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	format_wall(wall, sizeof(wall));
	record = json_pack("{sI sI ss ss ss? ss?}", "seq", seq, "t_mono_ns",
		(json_int_t)mono.tv_sec * 1000000000 + mono.tv_nsec, "t_wall", wall, "kind", kind,
		"board", board, "trial", trial);
	if (record && fields && json_object_update(record, fields)) {
		json_decref(record);
		return NULL;
	}
	return record;
}

static int append(struct journal *j, const char *line, size_t len, struct err *e)
{
	ssize_t n;

	do
		n = write(j->fd, line, len);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)len) {
		j->size_bytes += n;
		return 0;
	}
	if (n >= 0)
		errno = ENOSPC; /* a file takes less than it is given only when it is full */
	err_errno(&j->broken, ERR_IO, errno, "journal %s: record %ju is not written", j->path,
		(uintmax_t)(j->seq + 1));
	/*
	 * What was written of the line has no line end, so it reads as no record even when it
	 * cannot be cut off.
	 */
	if (ftruncate(j->fd, j->size_bytes) != 0)
		err_prefix(&j->broken, "half a line stays at the end");
	*e = j->broken;
	return -(int)e->code;
}

static int write_record(struct journal *j, json_t *record, struct err *e)
{
	char *line = json_dumps(record, JSON_COMPACT);
	size_t len = line ? strlen(line) : 0;
	int rc;

	if (!line)
		return err_set(
			e, ERR_NOMEM, "journal %s: a record cannot be written as JSON", j->path);
	line[len] = '\n'; /* instead of the end of the string */
	rc = append(j, line, len + 1, e);
	if (rc) {
		free(line);
		return rc;
	}
	line[len] = '\0';
	free(j->last);
	j->last = line;
	j->seq++;
	return 0;
}

int journal_write(struct journal *j, const char *kind, const char *board, const char *trial,
	json_t *fields, struct err *e)
{
	json_t *record = NULL;
	int rc = 0;

	if (j->broken.code) {
		*e = j->broken;
		rc = -(int)e->code;
	}
	for (size_t i = 0; rc == 0 && i < sizeof(own_fields) / sizeof(*own_fields); i++)
		if (json_object_get(fields, own_fields[i]))
			rc = err_set(e, ERR_USAGE, "journal: a record of kind %s brings its own %s",
				kind, own_fields[i]);
	if (rc == 0) {
		record = make_record(j, kind, board, trial, fields);
		rc = record ? write_record(j, record, e)
			    : err_set(e, ERR_NOMEM, "journal %s: out of memory", j->path);
	}
	json_decref(record);
	json_decref(fields);
	return rc;
}

int journal_sync(struct journal *j, struct err *e)
{
	if (fdatasync(j->fd) != 0)
		return err_errno(e, ERR_IO, errno, "journal %s: not on the disk", j->path);
	return 0;
}

uint64_t journal_seq(const struct journal *j)
{
	return j->seq;
}

const char *journal_last(const struct journal *j)
{
	return j->last;
}

void journal_destroy(struct journal *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		close(j->fd);
	free(j->path);
	free(j->last);
	free(j);
}

/* --- reading ------------------------------------------------------------------------------ */

struct journal_reader *journal_reader_create(const char *path, uint64_t from_seq, struct err *e)
{
	struct journal_reader *r = calloc(1, sizeof(*r));

	if (!r || !(r->path = strdup(path))) {
		free(r);
		err_set(e, ERR_NOMEM, "journal %s: out of memory", path);
		return NULL;
	}
	r->from_seq = from_seq;
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (r->fd >= 0)
		return r;
	err_errno(e, ERR_IO, errno, "journal %s", path);
	journal_reader_destroy(r);
	return NULL;
}

/* Reads more of the file behind what is there. 1, 0 at the file's end, or negative. */
static int fill(struct journal_reader *r, struct err *e)
{
	ssize_t n;

	if (r->start > 0) {
		memmove(r->buf, r->buf + r->start, r->end - r->start);
		r->end -= r->start;
		r->start = 0;
	}
	if (r->end == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 65536;
		char *buf = realloc(r->buf, cap);

		if (!buf)
			return err_set(e, ERR_NOMEM, "journal %s: out of memory", r->path);
		r->buf = buf;
		r->cap = cap;
	}
	n = read(r->fd, r->buf + r->end, r->cap - r->end);
	if (n < 0)
		return err_errno(e, ERR_IO, errno, "journal %s", r->path);
	r->end += (size_t)n;
	return n > 0;
}

/* The next whole line, without its end, borrowed from the buffer. As fill(). */
static int next_line(struct journal_reader *r, const char **line, size_t *len, struct err *e)
{
	size_t searched = 0;

	for (;;) {
		char *from = r->buf + r->start + searched;
		size_t left = r->end - r->start - searched;
		char *nl = left ? memchr(from, '\n', left) : NULL;
		int rc;

		if (nl) {
			*line = r->buf + r->start;
			*len = (size_t)(nl - *line);
			r->start += *len + 1;
			r->consumed_bytes += (off_t)*len + 1;
			return 1;
		}
		searched = r->end - r->start;
		rc = fill(r, e);
		if (rc <= 0)
			return rc;
	}
}

static json_t *parse_record(struct journal_reader *r, const char *line, size_t len, struct err *e)
{
	json_error_t je;
	json_t *record = json_loadb(line, len, JSON_REJECT_DUPLICATES, &je);
	uintmax_t number = r->seq + 1; /* of the line, and what seq must be */
	const char *kind;
	json_int_t seq;

	if (!record) {
		err_set(e, ERR_PROTOCOL, "%s:%ju: no JSON: %s", r->path, number, je.text);
		return NULL;
	}
	if (json_unpack_ex(record, &je, 0, "{sI ss}", "seq", &seq, "kind", &kind) != 0)
		err_set(e, ERR_PROTOCOL, "%s:%ju: no record: %s", r->path, number, je.text);
	else if (seq < 0 || (uintmax_t)seq != number)
		err_set(e, ERR_PROTOCOL, "%s:%ju: a gap: the record's seq is %jd", r->path, number,
			(intmax_t)seq);
	else
		return record;
	json_decref(record);
	return NULL;
}

int journal_reader_next(struct journal_reader *r, json_t **record, struct err *e)
{
	const char *line;
	size_t len;
	int rc;

	while ((rc = next_line(r, &line, &len, e)) > 0) {
		*record = parse_record(r, line, len, e);
		if (!*record)
			return -(int)e->code;
		r->seq++;
		if (r->seq >= r->from_seq)
			return 1;
		json_decref(*record);
	}
	return rc;
}

bool journal_reader_incomplete(const struct journal_reader *r)
{
	return r->end > r->start;
}

void journal_reader_destroy(struct journal_reader *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	free(r->buf);
	free(r->path);
	free(r);
}

int journal_read(const char *path, uint64_t from_seq,
	int (*fn)(void *arg, json_t *record, struct err *e), void *arg, bool *incomplete,
	struct err *e)
{
	struct journal_reader *r = journal_reader_create(path, from_seq, e);
	json_t *record;
	int rc;

	if (!r)
		return -(int)e->code;
	while ((rc = journal_reader_next(r, &record, e)) > 0) {
		rc = fn(arg, record, e);
		json_decref(record);
		if (rc != 0)
			break;
	}
	if (incomplete)
		*incomplete = rc == 0 && journal_reader_incomplete(r);
	journal_reader_destroy(r);
	return rc;
}

bool journal_is_live(const char *path)
{
	struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool live;

	if (fd < 0)
		return false;
	live = fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
	close(fd);
	return live;
}
