/* The benches of what the rig itself costs: bench cut|probe|start. */
#include "bench.h"

#include "tests/keeper_client_sync.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

void bench_die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(3);
}

uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void bench_rest(unsigned delay_us)
{
	struct timespec delay = {delay_us / 1000000, delay_us % 1000000 * 1000};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &delay, NULL);
}

/* --- samples ---------------------------------------------------------------------------------- */

void samples_add(struct samples *s, double value)
{
	if (s->count == s->size) {
		s->size = s->size ? s->size * 2 : 1024;
		s->values = realloc(s->values, s->size * sizeof(*s->values));
		if (!s->values)
			bench_die("out of memory");
	}
	s->values[s->count++] = value;
}

void samples_finish(struct samples *s)
{
	free(s->values);
	*s = (struct samples){0};
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double samples_quantile(struct samples *s, double share)
{
	size_t at = (size_t)(share * (double)s->count);

	if (s->count == 0)
		return 0;
	qsort(s->values, s->count, sizeof(*s->values), by_value);
	return s->values[at < s->count ? at : s->count - 1];
}

bool bench_lines_have(char *buf, size_t *len)
{
	static const char wanted[] = "cut here, at number";
	char *start = buf, *nl;
	bool found = false;

	while ((nl = memchr(start, '\n', *len - (size_t)(start - buf)))) {
		found |= memmem(start, (size_t)(nl - start), wanted, sizeof(wanted) - 1) != NULL;
		start = nl + 1;
	}
	*len -= (size_t)(start - buf);
	memmove(buf, start, *len);
	return found;
}

/* --- the keeper ------------------------------------------------------------------------------- */

const char *bench_build(const char *name)
{
	static char path[PATH_MAX];
	const char *build = getenv("RIG_BUILD");

	snprintf(path, sizeof(path), "%s/%s", build ? build : "build/release", name);
	return path;
}

void bench_keeper_start(struct bench_keeper *k)
{
	char fd[16];
	int pair[2];

	*k = (struct bench_keeper){.dir = "/tmp/rig-bench-XXXXXX"};
	if (!mkdtemp(k->dir))
		bench_die("%s: no folder can be made", k->dir);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		bench_die("socketpair failed");
	k->pid = fork();
	if (k->pid == 0) {
		fcntl(pair[1], F_SETFD, 0);
		snprintf(fd, sizeof(fd), "%d", pair[1]);
		execl(bench_build("rig-keeper"), "rig-keeper", "--fd", fd, (char *)NULL);
		_exit(127);
	}
	close(pair[1]);
	k->owner = peer_create(pair[0]);
}

json_t *bench_call(struct bench_keeper *k, const char *method, json_t *params)
{
	json_t *answer = peer_call(k->owner, method, params);
	json_t *result = json_incref(json_object_get(answer, "result"));

	if (strcmp(answer_error(answer), "none") != 0)
		bench_die("%s: %s", method, answer_message(answer));
	json_decref(answer);
	return result;
}

void bench_keeper_open(struct bench_keeper *k, const char *devices, json_t *more)
{
	json_t *board = json_pack("{s:s, s:s, s:o}", "name", "b", "state_dir", k->dir, "devices",
		json_loads(devices, 0, NULL));

	json_object_update(board, more);
	json_decref(more);
	json_decref(bench_call(k, "open",
		json_pack("{s:o, s:s, s:{s:s, s:s, s:i, s:s}}", "board", board, "log_dir", k->dir,
			"owner", "user", "bench", "host", "here", "pid", (int)getpid(), "what",
			"bench")));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void bench_keeper_end(struct bench_keeper *k)
{
	json_decref(bench_call(k, "end", NULL));
	peer_destroy(k->owner);
	waitpid(k->pid, NULL, 0);
	nftw(k->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} benches[] = {{"consoles", bench_consoles}, {"cut", bench_cut}, {"drivers", bench_drivers},
		{"probe", bench_probe}, {"start", bench_start}};

	for (size_t i = 0; argc == 2 && i < sizeof(benches) / sizeof(*benches); i++) {
		if (strcmp(argv[1], benches[i].name) == 0) {
			benches[i].run();
			return 0;
		}
	}
	fprintf(stderr, "bench consoles|cut|drivers|probe|start\n");
	return 2;
}
