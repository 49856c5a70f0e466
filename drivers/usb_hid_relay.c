/*
 * usb-hid-relay: the relay boards 16c0:05df "USBRelayN", 1 to 8 relays.
 *
 * Their protocol (V-USB's shared ID for HID devices; as spoken by the vendor's usb_relay_device
 * library): a feature report of 8 bytes without report id. Read, its bytes 0 to 4 are the board's
 * own id (which is not the USB serial number) and byte 7 has a bit per relay, bit 0 for relay 1.
 * Written, byte 0 is the command: 0xff on, 0xfd off, with the relay's number in byte 1; 0xfe all
 * on, 0xfc all off.
 *
 * Every instance is one relay. Instances in one process share the board's handle; other processes
 * may have relays of the same board, since its interface is claimed for one operation at a time.
 */
#include "usb_instance.h"

#include <libusb.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VENDOR 0x16c0
#define PRODUCT 0x05df
#define NAME "USBRelay"
#define INTERFACE 0
#define ID_LEN 5
#define REPORT_LEN 8
#define REPORT_STATE 7
#define RELAYS_MAX 8
#define RELAY_ON 0xff
#define RELAY_OFF 0xfd
#define SETTLE_MS_MAX 60000

/* HID 1.11, 7.2; value: feature report, report id 0 */
static const struct usb_request get_report = {
	LIBUSB_ENDPOINT_IN | LIBUSB_REQUEST_TYPE_CLASS | LIBUSB_RECIPIENT_INTERFACE, 0x01, 0x0300,
	INTERFACE, "read its state (GET_REPORT)"};
static const struct usb_request set_report = {
	LIBUSB_ENDPOINT_OUT | LIBUSB_REQUEST_TYPE_CLASS | LIBUSB_RECIPIENT_INTERFACE, 0x09, 0x0300,
	INTERFACE, "switch (SET_REPORT)"};

struct relay {
	struct usb_instance usb;
	char id[ID_LEN + 1]; /* as configured; "": any */
	char path[32];       /* as configured; "": any */
	char found[ID_LEN + 1];
	unsigned channel; /* from 1 */
	bool normally_closed;
	unsigned settle_ms;
};

struct report {
	char id[ID_LEN + 1];
	unsigned relays; /* a bit each */
};

