#include "openocd_verbs.h"

/*
 * Registers: Armv7-M Architecture Reference Manual, C1.6: DHCSR 0xe000edf0 (its upper half written
 * as the key 0xa05f; C_DEBUGEN is bit 0), DEMCR 0xe000edfc (VC_CORERESET is bit 0). DP register 4
 * is CTRL/STAT (Arm Debug Interface v5, 2.3.2); writing 0 takes back the requests for debug power.
 *
 * init fails as a whole when the DUT has no power, though the adapter is open by then and can hold
 * the reset line; what it leaves out then is done by rig_attach, and by flash init before it. poll
 * exists only once the adapter is open.
 */
const char openocd_verbs[] =
	"proc rig_init {line} {\n"
	"	flash init\n"
	"	catch {init}\n"
	"	if {[catch {poll off}]} {error {no adapter}}\n"
	"	if {$line ne {none}} {adapter $line srst}\n"
	"}\n"
	"proc rig_attach {} {\n"
	"	set t [target current]\n"
	"	if {[catch {\n"
	"		dap init\n"
	"		$t arp_examine\n"
	"		$t arp_poll\n"
	"		$t arp_poll\n"
	"	} why]} {error \"rig_attach: $why\"}\n"
	"}\n"
	"proc rig_stop {} {rig_attach; reset halt}\n"
	"proc rig_halt {} {rig_attach; halt 1000}\n"
	"proc rig_resume {} {rig_attach; resume}\n"
	"proc rig_reset {how} {rig_attach; reset $how}\n"
	"proc rig_break {address} {rig_attach; bp $address 2 hw}\n"
	"proc rig_unbreak {address} {rig_attach; rbp $address}\n"
	"proc rig_word {address value} {rig_attach; mww $address $value}\n"
	"proc rig_read {file address size} {dump_image $file $address $size}\n"
	"proc rig_erase {address size} {flash erase_address $address $size}\n"
	"proc rig_write {file address} {flash write_image $file $address bin}\n"
	"proc rig_hold {} {adapter assert srst}\n"
	"proc rig_free {} {adapter deassert srst}\n"
	"proc rig_release {} {\n"
	"	set t [target current]\n"
	"	catch {rbp all}\n"
	"	mww 0xe000edfc 0\n"
	"	mww 0xe000edf0 0xa05f0000\n"
	"	[$t cget -dap] dpreg 4 0\n"
	"}\n";
