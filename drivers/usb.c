/*
 * USB devices: sysfs, handles and control transfers (usb.h).
 */
#include "usb.h"

#include <libusb.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define CLAIM_AGAIN_MS 5
#define ACCESS_MEND                                                                                \
	"install the udev rules 60-rig.rules, put this user into the group plugdev, log in and "   \
	"plug it again"

struct usb_handle {
	struct usb_handle *next;
	unsigned bus, address;
	unsigned refs;
	int fd; /* libusb does not close it */
	libusb_device_handle *usb;
	pthread_mutex_t lock; /* held from claim to unclaim */
	atomic_bool gone;
	char described[64];
};

/* What this process has open; one libusb context while there is anything. */
static struct {
	pthread_mutex_t lock;
	struct usb_handle *handles;
	libusb_context *context;
	const char *root;
} usb = {.lock = PTHREAD_MUTEX_INITIALIZER, .root = ""};

void usb_set_root(const char *root)
{
	usb.root = root ? root : "";
}

void usb_path(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = (size_t)snprintf(buf, size, "%s", usb.root);
	va_list ap;

	if (len >= size)
		return;
	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

void usb_node(char *buf, size_t size, unsigned bus, unsigned address)
{
	usb_path(buf, size, "/dev/bus/usb/%03u/%03u", bus, address);
}

/* --- sysfs ------------------------------------------------------------------------------------ */

int usb_read_attribute(const char *path, char *buf, size_t size, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), errnum;
	ssize_t n;

	buf[0] = '\0';
	if (fd < 0)
		return err_errno(e, errno == ENOENT ? ERR_GONE : ERR_BENCH, errno, "%s", path);
	n = read(fd, buf, size - 1);
	errnum = errno;
	close(fd);
	if (n < 0)
		return err_errno(e, errnum == ENODEV ? ERR_GONE : ERR_BENCH, errnum, "%s", path);
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

/* An attribute of a device; *bad when it is missing or no number of that base. */
static unsigned number_of(const char *device, const char *name, int base, bool *bad)
{
	char path[PATH_MAX], text[64], *end;
	unsigned long n;
	struct err e;

	usb_path(path, sizeof(path), "/sys/bus/usb/devices/%s/%s", device, name);
	if (usb_read_attribute(path, text, sizeof(text), &e) != 0) {
		*bad = true;
		return 0;
	}
	errno = 0;
	n = strtoul(text, &end, base);
	if (end == text || errno || n > UINT_MAX)
		*bad = true;
	return (unsigned)n;
}

static void text_of(const char *device, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX];
	struct err e;

	usb_path(path, sizeof(path), "/sys/bus/usb/devices/%s/%s", device, name);
	usb_read_attribute(path, buf, size, &e); /* not every device has it */
	/* a device may say anything: messages are one line of plain text */
	for (char *p = buf; *p; p++)
		if (*p < ' ' || *p > '~' || *p == '"')
			*p = '?';
}

static bool read_info(const char *device, struct usb_info *info)
{
	bool bad = false, no_ports = false;

	memset(info, 0, sizeof(*info));
	if (strchr(device, ':') || strlen(device) >= sizeof(info->path))
		return false; /* an interface */
	memcpy(info->path, device, strlen(device) + 1);
	info->bus = number_of(device, "busnum", 10, &bad);
	info->address = number_of(device, "devnum", 10, &bad);
	info->vendor = number_of(device, "idVendor", 16, &bad);
	info->product = number_of(device, "idProduct", 16, &bad);
	info->device_class = number_of(device, "bDeviceClass", 16, &bad);
	info->protocol = number_of(device, "bDeviceProtocol", 16, &bad);
	info->ports = number_of(device, "maxchild", 10, &no_ports);
	text_of(device, "serial", info->serial, sizeof(info->serial));
	text_of(device, "product", info->name, sizeof(info->name));
	snprintf(info->described, sizeof(info->described), "%04x:%04x at %s", info->vendor,
		info->product, info->path);
	return !bad;
}

static int by_path(const void *a, const void *b)
{
	return strverscmp(((const struct usb_info *)a)->path, ((const struct usb_info *)b)->path);
}

/* Reads the folder's devices into *list, which is grown. */
static int list_folder(DIR *dir, struct usb_info **list, size_t *count, struct err *e)
{
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		struct usb_info *more;

		if (entry->d_name[0] == '.')
			continue;
		more = realloc(*list, (*count + 1) * sizeof(**list));
		if (!more)
			return err_set(e, ERR_NOMEM, "out of memory");
		*list = more;
		if (read_info(entry->d_name, &more[*count]))
			(*count)++;
	}
	return 0;
}

