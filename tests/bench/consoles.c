/*
 * Many consoles at once: what it costs to read them, beside a bare epoll loop and ser2net. Each
 * says lines with numbers, so that a lost one shows; the rig's are looked for in its logs, each
 * with its time.
 */
#include "bench.h"

#include "rig/lock.h"
#include "rig/rpc.h"
#include "tests/keeper_client_sync.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CONSOLES 64
#define LINE_BYTES 100
#define LINES_A_TICK 10
#define TICK_NS 10000000 /* 10 lines of 100 bytes every 10 ms: 100 KB/s */
#define TICKS 500
#define LINES (TICKS * LINES_A_TICK)
#define BYTES ((size_t)LINES * LINE_BYTES)

static struct {
	int master[CONSOLES], slave[CONSOLES];
	char name[CONSOLES][64];
} tty;

static void open_ttys(void)
{
	struct termios raw;

	for (int i = 0; i < CONSOLES; i++) {
		if (openpty(&tty.master[i], &tty.slave[i], tty.name[i], NULL, NULL) != 0)
			bench_die("no pseudo terminal: %s", strerror(errno));
		tcgetattr(tty.slave[i], &raw);
		cfmakeraw(&raw);
		tcsetattr(tty.slave[i], TCSANOW, &raw);
		fcntl(tty.master[i], F_SETFL, O_NONBLOCK);
		fcntl(tty.master[i], F_SETFD, FD_CLOEXEC);
		fcntl(tty.slave[i], F_SETFD, FD_CLOEXEC);
	}
}

static void close_ttys(void)
{
	for (int i = 0; i < CONSOLES; i++) {
		close(tty.master[i]);
		close(tty.slave[i]);
	}
}

/* --- who speaks ------------------------------------------------------------------------------- */

/* The line with that number, as it stands from a place on. */
static size_t make_line(char *buf, unsigned number)
{
	int n = snprintf(buf, LINE_BYTES, "line %07u ", number);

	memset(buf + n, 'x', LINE_BYTES - (size_t)n - 1);
	buf[LINE_BYTES - 1] = '\n';
	return LINE_BYTES;
}

/* Speaks on every console, at its pace or as fast as it is listened to. */
static void speak(void)
{
	size_t sent[CONSOLES] = {0}, all = 0;
	uint64_t begin = bench_now_ns();
	char line[LINE_BYTES];

	while (all < CONSOLES * BYTES) {
		uint64_t due = (bench_now_ns() - begin) / TICK_NS + 1;
		bool idle = true;

		due = due > TICKS ? TICKS : due;
		for (int i = 0; i < CONSOLES; i++) {
			while (sent[i] < due * LINES_A_TICK * LINE_BYTES) {
				size_t at = sent[i] % LINE_BYTES;
				ssize_t n;

				make_line(line, (unsigned)(sent[i] / LINE_BYTES));
				n = write(tty.master[i], line + at, LINE_BYTES - at);
				if (n <= 0)
					break;
				sent[i] += (size_t)n;
				all += (size_t)n;
				idle = false;
			}
		}
		if (idle)
			bench_rest(2000);
	}
	_exit(0);
}

static pid_t start_speaker(void)
{
	pid_t pid = fork();

	if (pid == 0)
		speak();
	return pid;
}

/* Waits until it has said all; how long it took, in seconds. */
static double await_speaker(pid_t pid, uint64_t begin)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status != 0)
		bench_die("who speaks on the consoles has died");
	return (double)(bench_now_ns() - begin) / 1e9;
}

/* --- what it costs ---------------------------------------------------------------------------- */

/* Seconds on a core so far. */
static double cpu_of(pid_t pid)
{
	char path[64], text[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	f = fopen(path, "r");
	if (!f || !fgets(text, sizeof(text), f))
		bench_die("%s cannot be read", path);
	fclose(f);
	return strtod(text, NULL) / 1e9;
}

/* Its own share of memory, in KiB. */
static double memory_of(pid_t pid)
{
	char path[64], line[128];
	double kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "Pss:", 4) == 0)
			kib = strtod(line + 4, NULL);
	if (f)
		fclose(f);
	return kib;
}

static void print_row(const char *name, double cpu, double seconds, double kib, double grown,
	size_t lost, const char *target)
{
	printf("  %-34s %8.1f %10.1f %10.2f %8zu%s%s\n", name, 100 * cpu / seconds, kib / 1024,
		grown / 1024, lost, *target ? "   target: " : "", target);
}

/* --- a bare loop ------------------------------------------------------------------------------ */

static void bare_read(const int *fds)
{
	static char buf[65536];
	size_t left = CONSOLES * BYTES;
	int ep = epoll_create1(EPOLL_CLOEXEC);

	for (int i = 0; i < CONSOLES; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.fd = fds[i]};

		epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &ev);
	}
	while (left) {
		struct epoll_event ev[CONSOLES];
		int n = epoll_wait(ep, ev, CONSOLES, -1);

		for (int i = 0; i < n; i++) {
			ssize_t got = read(ev[i].data.fd, buf, sizeof(buf));

			if (got <= 0)
				_exit(1);
			left -= (size_t)got;
		}
	}
	_exit(0);
}

