-- ESP32 module with 4 MB of flash and MCUboot, flashed by its ROM's serial loader; SMP over a second UART.
-- Wiring, and the rig.conf lines for the loader: docs/boards/esp32.md.
-- Flash: erased in sectors of 4 KB. The bootloader's place is the ROM's (ESP32 technical reference, 0x1000); slots as MCUboot's
-- port to Espressif's chips has them by default.
return {
	soc = "esp32",
	flash = { base = 0x0, size = 0x400000, page = 4096, write = 4 },
	regions = {
		bootloader = { 0x1000, 0xf000 },
		primary = { 0x10000, 0x100000 },
		secondary = { 0x110000, 0x100000 },
		scratch = { 0x210000, 0x40000 },
		settings = { 0x250000, 0x8000 },
	},
	boot = { ready_within = 15, max_resets = 3, start = [[rst:0x]], trial_boots = 1 },
	can = { "revert", "resume_upload", "settings" },
	wear = { erases = 100000, relay_cycles = 100000 },
	transport = { driver = "smp" },
	dut = require "boards.smp",
}
