/*
 * usb-hid-relay with libusb as it is, on a device that umockdev plays: its sysfs, its node, and the
 * kernel's usbfs ioctls (linux/usbdevice_fs.h). What umockdev cannot do, to be unplugged, is tried
 * in the bench VM.
 */
#include "driver_bench.h"
#include "scratch.h"
#include "usb_bench.h"

#include <errno.h>
#include <sys/ioctl.h>

#include <linux/usbdevice_fs.h>
#include <umockdev.h>

#define RELAY "usb-hid-relay"
#define ONE "{\"serial\": \"6QMBS\", \"channel\": 1}"
#define PRELOAD "libumockdev-preload.so.0"
#define URBS 8

/* The board, on umockdev's thread; the test looks at it when the driver is done. */
static struct {
	UMockdevTestbed *testbed;
	UMockdevIoctlBase *handler;
	uint8_t relays;
	bool stuck, bound, claimed, held;
	unsigned unclaimed; /* requests to an interface that nobody had claimed */
	UMockdevIoctlData *done[URBS];
	size_t dones;
} board;

static const char description[] =
	"P: /devices/pci0000:00/usb1/1-1\n"
	"N: bus/usb/001/005=12011001000000"
	"08C016DF050001010200010902220001010080320904000001030000000921010100012216000705810308"
	"0014\n"
	"E: SUBSYSTEM=usb\n"
	"E: DEVTYPE=usb_device\n"
	"E: DEVNAME=/dev/bus/usb/001/005\n"
	"A: busnum=1\\n\n"
	"A: devnum=5\\n\n"
	"A: idVendor=16c0\\n\n"
	"A: idProduct=05df\\n\n"
	"A: bDeviceClass=00\\n\n"
	"A: bDeviceProtocol=00\\n\n"
	"A: product=USBRelay2\\n\n";

/* --- the board's side of usbfs --- */

/* A control request: its setup packet, and its data. Bytes, or a negative errno. */
static int control(uint8_t *packet)
{
	uint8_t *data = packet + 8;

	switch (packet[0] << 8 | packet[1]) {
	case 0x8008: /* GET_CONFIGURATION */
		data[0] = 1;
		return 1;
	case 0xa101: /* GET_REPORT */
		board.unclaimed += !board.claimed;
		memcpy(data, "6QMBS\0\0", 7);
		data[7] = board.relays;
		return 8;
	case 0x2109: /* SET_REPORT */
		board.unclaimed += !board.claimed;
		if (board.stuck)
			return 8;
		if (data[0] == 0xff)
			board.relays |= (uint8_t)(1U << (data[1] - 1U));
		else
			board.relays &= (uint8_t) ~(1U << (data[1] - 1U));
		return 8;
	default:
		return -EPIPE;
	}
}

static int submit(UMockdevIoctlData *arg)
{
	UMockdevIoctlData *urb_data =
		umockdev_ioctl_data_resolve(arg, 0, sizeof(struct usbdevfs_urb), NULL);
	struct usbdevfs_urb *urb = (struct usbdevfs_urb *)(void *)urb_data->data;
	UMockdevIoctlData *buffer = umockdev_ioctl_data_resolve(
		urb_data, offsetof(struct usbdevfs_urb, buffer), (gsize)urb->buffer_length, NULL);
	int n = control(buffer->data);

	g_object_unref(buffer);
	if (board.dones == URBS)
		return -ENOMEM;
	urb->status = n < 0 ? n : 0;
	urb->actual_length = n < 0 ? 0 : n;
	board.done[board.dones++] = urb_data;
	return 0;
}

static int reap(UMockdevIoctlData *arg)
{
	UMockdevIoctlData *at;

	if (!board.dones)
		return -EAGAIN;
	at = umockdev_ioctl_data_resolve(arg, 0, sizeof(gpointer), NULL);
	umockdev_ioctl_data_set_ptr(at, 0, board.done[0]);
	g_object_unref(board.done[0]);
	g_object_unref(at);
	board.dones--;
	memmove(board.done, board.done + 1, board.dones * sizeof(*board.done));
	return 0;
}

static int control_at_once(UMockdevIoctlData *arg)
{
	UMockdevIoctlData *call =
		umockdev_ioctl_data_resolve(arg, 0, sizeof(struct usbdevfs_ctrltransfer), NULL);
	struct usbdevfs_ctrltransfer *c = (struct usbdevfs_ctrltransfer *)(void *)call->data;
	UMockdevIoctlData *data = umockdev_ioctl_data_resolve(
		call, offsetof(struct usbdevfs_ctrltransfer, data), c->wLength, NULL);
	uint8_t packet[64] = {c->bRequestType, c->bRequest};
	int n = control(packet);

	if (n > 0)
		memcpy(data->data, packet + 8, (size_t)n < c->wLength ? (size_t)n : c->wLength);
	g_object_unref(data);
	g_object_unref(call);
	return n;
}

/* A struct that the kernel fills in. */
static int fill(UMockdevIoctlData *arg, const void *with, gsize size)
{
	UMockdevIoctlData *data = umockdev_ioctl_data_resolve(arg, 0, size, NULL);

	memcpy(data->data, with, size);
	g_object_unref(data);
	return 0;
}

static int get_driver(UMockdevIoctlData *arg)
{
	const struct usbdevfs_getdriver driver = {.interface = 0, .driver = "usbhid"};

	return board.bound ? fill(arg, &driver, sizeof(driver)) : -ENODATA;
}

