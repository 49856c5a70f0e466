#include "openocd_session.h"

#include "../rig/err.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_OF_SCRIPT '\x1a'
#define REPLY_MAX ((size_t)16 << 20)
#define LINES_KEPT 6
#define LINE_KEPT_MAX 160
#define NAME_MAX_BYTES 80

/*
 * Every script is run by this procedure, because OpenOCD's answer alone does not tell a result from
 * an error. 0 is success, 2 a script that ended with return.
 */
static const char prelude[] = "proc rig {script} {\n"
			      "	set code [catch {uplevel #0 $script} text]\n"
			      "	if {$code == 2} {set code 0}\n"
			      "	return \"$code $text\"\n"
			      "}\x1a";

struct script {
	struct script *next;
	char *what;
	char *text; /* as sent */
	size_t len;
	openocd_reply_fn *reply;
	void *arg;
};

struct openocd_session {
	uv_loop_t *loop;
	struct openocd_spec spec;
	int log_fd;
	/* the process */
	pid_t pid;
	int pid_fd, err_fd;
	uv_poll_t ended, err_in;
	bool dead;
	/* its standard error */
	char line[1024];
	size_t line_len;
	char lines[LINES_KEPT][LINE_KEPT_MAX]; /* since the script under way began; a ring */
	unsigned lines_count;
	unsigned gdb_port; /* 0: it has not said one */
	/* its Tcl port */
	uv_tcp_t tcp;
	uv_connect_t connecting;
	bool connected;
	char *in;
	size_t in_len, in_size;
	bool greeted; /* the prelude was answered */
	struct script *scripts, **scripts_end;
	unsigned pending;
	/* the end */
	struct err why; /* code ERR_NONE while it lives */
	bool stopping;
	uv_timer_t grace;
	void (*stopped)(void *arg);
	void *stopped_arg;
	int open_handles;
};

static void lose(struct openocd_session *s, const struct err *why);

/* --- messages --- */

static void keep_line(struct openocd_session *s, const char *line, size_t len)
{
	char *to = s->lines[s->lines_count++ % LINES_KEPT];

	if (len >= LINE_KEPT_MAX)
		len = LINE_KEPT_MAX - 1;
	memcpy(to, line, len);
	to[len] = '\0';
	for (char *c = to; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
}

/* The lines kept, joined into one: those that begin with "Error", or else all if all is set. */
static void render_lines(const struct openocd_session *s, bool all, char *buf, size_t size)
{
	unsigned first = s->lines_count > LINES_KEPT ? s->lines_count - LINES_KEPT : 0;
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = first; i < s->lines_count; i++)
		all &= strncmp(s->lines[i % LINES_KEPT], "Error", 5) != 0;
	for (unsigned i = first; i < s->lines_count && len + 4 < size; i++) {
		const char *line = s->lines[i % LINES_KEPT];
		int n;

		if (!all && strncmp(line, "Error", 5) != 0)
			continue;
		n = snprintf(buf + len, size - len, "%s%s", len ? " | " : "", line);
		len += (size_t)n < size - len ? (size_t)n : size - len - 1;
	}
}

