/*
 * Opening a serial port and closing it.
 */
#include "serial_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_MS 300
#define SET_UP_WITHIN_MS 3000 /* for one that is shared */
#define STEP_MS 5
#define LATENCY_WANTED_MS 1
#define WAKE_NS 50000000
#define WAKE_SIGNAL (SIGRTMIN + 5)

/* --- taking it -------------------------------------------------------------------------------- */

int serial_link_busy(const char *path, struct err *e)
{
	char who[128];

	if (serial_holder(path, true, who, sizeof(who)))
		return err_set(e, ERR_BENCH, "%s is held by %s: end that, or name another port",
			path, who);
	return err_set(e, ERR_BENCH,
		"%s is taken already: is it named twice in rig.conf, or held by another user's "
		"program?",
		path);
}

static int cannot_open(const char *path, int errnum, struct err *e)
{
	char why[512];

	if (errnum == EBUSY)
		return serial_link_busy(path, e);
	if (errnum == ENOENT || errnum == ENODEV || errnum == ENXIO)
		return err_errno(e, ERR_GONE, errnum, "%s went away again", path);
	serial_permission(path, why, sizeof(why));
	if (why[0])
		return err_set(e, ERR_BENCH, "%s", why);
	return err_errno(e, ERR_BENCH, errnum, "%s", path);
}

bool serial_link_lock(struct serial_link *link)
{
	return flock(link->lock_fd, LOCK_EX | LOCK_NB) == 0;
}

void serial_link_unlock(struct serial_link *link)
{
	flock(link->lock_fd, LOCK_UN);
}

bool serial_link_claim(struct serial_link *link, unsigned part)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)part, .l_len = 1};

	/* nothing is ever read there: the range stands for the part */
	return fcntl(link->lock_fd, F_OFD_SETLK, &lock) == 0;
}

/* Opens the file and locks it, before anything is set: another's line stays as it is. */
static int take(struct serial_link *link, struct err *e)
{
	const char *path = link->place.path;
	char who[128];

	/* who does not lock is found in /proc; opening would assert DTR under him */
	if (serial_holder(path, !link->shared, who, sizeof(who)))
		return err_set(e, ERR_BENCH, "%s is held by %s: end that, or name another port",
			path, who);
	link->lock_fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (link->lock_fd < 0)
		return cannot_open(path, errno, e);
	for (int left = link->shared ? SET_UP_WITHIN_MS : 0; !serial_link_lock(link);
		left -= STEP_MS) {
		if (left <= 0)
			return serial_link_busy(path, e);
		poll(NULL, 0, STEP_MS);
	}
	return 0;
}

/* --- FTDI's latency timer --------------------------------------------------------------------- */

static FILE *latency_file(const struct serial_link *link, const char *mode)
{
	const char *name = strrchr(link->place.path, '/');
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/bus/usb-serial/devices/%s/latency_timer", serial_sys_dir,
		name ? name + 1 : link->place.path);
	return fopen(path, mode);
}

static int read_latency(const struct serial_link *link)
{
	FILE *f = latency_file(link, "re");
	char text[16] = "";
	int ms = -1;

	if (f && fgets(text, sizeof(text), f))
		ms = (int)strtol(text, NULL, 10);
	if (f)
		fclose(f);
	return ms;
}

/* The chip keeps bytes back for up to 16 ms unless told otherwise (FTDI AN232B-04). */
static void set_latency(struct serial_link *link)
{
	FILE *f;

	link->latency_ms = read_latency(link);
	if (link->latency_ms < 0 || link->latency_ms == LATENCY_WANTED_MS)
		return;
	f = latency_file(link, "we");
	if (!f) {
		link->latency_errno = errno;
		return;
	}
	fprintf(f, "%d", LATENCY_WANTED_MS);
	link->latency_errno = fclose(f) == 0 ? 0 : errno;
	link->latency_ms = read_latency(link);
}

/* --- open, close ------------------------------------------------------------------------------ */

