#include "rig/rpc.h"
#include "tests/fuzz/fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

const struct fuzz_seed fuzz_seeds[] = {
	FUZZ_TEXT("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"answer\",\"params\":{\"a\":1}}\n"
		  "{\"jsonrpc\":\"2.0\",\"method\":\"note\",\"params\":{}}\n"
		  "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"x\":[1,2,3]}}\n"),
	FUZZ_TEXT(
		"{\"id\":\"s\",\"method\":\"leave\"}\n{\"id\":2,\"error\":{\"code\":-32005,"
		"\"message\":\"m\",\"data\":{\"name\":\"bench\"}}}\n{\"id\":3,\"method\":\"x\"}\n"),
	FUZZ_END,
};
const char *const fuzz_words[] = {"\n", "{}", "[]", "null", "\"id\":1", "\"result\":1",
	"\"error\":{}", "\"method\":\"answer\"", "\"method\":\"leave\"", ",", NULL};
const unsigned fuzz_runs = 10000;

static struct rpc *rpc;
static unsigned ended, replies;

static void on_request(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	(void)arg;
	if (call)
		rpc_answer(call, json_incref(params));
	if (strcmp(method, "leave") == 0) {
		rpc_destroy(rpc);
		rpc = NULL;
	}
}

static void on_closed(void *arg, const struct err *why)
{
	(void)arg;
	FUZZ_HOLDS(why->code != ERR_NONE && why->msg[0]);
	ended++;
}

static void on_reply(void *arg, const struct err *e, json_t *result)
{
	(void)arg;
	(void)result;
	FUZZ_HOLDS(!e || e->code != ERR_NONE);
	replies++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rpc_handlers handlers = {.request = on_request, .closed = on_closed};
	uv_loop_t loop;
	int fds[2];

	if (size > 65536 || uv_loop_init(&loop) != 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return 0;
	ended = replies = 0;
	rpc = rpc_create(&loop, fds[0], &handlers, NULL);
	FUZZ_HOLDS(rpc);
	rpc_request(rpc, "one", NULL, 0, on_reply, NULL);
	rpc_request(rpc, "two", NULL, 1000, on_reply, NULL);
	FUZZ_HOLDS(send(fds[1], data, size, MSG_NOSIGNAL) == (ssize_t)size);
	shutdown(fds[1], SHUT_WR);
	while (rpc && !ended)
		uv_run(&loop, UV_RUN_ONCE);
	rpc_destroy(rpc);
	rpc = NULL;
	FUZZ_HOLDS(replies == 2);
	close(fds[1]);
	uv_run(&loop, UV_RUN_DEFAULT);
	FUZZ_HOLDS(uv_loop_close(&loop) == 0);
	return 0;
}
