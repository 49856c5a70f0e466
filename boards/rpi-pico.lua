-- Raspberry Pi Pico (RP2040) with MCUboot, SMP over UART0. Wiring: docs/boards/rpi-pico.md.
-- Flash: W25Q16JV data sheet: 2 MB, erased in sectors of 4 KB, programmed in pages of 256 bytes; at 0x10000000 (RP2040 data
-- sheet, "XIP").
return {
	soc = "rp2040",
	openocd = { target = "target/rp2040.cfg" },
	flash = { base = 0x10000000, size = 0x200000, page = 4096, write = 256 },
	-- the second stage bootloader (256 bytes) and MCUboot in the first 64 KB, two slots, scratch, settings
	regions = {
		bootloader = { 0x10000000, 0x10000 },
		primary = { 0x10010000, 0xe0000 },
		secondary = { 0x100f0000, 0xe0000 },
		scratch = { 0x101d0000, 0x10000 },
		settings = { 0x101e0000, 0x20000 },
	},
	boot = { ready_within = 15, max_resets = 3, start = [[*** Booting]], trial_boots = 1 },
	can = { "revert", "resume_upload", "settings" },
	-- erases of a sector: W25Q16JV data sheet
	wear = { erases = 100000, relay_cycles = 100000 },
	transport = { driver = "smp" },
	dut = require "boards.smp",
}
