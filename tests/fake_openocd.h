/*
 * A stand-in for OpenOCD: the test's own program, found on PATH as "openocd". It opens a Tcl port,
 * says so as OpenOCD does, and carries out the driver's verbs on a flash that is a file. What it
 * does wrong stands in $FAKE_DIR/mode, which is read before every verb, so that a test changes it
 * at any time:
 *
 *   exit           ends at once with status 1 and an error line
 *   mute VERB      never answers that verb
 *   die VERB       is killed when it gets that verb
 *   fail VERB      answers with an error
 *   mute1, die1, fail1 VERB   the same, once
 *   no-wen         erases and writes nothing, as with a broken write enable
 *   no-gdb         opens no port for gdb
 *
 * What rig_adapter and rig_check answer is in $FAKE_DIR/adapter ("unknown" without one); what the
 * DUT is seen at, in $FAKE_DIR/hits: an address a line, taken a few at a time by rig_until, whose
 * LEFT counts; behind the last one nothing more comes, and a line "stopped" is the DUT's own stop.
 *
 * It leaves behind: args (one line a start), pid (of the last one), scripts (a line a verb).
 */
#ifndef TESTS_FAKE_OPENOCD_H
#define TESTS_FAKE_OPENOCD_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FAKE_BASE 0x8000
#define FAKE_SIZE 0x10000
#define FAKE_PAGE 0x1000
#define FAKE_RAM 0x20000000

struct fake {
	const char *dir;
	char mode[64], verb[64];
	long hits_at; /* in the file hits */
	char result[200000];
};

static inline FILE *fake_open(const struct fake *f, const char *name, const char *how)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return fopen(path, how);
}

/* Whether the mode says to do that to the verb at hand; what is done once is forgotten then. */
static inline bool fake_shall(struct fake *f, const char *what)
{
	size_t n = strlen(what);
	bool once = strncmp(f->mode, what, n) == 0 && f->mode[n] == '1';
	FILE *file;

	if (strncmp(f->mode, what, n) != 0 || f->mode[n + once] != ' ' ||
		strcmp(f->mode + n + once + 1, f->verb) != 0)
		return false;
	file = once ? fake_open(f, "mode", "w") : NULL;
	if (file)
		fclose(file);
	return true;
}

static inline void fake_read_mode(struct fake *f)
{
	FILE *file = fake_open(f, "mode", "r");

	f->mode[0] = '\0';
	if (!file)
		return;
	if (fgets(f->mode, sizeof(f->mode), file))
		f->mode[strcspn(f->mode, "\n")] = '\0';
	fclose(file);
}

/* Undoes one level of Tcl quoting: the next word of *text, in place. NULL: no more on this line. */
static inline char *fake_word(char **text)
{
	char *from = *text, *to, *word;

	while (*from == ' ' || *from == '\t')
		from++;
	if (!*from || *from == '\n')
		return NULL;
	if (strncmp(from, "{}", 2) == 0) {
		*text = from + 2;
		*from = '\0';
		return from;
	}
	for (word = to = from; *from && *from != ' ' && *from != '\n'; from++) {
		if (*from == '\\' && from[1])
			*to++ = *++from == 'n' ? '\n' : *from;
		else
			*to++ = *from;
	}
	*text = *from ? from + 1 : from;
	*to = '\0';
	return word;
}

static inline const char *fake_read(const struct fake *f, char **args)
{
	const char *path = fake_word(args), *address = fake_word(args), *size = fake_word(args);
	uint8_t flash[FAKE_SIZE];
	FILE *file = fake_open(f, "flash", "r");
	unsigned long at = strtoul(address, NULL, 0) - FAKE_BASE, n = strtoul(size, NULL, 0);

	if (fread(flash, 1, sizeof(flash), file) != sizeof(flash) || at + n > sizeof(flash))
		return "failed to read memory";
	fclose(file);
	file = fopen(path, "w");
	if (!file)
		return "could not open the file";
	fwrite(flash + at, 1, n, file);
	fclose(file);
	return NULL;
}

