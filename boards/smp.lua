-- How to talk to any device that speaks SMP (mcumgr): groups as the published protocol numbers them.
local OS, IMAGE, SETTINGS = 0, 1, 3
local ECHO, RESET = 0, 5
local STATE = 0
local VALUE = 0

local dut = {}

-- By the console's ready line where the board type has one, else by echo until it is answered.
function dut.wait_ready(board, seconds)
	local ready, failed = board.boot.ready, board.boot.failed
	if ready then
		local text, groups = board.console:expect(failed and ("(?:%s)|(?:%s)"):format(ready, failed) or ready, seconds)
		if not groups[1] then
			board:fail("it gave up: %s", text)
		end
		return groups[1]
	end
	board.smp:write(OS, ECHO, { d = "rig" }, seconds)
end

local function images(board)
	return board.smp:read(IMAGE, STATE).images or {}
end

-- The version of the slot that is active: what runs, by its own word.
function dut.version(board)
	for _, image in ipairs(images(board)) do
		if image.active then
			return image.version
		end
	end
end

function dut.status(board)
	local slots = {}
	for i, image in ipairs(images(board)) do
		slots[i] = {
			slot = image.slot, version = image.version, hash = image.hash and image.hash.hex,
			active = image.active, confirmed = image.confirmed, pending = image.pending,
			permanent = image.permanent, bootable = image.bootable,
		}
	end
	return slots
end

function dut.health(board)
	return board.smp:write(OS, ECHO, { d = "rig" }).r == "rig"
end

function dut.confirm(board)
	board.smp:write(IMAGE, STATE, { confirm = true })
end

-- Uploads to the second slot, asks for a test boot, resets, waits until it is up again. The firmware
-- confirms itself or is reverted; which of the two it was is for the scenario to judge.
function dut.update(board, image)
	board.smp:upload(image.path)
	local hash
	for _, slot in ipairs(images(board)) do
		if slot.slot == 1 then
			hash = slot.hash
		end
	end
	if not hash then
		board:fail("after the upload the second slot is empty")
	end
	board.smp:write(IMAGE, STATE, { hash = hash, confirm = false })
	board.smp:write(OS, RESET)
	return board:wait_ready()
end

-- User data: settings whose names and values follow from a seed.
local KEYS = 8

local function values(seed)
	local x = (seed % 0x7fffffff) + 1
	local list = {}
	for i = 1, KEYS do
		local bytes = {}
		for j = 1, 4 + i * 5 do
			x = x * 48271 % 0x7fffffff
			bytes[j] = ("%02x"):format(x % 256)
		end
		list[i] = { name = "user/key" .. i, value = table.concat(bytes) }
	end
	return list
end

function dut.write_user_data(board, seed)
	for _, item in ipairs(values(seed)) do
		board.smp:write(SETTINGS, VALUE, { name = item.name, val = { hex = item.value } })
	end
end

-- True, or false and what is wrong.
function dut.check_user_data(board, seed)
	for _, item in ipairs(values(seed)) do
		local ok, body = pcall(board.smp.read, board.smp, SETTINGS, VALUE, { name = item.name })
		if not ok then
			if type(body) == "table" and body.code == "dut" and not body.silent then
				return false, item.name .. ": " .. body.message
			end
			error(body, 0)
		end
		if type(body.val) ~= "table" or body.val.hex ~= item.value then
			return false, item.name .. ": another value"
		end
	end
	return true
end

return dut
