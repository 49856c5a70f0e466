/*
 * Setting a serial line, over libserialport.
 */
#include "serial_line.h"

#include <errno.h>
#include <libserialport.h>
#include <linux/serial.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char *const parities[] = {"none", "even", "odd"};
static const char *const flows[] = {"none", "rtscts", "xonxoff"};

/* --- options ---------------------------------------------------------------------------------- */

static int take_number(const json_t *options, const char *name, int least, int most, int fallback,
	int *number, struct err *e)
{
	const json_t *value = json_object_get(options, name);
	json_int_t n = json_is_integer(value) ? json_integer_value(value) : fallback;

	if (n < least || n > most)
		return err_set(e, ERR_CONFIG, "%s must be %d to %d", name, least, most);
	*number = (int)n;
	return 0;
}

/* One of three names. */
static int take_name(const json_t *options, const char *name, const char *const names[3],
	unsigned *which, struct err *e)
{
	const char *text = json_string_value(json_object_get(options, name));

	for (*which = 0; text && *which < 3; ++*which)
		if (strcmp(text, names[*which]) == 0)
			return 0;
	if (text)
		return err_set(e, ERR_CONFIG, "%s is \"%s\", \"%s\" or \"%s\", not \"%.40s\"", name,
			names[0], names[1], names[2], text);
	return 0;
}

static bool take_truth(const json_t *options, const char *name)
{
	return !json_is_false(json_object_get(options, name));
}

int serial_settings_parse(struct serial_settings *settings, const json_t *options, struct err *e)
{
	unsigned parity = 0, flow = 0;
	int ret = take_number(options, "baud", 50, 4000000, 115200, &settings->baud, e);

	if (!ret)
		ret = take_number(options, "data_bits", 5, 8, 8, &settings->data_bits, e);
	if (!ret)
		ret = take_number(options, "stop_bits", 1, 2, 1, &settings->stop_bits, e);
	if (!ret)
		ret = take_name(options, "parity", parities, &parity, e);
	if (!ret)
		ret = take_name(options, "flow", flows, &flow, e);
	settings->parity = (enum serial_parity)parity;
	settings->flow = (enum serial_flow)flow;
	settings->dtr = take_truth(options, "dtr");
	settings->rts = take_truth(options, "rts");
	return ret;
}

void serial_settings_text(const struct serial_settings *settings, char *buf, size_t size)
{
	snprintf(buf, size, "%d %d%c%d%s%s", settings->baud, settings->data_bits,
		"NEO"[settings->parity], settings -> stop_bits,
		settings -> flow == SERIAL_FLOW_NONE ? "" : " ",
		settings->flow == SERIAL_FLOW_NONE ? "" : flows[settings->flow]);
}

/* --- libserialport ---------------------------------------------------------------------------- */

static int failed(struct err *e, enum sp_return ret, const char *path, const char *what)
{
	if (ret == SP_ERR_FAIL)
		return err_errno(e, ERR_BENCH, sp_last_error_code(), "%s: %s", path, what);
	return err_set(e, ERR_BENCH, "%s: %s: %s", path, what,
		ret == SP_ERR_MEM    ? "out of memory"
		: ret == SP_ERR_SUPP ? "its driver does not do that"
				     : "it is no serial port");
}

static enum sp_return configure(
	struct sp_port *port, struct sp_port_config *config, const struct serial_settings *s)
{
	static const enum sp_parity parity[] = {SP_PARITY_NONE, SP_PARITY_EVEN, SP_PARITY_ODD};
	static const enum sp_flowcontrol flow[] = {
		SP_FLOWCONTROL_NONE, SP_FLOWCONTROL_RTSCTS, SP_FLOWCONTROL_XONXOFF};

	/* DTR and RTS are left out: a port that has none is a port still */
	sp_set_config_baudrate(config, s->baud);
	sp_set_config_bits(config, s->data_bits);
	sp_set_config_parity(config, parity[s->parity]);
	sp_set_config_stopbits(config, s->stop_bits);
	sp_set_config_flowcontrol(config, flow[s->flow]);
	return sp_set_config(port, config);
}

