-- ST NUCLEO-F429ZI with MCUboot, SMP over the ST-LINK's serial port. Wiring: docs/boards/nucleo-f429zi.md.
-- Flash: RM0090, "Embedded flash memory": two banks of 1 MB with sectors of 4 x 16 KB, 64 KB and 7 x 128 KB each. Erased is
-- in steps of 128 KB here, so that every region is made of whole steps: the first of each bank has five sectors.
return {
	soc = "stm32f429zi",
	openocd = { target = "target/stm32f4x.cfg" },
	flash = { base = 0x08000000, size = 0x200000, page = 0x20000, write = 4 },
	-- MCUboot in the first 128 KB, a slot in each bank, its scratch sector at the end: as partitions of the firmware
	-- (boot, slot0, slot1, scratch) have to be set for it
	regions = {
		bootloader = { 0x08000000, 0x20000 },
		primary = { 0x08020000, 0xe0000 },
		secondary = { 0x08100000, 0xe0000 },
		scratch = { 0x081e0000, 0x20000 },
	},
	boot = { ready_within = 20, max_resets = 3, start = [[*** Booting]], trial_boots = 1 },
	can = { "revert", "resume_upload" },
	-- erases of a sector: data sheet, flash memory endurance
	wear = { erases = 10000, relay_cycles = 100000 },
	-- the supply's capacitors hold the board up for some time after the relay has opened
	power_off = { discharge_ms = 500 },
	transport = { driver = "smp" },
	dut = require "boards.smp",
}