/* Erases size bytes, or writes the file's: as flash does, by clearing bits only. */
static inline const char *fake_write(
	const struct fake *f, const char *path, unsigned long address, unsigned long size)
{
	static uint8_t flash[FAKE_SIZE], data[FAKE_SIZE];
	FILE *file = fake_open(f, "flash", "r+");
	unsigned long at = address - FAKE_BASE;

	if (path) {
		FILE *in = fopen(path, "r");

		if (!in)
			return "could not open the file";
		size = fread(data, 1, sizeof(data), in);
		fclose(in);
	}
	if (fread(flash, 1, sizeof(flash), file) != sizeof(flash) || at + size > sizeof(flash))
		return "no flash at this address";
	for (unsigned long i = 0; i < size; i++)
		flash[at + i] = path ? flash[at + i] & data[i] : 0xff;
	rewind(file);
	if (strcmp(f->mode, "no-wen") != 0)
		fwrite(flash, 1, sizeof(flash), file);
	fclose(file);
	return NULL;
}

/* Puts a whole file into the result; fallback where there is none. */
static inline void fake_say_file(struct fake *f, const char *name, const char *fallback)
{
	FILE *file = fake_open(f, name, "r");
	size_t n = file ? fread(f->result, 1, sizeof(f->result) - 1, file) : 0;

	if (file)
		fclose(file);
	f->result[n] = '\0';
	if (!file)
		snprintf(f->result, sizeof(f->result), "%s", fallback);
}

/* rig_until MS LEFT …: the next two addresses of the file hits, as rig_until of the driver's verbs
 * tells them. */
static inline const char *fake_until(struct fake *f, char **args)
{
	unsigned long ms = strtoul(fake_word(args), NULL, 10),
		      left = strtoul(fake_word(args), NULL, 10);
	const char *how = "on";
	char line[64], seen[256] = "";
	FILE *file = fake_open(f, "hits", "r");
	size_t n = 0;

	if (file)
		fseek(file, f->hits_at, SEEK_SET);
	while (file && n < 2 && fgets(line, sizeof(line), file) && strchr(line, '\n')) {
		f->hits_at = ftell(file);
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "stopped") == 0) {
			how = "stopped";
			break;
		}
		snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), " %s", line);
		if (++n == left) {
			how = "there";
			break;
		}
	}
	if (file)
		fclose(file);
	if (n == 0 && strcmp(how, "on") == 0)
		poll(NULL, 0, (int)ms / 10);
	snprintf(f->result, sizeof(f->result), "%s%s", how, seen);
	return NULL;
}

/* Carries out one line; the error, or NULL. */
static inline const char *fake_do(struct fake *f, char **args)
{
	if (fake_shall(f, "fail"))
		return strcmp(f->verb, "rig_attach") == 0 || strcmp(f->verb, "rig_stop") == 0
			       ? "rig_attach: the DUT does not answer"
			       : "it does not work";
	if (strcmp(f->verb, "rig_read") == 0)
		return fake_read(f, args);
	if (strcmp(f->verb, "rig_erase") == 0) {
		unsigned long address = strtoul(fake_word(args), NULL, 0);

		return fake_write(f, NULL, address, strtoul(fake_word(args), NULL, 0));
	}
	if (strcmp(f->verb, "rig_write") == 0) {
		const char *path = fake_word(args);

		return fake_write(f, path, strtoul(fake_word(args), NULL, 0), 0);
	}
	if (strcmp(f->verb, "rig_until") == 0)
		return fake_until(f, args);
	if (strcmp(f->verb, "rig_adapter") == 0)
		fake_say_file(f, "adapter", "unknown");
	else if (strcmp(f->verb, "rig_check") == 0)
		fake_say_file(f, "check", "version Open On-Chip Debugger 0.12.0\nunknown\ndut 0x1");
	else if (strcmp(f->verb, "version") == 0)
		snprintf(f->result, sizeof(f->result), "Open On-Chip Debugger 0.12.0\n");
	else if (strcmp(f->verb, "echo") == 0)
		snprintf(f->result, sizeof(f->result), "%s", fake_word(args));
	else if (strcmp(f->verb, "long") == 0)
		memset(f->result, 'x', sizeof(f->result) - 1);
	else if (strncmp(f->verb, "rig_", 4) != 0)
		return "invalid command name";
	return NULL;
}