static const struct driver_option options[] = {
	{"serial", OPTION_STRING, false, NULL,
		"the board's id of 5 characters, as rig check --scan shows it"},
	{"channel", OPTION_INTEGER, true, NULL, "the relay on the board, from 1"},
	{"usb_path", OPTION_STRING, false, NULL,
		"the USB port it is on, such as 1-1.4, for boards with equal ids"},
	{"normally_closed", OPTION_BOOLEAN, false, "false",
		"the DUT is fed over the NC contact: the relay picks up to cut its power"},
	{"settle_ms", OPTION_INTEGER, false, "20", "milliseconds until the contact has switched"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct relay *relay_of(struct usb_instance *u)
{
	return (struct relay *)u;
}

static struct relay *relay_of_device(struct device *dev)
{
	return (struct relay *)dev;
}

/* --- the board's protocol, on a thread -------------------------------------------------------- */

static bool is_relay_board(const struct usb_info *info)
{
	/* many other things of hobbyists have these numbers */
	return info->vendor == VENDOR && info->product == PRODUCT &&
	       strncmp(info->name, NAME, strlen(NAME)) == 0;
}

/* How many relays its name says it has; 0: it does not say. */
static unsigned relays_of(const struct usb_info *info)
{
	char c = info->name[strlen(NAME)];

	return c >= '1' && c <= '0' + RELAYS_MAX ? (unsigned)(c - '0') : 0;
}

/* With the interface claimed. */
static int read_report(struct usb_handle *h, const char *what, struct report *report, struct err *e)
{
	uint8_t data[REPORT_LEN] = {0};
	int n = usb_control(h, &get_report, data, sizeof(data), e);

	if (n < 0)
		return n;
	if (n != REPORT_LEN)
		return err_set(e, ERR_BENCH,
			"%s: its report has %d bytes and not %d: it is no relay board of this kind",
			what, n, REPORT_LEN);
	for (int i = 0; i < ID_LEN; i++)
		report->id[i] =
			(char)(data[i] > ' ' && data[i] <= '~' && data[i] != '"' ? data[i] : '?');
	report->id[ID_LEN] = '\0';
	report->relays = data[REPORT_STATE];
	return 0;
}

/* Claims, reads and lets go. */
static int fetch_report(struct usb_handle *h, const char *what, unsigned within_ms,
	const atomic_bool *abandoned, struct report *report, struct err *e)
{
	int ret = usb_claim(h, INTERFACE, within_ms, abandoned, e);

	if (ret)
		return ret;
	ret = read_report(h, what, report, e);
	usb_unclaim(h, INTERFACE);
	return ret;
}

/* --- finding the board, on a thread ----------------------------------------------------------- */

/* What was looked at on the way to the one that is wanted. */
struct search {
	const struct relay *r;
	const atomic_bool *abandoned;
	struct usb_handle *h; /* the one */
	struct usb_info info; /* its */
	struct report report; /* its */
	unsigned matches;
	char seen[256];   /* those that do not match */
	struct err first; /* failure */
};

static void note_seen(struct search *s, const char *id, const struct usb_info *info)
{
	size_t len = strlen(s->seen);

	snprintf(s->seen + len, sizeof(s->seen) - len, "%s%s at %s", len ? ", " : "", id,
		info->path);
}

static void look_at(struct search *s, const struct usb_info *info)
{
	struct report report;
	struct usb_handle *h;
	struct err e;
	int ret = usb_open(info, &h, &e);

	if (!ret)
		ret = fetch_report(h, info->described, USB_CLAIM_MS, s->abandoned, &report, &e);
	if (ret) {
		usb_close(h);
		if (s->first.code == ERR_NONE)
			s->first = e;
		return;
	}
	note_seen(s, report.id, info);
	if ((s->r->id[0] && strcmp(s->r->id, report.id) != 0) || s->matches++) {
		usb_close(h);
		return;
	}
	s->h = h;
	s->info = *info;
	s->report = report;
}

static int search_failed(const struct search *s, struct err *e)
{
	const char *id = s->r->id[0] ? s->r->id : "any", *path = s->r->path;

	if (s->matches > 1)
		return err_set(e, ERR_BENCH,
			"%u relay boards match (%s): say which one by %s in rig.conf", s->matches,
			s->seen, s->r->id[0] ? "usb_path" : "serial or usb_path");
	if (s->first.code != ERR_NONE) {
		*e = s->first;
		return err_prefix(e, "relay board %s", id);
	}
	return err_set(e, ERR_BENCH, "no relay board 16c0:05df with serial %s%s%s: %s%s", id,
		path[0] ? " at " : "", path,
		s->seen[0] ? "there is " : "none is plugged in; its name must begin with " NAME,
		s->seen);
}

static int choose(struct search *s, struct err *e)
{
	const struct relay *r = s->r;
	struct usb_info *list;
	size_t count;
	int ret = usb_list(&list, &count, e);

	if (ret)
		return ret;
	for (size_t i = 0; i < count && !*s->abandoned; i++)
		if (is_relay_board(&list[i]) && (!r->path[0] || strcmp(r->path, list[i].path) == 0))
			look_at(s, &list[i]);
	free(list);
	return s->matches == 1 ? 0 : search_failed(s, e);
}

static int relay_attach(struct usb_instance *u, const atomic_bool *abandoned, struct err *e)
{
	struct relay *r = relay_of(u);
	struct search s = {.r = r, .abandoned = abandoned};
	unsigned relays;
	int ret = choose(&s, e);

	relays = ret ? 0 : relays_of(&s.info);
	if (!ret && relays && r->channel > relays)
		ret = err_set(e, ERR_BENCH,
			"channel %u: relay board %s at %s has %u: mend channel in rig.conf",
			r->channel, s.report.id, s.info.path, relays);
	if (ret) {
		usb_close(s.h);
		return ret;
	}
	snprintf(r->found, sizeof(r->found), "%s", s.report.id);
	snprintf(u->what, sizeof(u->what), "relay board %s at %s", s.report.id, s.info.path);
	usb_instance_take(u, s.h, &s.info);
	return 0;
}

/* --- work, on a thread ------------------------------------------------------------------------ */

static bool is_on(const struct relay *r, const struct report *report)
{
	return ((report->relays >> (r->channel - 1)) & 1) != (unsigned)r->normally_closed;
}

static int own_report(struct relay *r, struct report *report, struct err *e)
{
	struct usb_instance *u = &r->usb;
	int ret = read_report(u->handle, u->what, report, e);

	if (!ret && strcmp(report->id, r->found) != 0)
		ret = err_set(e, ERR_BENCH,
			"%s: it answers as board %s: two programs talk to it at once, or its "
			"cable is bad",
			u->what, report->id);
	return ret;
}

static int switch_claimed(struct relay *r, const struct usb_job *job, struct err *e)
{
	uint8_t command[REPORT_LEN] = {
		job->on != r->normally_closed ? RELAY_ON : RELAY_OFF, (uint8_t)r->channel};
	struct report report;
	int ret = usb_control(r->usb.handle, &set_report, command, sizeof(command), e);

	if (ret >= 0)
		ret = own_report(r, &report, e);
	if (!ret && is_on(r, &report) != job->on)
		ret = err_set(e, ERR_BENCH,
			"%s channel %u: set %s: read-back says %s: plug the board again; if that "
			"does not help, it is broken",
			r->usb.what, r->channel, job->on ? "on" : "off", job->on ? "off" : "on");
	return ret < 0 ? ret : 0;
}

static int work_set(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	int ret = usb_claim(u->handle, INTERFACE, USB_CLAIM_MS, &job->abandoned, e);

	if (ret)
		return ret;
	ret = switch_claimed(relay_of(u), job, e);
	usb_unclaim(u->handle, INTERFACE);
	if (!ret)
		*result = json_pack("{s:s}", "verified", "read-back");
	return ret;
}

static int fetch_own(struct relay *r, const struct usb_job *job, bool *on, struct err *e)
{
	struct usb_instance *u = &r->usb;
	struct report report;
	int ret = usb_claim(u->handle, INTERFACE, USB_CLAIM_MS, &job->abandoned, e);

	if (ret)
		return ret;
	ret = own_report(r, &report, e);
	usb_unclaim(u->handle, INTERFACE);
	*on = !ret && is_on(r, &report);
	return ret;
}

static int work_get(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	bool on;
	int ret = fetch_own(relay_of(u), job, &on, e);

	if (!ret)
		*result = json_pack("{s:b}", "on", on);
	return ret;
}

static int work_open(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	(void)u; /* it was attached, and has said its id */
	(void)job;
	(void)result;
	(void)e;
	return 0;
}

static int work_check(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	struct relay *r = relay_of(u);
	char says[256];
	bool on;
	int ret = fetch_own(r, job, &on, e);

	if (ret)
		return ret;
	snprintf(says, sizeof(says), "%s: channel %u reads %s%s", u->what, r->channel,
		on ? "on" : "off", r->normally_closed ? " (normally closed)" : "");
	*result = json_pack("{s:[s], s:[]}", "says", says, "mend");
	return 0;
}

/* --- the driver's operations, on the loop ----------------------------------------------------- */

static void relay_destroy(struct usb_instance *u)
{
	free(relay_of(u));
}

static const struct usb_instance_ops instance_ops = {relay_attach, relay_destroy};

/* Copies a string option; *bad when it does not fit or is empty. */
static void copy_option(json_t *opts, const char *name, char *buf, size_t size, bool *bad)
{
	const char *text = json_string_value(json_object_get(opts, name));

	*bad = text && (!*text || strlen(text) >= size);
	snprintf(buf, size, "%s", text ? text : "");
}

static int read_options(struct relay *r, json_t *opts, struct err *e)
{
	json_int_t channel = json_integer_value(json_object_get(opts, "channel"));
	json_int_t settle_ms = json_integer_value(json_object_get(opts, "settle_ms"));
	bool bad_id, bad_path;

	copy_option(opts, "serial", r->id, sizeof(r->id), &bad_id);
	copy_option(opts, "usb_path", r->path, sizeof(r->path), &bad_path);
	if (bad_id || (r->id[0] && strlen(r->id) != ID_LEN))
		return err_set(e, ERR_CONFIG,
			"serial must be the board's own id of %d characters, as rig check --scan "
			"shows it (not the USB serial number)",
			ID_LEN);
	if (bad_path)
		return err_set(e, ERR_CONFIG, "usb_path must be a bus and ports, such as 1-1.4");
	if (channel < 1 || channel > RELAYS_MAX)
		return err_set(e, ERR_CONFIG, "channel must be 1 to %d", RELAYS_MAX);
	if (settle_ms < 0 || settle_ms > SETTLE_MS_MAX)
		return err_set(e, ERR_CONFIG, "settle_ms must be 0 to %d", SETTLE_MS_MAX);
	r->channel = (unsigned)channel;
	r->settle_ms = (unsigned)settle_ms;
	r->normally_closed = json_is_true(json_object_get(opts, "normally_closed"));
	return 0;
}

static struct device *relay_create(const struct driver_env *env, json_t *opts, struct err *e)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (!r) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	if (read_options(r, opts, e) != 0) {
		free(r);
		return NULL;
	}
	snprintf(r->usb.what, sizeof(r->usb.what), "relay board %s", r->id[0] ? r->id : r->path);
	usb_instance_init(&r->usb, env, &instance_ops);
	return &r->usb.dev;
}

static void relay_open(struct device *dev, struct op *op)
{
	const struct usb_job job = {.work = work_open};

	usb_instance_open(&relay_of_device(dev)->usb, &job, op);
}

static void relay_set(struct device *dev, bool on, struct op *op)
{
	struct relay *r = relay_of_device(dev);
	const struct usb_job job = {.work = work_set, .on = on, .settle_ms = r->settle_ms};

	usb_instance_stop_settling(&r->usb);
	usb_instance_do(&r->usb, &job, op);
}

static void relay_get(struct device *dev, struct op *op)
{
	const struct usb_job job = {.work = work_get};

	usb_instance_do(&relay_of_device(dev)->usb, &job, op);
}

static void relay_make_safe(struct device *dev, struct op *op)
{
	const struct usb_job job = {.work = work_set, .on = false};

	usb_instance_make_safe(&relay_of_device(dev)->usb, &job, op);
}

static void relay_check(struct device *dev, struct op *op)
{
	const struct usb_job job = {.work = work_check};

	usb_instance_do(&relay_of_device(dev)->usb, &job, op);
}

static void relay_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	usb_instance_close(&relay_of_device(dev)->usb, closed, arg);
}