static void write_log(struct openocd_session *s, const char *data, size_t len)
{
	/* a log that cannot be written must not stop the work */
	while (len) {
		ssize_t n = write(s->log_fd, data, len);

		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

/* --- its process --- */

int openocd_program_find(const char *program, char *path, size_t size, struct err *e)
{
	const char *dirs = getenv("PATH");

	if (strchr(program, '/')) {
		if ((size_t)snprintf(path, size, "%s", program) < size && access(path, X_OK) == 0)
			return 0;
		return err_set(e, ERR_BENCH, "%s cannot be run", program);
	}
	while (dirs && *dirs) {
		size_t len = strcspn(dirs, ":");

		if (len &&
			(size_t)snprintf(path, size, "%.*s/%s", (int)len, dirs, program) < size &&
			access(path, X_OK) == 0)
			return 0;
		dirs += len + (dirs[len] == ':');
	}
	return err_set(e, ERR_BENCH, "%s is not installed or not on PATH: apt-get install openocd",
		program);
}

/* In the child: becomes OpenOCD. */
static void become(const char *path, char *const argv[], pid_t parent, int null_fd, int err_fd)
{
	static const char failed[] = "Error: the program cannot be executed\n";
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* a session of its own: a terminal's Ctrl-C is for the command line, which ends us in turn
	 */
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(err_fd, STDOUT_FILENO) < 0 ||
		dup2(err_fd, STDERR_FILENO) < 0)
		_exit(127);
	/* a lock or a connection of ours that it kept would outlive us */
	close_range(STDERR_FILENO + 1, ~0U, 0);
	execv(path, argv);
	if (write(STDERR_FILENO, failed, sizeof(failed) - 1) < 0)
		_exit(126);
	_exit(127);
}

static char **make_argv(const struct openocd_spec *spec)
{
	size_t n = 0;
	char **argv;

	while (spec->args[n])
		n++;
	argv = calloc(n + 2, sizeof(*argv));
	if (!argv)
		return NULL;
	/* execv() takes char *const[] for history's sake; it does not write there */
	argv[0] = (char *)(uintptr_t)spec->program;
	for (size_t i = 0; i < n; i++)
		argv[i + 1] = (char *)(uintptr_t)spec->args[i];
	return argv;
}

/* fork() rather than uv_spawn(): only so can the child ask to die with us. */
static int start_process(struct openocd_session *s, const char *path, struct err *e)
{
	char **argv = make_argv(&s->spec);
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC), err_pipe[2] = {-1, -1};
	pid_t parent = getpid();
	int ret = 0;

	if (!argv)
		ret = err_set(e, ERR_NOMEM, "out of memory");
	else if (null_fd < 0 || pipe2(err_pipe, O_CLOEXEC))
		ret = err_errno(e, ERR_BENCH, errno, "cannot start %s", path);
	if (!ret) {
		s->pid = fork();
		if (s->pid == 0)
			become(path, argv, parent, null_fd, err_pipe[1]);
		if (s->pid < 0)
			ret = err_errno(e, ERR_BENCH, errno, "cannot start %s", path);
	}
	free(argv);
	if (null_fd >= 0)
		close(null_fd);
	if (err_pipe[1] >= 0)
		close(err_pipe[1]);
	s->err_fd = err_pipe[0];
	if (ret)
		return ret;
	fcntl(s->err_fd, F_SETFL, O_NONBLOCK);
	s->pid_fd = pidfd_open(s->pid, 0);
	if (s->pid_fd >= 0)
		return 0;
	ret = err_errno(e, ERR_BENCH, errno, "cannot watch %s", path);
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	return ret;
}

/* --- its Tcl port --- */

static struct script *script_take(struct openocd_session *s)
{
	struct script *script = s->scripts;

	s->scripts = script->next;
	if (!s->scripts)
		s->scripts_end = &s->scripts;
	s->pending--;
	return script;
}

static void script_finish(struct script *script, const struct err *e, const char *text)
{
	openocd_reply_fn *reply = script->reply;
	void *arg = script->arg;

	free(script->what);
	free(script->text);
	free(script);
	reply(arg, e, text);
}

static void written(uv_write_t *req, int status)
{
	/* a socket that cannot be written is closed, which the reading side reports */
	(void)status;
	free(req);
}

static void write_tcl(struct openocd_session *s, const char *data, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
	int n = uv_try_write((uv_stream_t *)&s->tcp, &buf, 1);
	uv_write_t *req;

	if (n >= 0 && (size_t)n == len)
		return;
	if (n > 0) {
		buf.base += n;
		buf.len -= (size_t)n;
	}
	/* data lives as long as its script, which waits for its answer; the prelude is constant */
	req = malloc(sizeof(*req));
	if (!req || uv_write(req, (uv_stream_t *)&s->tcp, &buf, 1, written))
		free(req);
}

/* Sends the first script, once the one before it is answered. */
static void send_first(struct openocd_session *s)
{
	if (!s->scripts || !s->greeted)
		return;
	s->lines_count = 0;
	write_tcl(s, s->scripts->text, s->scripts->len);
}