static inline void fake_answer(int fd, const char *code, const char *text)
{
	/* at once: in pieces, each would wait for the one before to be acknowledged */
	struct iovec parts[] = {
		{(void *)(uintptr_t)code, strlen(code)},
		{(void *)(uintptr_t)text, strlen(text)},
		{(void *)(uintptr_t) "\x1a", 1},
	};

	if (writev(fd, parts, 3) < 0)
		exit(0);
}

static inline void fake_script(struct fake *f, int fd, char *script)
{
	const char *error = NULL;
	char *text, *verb;

	if (strncmp(script, "proc rig ", 9) == 0) {
		fake_answer(fd, "", "rig");
		return;
	}
	if (strstr(script, "shutdown")) {
		FILE *log = fake_open(f, "scripts", "a");

		fprintf(log, "%s\n", script);
		exit(0);
	}
	script += strlen("rig ");
	text = fake_word(&script);
	if (strncmp(text, "proc ", 5) == 0) {
		fake_answer(fd, "0 ", "");
		return;
	}
	f->result[0] = '\0';
	while (!error && *text) {
		char *rest = text + strcspn(text, "\n"), *args = text;
		char line[4096];
		FILE *log;

		snprintf(line, sizeof(line), "%.*s\n", (int)(rest - text), text);
		if (*rest)
			*rest++ = '\0';
		verb = fake_word(&args);
		snprintf(f->verb, sizeof(f->verb), "%s", verb ? verb : "");
		fake_read_mode(f);
		/* who sees the verb in the log may change the mode: it has been read */
		log = fake_open(f, "scripts", "a");
		fputs(line, log);
		fclose(log);
		if (fake_shall(f, "die"))
			raise(SIGKILL);
		if (fake_shall(f, "mute"))
			for (;;)
				pause();
		error = fake_do(f, &args);
		text = rest;
	}
	fprintf(stderr, "Info : did %s\n%s%s\n", f->verb, error ? "Error: verb failed: " : "",
		error ? f->verb : "");
	fake_answer(fd, error ? "1 " : "0 ", error ? error : f->result);
}

static inline int fake_main(int argc, char **argv)
{
	static char in[1 << 20];
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t addr_len = sizeof(addr);
	static struct fake fake, *f = &fake;
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	size_t len = 0;
	FILE *file;
	ssize_t n;

	f->dir = getenv("FAKE_DIR");
	file = fake_open(f, "args", "a");
	for (int i = 1; i < argc; i++)
		fprintf(file, "%s%s", argv[i], i + 1 < argc ? "\x1f" : "\n");
	fclose(file);
	file = fake_open(f, "pid", "w");
	fprintf(file, "%ld\n", (long)getpid());
	fclose(file);
	fprintf(stderr, "Open On-Chip Debugger 0.12.0\n");
	fake_read_mode(f);
	if (strcmp(f->mode, "exit") == 0) {
		fprintf(stderr, "Info : looking\nError: no adapter found\n");
		return 1;
	}
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 1) ||
		getsockname(listener, (struct sockaddr *)&addr, &addr_len))
		return 1;
	fprintf(stderr, "Info : Listening on port %u for tcl connections\n", ntohs(addr.sin_port));
	/* it says so only, and says another one each time it may choose */
	for (int i = 1; i < argc && strcmp(f->mode, "no-gdb") != 0; i++)
		if (strncmp(argv[i], "gdb_port 0;", 11) == 0)
			fprintf(stderr, "Info : Listening on port %u for gdb connections\n",
				ntohs(addr.sin_port) ^ 1U);
		else if (strncmp(argv[i], "gdb_port ", 9) == 0 && argv[i][9] != 'd')
			fprintf(stderr, "Info : Listening on port %lu for gdb connections\n",
				strtoul(argv[i] + 9, NULL, 10));
	fd = accept(listener, NULL, NULL);
	while ((n = read(fd, in + len, sizeof(in) - len - 1)) > 0) {
		char *end;

		len += (size_t)n;
		while ((end = memchr(in, '\x1a', len))) {
			size_t used = (size_t)(end - in) + 1;

			*end = '\0';
			fake_script(f, fd, in);
			len -= used;
			memmove(in, end + 1, len);
		}
	}
	return 0;
}

#endif
