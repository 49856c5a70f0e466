-- A board that runs Linux and is updated by RAUC, over its serial console. Wiring and what the image needs:
-- docs/boards/linux-rauc.md. What differs from image to image stands first; a type of one's own is a copy with other values.
local USER, PASSWORD = "root", nil -- nil: none is asked for
local BUNDLES = "/var/lib/rig" -- where the bundles of all releases lie on the board, by their file names
local DATA = "/data/rig-user-data" -- a file that has to survive every update
local INSTALL_WITHIN = 600 -- seconds

local dut = {}

-- Runs a command in the shell; its output as a list of lines, and its exit status.
local function try(board, command, seconds)
	local mark = ("rig-%d"):format((board.commands or 0) + 1)
	board.commands = (board.commands or 0) + 1
	board.console:write(("echo %s-begin; %s; echo %s-end $?\n"):format(mark, command, mark))
	local _, groups = board.console:expect(mark .. [[-end (\d+)]], seconds or 15)
	local lines, inside = {}, false
	for _, line in ipairs(board.console:tail(1000)) do
		if line:sub(-#mark - 6) == mark .. "-begin" then -- behind the prompt
			lines, inside = {}, true
		elseif line:find(mark .. "-end", 1, true) == 1 then
			inside = false
		elseif inside then
			lines[#lines + 1] = line
		end
	end
	return lines, tonumber(groups[1])
end

local function sh(board, command, seconds)
	local lines, status = try(board, command, seconds)
	if status ~= 0 then
		board:fail("%s: exit status %d: %s", command, status, lines[#lines] or "it said nothing")
	end
	return lines
end

-- Logs in, with a prompt of our own, no echo and no kernel messages in between; the version that runs.
function dut.wait_ready(board, seconds)
	board.console:expect([[login: ]], seconds)
	board.console:write(USER .. "\n")
	if PASSWORD then
		board.console:expect([[(?i)password: ]], 15)
		board.console:write(PASSWORD .. "\n")
	end
	board.console:expect([[[#$] ]], 30)
	board.console:write("stty -echo cols 1000; dmesg -n 1; PS1='rig> '\n")
	board.console:expect([[rig> ]], 15)
	return dut.version(board)
end

function dut.version(board)
	local said = sh(board, [[. /etc/os-release && echo "version=$VERSION_ID"]])
	return (said[#said] or ""):match("^version=(.+)$")
end

-- What RAUC says of its slots, by name: its shell format is one variable a line.
local function rauc_status(board)
	local slots, names = {}, {}
	for _, line in ipairs(sh(board, "rauc status --detailed --output-format=shell", 60)) do
		local name, number, value = line:match("^RAUC_SLOT_([A-Z0-9_]-)_(%d+)='?(.-)'?$")
		if name then
			slots[number] = slots[number] or {}
			slots[number][name] = value
			names[#names + 1] = name
		end
	end
	if #names == 0 then
		board:fail("rauc status names no slot")
	end
	return slots
end

function dut.status(board)
	local list = {}
	for number, slot in pairs(rauc_status(board)) do
		if slot.BOOTNAME and slot.BOOTNAME ~= "" then
			list[#list + 1] = {
				slot = tonumber(number), version = slot.STATUS_BUNDLE_VERSION,
				hash = slot.STATUS_CHECKSUM_SHA256, active = slot.STATE == "booted",
				confirmed = slot.BOOT_STATUS == "good", bootable = slot.BOOT_STATUS == "good",
			}
		end
	end
	table.sort(list, function(a, b) return a.slot < b.slot end)
	return list
end

function dut.health(board)
	local _, status = try(board, "systemctl is-system-running --wait", 120)
	return status == 0
end

function dut.confirm(board)
	sh(board, "rauc status mark-good", 60)
end

-- Installs the bundle of that name, boots into it, waits until it is up. RAUC writes to the slot that is not booted.
function dut.update(board, image)
	local name = image.path:match("[^/]+$")
	local _, status = try(board, ("rauc install %s/%s"):format(BUNDLES, name), INSTALL_WITHIN)
	if status ~= 0 then
		board:fail("rauc install %s: exit status %d", name, status)
	end
	board.console:write("reboot\n")
	return board:wait_ready()
end

-- A board without a probe comes to hold a release by an update, whatever it holds now.
function dut.install(board, image)
	board:power_off()
	board:power_on()
	board:wait_ready()
	if dut.version(board) ~= image.version then
		dut.update(board, image)
	end
	dut.confirm(board)
	sh(board, "rm -f " .. DATA .. "; sync")
end

-- Whether the slot that is booted is whole: the file system is mounted read-only, and its bytes are read anew.
function dut.image_intact(board, image)
	for _, slot in pairs(rauc_status(board)) do
		if slot.STATE == "booted" and slot.STATUS_CHECKSUM_SHA256 then
			local said = sh(board, ("head -c %s %s | sha256sum"):format(slot.STATUS_CHECKSUM_SIZE, slot.DEVICE), 300)
			local hash = (said[#said] or ""):match("^%x+")
			return hash == slot.STATUS_CHECKSUM_SHA256 and slot.STATUS_BUNDLE_VERSION == image.version,
				("%s has %s, installed was %s"):format(slot.DEVICE, hash or "?", slot.STATUS_CHECKSUM_SHA256)
		end
	end
	return false, "rauc status names no slot that is booted"
end

local function words(seed)
	return ("rig user data, seed %d"):format(seed)
end

function dut.write_user_data(board, seed)
	sh(board, ("echo '%s' >%s && sync"):format(words(seed), DATA))
end

function dut.check_user_data(board, seed)
	local said, status = try(board, "cat " .. DATA)
	if status ~= 0 then
		return false, DATA .. " is gone"
	end
	return said[#said] == words(seed), ("it holds \"%s\""):format(said[#said] or "")
end

return {
	soc = "linux",
	boot = { ready_within = 120, max_resets = 3, start = [[Starting kernel]] },
	can = { "revert" },
	power_off = { discharge_ms = 1000 },
	dut = dut,
}
