#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct spawned {
	uv_process_t process;
	void (*exited)(void *arg, int64_t status, int signal);
	void *arg;
	bool ended;
	bool owned; /* its owner frees it, not its end */
};

static void free_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void child_exited(uv_process_t *process, int64_t status, int signal)
{
	struct spawned *child = process->data;

	child->ended = true;
	if (!child->owned)
		uv_close((uv_handle_t *)process, free_closed);
	if (child->exited)
		child->exited(child->arg, status, signal);
}

static char **make_argv(const struct spawn_spec *spec)
{
	size_t n = 0;
	char **argv;

	while (spec->args && spec->args[n])
		n++;
	argv = calloc(n + 2, sizeof(*argv));
	if (!argv)
		return NULL;
	/* execve() takes char *const[] for history's sake; it does not write there */
	argv[0] = (char *)(uintptr_t)spec->program;
	for (size_t i = 0; i < n; i++)
		argv[i + 1] = (char *)(uintptr_t)spec->args[i];
	return argv;
}

static int start(uv_loop_t *loop, const struct spawn_spec *spec, struct spawned *child, int null_fd,
	int log_fd, struct err *e)
{
	uv_stdio_container_t stdio[SPAWN_FD + 1] = {
		{.flags = UV_INHERIT_FD, .data.fd = null_fd},
		{.flags = UV_INHERIT_FD, .data.fd = log_fd >= 0 ? log_fd : STDOUT_FILENO},
		{.flags = UV_INHERIT_FD, .data.fd = log_fd >= 0 ? log_fd : STDERR_FILENO},
		{.flags = spec->fd >= 0 ? UV_INHERIT_FD : UV_IGNORE, .data.fd = spec->fd},
	};
	uv_process_options_t options = {
		.exit_cb = child_exited,
		.file = spec->program,
		.args = make_argv(spec),
		.cwd = spec->cwd,
		.flags = spec->own_session ? UV_PROCESS_DETACHED : 0,
		.stdio_count = spec->fd >= 0 ? SPAWN_FD + 1 : SPAWN_FD,
		.stdio = stdio,
	};
	int n;

	if (!options.args)
		return err_set(e, ERR_NOMEM, "out of memory");
	n = uv_spawn(loop, &child->process, &options);
	free(options.args);
	if (n == 0)
		return 0;
	return err_set(e, ERR_BENCH, "cannot start %s: %s", spec->program, uv_strerror(n));
}

int spawn_start(uv_loop_t *loop, const struct spawn_spec *spec, struct spawned **out, struct err *e)
{
	struct spawned *child = calloc(1, sizeof(*child));
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC), log_fd = -1, code = 0;

	if (out)
		*out = NULL;
	if (!child)
		code = err_set(e, ERR_NOMEM, "out of memory");
	else if (null_fd < 0)
		code = err_errno(e, ERR_IO, errno, "/dev/null");
	if (!code && spec->log_path) {
		log_fd = open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (log_fd < 0)
			code = err_errno(e, ERR_IO, errno, "%s", spec->log_path);
	}
	if (code) {
		free(child);
	} else {
		child->process.data = child;
		child->exited = spec->exited;
		child->arg = spec->arg;
		child->owned = out != NULL;
		code = start(loop, spec, child, null_fd, log_fd, e);
		if (code)
			uv_close((uv_handle_t *)&child->process, free_closed);
		else if (!out)
			uv_unref((uv_handle_t *)&child->process);
		if (!code && out)
			*out = child;
	}
	if (null_fd >= 0)
		close(null_fd);
	if (log_fd >= 0)
		close(log_fd);
	if (spec->fd >= 0)
		close(spec->fd);
	return code;
}

pid_t spawn_pid(const struct spawned *child)
{
	return child->ended ? 0 : child->process.pid;
}

void spawn_destroy(struct spawned *child)
{
	if (!child)
		return;
	child->exited = NULL;
	uv_close((uv_handle_t *)&child->process, free_closed);
}

static bool runnable_in(const char *dir, size_t dir_len, const char *name, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%.*s/%s", (int)dir_len, dir, name);

	return n > 0 && (size_t)n < size && access(buf, X_OK) == 0;
}

int program_path(const char *name, char *buf, size_t size, struct err *e)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *path = getenv("PATH");

	if (n > 0) {
		self[n] = '\0';
		for (int up = 0; up < 2; up++) {
			char *slash = strrchr(self, '/');

			if (!slash)
				break;
			*slash = '\0';
			if (runnable_in(self, strlen(self), name, buf, size))
				return 0;
		}
	}
	while (path && *path) {
		size_t len = strcspn(path, ":");

		if (len && runnable_in(path, len, name, buf, size))
			return 0;
		path += len + (path[len] == ':');
	}
	return err_set(e, ERR_BENCH, "%s is neither beside this program nor on PATH", name);
}
