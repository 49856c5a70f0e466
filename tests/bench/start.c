/* How long rig takes to say something, beside a program that does nothing. */
#include "bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 200

static double once(const char *program, const char *arg)
{
	char *const argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)arg, NULL};
	uint64_t begin = bench_now_ns();
	posix_spawn_file_actions_t actions;
	int status;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (posix_spawn(&pid, program, &actions, NULL, argv, environ) != 0 ||
		waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		bench_die("%s %s failed", program, arg);
	posix_spawn_file_actions_destroy(&actions);
	return (double)(bench_now_ns() - begin) / 1e6;
}

void bench_start(void)
{
	struct samples rig_ms = {0}, true_ms = {0};
	const char *rig = bench_build("rig");

	for (int i = 0; i < TIMES; i++) {
		samples_add(&true_ms, once("/bin/true", NULL));
		samples_add(&rig_ms, once(rig, "--help"));
	}
	printf("Starting a program, ms %24s %8s %8s\n", "p50", "p99", "n");
	printf("  %-34s %8.2f %8.2f %8zu\n", "/bin/true", samples_quantile(&true_ms, 0.5),
		samples_quantile(&true_ms, 0.99), true_ms.count);
	printf("  %-34s %8.2f %8.2f %8zu   target: 5 ms\n", "rig --help",
		samples_quantile(&rig_ms, 0.5), samples_quantile(&rig_ms, 0.99), rig_ms.count);
	samples_finish(&rig_ms);
	samples_finish(&true_ms);
}