/* --- scan ------------------------------------------------------------------------------------- */

static void scan_one(const struct usb_info *info, json_t *found)
{
	struct usb_handle *h = NULL;
	struct report report;
	char what[256], conf[160];
	json_t *entry;
	struct err e;
	unsigned relays = relays_of(info);
	int ret = usb_open(info, &h, &e);

	if (!ret) /* one that another holds now is not waited for */
		ret = fetch_report(h, info->described, 0, NULL, &report, &e);
	usb_close(h);
	snprintf(what, sizeof(what), "USB relay board 16c0:05df \"%s\"%s%s", info->name,
		ret ? "" : ", serial ", ret ? "" : report.id);
	if (relays)
		snprintf(what + strlen(what), sizeof(what) - strlen(what), ", %u channel%s", relays,
			relays == 1 ? "" : "s");
	snprintf(conf, sizeof(conf),
		"power = { driver = \"usb-hid-relay\", %s = \"%s\", channel = 1 },",
		ret ? "usb_path" : "serial", ret ? info->path : report.id);
	entry = json_pack("{s:s, s:s, s:s}", "what", what, "at", info->path, "conf", conf);
	if (ret)
		json_object_set_new(entry, "mend", json_string(e.msg));
	json_array_append_new(found, entry);
}

static int relay_scan(json_t *found, struct err *e)
{
	struct usb_info *list;
	size_t count;
	int ret = usb_list(&list, &count, e);

	for (size_t i = 0; !ret && i < count; i++)
		if (is_relay_board(&list[i]))
			scan_one(&list[i], found);
	free(list);
	return ret;
}

static const struct power_ops power_ops = {relay_set, relay_get};

extern const struct driver driver_usb_hid_relay;
const struct driver driver_usb_hid_relay = {
	.name = "usb-hid-relay",
	.help = "a relay of a USB relay board 16c0:05df (USBRelay1 to USBRelay8)",
	.options = options,
	.create = relay_create,
	.open = relay_open,
	.make_safe = relay_make_safe,
	.close = relay_close,
	.check = relay_check,
	.scan = relay_scan,
	.power = &power_ops,
};
