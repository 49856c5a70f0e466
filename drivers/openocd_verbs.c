#include "openocd_verbs.h"

/*
 * Registers: Armv7-M Architecture Reference Manual, C1.6: DHCSR 0xe000edf0 (its upper half written
 * as the key 0xa05f; C_DEBUGEN is bit 0), DEMCR 0xe000edfc (VC_CORERESET is bit 0, TRCENA bit 24).
 * DP register 4 is CTRL/STAT (Arm Debug Interface v5, 2.3.2); writing 0 takes back the requests for
 * debug power.
 *
 * What OpenOCD 0.12 does, as measured:
 * - After the DUT was reset or lost power, the first poll reports that, and the second sees the
 *   state and enables debugging. A poll fails once on a core that is locked up, as with erased
 *   flash. So two polls, whose errors do not count.
 * - Memory is read without any of that, and without a trace in the core.
 * - init fails as a whole when the DUT has no power, though the adapter is open by then and can
 *   hold the reset line. What it leaves out then, rig_attach does, and flash init before it. poll
 *   exists only once the adapter is open.
 * - Background polling would make errors whenever the power is cut.
 */
const char openocd_verbs[] =
	"proc rig_init {line} {\n"
	"	flash init\n"
	"	catch {init}\n"
	"	if {[catch {poll off}]} {error {the adapter did not open}}\n"
	"	if {$line ne {none}} {adapter $line srst}\n"
	"}\n"
	/* gdb learns of a halt, and a DUT whose power was cycled is taken up, by polling */
	"proc rig_serve {line} {\n"
	"	if {$line ne {none}} {adapter $line srst}\n"
	"	poll on\n"
	"}\n"
	"proc rig_gdb {line} {\n"
	"	if {$line ne {none}} {adapter $line srst}\n"
	"	rig_attach\n"
	"}\n"
	/* not by reading DHCSR: that would clear what OpenOCD wants to see of a reset */
	"proc rig_cpuid {} {read_memory 0xe000ed00 32 1}\n"
	"proc rig_attach {} {\n"
	"	if {![catch rig_cpuid]} return\n"
	"	if {[catch {dap init; [target current] arp_examine; rig_cpuid}]} {\n"
	"		error {rig_attach: the DUT does not answer: has it power?}\n"
	"	}\n"
	"}\n"
	"proc rig_debug {} {\n"
	"	rig_attach\n"
	"	set t [target current]\n"
	"	catch {$t arp_poll}\n"
	"	catch {$t arp_poll}\n"
	"	if {!([read_memory 0xe000edf0 32 1] & 1)} {mww 0xe000edf0 0xa05f0001}\n"
	"}\n"
	"proc rig_stop {} {rig_reset halt}\n"
	/* one that is locked up is halted, and an error all the same */
	"proc rig_halt {} {\n"
	"	rig_debug\n"
	"	set failed [catch {halt 1000} why]\n"
	"	if {$failed && [[target current] curstate] ne {halted}} {error $why}\n"
	"}\n"
	"proc rig_resume {} {\n"
	"	rig_debug\n"
	"	if {[[target current] curstate] ne {running}} {resume}\n"
	"}\n"
	"proc rig_reset {how} {rig_attach; reset $how}\n"
	"proc rig_break {address} {rig_debug; bp $address 2 hw}\n"
	"proc rig_unbreak {address} {rig_attach; rbp $address}\n"
	"proc rig_word {address value} {rig_attach; mww $address $value}\n"
	"proc rig_read {file address size} {dump_image $file $address $size}\n"
	"proc rig_erase {address size} {flash erase_address $address $size}\n"
	"proc rig_write {file address} {flash write_image $file $address bin}\n"
	"proc rig_hold {} {adapter assert srst}\n"
	/* the core is caught before its first instruction, if it has power */
	"proc rig_free {} {\n"
	"	set dark [catch {rig_debug; mww 0xe000edfc 0x01000001}]\n"
	"	adapter deassert srst\n"
	"	if {!$dark} {rig_debug; mww 0xe000edfc 0x01000000}\n"
	"}\n"
	/* without power there is nothing to let go of */
	"proc rig_release {} {\n"
	"	catch {rbp all}\n"
	"	if {[catch {mww 0xe000edfc 0; mww 0xe000edf0 0xa05f0000}]} return\n"
	"	[[target current] cget -dap] dpreg 4 0\n"
	"}\n";