int serial_link_open(struct serial_link *link, const struct serial_want *want,
	const struct serial_settings *settings, bool shared, struct err *e)
{
	int ret;

	*link = (struct serial_link){
		.settings = settings, .shared = shared, .fd = -1, .lock_fd = -1, .latency_ms = -1};
	ret = serial_find(want, &link->place, e);
	if (!ret)
		ret = take(link, e);
	if (!ret) {
		link->fd = serial_backend->open(link->place.path, settings, &link->handle, e);
		ret = link->fd < 0 ? link->fd : 0;
	}
	if (ret) {
		if (link->lock_fd >= 0)
			close(link->lock_fd);
		return ret;
	}
	fcntl(link->fd, F_SETFD, FD_CLOEXEC);
	if (shared)
		serial_link_unlock(link);
	else
		ioctl(link->fd, TIOCEXCL);
	set_latency(link);
	return 0;
}

static void nothing(int signal_number)
{
	(void)signal_number;
}

static void close_files(struct serial_link *link)
{
	serial_backend->close(link->handle);
	close(link->lock_fd);
}

/* Few drivers of USB ports can throw away what they were given: closing waits for it for 30 s, or
 * until a signal comes to the thread that closes. */
static void close_unsent(struct serial_link *link)
{
	const struct itimerspec every = {{0, WAKE_NS}, {0, WAKE_NS}};
	struct sigaction act = {.sa_handler = nothing};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = WAKE_SIGNAL};
	sigset_t wake, before;
	timer_t timer;
	bool timed;

	event._sigev_un._tid = gettid();
	sigaction(WAKE_SIGNAL, &act, NULL);
	sigemptyset(&wake);
	sigaddset(&wake, WAKE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &wake, &before);
	timed = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
	if (timed)
		timer_settime(timer, 0, &every, NULL);
	close_files(link);
	if (timed)
		timer_delete(timer);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void serial_link_close(struct serial_link *link)
{
	int left = 0;

	for (int ms = 0; ms < DRAIN_MS && ioctl(link->fd, TIOCOUTQ, &left) == 0 && left > 0;
		ms += STEP_MS)
		poll(NULL, 0, STEP_MS);
	if (!link->shared)
		ioctl(link->fd, TIOCNXCL); /* somebody may have it open still */
	if (left > 0) {
		tcflush(link->fd, TCOFLUSH);
		close_unsent(link);
	} else {
		close_files(link);
	}
}

/* --- check ------------------------------------------------------------------------------------ */

static void __attribute__((format(printf, 2, 3))) say(json_t *list, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(list, json_string(text));
}

static void check_name(struct serial_link *link, json_t *mend)
{
	struct serial_place *list = NULL;
	struct err e;
	ssize_t count = serial_list(&list, &e);
	char conf[300];

	if (count > 0 && link->place.vendor >= 0) {
		serial_place_conf(&link->place, list, (size_t)count, conf, sizeof(conf));
		say(mend, "path may name another port after the next boot: write %s instead", conf);
	}
	free(list);
}

void serial_link_check(struct serial_link *link, bool named_by_path, json_t *says, json_t *mend)
{
	char name[400], set[64];
	int bits = 0;

	serial_place_text(&link->place, name, sizeof(name));
	serial_settings_text(link->settings, set, sizeof(set));
	say(says, "%s%s%s, %s%s%s, %s", name, link->place.product_name[0] ? ", " : "",
		link->place.product_name, link->place.usb_path, link->place.usb_path[0] ? ", " : "",
		set, link->shared ? "shared" : "held by this board alone");
	if (link->latency_ms >= 0)
		say(says, "latency timer %d ms", link->latency_ms);
	if (link->latency_ms > LATENCY_WANTED_MS)
		say(mend,
			"bytes come up to %d ms late: the latency timer could not be set to %d ms (%s): "
			"install 60-rig.rules (udev), which set it",
			link->latency_ms, LATENCY_WANTED_MS, strerror(link->latency_errno));
	if (named_by_path)
		check_name(link, mend);
	if (link->settings->flow == SERIAL_FLOW_RTSCTS && ioctl(link->fd, TIOCMGET, &bits) == 0 &&
		!(bits & TIOCM_CTS))
		say(mend,
			"CTS is not asserted, so that nothing is sent: wire the DUT's RTS to CTS, or "
			"set flow = \"none\"");
}