int usb_list(struct usb_info **list, size_t *count, struct err *e)
{
	char path[PATH_MAX];
	DIR *dir;
	int ret;

	*list = NULL;
	*count = 0;
	usb_path(path, sizeof(path), "/sys/bus/usb/devices");
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : err_errno(e, ERR_IO, errno, "%s", path);
	ret = list_folder(dir, list, count, e);
	closedir(dir);
	if (ret) {
		free(*list);
		*list = NULL;
		*count = 0;
	} else if (*count) {
		qsort(*list, *count, sizeof(**list), by_path);
	}
	return ret;
}

/* --- handles ---------------------------------------------------------------------------------- */

/* What libusb's code means for the user. */
static int fail(struct err *e, const char *described, const char *what, int code)
{
	switch (code) {
	case LIBUSB_ERROR_ACCESS:
		return err_set(
			e, ERR_BENCH, "%s: %s: no permission: %s", described, what, ACCESS_MEND);
	case LIBUSB_ERROR_NO_DEVICE:
	case LIBUSB_ERROR_NOT_FOUND:
		return err_set(e, ERR_BENCH,
			"%s: %s: it is gone: was it unplugged, or is its hub without power?",
			described, what);
	case LIBUSB_ERROR_BUSY:
		return err_set(e, ERR_BUSY,
			"%s: %s: another program holds it: is a virtual machine or a relay tool "
			"using it?",
			described, what);
	case LIBUSB_ERROR_TIMEOUT:
		return err_set(e, ERR_BENCH,
			"%s: %s: no answer within %d ms: plug it again; if that does not help, "
			"it is broken",
			described, what, USB_TRANSFER_MS);
	case LIBUSB_ERROR_PIPE:
		return err_set(e, ERR_BENCH,
			"%s: %s: the device refuses it: is it what rig.conf says it is?", described,
			what);
	case LIBUSB_ERROR_NO_MEM:
		return err_set(e, ERR_NOMEM, "out of memory");
	default:
		return err_set(e, ERR_BENCH, "%s: %s: %s: check its cable and its hub's supply",
			described, what, libusb_error_name(code));
	}
}

static int context_get(struct err *e)
{
	int code;

	if (usb.context)
		return 0;
	/* devices are found in sysfs and handed over as descriptors */
	libusb_set_option(NULL, LIBUSB_OPTION_NO_DEVICE_DISCOVERY);
	code = libusb_init(&usb.context);
	if (!code)
		return 0;
	usb.context = NULL;
	return err_set(e, ERR_BENCH, "libusb does not start: %s", libusb_error_name(code));
}

static void context_put(void)
{
	if (usb.handles || !usb.context)
		return;
	libusb_exit(usb.context);
	usb.context = NULL;
}

static int open_node(const struct usb_info *info, struct err *e)
{
	char path[PATH_MAX];
	int fd;

	usb_node(path, sizeof(path), info->bus, info->address);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0)
		return fd;
	if (errno == EACCES || errno == EPERM)
		return fail(e, info->described, path, LIBUSB_ERROR_ACCESS);
	if (errno == ENOENT || errno == ENODEV)
		return fail(e, info->described, path, LIBUSB_ERROR_NO_DEVICE);
	return err_errno(e, ERR_BENCH, errno, "%s: %s", info->described, path);
}

static void handle_free(struct usb_handle *h)
{
	if (h->usb)
		libusb_close(h->usb);
	if (h->fd >= 0)
		close(h->fd);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static int handle_create(const struct usb_info *info, struct usb_handle **made, struct err *e)
{
	struct usb_handle *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return err_set(e, ERR_NOMEM, "out of memory");
	pthread_mutex_init(&h->lock, NULL);
	h->bus = info->bus;
	h->address = info->address;
	h->refs = 1;
	snprintf(h->described, sizeof(h->described), "%s", info->described);
	h->fd = ret = open_node(info, e);
	if (ret >= 0) {
		ret = libusb_wrap_sys_device(usb.context, h->fd, &h->usb);
		if (ret)
			ret = fail(e, info->described, "open", ret);
	}
	if (ret)
		handle_free(h);
	else
		*made = h;
	return ret;
}

/* The open handle of that device that is still of use, or NULL. */
static struct usb_handle *handle_find(const struct usb_info *info)
{
	for (struct usb_handle *h = usb.handles; h; h = h->next)
		if (h->bus == info->bus && h->address == info->address && !h->gone)
			return h;
	return NULL;
}

int usb_open(const struct usb_info *info, struct usb_handle **handle, struct err *e)
{
	struct usb_handle *h;
	int ret = 0;

	pthread_mutex_lock(&usb.lock);
	h = handle_find(info);
	if (h) {
		h->refs++;
	} else {
		ret = context_get(e);
		if (!ret)
			ret = handle_create(info, &h, e);
		if (!ret) {
			h->next = usb.handles;
			usb.handles = h;
		}
		context_put();
	}
	pthread_mutex_unlock(&usb.lock);
	*handle = h;
	return ret;
}

void usb_close(struct usb_handle *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&usb.lock);
	if (--h->refs == 0) {
		struct usb_handle **at = &usb.handles;

		while (*at != h)
			at = &(*at)->next;
		*at = h->next;
		handle_free(h);
		context_put();
	}
	pthread_mutex_unlock(&usb.lock);
}

