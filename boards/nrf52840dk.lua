-- Nordic nRF52840-DK with the demo firmware: MCUboot's image format, SMP over the UART.
-- Flash layout: nRF52840 product specification, memory map; slots as the demo bootloader has them.
return {
	soc = "nrf52840",
	openocd = { target = "target/nrf52.cfg" },
	flash = { base = 0x0, size = 0x100000, page = 4096, write = 4 },
	regions = {
		bootloader = { 0x0, 0xc000 },
		primary = { 0xc000, 0x74000 },
		secondary = { 0x80000, 0x74000 },
		scratch = { 0xf4000, 0x8000 },
		settings = { 0xfc000, 0x4000 },
	},
	-- ready: the line the firmware prints when all is up, with its version as the first group;
	-- start: what every reset prints first; failed: what it prints when it gives up
	boot = {
		ready_within = 10, max_resets = 3,
		ready = [[app (\S+) ready]], start = [[boot: demo bootloader]], failed = [[boot: no valid image]],
	},
	can = { "revert", "resume_upload", "settings", "memory_stats" },
	-- erases of a page: nRF52840 product specification, NVMC, endurance; cycles: what relays are commonly made for
	wear = { erases = 10000, relay_cycles = 100000 },
	transport = { driver = "smp" },
	dut = require "boards.smp",
}