static void measure_bare(void)
{
	uint64_t begin = bench_now_ns();
	pid_t speaker = start_speaker(), pid = fork();
	struct rusage use;
	double seconds;
	int status;

	if (pid == 0)
		bare_read(tty.slave);
	seconds = await_speaker(speaker, begin);
	wait4(pid, &status, 0, &use);
	print_row("bare epoll loop",
		(double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
			(double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6,
		seconds, (double)use.ru_maxrss, 0, status != 0, "");
}

/* --- the rig ---------------------------------------------------------------------------------- */

/* How many lines are missing, twice there, out of order or without a time. */
static size_t wrong_lines(const char *dir)
{
	char path[PATH_MAX], line[512];
	unsigned long expected = 0;
	size_t wrong = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/console-b.log", dir);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		const char *says = strstr(line, "line ");
		double t;

		if (!says)
			continue;
		wrong += strtoul(says + 5, NULL, 10) != expected || sscanf(line, "[%lf]", &t) != 1;
		expected++;
	}
	if (f)
		fclose(f);
	return wrong + (expected < LINES ? LINES - expected : expected - LINES);
}

static void sum_of(struct bench_keeper *k, double (*of)(pid_t pid), double *sum)
{
	*sum = 0;
	for (int i = 0; i < CONSOLES; i++)
		*sum += of(k[i].pid);
}

static void await_lines(struct bench_keeper *k)
{
	char last[32];

	snprintf(last, sizeof(last), "line %07u", (unsigned)LINES - 1);
	for (int i = 0; i < CONSOLES; i++)
		json_decref(bench_call(&k[i], "console.expect",
			json_pack("{s:s, s:i}", "pattern", last, "timeout_ms", 60000)));
}

static void measure_rig(void)
{
	static struct bench_keeper k[CONSOLES];
	double before, cpu, early, late, seconds;
	size_t lost = 0;
	uint64_t begin;
	pid_t speaker;

	for (int i = 0; i < CONSOLES; i++) {
		char devices[160];

		bench_keeper_start(&k[i]);
		snprintf(devices, sizeof(devices),
			"{\"console\": {\"driver\": \"pty\", \"path\": \"%s\"}}", tty.name[i]);
		bench_keeper_open(&k[i], devices, NULL);
	}
	sum_of(k, cpu_of, &before);
	begin = bench_now_ns();
	speaker = start_speaker();
	bench_rest(TICKS / 3 * (TICK_NS / 1000));
	sum_of(k, memory_of, &early);
	seconds = await_speaker(speaker, begin);
	sum_of(k, memory_of, &late);
	sum_of(k, cpu_of, &cpu);
	await_lines(k);
	for (int i = 0; i < CONSOLES; i++) {
		json_decref(bench_call(&k[i], "safe", NULL));
		lost += wrong_lines(k[i].dir);
		bench_keeper_end(&k[i]);
	}
	print_row("rig-keeper, one a board", cpu - before, seconds, late, late - early, lost,
		"18 %, nothing lost, memory as it was");
}

/* --- ser2net ---------------------------------------------------------------------------------- */

static int listen_somewhere(struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
	socklen_t len = sizeof(*at);

	*at = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)at, len) != 0 ||
		getsockname(fd, (struct sockaddr *)at, &len) != 0)
		bench_die("no port is free: %s", strerror(errno));
	return fd;
}

static int connect_to(const struct sockaddr_in *at)
{
	for (int tries = 0; tries < 200; tries++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0)
			return fd;
		close(fd);
		bench_rest(20000);
	}
	return -1;
}

static pid_t start_ser2net(const char *conf)
{
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 1);
		dup2(null, 2);
		execlp("ser2net", "ser2net", "-n", "-c", conf, (char *)NULL);
		execl("/usr/sbin/ser2net", "ser2net", "-n", "-c", conf, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void measure_ser2net(void)
{
	char conf[] = "/tmp/rig-bench-ser2net-XXXXXX";
	struct sockaddr_in at[CONSOLES];
	int held[CONSOLES], fds[CONSOLES], status;
	FILE *f = fdopen(mkstemp(conf), "w");
	double before, early, late, seconds;
	pid_t pid, speaker, reader;
	uint64_t begin;

	fputs("%YAML 1.1\n---\n", f);
	for (int i = 0; i < CONSOLES; i++)
		held[i] = listen_somewhere(&at[i]);
	for (int i = 0; i < CONSOLES; i++) {
		fprintf(f,
			"connection: &c%d\n  accepter: tcp,127.0.0.1,%d\n  enable: on\n"
			"  connector: serialdev,%s,115200n81,local\n",
			i, ntohs(at[i].sin_port), tty.name[i]);
		close(held[i]);
	}
	fclose(f);
	pid = start_ser2net(conf);
	for (int i = 0; i < CONSOLES; i++) {
		fds[i] = waitpid(pid, &status, WNOHANG) == 0 ? connect_to(&at[i]) : -1;
		if (fds[i] < 0) {
			printf("  %-34s cannot be measured: it is not there, or does not listen\n",
				"ser2net");
			unlink(conf);
			kill(pid, SIGKILL);
			return;
		}
	}
	bench_rest(500000); /* it opens the terminals */
	before = cpu_of(pid);
	begin = bench_now_ns();
	speaker = start_speaker();
	reader = fork();
	if (reader == 0)
		bare_read(fds);
	bench_rest(TICKS / 3 * (TICK_NS / 1000));
	early = memory_of(pid);
	seconds = await_speaker(speaker, begin);
	late = memory_of(pid);
	print_row("ser2net, without logs and times", cpu_of(pid) - before, seconds, late,
		late - early, 0, "");
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < CONSOLES; i++)
		close(fds[i]);
	unlink(conf);
}

void bench_consoles(void)
{
	printf("%d consoles at 100 KB/s for %d s %10s %10s %10s %8s\n", CONSOLES,
		TICKS / (1000000000 / TICK_NS), "% of core", "MiB", "grown", "lost");
	open_ttys();
	measure_bare();
	close_ttys();
	open_ttys();
	measure_rig();
	close_ttys();
	open_ttys();
	measure_ser2net();
	close_ttys();
}
