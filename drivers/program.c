#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_MAX_BYTES 400

/* The last line of a stream that is not blank. */
struct last_line {
	char now[LINE_MAX_BYTES], whole[LINE_MAX_BYTES];
	size_t len;
};

struct program {
	pid_t pid;
	int pidfd; /* readable once it has ended; -1: it was not started */
	uv_poll_t end;
	uv_timer_t deadline;
	uv_pipe_t out, err;
	struct last_line out_line, err_line;
	unsigned handles; /* that are still to be closed */
	bool timed_out;
	void (*ended)(void *arg, const struct program_end *end);
	void *arg;
	char in[4096];
};

/* --- words ------------------------------------------------------------------------------------ */

/* One word from *text on, which is moved behind it, into word, where there is room for all of text.
 * false: a quote is not closed. */
static bool take_word(const char **text, char *word)
{
	const char *p = *text;
	char quote = '\0';

	for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
		if (quote && *p == quote)
			quote = '\0';
		else if (!quote && (*p == '\'' || *p == '"'))
			quote = *p;
		else if (*p == '\\' && quote != '\'' && p[1])
			*word++ = *++p;
		else
			*word++ = *p;
	}
	*word = '\0';
	*text = p;
	return quote == '\0';
}

char **program_words(const char *text, struct err *e)
{
	size_t size = strlen(text) + 1, n = 0;
	char **words = calloc(size / 2 + 2, sizeof(*words)), *word = malloc(size);
	const char *p = text;
	bool closed = true;

	if (!words || !word) {
		free(words);
		free(word);
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	while (closed && *(p += strspn(p, " \t\n"))) {
		closed = take_word(&p, word);
		words[n] = strdup(word);
		if (!words[n++])
			abort();
	}
	free(word);
	if (closed && n && words[0][0])
		return words;
	if (closed)
		err_set(e, ERR_CONFIG, "\"%.200s\" names no program", text);
	else
		err_set(e, ERR_CONFIG, "\"%.200s\": a quote is not closed", text);
	program_words_free(words);
	return NULL;
}

void program_words_free(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}

static int check_file(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_errno(e, ERR_BENCH, errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_BENCH, "%s is no program", path);
	if (access(path, X_OK) != 0)
		return err_set(e, ERR_BENCH,
			"%s is not executable by this user: chmod +x, or its folder's rights",
			path);
	return 0;
}

int program_check(char *const *words, struct err *e)
{
	const char *path = getenv("PATH");
	char full[4096];
	struct err tried;

	if (strchr(words[0], '/'))
		return check_file(words[0], e);
	for (; path && *path; path += strspn(path, ":")) {
		size_t len = strcspn(path, ":");
		int n = snprintf(full, sizeof(full), "%.*s/%s", (int)len, path, words[0]);

		if (n > 0 && (size_t)n < sizeof(full) && check_file(full, &tried) == 0)
			return 0;
		path += len;
	}
	return err_set(e, ERR_BENCH,
		"%.200s is not on PATH: install it, or give its whole path in rig.conf", words[0]);
}

/* --- what it says ----------------------------------------------------------------------------- */

static void line_end(struct last_line *line)
{
	line->now[line->len] = '\0';
	if (line->now[strspn(line->now, " \t")])
		memcpy(line->whole, line->now, line->len + 1);
	line->len = 0;
}

/* What cannot be shown becomes '?': it goes into messages, which are UTF-8. */
static void line_add(struct last_line *line, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = data[i];

		if (c == '\n' || c == '\r')
			line_end(line);
		else if (line->len < sizeof(line->now) - 1)
			line->now[line->len++] = (c >= ' ' && c <= '~') || c == '\t' ? c : '?';
	}
}

static void handle_closed(uv_handle_t *handle)
{
	struct program *p = handle->data;

	if (--p->handles == 0)
		free(p);
}

static void pipe_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct program *p = handle->data;

	(void)suggested;
	*buf = uv_buf_init(p->in, sizeof(p->in));
}

static struct last_line *line_of(struct program *p, const uv_stream_t *stream)
{
	return stream == (const uv_stream_t *)&p->out ? &p->out_line : &p->err_line;
}

static void pipe_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n > 0)
		line_add(line_of(stream->data, stream), buf->base, (size_t)n);
	else if (n < 0)
		uv_read_stop(stream);
}

/* What it wrote before it ended is there by now; whoever else holds the pipe is not waited for. */
static void pipe_drain(struct program *p, uv_pipe_t *pipe)
{
	struct last_line *line = line_of(p, (uv_stream_t *)pipe);
	uv_os_fd_t fd;
	ssize_t n;

	if (uv_fileno((uv_handle_t *)pipe, &fd) != 0)
		return;
	for (int i = 0; i < 64 && (n = read(fd, p->in, sizeof(p->in))) > 0; i++)
		line_add(line, p->in, (size_t)n);
	line_end(line);
}

