/*
 * Debug probes as the kernel sees them on USB: which are here, under which serial numbers, and why
 * one cannot be used. Nothing is opened.
 *
 * Source: sysfs as Documentation/ABI/stable/sysfs-bus-usb and sysfs-class-hidraw of the kernel have
 * it; which vendor and product are a probe: OpenOCD's interface/stlink.cfg, SEGGER's vendor number,
 * and the CMSIS-DAP specification, by which a probe has that word in its product or interface name.
 */
#ifndef DRIVERS_OPENOCD_USB_H
#define DRIVERS_OPENOCD_USB_H

#include <jansson.h>
#include <stddef.h>

struct err;

/* Where to look; tests put folders of their own here. Borrowed. */
extern const char *openocd_sys_dir;  /* "/sys" */
extern const char *openocd_dev_dir;  /* "/dev" */
extern const char *openocd_proc_dir; /* "/proc" */

enum openocd_probe_kind { PROBE_CMSIS_DAP, PROBE_JLINK, PROBE_STLINK, PROBE_OTHER };

/* What kind of probe an adapter of rig.conf is ("jlink", "stlink-v2" …); PROBE_OTHER: none that is
 * known here. */
enum openocd_probe_kind openocd_probe_kind(const char *adapter);

/*
 * Why the probe of that kind and serial number (NULL: any) cannot be used, as far as can be seen
 * from here, and how to mend it: not plugged in, another serial number, no permission, held by
 * another program, or it hangs. Writes one line into buf, empty for PROBE_OTHER.
 */
void openocd_usb_mend(enum openocd_probe_kind kind, const char *serial, char *buf, size_t size);

/* The same for a probe that works otherwise: empty when nothing is to be mended. Several probes of
 * the kind and no serial number are. */
void openocd_usb_check(enum openocd_probe_kind kind, const char *serial, char *buf, size_t size);

/* scan of driver.h. */
int openocd_usb_scan(json_t *found, struct err *e);

#endif
