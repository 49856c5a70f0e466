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
 *   rig_set break|watch ADDRESS SIZE
 *                           stops the DUT from now on whenever it comes to that place, or right
 *                           after it has written there; the DUT runs
 *   rig_until MS LEFT break|watch ADDRESS REG FROM TO
 *                           lets it run on from there for so many milliseconds, or until it has
 *                           come there LEFT times (0: without end) with FROM <= REG < TO; REG {}:
 *                           any. Returns a word and the addresses of the times: "on", "there" (it
 *                           stands there, and the place is cleared), or "stopped" (elsewhere,
 *                           by itself)
 *   rig_on                  clears the place and lets the DUT run on
 *   rig_adapter             asks the adapter: "volts V" (the DUT's), "alive", or "unknown" where
 *                           nothing can be asked; fails when it does not answer
 *   rig_check keep|free     what check tells, a line each: "version V", the answer of rig_adapter,
 *                           and "dut 0xCPUID", "mute why" or "dark now". free: lets go of the DUT
 *   rig_release             lets go of the DUT, which then runs as without a probe
 *
 * All but rig_init, rig_hold, rig_free and rig_release need the DUT to have power; all but
 * rig_erase, rig_write and rig_read attach by themselves.
 */
extern const char openocd_verbs[];

#endif
