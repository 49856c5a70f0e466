#include "keeper_client.h"

#include "lock.h"
#include "spawn.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int keeper_client_spawn(uv_loop_t *loop, const char *log_path, const struct rpc_handlers *handlers,
	void *arg, struct rpc **out, struct spawned **child, struct err *e)
{
	const char *const args[] = {"--fd", "3", NULL};
	char program[PATH_MAX];
	struct spawn_spec spec = {
		.program = program,
		.args = args,
		.log_path = log_path,
		.own_session = true,
	};
	int pair[2], code;

	code = program_path("rig-keeper", program, sizeof(program), e);
	if (code)
		return code;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_errno(e, ERR_IO, errno, "socketpair");
	spec.fd = pair[1];
	code = spawn_start(loop, &spec, child, e);
	if (code) {
		close(pair[0]);
		return code;
	}
	*out = rpc_create(loop, pair[0], handlers, arg);
	return *out ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

int keeper_client_connect(uv_loop_t *loop, const char *state_dir, const char *board,
	const struct rpc_handlers *handlers, void *arg, struct rpc **out, struct err *e)
{
	char dir[PATH_MAX], path[PATH_MAX + 16];
	int code, fd;

	code = lock_board_dir(state_dir, board, false, dir, sizeof(dir), e);
	if (code)
		return code;
	snprintf(path, sizeof(path), "%s/keeper.sock", dir);
	fd = rpc_connect_unix(path, e);
	if (fd < 0)
		return err_prefix(e, "board %s: no keeper answers", board);
	*out = rpc_create(loop, fd, handlers, arg);
	return *out ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

json_t *keeper_client_owner(const char *what)
{
	struct passwd entry, *found = NULL;
	char buf[4096], host[256] = "";
	char uid[32];

	snprintf(uid, sizeof(uid), "uid %u", (unsigned)geteuid());
	getpwuid_r(geteuid(), &entry, buf, sizeof(buf), &found);
	gethostname(host, sizeof(host) - 1);
	return json_pack("{s:s, s:s, s:i, s:s}", "user", found ? found->pw_name : uid, "host", host,
		"pid", (int)getpid(), "what", what);
}
