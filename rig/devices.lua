-- The devices of a board, as a scenario has them. Returned: a function that gives a board its devices.
local prim, shared = ...
local Error, fail, wait, ms, is_error = shared.Error, shared.fail, shared.wait, shared.ms, shared.is_error

-- Nothing came in time. That is the DUT's silence only if the bench answers: else the bench's error is raised.
local function silence(board, code, message)
	if board:can("power") then
		wait("power.get")
	end
	error(setmetatable({ code = code, message = message, where = prim.where(), silent = true }, Error), 0)
end

local Power = {}

function Power:on()
	self.board.cut_event = nil
	wait("power.set", { on = true })
end

-- Returns how it is known to be off: "read-back", "meter", "console" or "unverified".
function Power:off()
	return wait("power.set", { on = false }).off
end

function Power:cycle(seconds)
	self.board.cut_event = nil
	wait("power.cycle", { off_ms = ms(seconds, "power:cycle") })
end

function Power:get()
	return wait("power.get").on
end

-- Sets the supply's voltage, over seconds; what it measures then.
function Power:volts(volts, seconds)
	return wait("power.volts", { volts = volts, ramp_ms = seconds and ms(seconds, "power:volts") }).volts
end

local Meter = {}

-- What the board gets now: volts and amps, either of which may be nil.
function Meter:measure()
	local reading = wait("meter.measure")
	return reading.volts, reading.amps
end

-- A line of the board's: reset, or the strap that says how it boots.
local function line_of(name)
	return {
		set = function(_, on)
			wait(name .. ".set", { on = on })
		end,
		get = function()
			return wait(name .. ".get").on
		end,
	}
end

local Console = {}

-- DTR, RTS (true or false) and a break, of a serial port.
function Console:lines(lines)
	wait("console.lines", lines)
end

function Console:write(text)
	wait("console.write", { data = text })
end

-- Waits until pattern (PCRE2) matches what came in since the last match, or since power-on.
function Console:expect(pattern, seconds)
	local ok, result, message = prim.wait("console.expect", {
		pattern = pattern,
		timeout_ms = ms(seconds, "console:expect"),
		from = self.cursor,
	})
	if ok then
		self.cursor = result.next
		return result.text, result.groups or {}, result.line
	end
	if result == "timeout" then
		silence(self.board, "expect", message)
	end
	fail(result, message)
end

-- The same; nil when it did not come in time.
function Console:try_expect(pattern, seconds)
	local ok, text, groups, line = pcall(self.expect, self, pattern, seconds)
	if ok then
		return text, groups, line
	end
	if is_error(text) and text.code == "expect" then
		return nil
	end
	error(text, 0)
end

function Console:tail(lines)
	return wait("console.tail", { lines = lines or 20 }).lines or {}
end

local Probe = {}

local function probe_method(name, writes)
	return function(self, params)
		params = params or {}
		params.timeout_ms = params.timeout_ms or ms(params.timeout, "probe:" .. name)
		params.timeout = nil
		prim.record("probe", { op = name, writes = writes, address = params.address, size = params.size })
		return wait("probe." .. name, params)
	end
end

for name, writes in pairs {
	program = true, verify = false, read = false, write_word = true, halt = false, resume = false,
	reset = false, hold_reset = false, breakpoint = false, release = false, command = true, version = false,
} do
	Probe[name] = probe_method(name, writes)
end

local Trigger = {}

function Trigger:mark()
	wait("trigger.mark")
end

function Trigger:state()
	return wait("trigger.state")
end

function Trigger:trace(path)
	return wait("trigger.trace", { path = path }).operations
end

-- Requests to the firmware's management protocol.
local Smp = {}

function Smp:request(op, group, id, body, seconds)
	local ok, result, message = prim.wait("transport.request", {
		op = op, group = group, id = id, body = body or {}, timeout_ms = ms(seconds, "smp:request"),
	})
	if ok then
		return result.body
	end
	if result == "timeout" then
		silence(self.board, "dut", message)
	end
	fail(result, message)
end

function Smp:read(group, id, body, seconds)
	return self:request("read", group, id, body, seconds)
end

function Smp:write(group, id, body, seconds)
	return self:request("write", group, id, body, seconds)
end

function Smp:upload(path, options)
	options = options or {}
	local ok, result, message = prim.wait("transport.send", {
		path = path, slot = options.slot or 0, upgrade = options.upgrade or false,
		timeout_ms = ms(options.timeout or 120, "smp:upload"),
	})
	if ok then
		return result
	end
	if result == "timeout" then
		silence(self.board, "dut", message)
	end
	fail(result, message)
end

local function device(board, methods)
	return setmetatable({ board = board }, { __index = methods })
end

return function(board)
	board.power = device(board, Power)
	board.console = device(board, Console)
	board.probe = device(board, Probe)
	board.trigger = device(board, Trigger)
	board.meter = device(board, Meter)
	board.reset_line = device(board, line_of("reset"))
	board.strap = device(board, line_of("strap"))
	board.smp = device(board, Smp)
end