static void read_err(struct openocd_session *s);

/* The whole answer to the first script: a code, a blank, the text. */
static void answer_came(struct openocd_session *s, char *answer)
{
	struct script *script;
	char *text = strchr(answer, ' '), said[512];
	struct err e;

	if (!s->greeted) {
		s->greeted = true;
		send_first(s);
		return;
	}
	if (!s->scripts)
		return;
	script = script_take(s);
	text = text ? text + 1 : answer;
	if (strncmp(answer, "0 ", 2) == 0) {
		send_first(s);
		script_finish(script, NULL, text);
		return;
	}
	/* what it wrote before it answered is in the pipe already */
	read_err(s);
	render_lines(s, false, said, sizeof(said));
	text[strcspn(text, "\r\n")] = '\0';
	err_set(&e, ERR_BENCH, "openocd: %s: %s%s%s", script->what, text,
		*text && said[0] ? "; " : "", said);
	send_first(s);
	script_finish(script, &e, NULL);
}

static void alloc_in(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct openocd_session *s = handle->data;

	(void)suggested;
	if (s->in_size - s->in_len < 4096 && s->in_size < REPLY_MAX) {
		size_t size = s->in_size ? s->in_size * 2 : 8192;
		char *in = realloc(s->in, size);

		if (in) {
			s->in = in;
			s->in_size = size;
		}
	}
	/* no room left: libuv reports UV_ENOBUFS */
	*buf = uv_buf_init(s->in ? s->in + s->in_len : NULL, (unsigned)(s->in_size - s->in_len));
}

static void came_in(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct openocd_session *s = stream->data;
	struct err e;
	char *end;

	(void)buf;
	if (n < 0) {
		/* the process's end says more; if it lives on without its port it is of no use */
		uv_read_stop(stream);
		if (!s->dead)
			pidfd_send_signal(s->pid_fd, SIGKILL, NULL, 0);
		return;
	}
	s->in_len += (size_t)n;
	while (!s->stopping && (end = memchr(s->in, END_OF_SCRIPT, s->in_len))) {
		size_t len = (size_t)(end - s->in);
		char *answer = malloc(len + 1);

		if (!answer) {
			err_set(&e, ERR_NOMEM, "openocd: out of memory");
			lose(s, &e);
			return;
		}
		memcpy(answer, s->in, len);
		answer[len] = '\0';
		s->in_len -= len + 1;
		memmove(s->in, end + 1, s->in_len);
		answer_came(s, answer);
		free(answer);
	}
}

static void port_opened(uv_connect_t *req, int status)
{
	struct openocd_session *s = req->data;
	struct err e;

	if (s->stopping)
		return;
	if (status) {
		err_set(&e, ERR_BENCH, "openocd: its Tcl port: %s", uv_strerror(status));
		lose(s, &e);
		return;
	}
	uv_tcp_nodelay(&s->tcp, 1);
	uv_read_start((uv_stream_t *)&s->tcp, alloc_in, came_in);
	write_tcl(s, prelude, sizeof(prelude) - 1);
}

static void connect_port(struct openocd_session *s, unsigned port)
{
	struct sockaddr_in addr;

	if (s->connected || s->stopping)
		return;
	s->connected = true;
	uv_ip4_addr("127.0.0.1", (int)port, &addr);
	s->connecting.data = s;
	uv_tcp_connect(&s->connecting, &s->tcp, (const struct sockaddr *)&addr, port_opened);
}

/* --- its standard error --- */

static void line_came(struct openocd_session *s)
{
	static const char listening[] = "Info : Listening on port ";
	char *end;

	s->line[s->line_len] = '\0';
	if (strncmp(s->line, listening, sizeof(listening) - 1) == 0) {
		unsigned long port = strtoul(s->line + sizeof(listening) - 1, &end, 10);

		if (strcmp(end, " for tcl connections") == 0 && port <= UINT16_MAX)
			connect_port(s, (unsigned)port);
		if (strcmp(end, " for gdb connections") == 0 && port <= UINT16_MAX && !s->gdb_port)
			s->gdb_port = (unsigned)port;
	}
	if (s->line_len)
		keep_line(s, s->line, s->line_len);
	s->line_len = 0;
}