bool usb_is_gone(const struct usb_handle *h)
{
	return h->gone;
}

/* --- transfers -------------------------------------------------------------------------------- */

/* As fail(), and remembers that the device is gone. */
static int transfer_fail(struct usb_handle *h, struct err *e, const char *what, int code)
{
	if (code == LIBUSB_ERROR_NO_DEVICE)
		h->gone = true;
	return fail(e, h->described, what, code);
}

static int claim_once(struct usb_handle *h, int interface)
{
	int code = libusb_kernel_driver_active(h->usb, interface);

	/* it stays off until the board is plugged again: to put it back takes longer than all
	 * the rest, and another keeper may be about to use the board */
	if (code == 1)
		code = libusb_detach_kernel_driver(h->usb, interface);
	if (code == LIBUSB_ERROR_NO_DEVICE || code == LIBUSB_ERROR_ACCESS)
		return code;
	return libusb_claim_interface(h->usb, interface);
}

int usb_claim(struct usb_handle *h, int interface, unsigned within_ms, const atomic_bool *abandoned,
	struct err *e)
{
	uint64_t until = uv_hrtime() + within_ms * UINT64_C(1000000);
	int code;

	pthread_mutex_lock(&h->lock);
	/* the kernel does not tell when another process lets go; a device that is being set up
	 * has no interface yet */
	while ((code = claim_once(h, interface)) == LIBUSB_ERROR_BUSY ||
		code == LIBUSB_ERROR_NOT_FOUND) {
		if (uv_hrtime() >= until || (abandoned && *abandoned))
			break;
		poll(NULL, 0, CLAIM_AGAIN_MS);
	}
	if (!code)
		return 0;
	pthread_mutex_unlock(&h->lock);
	return transfer_fail(h, e, "claim its interface", code);
}

void usb_unclaim(struct usb_handle *h, int interface)
{
	if (!h->gone)
		libusb_release_interface(h->usb, interface);
	pthread_mutex_unlock(&h->lock);
}

static int transfer(
	struct usb_handle *h, const struct usb_request *request, uint8_t *data, uint16_t len)
{
	return libusb_control_transfer(h->usb, request->type, request->request, request->value,
		request->index, data, len, USB_TRANSFER_MS);
}

int usb_control(struct usb_handle *h, const struct usb_request *request, uint8_t *data,
	uint16_t len, struct err *e)
{
	int n = transfer(h, request, data, len);

	/* a relay that switches disturbs a cable that is not shielded well */
	if (n == LIBUSB_ERROR_IO || n == LIBUSB_ERROR_OTHER || n == LIBUSB_ERROR_OVERFLOW)
		n = transfer(h, request, data, len);
	return n < 0 ? transfer_fail(h, e, request->what, n) : n;
}

/* --- watching --------------------------------------------------------------------------------- */

#define WATCHED (IN_CREATE | IN_DELETE | IN_ATTRIB | IN_MOVED_TO | IN_ONLYDIR)

/* Watches every bus's folder; one that is watched already stays so. */
static void watch_buses(int fd)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	usb_path(path, sizeof(path), "/dev/bus/usb");
	inotify_add_watch(fd, path, WATCHED);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		usb_path(path, sizeof(path), "/dev/bus/usb/%s", entry->d_name);
		inotify_add_watch(fd, path, WATCHED);
	}
	if (dir)
		closedir(dir);
}

static void watch_came(uv_poll_t *handle, int status, int events)
{
	struct usb_watch *w = (struct usb_watch *)handle;
	char buf[4096];

	(void)status;
	(void)events;
	while (read(w->fd, buf, sizeof(buf)) > 0)
		; /* what has changed is looked at, not told */
	watch_buses(w->fd);
	w->changed(w->arg);
}

void usb_watch_init(struct usb_watch *w)
{
	memset(w, 0, sizeof(*w));
	w->fd = -1;
}

void usb_watch_start(struct usb_watch *w, uv_loop_t *loop, void (*changed)(void *arg), void *arg)
{
	w->changed = changed;
	w->arg = arg;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0)
		return;
	if (uv_poll_init(loop, &w->poll, w->fd) != 0) {
		close(w->fd);
		w->fd = -1;
		return;
	}
	watch_buses(w->fd);
	uv_poll_start(&w->poll, UV_READABLE, watch_came);
}

bool usb_watch_stop(struct usb_watch *w, uv_close_cb closed)
{
	if (w->fd < 0)
		return false;
	uv_close((uv_handle_t *)&w->poll, closed);
	close(w->fd);
	w->fd = -1;
	return true;
}