/* A driver may take another baud rate than it was asked for: it says which. */
static int check_baud(struct sp_port *port, struct sp_port_config *config, const char *path,
	int wanted, struct err *e)
{
	enum sp_return ret = sp_get_config(port, config);
	int baud = 0;

	if (ret == SP_OK)
		ret = sp_get_config_baudrate(config, &baud);
	if (ret != SP_OK)
		return failed(e, ret, path, "its settings cannot be read");
	if (abs(baud - wanted) > wanted / 50) /* a UART copes with 2 % */
		return err_set(e, ERR_BENCH,
			"%s does not do %d baud, it does %d then: set baud to one that it does",
			path, wanted, baud);
	return 0;
}

static int lines_set(int fd, int bit, bool on)
{
	return ioctl(fd, on ? TIOCMBIS : TIOCMBIC, &bit);
}

/* With VMIN 0, as libserialport has it, no byte and a hang-up read alike. */
static int tell_hangup(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) != 0)
		return -1;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	return tcsetattr(fd, TCSANOW, &t);
}

/* Sets an open port; returns its descriptor. */
static int set_up(
	struct sp_port *port, const char *path, const struct serial_settings *s, struct err *e)
{
	struct sp_port_config *config = NULL;
	enum sp_return ret = sp_new_config(&config);
	int fd = -1, code = 0;

	if (ret == SP_OK)
		ret = configure(port, config, s);
	if (ret == SP_OK)
		ret = sp_get_port_handle(port, &fd);
	if (ret != SP_OK)
		code = failed(e, ret, path, "it does not take these settings");
	if (!code)
		code = check_baud(port, config, path, s->baud, e);
	if (!code && tell_hangup(fd) != 0)
		code = err_errno(e, ERR_BENCH, errno, "%s: settings", path);
	/* asserted they are since it was opened; only taking them back can be asked too much */
	if (!code && lines_set(fd, TIOCM_DTR, s->dtr) != 0 && !s->dtr)
		code = err_errno(e, ERR_BENCH, errno, "%s: dtr = false", path);
	if (!code && s->flow != SERIAL_FLOW_RTSCTS && lines_set(fd, TIOCM_RTS, s->rts) != 0 &&
		!s->rts)
		code = err_errno(e, ERR_BENCH, errno, "%s: rts = false", path);
	sp_free_config(config);
	return code ? code : fd;
}

static int lib_open(const char *path, const struct serial_settings *s, void **handle, struct err *e)
{
	struct sp_port *port = NULL;
	enum sp_return ret = sp_get_port_by_name(path, &port);
	int fd;

	if (ret == SP_OK)
		ret = sp_open(port, SP_MODE_READ_WRITE);
	if (ret != SP_OK) {
		failed(e, ret, path, "it cannot be opened");
		sp_free_port(port);
		return -(int)ERR_BENCH;
	}
	fd = set_up(port, path, s, e);
	if (fd < 0) {
		sp_close(port);
		sp_free_port(port);
	} else {
		*handle = port;
	}
	return fd;
}

/* DTR and RTS by the ioctl: libserialport would set the whole line anew with them. */
static int lib_lines(void *handle, int dtr, int rts, int brk, struct err *e)
{
	struct sp_port *port = handle;
	enum sp_return ret = SP_OK;
	int fd = -1;

	sp_get_port_handle(port, &fd);
	if ((dtr >= 0 && lines_set(fd, TIOCM_DTR, dtr) != 0) ||
		(rts >= 0 && lines_set(fd, TIOCM_RTS, rts) != 0))
		return err_errno(
			e, ERR_BENCH, errno, "%s: setting DTR and RTS", sp_get_port_name(port));
	if (brk >= 0)
		ret = brk ? sp_start_break(port) : sp_end_break(port);
	return ret == SP_OK ? 0 : failed(e, ret, sp_get_port_name(port), "break");
}

static bool lib_counts(int fd, struct serial_counts *counts)
{
	struct serial_icounter_struct c = {0};

	if (ioctl(fd, TIOCGICOUNT, &c) != 0)
		return false;
	*counts = (struct serial_counts){c.frame, c.parity, c.overrun, c.buf_overrun, c.brk};
	return true;
}

static void lib_close(void *handle)
{
	sp_close(handle);
	sp_free_port(handle);
}

const struct serial_backend serial_backend_libserialport = {
	lib_open, lib_lines, lib_counts, lib_close};
const struct serial_backend *serial_backend = &serial_backend_libserialport;