/* Reads what there is. */
static void read_err(struct openocd_session *s)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(s->err_fd, buf, sizeof(buf))) > 0) {
		write_log(s, buf, (size_t)n);
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] == '\n')
				line_came(s);
			else if (s->line_len < sizeof(s->line) - 1)
				s->line[s->line_len++] = buf[i];
		}
	}
	if (n == 0)
		uv_poll_stop(&s->err_in);
}

static void err_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	read_err(poll->data);
}

/* --- its end --- */

static void handle_closed(uv_handle_t *handle)
{
	struct openocd_session *s = handle->data;
	void (*stopped)(void *arg) = s->stopped;
	void *arg = s->stopped_arg;

	if (--s->open_handles)
		return;
	close(s->pid_fd);
	close(s->err_fd);
	close(s->log_fd);
	free(s->in);
	free(s);
	if (stopped)
		stopped(arg);
}

static void close_handles(struct openocd_session *s)
{
	uv_close((uv_handle_t *)&s->ended, handle_closed);
	uv_close((uv_handle_t *)&s->err_in, handle_closed);
	uv_close((uv_handle_t *)&s->grace, handle_closed);
}

static void fail_scripts(struct openocd_session *s, const struct err *e)
{
	struct script *script = s->scripts;

	s->scripts = NULL;
	s->scripts_end = &s->scripts;
	s->pending = 0;
	while (script) {
		struct script *next = script->next;

		script_finish(script, e, NULL);
		script = next;
	}
}

/* The session is over; the owner stops it, which fails the scripts that wait with *why. */
static void lose(struct openocd_session *s, const struct err *why)
{
	if (s->why.code != ERR_NONE)
		return;
	s->why = *why;
	s->greeted = false;
	s->spec.lost(s->spec.arg, why);
}

static void process_ended(uv_poll_t *poll, int status, int events)
{
	struct openocd_session *s = poll->data;
	char said[512], how[64];
	siginfo_t info = {0};
	struct err e;

	(void)status;
	(void)events;
	uv_poll_stop(&s->ended);
	waitid(P_PIDFD, (id_t)s->pid_fd, &info, WEXITED);
	s->dead = true;
	read_err(s);
	if (s->stopping) {
		close_handles(s);
		return;
	}
	if (info.si_code == CLD_EXITED)
		snprintf(how, sizeof(how), "exit status %d", info.si_status);
	else
		snprintf(how, sizeof(how), "signal %d", info.si_status);
	render_lines(s, true, said, sizeof(said));
	err_set(&e, ERR_BENCH, "openocd ended (%s)%s%s", how, said[0] ? ": " : "", said);
	lose(s, &e);
}

static void grace_over(uv_timer_t *timer)
{
	struct openocd_session *s = timer->data;

	if (!s->dead)
		pidfd_send_signal(s->pid_fd, SIGKILL, NULL, 0);
}

/* Its last script; when the port does not take it, a signal must do. */
static void ask_to_end(struct openocd_session *s, const char *last)
{
	char text[256];
	uv_buf_t buf = uv_buf_init(text, (unsigned)snprintf(text, sizeof(text),
						 "catch {%s}; shutdown%c", last, END_OF_SCRIPT));

	if (!s->greeted || buf.len >= sizeof(text) ||
		uv_try_write((uv_stream_t *)&s->tcp, &buf, 1) != (int)buf.len)
		pidfd_send_signal(s->pid_fd, SIGTERM, NULL, 0);
}

void openocd_session_stop(struct openocd_session *s, unsigned grace_ms, const char *last,
	void (*stopped)(void *arg), void *arg)
{
	s->stopping = true;
	s->stopped = stopped;
	s->stopped_arg = arg;
	if (s->dead) {
		close_handles(s);
	} else if (grace_ms) {
		ask_to_end(s, last);
		uv_timer_start(&s->grace, grace_over, grace_ms, 0);
	} else {
		pidfd_send_signal(s->pid_fd, SIGKILL, NULL, 0);
	}
	/* before the scripts go: libuv may still be writing one */
	uv_close((uv_handle_t *)&s->tcp, handle_closed);
	if (s->why.code == ERR_NONE)
		err_set(&s->why, ERR_GONE, "openocd: stopped");
	fail_scripts(s, &s->why);
}