static int disconnect(UMockdevIoctlData *arg)
{
	UMockdevIoctlData *data =
		umockdev_ioctl_data_resolve(arg, 0, sizeof(struct usbdevfs_ioctl), NULL);
	const struct usbdevfs_ioctl *call = (const struct usbdevfs_ioctl *)(void *)data->data;
	int ret = (unsigned)call->ioctl_code == USBDEVFS_DISCONNECT && board.bound ? 0 : -ENODATA;

	board.bound = false;
	g_object_unref(data);
	return ret;
}

static int claim(bool claims)
{
	if (claims && (board.bound || board.held))
		return -EBUSY;
	board.claimed = claims;
	return 0;
}

static int serve(gulong request, UMockdevIoctlData *arg)
{
	const struct usbdevfs_connectinfo info = {.devnum = 5, .slow = 1};
	const uint32_t capabilities = USBDEVFS_CAP_BULK_CONTINUATION;

	switch (request) {
	case USBDEVFS_CONNECTINFO:
		return fill(arg, &info, sizeof(info));
	case USBDEVFS_GET_CAPABILITIES:
		return fill(arg, &capabilities, sizeof(capabilities));
	case USBDEVFS_CONTROL:
		return control_at_once(arg);
	case USBDEVFS_SUBMITURB:
		return submit(arg);
	case USBDEVFS_REAPURBNDELAY:
		return reap(arg);
	case USBDEVFS_GETDRIVER:
		return get_driver(arg);
	case USBDEVFS_IOCTL:
		return disconnect(arg);
	case USBDEVFS_CLAIMINTERFACE:
		return claim(true);
	case USBDEVFS_RELEASEINTERFACE:
		return claim(false);
	default:
		return -ENOTTY;
	}
}

static gboolean handle_ioctl(UMockdevIoctlBase *handler, UMockdevIoctlClient *client, gpointer arg)
{
	int ret = serve(
		umockdev_ioctl_client_get_request(client), umockdev_ioctl_client_get_arg(client));

	(void)handler;
	(void)arg;
	umockdev_ioctl_client_complete(client, ret < 0 ? -1 : ret, ret < 0 ? -ret : 0);
	return TRUE;
}

/* --- the tests --- */

static int setup(void **state)
{
	memset(&board, 0, sizeof(board));
	board.bound = true;
	board.testbed = umockdev_testbed_new();
	assert_true(umockdev_testbed_add_from_string(board.testbed, description, NULL));
	board.handler = umockdev_ioctl_base_new();
	g_signal_connect(board.handler, "handle-ioctl", G_CALLBACK(handle_ioctl), NULL);
	assert_true(umockdev_testbed_attach_ioctl(
		board.testbed, "/dev/bus/usb/001/005", board.handler, NULL));
	return usb_bench_setup(state);
}

static int teardown(void **state)
{
	int ret = usb_bench_teardown(state);

	assert_int_equal(board.dones, 0);
	g_object_unref(board.handler);
	g_object_unref(board.testbed);
	return ret;
}

static void a_relay_is_switched_and_read_back(void **state)
{
	struct usb_bench *b = *state;
	struct device *dev = usb_opened(b, RELAY, ONE);

	assert_false(board.bound);
	assert_false(board.claimed);
	assert_sets(b, dev, true, "read-back");
	assert_int_equal(board.relays, 1);
	assert_reads(b, dev, true);
	assert_sets(b, dev, false, "read-back");
	assert_int_equal(board.relays, 0);
	assert_checks(b, dev, "says", "relay board 6QMBS at 1-1: channel 1 reads off");
	assert_false(board.claimed);
	assert_int_equal(board.unclaimed, 0);
	usb_closed(b, dev);
}

static void a_relay_that_does_not_follow_is_an_error_of_the_bench(void **state)
{
	struct usb_bench *b = *state;
	struct device *dev = usb_opened(b, RELAY, ONE);

	board.stuck = true;
	assert_set_fails(b, dev, true, ERR_BENCH, "set on: read-back says off");
	usb_closed(b, dev);
}

static void an_interface_that_another_holds_is_told_of(void **state)
{
	struct usb_bench *b = *state;
	struct device *dev = usb_opened(b, RELAY, ONE);

	board.held = true;
	assert_set_fails(b, dev, true, ERR_BUSY, "another program holds it");
	board.held = false;
	assert_sets(b, dev, true, "read-back");
	usb_closed(b, dev);
}

static void scan_lists_it(void **state)
{
	char *found = scanned(RELAY);

	(void)state;
	assert_string_equal(found,
		"USB relay board 16c0:05df \"USBRelay2\", serial 6QMBS, 2 channels|1-1|power = { "
		"driver = \"usb-hid-relay\", serial = \"6QMBS\", channel = 1 },|\n");
	free(found);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_relay_is_switched_and_read_back),
		TEST(a_relay_that_does_not_follow_is_an_error_of_the_bench),
		TEST(an_interface_that_another_holds_is_told_of),
		TEST(scan_lists_it),
	};

	(void)argc;
	if (!getenv("RIG_UMOCKDEV")) {
		setenv("RIG_UMOCKDEV", "1", 1);
		setenv("LD_PRELOAD", PRELOAD, 1);
		/* the order is of no matter for what is checked here */
		setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
		execv("/proc/self/exe", argv);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