/* --- its life --------------------------------------------------------------------------------- */

static void end_closed(uv_handle_t *handle)
{
	struct program *p = handle->data;

	close(p->pidfd);
	handle_closed(handle);
}

static void program_close(struct program *p)
{
	p->handles = 3;
	if (p->pidfd >= 0) {
		p->handles++;
		uv_close((uv_handle_t *)&p->end, end_closed);
	}
	uv_close((uv_handle_t *)&p->deadline, handle_closed);
	uv_close((uv_handle_t *)&p->out, handle_closed);
	uv_close((uv_handle_t *)&p->err, handle_closed);
}

static void program_exited(uv_poll_t *poll, int uv_status, int events)
{
	struct program *p = poll->data;
	struct program_end end;
	int status = 0;
	pid_t waited = waitpid(p->pid, &status, WNOHANG);

	(void)uv_status;
	(void)events;
	if (waited == 0)
		return;
	if (waited < 0)
		status = W_EXITCODE(127, 0); /* how it ended is not known: no success */
	pipe_drain(p, &p->out);
	pipe_drain(p, &p->err);
	end = (struct program_end){WIFEXITED(status) ? WEXITSTATUS(status) : 0,
		WIFSIGNALED(status) ? WTERMSIG(status) : 0, p->timed_out, p->out_line.whole,
		p->err_line.whole};
	program_close(p);
	if (p->ended)
		p->ended(p->arg, &end);
}

static void deadline_passed(uv_timer_t *timer)
{
	struct program *p = timer->data;

	p->timed_out = true;
	program_kill(p);
}

/* A real pipe, not a socket: programs may open /dev/stderr. The program's end goes into *theirs. */
static int make_pipe(uv_loop_t *loop, uv_pipe_t *ours, int *theirs)
{
	uv_file fds[2];
	int n = uv_pipe(fds, UV_NONBLOCK_PIPE, 0);

	uv_pipe_init(loop, ours, 0);
	*theirs = n == 0 ? fds[1] : -1;
	return n == 0 ? uv_pipe_open(ours, fds[0]) : n;
}

/*
 * posix_spawn() suspends this process until the program is there, and copies nothing of it; fork(),
 * as libuv has it, takes twice as long as the program itself when the power is to go.
 * 0, or what errno would be.
 */
static int spawn_process(struct program *p, char *const *words, const int fds[2])
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set;
	int failed;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[0], 1);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(
		&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	failed = posix_spawnp(&p->pid, words[0], &actions, &attr, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return failed;
}

/* 0, or libuv's code. */
static int spawn(uv_loop_t *loop, struct program *p, char *const *words, const int fds[2])
{
	int failed = spawn_process(p, words, fds);

	if (failed)
		return uv_translate_sys_error(failed);
	p->pidfd = pidfd_open(p->pid, 0);
	if (p->pidfd < 0) {
		failed = errno;
		kill(-p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
		return uv_translate_sys_error(failed);
	}
	uv_poll_init(loop, &p->end, p->pidfd);
	return uv_poll_start(&p->end, UV_READABLE, program_exited);
}

struct program *program_start(uv_loop_t *loop, char *const *words, unsigned timeout_ms,
	void (*ended)(void *arg, const struct program_end *end), void *arg, struct err *e)
{
	struct program *p = calloc(1, sizeof(*p));
	int fds[2], n, m, started;

	if (!p) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	p->pidfd = -1;
	uv_timer_init(loop, &p->deadline);
	n = make_pipe(loop, &p->out, &fds[0]);
	m = make_pipe(loop, &p->err, &fds[1]);
	p->end.data = p->deadline.data = p->out.data = p->err.data = p;
	started = n == 0 && m == 0 ? spawn(loop, p, words, fds) : UV_EMFILE;
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (started != 0) {
		program_close(p);
		err_set(e, ERR_BENCH, "cannot start %.200s: %s", words[0],
			uv_strerror(n   ? n
				    : m ? m
					: started));
		return NULL;
	}
	p->ended = ended;
	p->arg = arg;
	uv_read_start((uv_stream_t *)&p->out, pipe_buffer, pipe_read);
	uv_read_start((uv_stream_t *)&p->err, pipe_buffer, pipe_read);
	uv_update_time(loop);
	uv_timer_start(&p->deadline, deadline_passed, timeout_ms, 0);
	return p;
}

void program_kill(struct program *program)
{
	/* in a session of its own, it leads a group of its own */
	kill(-program->pid, SIGKILL);
}

void program_forget(struct program *program)
{
	program->ended = NULL;
}