/* --- scripts --- */

char *openocd_quote(const char *word)
{
	size_t len = strlen(word);
	char *quoted = malloc(2 * len + 3), *to = quoted;

	if (!quoted)
		return NULL;
	if (len == 0) {
		memcpy(quoted, "{}", 3);
		return quoted;
	}
	/* a backslash before a letter or digit would mean something else, so these stay bare */
	for (; *word; word++) {
		bool bare = (*word >= 'a' && *word <= 'z') || (*word >= 'A' && *word <= 'Z') ||
			    (*word >= '0' && *word <= '9') || *word == '_' || *word == '/' ||
			    *word == '.' || *word == '-' || (unsigned char)*word >= 0x80;

		if (!bare)
			*to++ = '\\';
		*to++ = *word == '\n' ? 'n' : *word;
	}
	*to = '\0';
	return quoted;
}

/* what, short and on one line. */
static char *name_of(const char *what)
{
	char *name = strndup(what, NAME_MAX_BYTES);

	for (char *c = name; c && *c; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
	return name;
}

void openocd_session_run(struct openocd_session *s, const char *what, const char *script,
	openocd_reply_fn *reply, void *arg)
{
	struct script *new = calloc(1, sizeof(*new));
	char *word = openocd_quote(script);
	int len = -1;
	struct err e;

	if (new) {
		new->what = name_of(what);
		if (word)
			len = asprintf(&new->text, "rig %s%c", word, END_OF_SCRIPT);
	}
	free(word);
	if (!new || !new->what || len < 0) {
		err_set(&e, ERR_NOMEM, "openocd: out of memory");
		if (new)
			free(new->what);
		free(new);
		reply(arg, &e, NULL);
		return;
	}
	new->len = (size_t)len;
	new->reply = reply;
	new->arg = arg;
	*s->scripts_end = new;
	s->scripts_end = &new->next;
	if (s->pending++ == 0)
		send_first(s);
}

unsigned openocd_session_pending(const struct openocd_session *s)
{
	return s->pending;
}

unsigned openocd_session_gdb_port(struct openocd_session *s)
{
	/* what it wrote before it answered is in the pipe already */
	read_err(s);
	return s->gdb_port;
}

void openocd_session_said(struct openocd_session *s, char *buf, size_t size)
{
	read_err(s);
	render_lines(s, true, buf, size);
}

pid_t openocd_session_pid(const struct openocd_session *s)
{
	return s->pid;
}

int openocd_session_start(uv_loop_t *loop, const struct openocd_spec *spec,
	struct openocd_session **out, struct err *e)
{
	struct openocd_session *s = calloc(1, sizeof(*s));
	char path[4096];
	int ret;

	if (!s)
		return err_set(e, ERR_NOMEM, "out of memory");
	s->loop = loop;
	s->spec = *spec;
	s->scripts_end = &s->scripts;
	ret = openocd_program_find(spec->program, path, sizeof(path), e);
	if (!ret) {
		s->log_fd = open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (s->log_fd < 0)
			ret = err_errno(e, ERR_IO, errno, "%s", spec->log_path);
		else if ((ret = start_process(s, path, e)))
			close(s->log_fd);
	}
	if (ret) {
		free(s);
		return ret;
	}
	uv_poll_init(loop, &s->ended, s->pid_fd);
	uv_poll_init(loop, &s->err_in, s->err_fd);
	uv_tcp_init(loop, &s->tcp);
	uv_timer_init(loop, &s->grace);
	s->ended.data = s->err_in.data = s->tcp.data = s->grace.data = s;
	s->open_handles = 4;
	uv_poll_start(&s->ended, UV_READABLE, process_ended);
	uv_poll_start(&s->err_in, UV_READABLE, err_readable);
	*out = s;
	return 0;
}
