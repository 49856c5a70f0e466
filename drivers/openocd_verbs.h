/*
 * What the driver openocd does, in OpenOCD's Tcl. Each operation is one of these procedures, or
 * several in one script.
 */
#ifndef DRIVERS_OPENOCD_VERBS_H
#define DRIVERS_OPENOCD_VERBS_H

/*
 * Defines, for scripts run later:
 *
 *   rig_init LINE           opens the adapter; the reset line: assert, deassert or none
 *   rig_serve LINE          the same, in an OpenOCD that initialised itself and serves gdb
 *   rig_gdb LINE            rig_attach, with the reset line: deassert or none
 *   rig_attach              takes the debug port up and leaves the core alone; fails with
 *                           "rig_attach: why" when the DUT does not answer
 *   rig_debug               the same, and enables the core's debugging
 *   rig_stop                resets the DUT and stops it before its first instruction
 *   rig_halt · rig_resume · rig_reset run|halt
 *   rig_break ADDRESS · rig_unbreak ADDRESS
 *   rig_word ADDRESS VALUE  writes a word of memory
 *   rig_read FILE ADDRESS SIZE · rig_erase ADDRESS SIZE · rig_write FILE ADDRESS
 *   rig_hold · rig_free     the reset line
 *   rig_release             lets go of the DUT, which then runs as without a probe
 *
 * All but rig_init, rig_hold, rig_free and rig_release need the DUT to have power; all but
 * rig_erase, rig_write and rig_read attach by themselves.
 */
extern const char openocd_verbs[];

#endif
