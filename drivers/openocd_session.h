/*
 * One running OpenOCD, spoken to over its Tcl port (OpenOCD User's Guide, "Tcl Scripting API": a
 * script, then 0x1a; the answer, then 0x1a). It dies with this process. Its standard error goes to
 * a log file, and the last lines of it into messages.
 */
#ifndef DRIVERS_OPENOCD_SESSION_H
#define DRIVERS_OPENOCD_SESSION_H

#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

struct err;
struct openocd_session;

/*
 * The answer to a script. e is NULL when it succeeded; else ERR_BENCH, or ERR_GONE when the session
 * was stopped. text is what the script returned, or NULL. Called exactly once.
 */
typedef void openocd_reply_fn(void *arg, const struct err *e, const char *text);

struct openocd_spec {
	const char *program;     /* a name that is looked up on PATH, or a path */
	const char *const *args; /* what follows the program's name; ended by NULL */
	const char *log_path;    /* appended to */
	/* OpenOCD ended without having been asked; *why says how. The session is over: the owner
	 * calls openocd_session_stop(), from within this call or later. */
	void (*lost)(void *arg, const struct err *why);
	void *arg;
};

/*
 * Starts OpenOCD. args must make it open a Tcl port and log where ("tcl_port 0"). Returns 0, or
 * ERR_BENCH when the program is missing or cannot be started, ERR_IO for the log, ERR_NOMEM.
 * Scripts may be run at once; they wait until the port is there.
 */
int openocd_session_start(uv_loop_t *loop, const struct openocd_spec *spec,
	struct openocd_session **out, struct err *e);

/* Whether the program is there, without running it. ERR_BENCH says what to install. */
int openocd_program_find(const char *program, char *path, size_t size, struct err *e);

/*
 * Runs a Tcl script at global level, after those before it. what names it in messages ("halt");
 * both are copied. A script must not contain the byte 0x1a.
 */
void openocd_session_run(struct openocd_session *s, const char *what, const char *script,
	openocd_reply_fn *reply, void *arg);

/* Scripts that have not been answered. */
unsigned openocd_session_pending(const struct openocd_session *s);

/* The port on which it says it serves gdb (of its first target); 0: none. */
unsigned openocd_session_gdb_port(struct openocd_session *s);

/* What it has written since the script under way began, the last lines of it, as one. */
void openocd_session_said(struct openocd_session *s, char *buf, size_t size);

/* Its process id, for tests and logs. */
pid_t openocd_session_pid(const struct openocd_session *s);

/*
 * Ends OpenOCD and frees the session; it must not be used after that. Scripts that wait are
 * answered with ERR_GONE from within this call. grace_ms 0 kills it at once; else it is given a
 * last script and asked to end, and killed when it has not after so long. stopped is called when
 * the process is no more, from the loop. Scripts of a session that was lost are answered with the
 * reason of that.
 */
void openocd_session_stop(struct openocd_session *s, unsigned grace_ms, const char *last,
	void (*stopped)(void *arg), void *arg);

/* word as one word of a Tcl script, quoted so that nothing in it is substituted. The caller's to
 * free; NULL: out of memory. */
char *openocd_quote(const char *word);

#endif
