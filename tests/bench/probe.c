/* A command to OpenOCD, and flashing, by the keeper on a virtual board. */
#include "bench.h"

#include "rig/err.h"
#include "rig/file.h"
#include "rig/hex.h"
#include "tests/keeper_client_sync.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define COMMANDS 2000
#define FLASHES 5
#define FLASH_BYTES 0x100000
#define PRIMARY 0xc000
#define LARGE_BYTES (256 << 10)
#define SCRIPT "expr 6 * 7"
#define DEVICES                                                                                    \
	"{\"power\": {\"driver\": \"virtual\", \"linger_ms\": 200},"                               \
	" \"console\": {\"driver\": \"virtual\"},"                                                 \
	" \"probe\": {\"driver\": \"openocd\", \"adapter\": \"virtual\"}}"

/* --- a command -------------------------------------------------------------------------------- */

/* A second connection to the Tcl port of the keeper's OpenOCD, whose log names it. */
static int connect_tcl(const struct bench_keeper *k)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char path[PATH_MAX], *log, *at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	struct err e;
	size_t len;

	snprintf(path, sizeof(path), "%s/openocd-b.log", k->dir);
	if (file_read(path, (size_t)1 << 20, &log, &len, &e) != 0)
		bench_die("%s", e.msg);
	at = strstr(log, "Listening on port ");
	addr.sin_port = htons(at ? (uint16_t)strtoul(at + 18, NULL, 10) : 0);
	free(log);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0)
		bench_die("OpenOCD's Tcl port cannot be reached");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static double bare_command(int fd)
{
	uint64_t begin = bench_now_ns();
	char answer[256];
	size_t len = 0;

	if (write(fd, SCRIPT "\x1a", sizeof(SCRIPT)) != sizeof(SCRIPT))
		bench_die("OpenOCD takes no command");
	do {
		ssize_t n = read(fd, answer + len, sizeof(answer) - len);

		if (n <= 0)
			bench_die("OpenOCD gives no answer");
		len += (size_t)n;
	} while (answer[len - 1] != '\x1a');
	return (double)(bench_now_ns() - begin) / 1000;
}

static double rig_command(struct bench_keeper *k)
{
	uint64_t begin = bench_now_ns();

	json_decref(bench_call(k, "probe.command", json_pack("{s:s}", "text", SCRIPT)));
	return (double)(bench_now_ns() - begin) / 1000;
}

/* The keeper's part alone: a call that needs no device. */
static double rig_info(struct bench_keeper *k)
{
	uint64_t begin = bench_now_ns();

	json_decref(bench_call(k, "info", NULL));
	return (double)(bench_now_ns() - begin) / 1000;
}

static void print_row(const char *name, struct samples *s, const char *target)
{
	printf("  %-34s %8.1f %8.1f %8zu%s\n", name, samples_quantile(s, 0.5),
		samples_quantile(s, 0.99), s->count, target);
	samples_finish(s);
}

static void measure_commands(struct bench_keeper *k)
{
	struct samples bare_us = {0}, rig_us = {0}, info_us = {0};
	int fd;

	rig_command(k); /* starts OpenOCD */
	fd = connect_tcl(k);
	for (int i = 0; i < COMMANDS; i++) {
		samples_add(&bare_us, bare_command(fd));
		samples_add(&rig_us, rig_command(k));
		samples_add(&info_us, rig_info(k));
	}
	close(fd);
	printf("A command to OpenOCD, us %22s %8s %8s\n", "p50", "p99", "n");
	print_row("straight to its Tcl port", &bare_us, "");
	print_row("probe.command through the keeper", &rig_us, "   target: 150 us");
	print_row("a call of the keeper alone (info)", &info_us, "");
}

/* --- flashing --------------------------------------------------------------------------------- */

static void put_file(const struct bench_keeper *k, const char *name, const void *data, size_t len)
{
	char path[PATH_MAX];
	struct err e;

	snprintf(path, sizeof(path), "%s/%s", k->dir, name);
	if (file_write(path, data, len, &e) != 0)
		bench_die("%s", e.msg);
}

