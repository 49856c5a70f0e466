#include "openocd_args.h"

#include "openocd_jobs.h"
#include "openocd_session.h"
#include "openocd_usb.h"

#include "../rig/file.h"
#include "../rig/rpc.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *openocd_option(const struct openocd *oc, const char *name)
{
	return json_string_value(json_object_get(oc->options, name));
}

static bool is_virtual(const struct openocd *oc)
{
	return strcmp(openocd_option(oc, "adapter"), "virtual") == 0;
}

const char *openocd_wiring(const struct openocd *oc)
{
	const char *wiring = openocd_option(oc, "reset_config");

	return !wiring && is_virtual(oc) ? "srst_only srst_nogate" : wiring;
}

static void args_add(struct openocd_args *a, const char *flag, char *value)
{
	if (!value || a->n + 3 > sizeof(a->list) / sizeof(*a->list)) {
		free(value);
		return;
	}
	a->list[a->n++] = flag;
	a->list[a->n++] = value;
}

void openocd_args_finish(struct openocd_args *a)
{
	for (size_t i = 1; i < a->n; i += 2)
		free((char *)(uintptr_t)a->list[i]);
}

/* A command with one word that comes from a configuration. */
static char *command(const char *name, const char *word)
{
	char *quoted = word ? openocd_quote(word) : NULL, *text = NULL;

	if (quoted && asprintf(&text, "%s %s", name, quoted) < 0)
		text = NULL;
	free(quoted);
	return text;
}

/* The port of the virtual board's ST-LINK server. */
static int virtual_port(const struct openocd *oc, unsigned long *port, struct err *e)
{
	char path[4096], *text, *end;
	size_t len;
	int ret;

	snprintf(path, sizeof(path), "%s/vboard/stlink.port", oc->env.board_dir);
	ret = file_read(path, 64, &text, &len, e);
	if (ret)
		return err_set(e, ERR_BENCH, "the virtual board does not run (%s)", path);
	*port = strtoul(text, &end, 10);
	if (end == text || *port < 1 || *port > UINT16_MAX)
		ret = err_set(e, ERR_BENCH, "%s holds no port", path);
	free(text);
	return ret;
}

bool openocd_adapter_ended(const struct openocd *oc)
{
	char path[4096];
	struct err e;
	int fd;

	if (!is_virtual(oc))
		return false;
	snprintf(path, sizeof(path), "%s/vboard/control.sock", oc->env.board_dir);
	fd = rpc_connect_unix(path, &e);
	if (fd >= 0)
		close(fd);
	return fd < 0;
}

/* An ST-LINK's own protocol hides the debug port that the verbs work with; its firmware since V2J24
 * gives direct access to it, by another interface file and transports of other names. */
static bool is_stlink(const struct openocd *oc)
{
	return is_virtual(oc) || openocd_probe_kind(openocd_option(oc, "adapter")) == PROBE_STLINK;
}

static const char *interface_of(const struct openocd *oc)
{
	return is_stlink(oc) ? "stlink-dap" : openocd_option(oc, "adapter");
}

static const char *transport_of(const struct openocd *oc)
{
	const char *transport = openocd_option(oc, "transport");

	if (!transport || strcmp(transport, "swd") == 0)
		return is_stlink(oc) ? "dapdirect_swd" : "swd";
	return strcmp(transport, "jtag") == 0 && is_stlink(oc) ? "dapdirect_jtag" : transport;
}

/*
 * Gdb gets the port that it had. OpenOCD lets a debugger do anything only when it initialised
 * itself at its start: an init by the Tcl port leaves gdb's own commands, such as the halt as it
 * attaches, in the configuration stage. So it must find the DUT then, or it ends.
 */
static char *ports_command(const struct openocd *oc)
{
	static const char others[] = "telnet_port disabled; tcl_port 0";
	char *text = NULL;
	int n;

	if (oc->serving)
		n = asprintf(&text, "gdb_port %u; %s", oc->gdb_port, others);
	else
		n = asprintf(&text, "gdb_port disabled; %s; noinit", others);
	return n < 0 ? NULL : text;
}

int openocd_args_init(const struct openocd *oc, struct openocd_args *a, struct err *e)
{
	json_int_t speed = json_integer_value(json_object_get(oc->options, "speed_khz"));
	const char *wiring = openocd_wiring(oc);
	const char *type_file = json_string_value(json_object_get(oc->env.board_conf, "type_file"));
	char *folder = type_file ? strdup(type_file) : NULL, *text = NULL;
	unsigned long port = 0;
	int ret = is_virtual(oc) ? virtual_port(oc, &port, e) : 0;

	if (ret) {
		free(folder);
		return ret;
	}
	/* files of the board type's folder come before OpenOCD's own of the same name */
	if (folder)
		args_add(a, "-s", strdup(dirname(folder)));
	free(folder);
	args_add(a, "-c", ports_command(oc));
	if (asprintf(&text, "interface/%s.cfg", interface_of(oc)) > 0)
		args_add(a, "-f", text);
	if (is_virtual(oc) && asprintf(&text, "st-link backend tcp %lu", port) > 0)
		args_add(a, "-c", text);
	args_add(a, "-c", command("adapter serial", openocd_option(oc, "serial")));
	args_add(a, "-c", command("transport select", transport_of(oc)));
	args_add(a, "-f",
		strdup(json_string_value(json_object_get(
			json_object_get(oc->env.board_conf, "openocd"), "target"))));
	if (speed && asprintf(&text, "adapter speed %" JSON_INTEGER_FORMAT, speed) > 0)
		args_add(a, "-c", text);
	if (wiring && asprintf(&text, "reset_config %s", wiring) > 0)
		args_add(a, "-c", text);
	if (openocd_option(oc, "config"))
		args_add(a, "-f", strdup(openocd_option(oc, "config")));
	return 0;
}
