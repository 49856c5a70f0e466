#include "file.h"

#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads until the end of the file, which may differ from what stat said. */
static int read_all(int fd, const char *path, size_t size, size_t limit_bytes, char **data,
	size_t *len, struct err *e)
{
	size_t room = size + 2, have = 0; /* one byte to see the end, one for the 0 */
	char *buf = malloc(room);

	while (buf) {
		ssize_t n = read(fd, buf + have, room - 1 - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(buf);
			return err_errno(e, ERR_IO, errno, "%s", path);
		}
		have += (size_t)n;
		if (have > limit_bytes) {
			free(buf);
			return err_set(e, ERR_IO, "%s: larger than %zu bytes", path, limit_bytes);
		}
		if (n == 0) {
			buf[have] = '\0';
			*data = buf;
			*len = have;
			return 0;
		}
		if (have == room - 1) {
			char *grown = realloc(buf, room * 2);

			if (!grown)
				free(buf);
			buf = grown;
			room *= 2;
		}
	}
	return err_set(e, ERR_NOMEM, "%s: out of memory", path);
}

int file_read(const char *path, size_t limit_bytes, char **data, size_t *len, struct err *e)
{
	/* O_NONBLOCK: a FIFO by that name must not stop the loop */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int code;

	if (fd < 0)
		return err_errno(e, ERR_IO, errno, "%s", path);
	if (fstat(fd, &st) != 0)
		code = err_errno(e, ERR_IO, errno, "%s", path);
	else if (!S_ISREG(st.st_mode))
		code = err_set(e, ERR_IO, "%s: not a regular file", path);
	else if ((uintmax_t)st.st_size > limit_bytes)
		code = err_set(e, ERR_IO, "%s: larger than %zu bytes", path, limit_bytes);
	else
		code = read_all(fd, path, (size_t)st.st_size, limit_bytes, data, len, e);
	close(fd);
	return code;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_write(const char *path, const void *data, size_t len, struct err *e)
{
	int fd, code = 0;
	char *tmp;

	if (asprintf(&tmp, "%s.%ld.tmp", path, (long)getpid()) < 0)
		return err_set(e, ERR_NOMEM, "%s: out of memory", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		code = err_errno(e, ERR_IO, errno, "%s", tmp);
		free(tmp);
		return code;
	}
	if (write_all(fd, data, len) != 0)
		code = err_errno(e, ERR_IO, errno, "%s", path);
	if (close(fd) != 0 && !code)
		code = err_errno(e, ERR_IO, errno, "%s", path);
	if (!code && rename(tmp, path) != 0)
		code = err_errno(e, ERR_IO, errno, "%s", path);
	if (code)
		unlink(tmp);
	free(tmp);
	return code;
}