static void make_images(const struct bench_keeper *k)
{
	static const char *const releases[] = {"1.0.0", "2.0.0"};
	char path[PATH_MAX], *data;
	struct hex hex;
	struct err e;
	size_t len;

	snprintf(path, sizeof(path), "%s/bootloader", k->dir);
	if (hex_load(&hex, bench_build("../firmware/bootloader.hex"), &e) != 0 ||
		hex_write_binary(&hex, 0, PRIMARY - 1, path, &e) != 0)
		bench_die("%s", e.msg);
	hex_finish(&hex);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "../firmware/%s/app.bin", releases[i]);
		if (file_read(bench_build(path), FLASH_BYTES, &data, &len, &e) != 0)
			bench_die("%s", e.msg);
		put_file(k, releases[i], data, len);
		if (i == 0) { /* the same but for one byte in the middle */
			data[len / 2] ^= 1;
			put_file(k, "1.0.0-changed", data, len);
		}
		free(data);
	}
}

/* Bytes that no release has, all over the first slot. */
static void make_large(const struct bench_keeper *k)
{
	static uint8_t bytes[LARGE_BYTES];
	uint32_t x = 1;

	for (size_t i = 0; i < sizeof(bytes); i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
	put_file(k, "large", bytes, sizeof(bytes));
}

static double flash(struct bench_keeper *k, const char *application, json_int_t *written)
{
	char boot[PATH_MAX], app[PATH_MAX];
	uint64_t begin;
	json_t *result;

	snprintf(boot, sizeof(boot), "%s/bootloader", k->dir);
	snprintf(app, sizeof(app), "%s/%s", k->dir, application);
	begin = bench_now_ns();
	result = bench_call(k, "probe.program",
		json_pack("{s:[{s:i, s:s}, {s:i, s:s}], s:[[i, i]]}", "segments", "address", 0,
			"path", boot, "address", PRIMARY, "path", app, "erase", 0, FLASH_BYTES));
	*written = json_integer_value(json_object_get(result, "pages_written"));
	json_decref(result);
	return (double)(bench_now_ns() - begin) / 1e6;
}

static void measure_flashing(struct bench_keeper *k)
{
	static const struct {
		const char *name, *before, *image;
	} rows[] = {
		{"an unchanged image", "1.0.0", "1.0.0"},
		{"one byte changed", "1.0.0", "1.0.0-changed"},
		{"another release", "1.0.0", "2.0.0"},
		{"a large new image", "1.0.0", "large"},
	};

	make_images(k);
	make_large(k);
	json_decref(bench_call(k, "probe.hold_reset", json_pack("{s:b}", "hold", 1)));
	json_decref(bench_call(k, "power.set", json_pack("{s:b}", "on", 1)));
	printf("Flashing 1 MiB by the probe, ms %15s %8s %8s\n", "p50", "max", "n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct samples ms = {0};
		json_int_t written;

		for (int n = 0; n < FLASHES; n++) {
			flash(k, rows[i].before, &written);
			samples_add(&ms, flash(k, rows[i].image, &written));
		}
		printf("  %-34s %8.1f %8.1f %8zu   pages written: %lld of 256\n", rows[i].name,
			samples_quantile(&ms, 0.5), samples_quantile(&ms, 1), ms.count,
			(long long)written);
		samples_finish(&ms);
	}
}

void bench_probe(void)
{
	struct bench_keeper k;

	bench_keeper_start(&k);
	bench_keeper_open(&k, DEVICES,
		json_pack("{s:s, s:{s:s}, s:{s:i, s:i, s:i, s:i}}", "soc", "nrf52840", "openocd",
			"target", "target/nrf52.cfg", "flash", "base", 0, "size", FLASH_BYTES,
			"page", 4096, "write", 4));
	measure_commands(&k);
	putchar('\n');
	measure_flashing(&k);
	bench_keeper_end(&k);
}
