-- The Lua half of the rig: what a scenario sees as `rig`, `t` and `board`.
--
-- Loaded once per run with the table of C primitives; returns the module "rig" and the function
-- that runs one item. Waiting goes through prim.wait alone. Nothing here makes a board safe: the
-- keeper does that, however this code ends.

local prim = ...

local rig = {}

local LAST_LINES = 8 -- of the console, that go with a failure

-- --- errors -------------------------------------------------------------------------------------

local Error = {}
Error.__index = Error
Error.__tostring = function(e)
	return e.where .. ": " .. e.message
end

local function fail(code, fmt, ...)
	local message = select("#", ...) > 0 and fmt:format(...) or fmt
	error(setmetatable({ code = code, message = message, where = prim.where() }, Error), 0)
end

local function is_error(e)
	return getmetatable(e) == Error
end

-- What a failure says about: the DUT, the bench, or the scenario itself.
local blame = { dut = "fail", ["expect"] = "fail" }

local function verdict_of(e)
	return is_error(e) and (blame[e.code] or "error") or "error"
end

-- Message handler: turns whatever was raised into an Error with a traceback.
local function caught(e)
	if not is_error(e) then
		local text = tostring(e)
		local where, rest = text:match("^(.-:%d+): (.*)$")
		if where and where:sub(1, 1) == "=" then
			where = prim.where() -- raised in this file: what the scenario called is of more use
		end
		e = setmetatable({ code = "script", message = rest or text, where = where or "?" }, Error)
	end
	e.traceback = e.traceback or prim.traceback("", 2)
	return e
end

local function wait(method, params)
	local ok, result, message = prim.wait(method, params or {})
	if ok then
		return result
	end
	fail(result, message)
end

local function ms(seconds, what)
	if seconds == nil then
		return nil
	end
	if type(seconds) ~= "number" or seconds <= 0 or seconds > 7 * 86400 then
		fail("script", "%s: expected a time in seconds above 0, got %s", what, tostring(seconds))
	end
	return math.ceil(seconds * 1000)
end

-- --- scenarios ----------------------------------------------------------------------------------

local scenario_keys = {
	about = true, cuts = true, kinds = true, name = true, needs = true, order = true, over = true, run = true,
}
local overs = { transitions = true, releases = true, boards = true, once = true }

local function names_of(key, list)
	if list ~= nil and type(list) ~= "table" then
		error(("rig.scenario: %s: expected a list of names, got %s"):format(key, type(list)), 3)
	end
	return list or {}
end

function rig.scenario(s)
	if type(s) ~= "table" then
		error("rig.scenario: expected a table", 2)
	end
	for key in pairs(s) do
		if not scenario_keys[key] then
			error(("rig.scenario: unknown key '%s'; known are about, cuts, kinds, name, needs, order, over, run"):format(tostring(key)), 2)
		end
	end
	for _, key in ipairs { "kinds", "needs" } do
		for i, name in ipairs(names_of(key, s[key])) do
			if type(name) ~= "string" then
				error(("rig.scenario: %s[%d]: expected a name, got %s"):format(key, i, type(name)), 2)
			end
		end
	end
	if type(s.name) ~= "string" or not s.name:match("^[%w%-]+$") then
		error("rig.scenario: name: expected letters, digits and '-'", 2)
	end
	if not overs[s.over] then
		error('rig.scenario: over: expected "transitions", "releases", "boards" or "once"', 2)
	end
	if s.order ~= nil and s.order ~= "trails" and s.order ~= "diverse" then
		error('rig.scenario: order: expected "trails" or "diverse"', 2)
	end
	if s.order and s.over ~= "transitions" then
		error('rig.scenario: order: has a meaning only over "transitions"', 2)
	end
	if type(s.run) ~= "function" then
		error("rig.scenario: run: expected a function (t, board, item)", 2)
	end
	if s.cuts ~= nil and type(s.cuts) ~= "boolean" then
		error("rig.scenario: cuts: expected true where power is cut along the trace of an update", 2)
	end
	return {
		declared = {
			name = s.name, over = s.over, needs = s.needs, about = s.about, kinds = s.kinds, order = s.order, cuts = s.cuts,
		},
		run = s.run,
	}
end

-- Calls a primitive that answers nil, code, message when it fails.
local function tool(name, ...)
	local result, code, message = prim[name](...)
	if result == nil then
		fail(code, message)
	end
	return result, code
end

-- The cuts of one trial, as written in --cut: { { op, tear, seed, text }, … }.
function rig.parse_cuts(text)
	return tool("parse_cuts", text)
end

-- Calls f. True and what it returned; false, why and the error's code when the DUT did wrong. What the bench did wrong
-- is raised.
function rig.try(f, ...)
	local function finish(ok, ...)
		if ok then
			return true, ...
		end
		local e = ...
		if verdict_of(e) ~= "fail" then
			error(e, 0)
		end
		return false, e.message, e.code
	end
	return finish(pcall(f, ...))
end

-- --- the board ----------------------------------------------------------------------------------

local Board = {}
Board.__index = Board

local give_devices = prim.include("devices", prim,
	{ Error = Error, fail = fail, wait = wait, ms = ms, is_error = is_error })

local function new_board(t, context)
	local conf = context.board
	local board = setmetatable({
		t = t,
		conf = conf,
		name = conf.name,
		type = conf.type,
		soc = conf.soc,
		flash = conf.flash,
		regions = conf.regions,
		boot = conf.boot or {},
		releases = context.releases,
		work = context.work,
		run_dir = context.run_dir,
	}, Board)
	board.can_do = {}
	for _, name in ipairs(conf.can or {}) do
		board.can_do[name] = true
	end
	for name in pairs(context.caps) do
		board.can_do[name] = true
	end
	give_devices(board)
	local kind = prim.load_board(conf.type_file)
	board.dut = kind.dut or {}
	-- what the board holds when the item begins, by the run's own proof (or nil)
	board.holds = context.holds
	return board
end

function Board:can(name)
	return self.can_do[name] == true
end

-- What a board type's function raises when the DUT did wrong.
function Board.fail(_, fmt, ...)
	fail("dut", fmt, ...)
end

local function dut_function(board, name)
	local f = board.dut[name]
	if type(f) ~= "function" then
		fail("unsupported", "board type %s has no dut.%s (boards/%s.lua)", board.type, name, board.type)
	end
	return f
end

-- Each of these is the board type's own function.
for _, name in ipairs { "version", "confirm", "health", "status", "write_user_data", "check_user_data" } do
	Board[name] = function(self, ...)
		return dut_function(self, name)(self, ...)
	end
end

-- Waits until the firmware is up; returns what the board type's function returns (the version, if it knows).
function Board:wait_ready(seconds)
	return dut_function(self, "wait_ready")(self, seconds or self.boot.ready_within or 30)
end

function Board:power_on()
	self.console.cursor = nil
	self.power:on()
end

function Board:power_off()
	return self.power:off()
end

-- Power off, power on, wait until it is up.
function Board:reboot()
	self:power_off()
	self:power_on()
	return self:wait_ready()
end

-- The application image of a release on this board: rig.conf's images come before the manifest's.
function Board:application(release)
	local path = prim.application(self.conf, release.images)
	if not path then
		fail("config", "release %s has no application image", release.version)
	end
	return path
end

-- Keeps the DUT from running its firmware when it gets power: by the strap that has it come up in its loader, where it
-- has one, else by its reset line.
local function keep_still(board, on)
	if board:can("strap") then
		board.strap:set(on)
	else
		board.probe:hold_reset { hold = on }
	end
end

-- With the DUT held in reset or in its loader, so that not one instruction of its firmware runs while the probe looks.
function Board:with_probe(f)
	self:stop_counting()
	self:power_off()
	keep_still(self, true)
	self:power_on()
	local result = f()
	self.probe:release()
	self:power_off()
	keep_still(self, false)
	return result
end

-- Makes the board hold exactly a release as the factory ships it: bootloader and application, all else erased.
function Board:flash_release(release)
	local spec = {
		segments = tool("segments", self.conf, release.images, self.work),
		erase = { { self.flash.base, self.flash.size } },
	}
	self.holds = nil
	local result
	self:with_probe(function()
		result = self.probe:program(spec)
	end)
	prim.record("prepare", {
		how = "probe", release = release.version, pages_written = result.pages_written,
		pages_kept = result.pages_kept,
	})
end

-- Where no probe reaches the flash, the board type installs the release in its own way.
local function put_release(board, release)
	if board:can("probe") then
		board:flash_release(release)
		board:power_on()
		board:wait_ready()
		return "freshly flashed"
	end
	board.holds = nil
	dut_function(board, "install")(board, { path = board:application(release), version = release.version })
	prim.record("prepare", { how = "update", release = release.version })
	return "installed"
end

-- Puts the release on the board unless it already runs exactly that, proven. Leaves it up and ready.
function Board:hold(release)
	if self.holds == release.version then
		self:power_off()
		self:power_on()
		self:wait_ready()
		if self:version() == release.version and self:image_intact("primary", release) then
			prim.record("prepare", { how = "update", release = release.version })
			self:reboot()
			return
		end
	end
	local how = put_release(self, release)
	local version = self:version()
	if version ~= release.version then
		fail("dut", "%s with %s, it says it runs %s", how, release.version, tostring(version))
	end
	self.holds = release.version
end

-- Gives the update and waits until it is at rest. Operations count from here.
function Board:update(release)
	self.holds = nil
	if self:counts() then
		self.trigger:mark()
	end
	prim.record("update", { to = release.version })
	dut_function(self, "update")(self, { path = self:application(release), version = release.version })
end

-- Says that the board now holds a release, so that the next item on it need not flash it.
function Board:settled(release)
	self.holds = release.version
end

-- Reads { address, size } ranges of flash through the probe, each into a file; returns { { address, path }, … }.
-- Leaves power off.
function Board:read_ranges(name, ranges)
	local parts = {}
	self:with_probe(function()
		for i, range in ipairs(ranges) do
			local path = ("%s/%s.%d"):format(self.work, name, i)
			self.probe:read { address = range[1], size = range[2], path = path }
			parts[i] = { range[1], path }
		end
	end)
	return parts
end

-- The whole flash in one file. Leaves power off.
function Board:read_flash(name)
	return self:read_ranges(name, { { self.flash.base, self.flash.size } })[1][2]
end

-- What stands in a region, read back through the probe and compared byte for byte with every release's image:
-- { release, mixed, version, hash, detail }. Only as much is read as the largest image takes. Leaves power off.
function Board:identify(region)
	local at = self.regions[region] or fail("config", "board type %s has no region %s", self.type, region)
	local references, size, page = {}, 0, self.flash.page
	for _, release in ipairs(self.releases) do
		local path = self:application(release)
		references[#references + 1] = { name = release.version, path = path }
		size = math.max(size, (tool("file_size", path)))
	end
	size = math.min((size + page - 1) // page * page, at[2])
	local path = self:read_ranges(region .. ".flash", { { at[1], size } })[1][2]
	return tool("identify", path, 0, size, page, references)
end

-- True when the region holds the release's image, byte for byte. Leaves power off. Where no probe reaches the flash, the
-- board type looks, on a board that is up.
function Board:image_intact(region, release)
	if not self:can("probe") then
		return dut_function(self, "image_intact")(self, { path = self:application(release), version = release.version })
	end
	local found = self:identify(region)
	return found.release == release.version, found.detail
end

-- Asks the DUT with f; nil where it does not answer, or not with what can be an answer, and then seen.unanswered says so
-- of the first such question.
local function ask(seen, what, f, ...)
	local ok, result = rig.try(f, ...)
	if ok then
		return result
	end
	seen.unanswered = seen.unanswered or ("%s: %s"):format(what, result)
	return nil
end

-- The last of these lines, but for those of a management protocol.
local function last_said(lines)
	local said = {}
	for i = #lines, 1, -1 do
		if #said < LAST_LINES and not lines[i]:find("^\\x0[46]") then
			table.insert(said, 1, lines[i])
		end
	end
	return said
end

-- Powers the board on, with nothing attached to it, and says how it came up. What it did not answer then goes into seen.
function Board:observe_boot(seen)
	local boot, began = { resets = 0 }, prim.clock()
	self:power_off()
	self:power_on()
	local ok, e = pcall(self.wait_ready, self)
	if not ok and verdict_of(e) ~= "fail" then
		error(e, 0)
	end
	boot.ready = ok
	if ok then
		boot.version = ask(seen or {}, "its version", function()
			local known, version = pcall(self.version, self)
			if not known and not (is_error(version) and version.code == "unsupported") then
				error(version, 0)
			end
			return known and version or nil
		end)
	end
	local lines, starts = self.console:tail(1000), 0
	for _, line in ipairs(lines) do
		if self.boot.start and line:find(self.boot.start, 1, true) then
			starts = starts + 1
		end
	end
	boot.resets = math.max(starts - 1, 0)
	self.last_lines = last_said(lines)
	boot.ms = prim.clock() - began
	prim.record("boot", { ready = boot.ready, resets = boot.resets, version = boot.version, ms = boot.ms })
	return boot
end

function Board:observe_user_data(seed, seen)
	local function check()
		local ok, detail = self:check_user_data(seed)
		return { ok = ok, seen = detail }
	end
	if seen then
		return ask(seen, "its user data", check)
	end
	return check()
end

-- What the judge needs to know of a board after an update or a cut, added to what is given: two boots without a
-- probe, what the firmware reports, the user's data, and then flash read back. Leaves power off.
function Board:observe(seed, given)
	local seen = given or {}
	seen.boots = { self:observe_boot(seen) }
	if seen.boots[1].ready then
		seen.user_data = self:observe_user_data(seed, seen)
		local slots = ask(seen, "its state", self.status, self)
		seen.status = slots and { slots = slots } or nil
		seen.reboot = { boot = self:observe_boot(seen) }
		if seen.reboot.boot.ready then
			seen.reboot.user_data = self:observe_user_data(seed, seen)
		end
	end
	seen.primary = self:identify("primary")
	if seen.reboot then
		seen.reboot.primary = seen.primary
	end
	for _, slot in ipairs(seen.status and seen.status.slots or {}) do
		if slot.active and slot.confirmed == false and self.regions.secondary then
			seen.fallback = self:identify("secondary")
		end
	end
	seen.limits = { ready_within_ms = ms(self.boot.ready_within or 30, "boot.ready_within"), max_resets = self.boot.max_resets or 3 }
	return seen
end

-- --- what a scenario does with its findings ------------------------------------------------------

local Trial = {}
Trial.__index = Trial

local function point(t, ok, name, fields)
	t.checks = t.checks + 1
	fields = fields or {}
	fields.ok = ok and true or false
	fields.name = tostring(name)
	if not ok then
		fields.at = fields.at or prim.where()
		t.failed = true
	end
	if t.again then
		t.again[#t.again + 1] = fields
	else
		prim.record("point", fields)
	end
	return fields.ok
end

function Trial:ok(value, name)
	return point(self, value, name)
end

function Trial:is(seen, expected, name)
	local same = seen == expected
	return point(self, same, name, not same and { expected = tostring(expected), seen = tostring(seen) } or nil)
end

function Trial:like(seen, pattern, name)
	local same = type(seen) == "string" and seen:find(pattern) ~= nil
	return point(self, same, name,
		not same and { expected = "matches " .. pattern, seen = tostring(seen) } or nil)
end

function Trial:skip(reason, name)
	point(self, true, name or "skipped", { skip = tostring(reason) })
end

function Trial:note(text)
	prim.record("note", { text = tostring(text) })
end

function Trial:measure(name, value, unit)
	if type(value) ~= "number" then
		fail("script", "t:measure: expected a number, got %s", type(value))
	end
	if self.again then
		return -- of the first attempt, as the verdict
	end
	prim.record("measure", { name = tostring(name), value = value, unit = unit })
end

-- Hands observations to the judge. In a trial what it finds wrong goes into the trial's verdict; elsewhere every
-- finding is a point.
function Trial:judge(observations)
	local findings, verdict = tool("judge", observations)
	for _, finding in ipairs(findings) do
		if not self.key then
			point(self, finding.ok, finding.what, { expected = finding.expected, seen = finding.seen })
		elseif not finding.ok then
			self.findings[#self.findings + 1] = {
				name = finding.name, text = finding.what, expected = finding.expected, seen = finding.seen,
			}
		end
	end
	for _, finding in ipairs(self.findings) do
		if finding.name == "commit-not-monotone" and self.commit then
			-- a replay has to make the cut that this one contradicts, too
			local runs = observations.boots[#observations.boots].version
			self.witness = runs == observations.from and self.commit.new_cut or self.commit.old_cut
		end
	end
	if verdict == "fail" then
		self.failed = true
	elseif verdict ~= "pass" then
		self.verdict = self.verdict == "error" and "error" or verdict
	end
	return verdict, findings
end

-- Whether the judge would find a failure of the DUT in what was seen so far, and the verdict. Says nothing to anybody.
function Trial.would_fail(_, observations)
	local _, verdict = tool("judge", observations)
	return verdict == "fail", verdict
end

-- Whether the time that the run's budget has for this item is used up.
function Trial:time_is_up()
	return self.budget_ms ~= nil and prim.clock() - self.began_ms >= self.budget_ms
end

-- Runs f as one attempt; returns its verdict, the error it ended with (unless it came to its end), and what it returned.
local function attempt(t, f)
	local again = t.again
	t.failed, t.verdict, t.findings = false, nil, {}
	local ok, e = xpcall(f, caught)
	local verdict = ok and (t.verdict == "error" and "error" or t.failed and "fail" or t.verdict or "pass")
		or verdict_of(e)
	if not ok and verdict == "fail" and e.code ~= "fail-fast" then
		t.again = again
		point(t, false, e.message, { at = e.where, finding = e.code })
	end
	if ok then
		return verdict, nil, e
	end
	return verdict, { code = e.code, message = e.message, where = e.where, traceback = e.traceback }
end

-- Why an attempt with the verdict error ended: what it raised, or else what the judge found of the bench.
local function as_error(t, e)
	local first = t.findings[1] or {}
	return setmetatable(e or {
		code = "bench", where = "?",
		message = ("%s: %s: %s"):format(t.key or t.item_key, first.text or "the bench failed", first.seen or "see its points"),
	}, Error)
end

-- A failure is run once more and called deterministic or flaky; the first verdict stands.
-- What an attempt ended with, as far as a second one must end with the same.
local function signature(t, verdict)
	local names = { verdict }
	for _, finding in ipairs(t.findings) do
		names[#names + 1] = finding.name
	end
	return table.concat(names, " ")
end

-- Returns also the error that kept the second attempt from saying anything, and then no word: whoever gave the
-- verdict raises it, because the bench is not fit for what comes next.
local function attempt_again(t, f, first)
	local findings, failed, verdict = t.findings, t.failed, t.verdict
	local before = signature(t, first)
	t.again = {}
	local second, e = attempt(t, f)
	local same = signature(t, second) == before
	local broken = second == "error" and as_error(t, e) or nil
	prim.record("again", {
		verdict = second, points = t.again[1] and t.again, findings = t.findings[1] and t.findings,
		reason = broken and broken.message,
	})
	t.again, t.findings, t.failed, t.verdict = nil, findings, failed, verdict
	if broken then
		return nil, broken
	end
	return same and "deterministic" or "flaky"
end

-- With --fail-fast the item ends at a trial that failed.
local function stop_at(t, verdict)
	if verdict == "fail" and (t.options.fail_fast or t.options.hold_on_fail) then
		error(setmetatable({ code = "fail-fast", message = "stopped at the first failure", where = "" }, Error), 0)
	end
end

-- One trial of an item: the unit that is reported, run again when it fails, and replayed. cut is its cut in the
-- grammar of --cut, if it has one; why says what it was chosen for. Returns its verdict, and the table that f
-- returned, if it did; note, if given, is called with both, also where the verdict ends the item. In a run that was
-- taken up again, a trial that has a verdict is not run: both are known.
function Trial:trial(key, f, cut, why, note)
	if self.key then
		fail("script", "t:trial inside t:trial")
	end
	if self.again then
		-- the item failed before its trials; its second attempt got as far as them, and trials are not run for that
		error(setmetatable({ code = "reached", message = "it came as far as its trials", where = "" }, Error), 0)
	end
	note = note or function() end
	local known = self.known[key]
	if known then
		note(known.verdict, known.outcome)
		stop_at(self, known.verdict)
		return known.verdict, known.outcome
	end
	local failed, earlier, findings = self.failed, self.verdict, self.findings
	self.key, self.witness, self.evidence, self.trouble = key, nil, nil, nil
	self.console_said = nil
	prim.record("trial-start", { key = key, why = why })
	local verdict, e, outcome = attempt(self, f)
	outcome = type(outcome) == "table" and outcome or self.outcome
	local broken = verdict == "error" and as_error(self, e) or nil
	local first = verdict == "inconclusive" and self.findings[1]
	local record = {
		verdict = verdict, findings = self.findings[1] and self.findings, cut = cut, outcome = outcome,
		witness = self.witness, evidence = self.evidence, console = verdict == "fail" and self.console_said or nil,
		reason = e and e.message or first and ("%s: %s"):format(first.text, first.seen) or nil,
	}
	if verdict == "fail" and self.trouble then
		broken = self.trouble
	elseif verdict == "fail" then
		record.again, broken = attempt_again(self, f, verdict)
	end
	prim.record("verdict", record)
	self.key, self.outcome = nil, nil
	-- what the item found outside its trials is not theirs to change
	self.failed, self.verdict, self.findings = failed, earlier, findings
	if verdict ~= "error" then
		self.trials[verdict] = (self.trials[verdict] or 0) + 1
	end
	note(verdict, outcome)
	if broken then
		error(broken, 0)
	end
	stop_at(self, verdict)
	return verdict, outcome
end

blame["fail-fast"] = "fail"
blame["reached"] = "pass"

prim.include("cuts", prim, Board, Trial, { fail = fail, wait = wait, tool = tool, caught = caught, try = rig.try })

-- --- one item -----------------------------------------------------------------------------------

local function run_item(scenario, context)
	local board
	local t = setmetatable({
		seed = context.seed, options = context.options, item = context.item, item_key = context.item.key, trials = {},
		checks = 0, index = context.index or 0, work = context.work,
		at_end = {}, began_ms = prim.clock(), budget_ms = context.budget_ms, known = context.known or {},
	}, Trial)
	for _, known in pairs(t.known) do
		t.trials[known.verdict] = (t.trials[known.verdict] or 0) + 1
	end
	local function body()
		board = board or new_board(t, context)
		t:check_cuts(board)
		scenario.run(t, board, context.item)
	end
	local verdict, e = attempt(t, body)
	local again, broken
	for _, f in ipairs(t.at_end) do
		f()
	end
	if e and e.code == "fail-fast" then
		e = nil
	end
	if e and e.code == "unsupported" and not t.failed and not t.trials.fail then
		return { verdict = "skip", skipped = e.message }
	end
	if next(t.trials) and verdict ~= "error" then
		verdict = (t.trials.fail and "fail") or (verdict == "pass" and t.trials.inconclusive and "inconclusive") or verdict
	elseif verdict == "fail" then
		-- from a clean flash: what fails only after another update was chained, not alone
		prim.record("note", { text = "failed: once more from a clean flash" })
		board.holds = nil
		again, broken = attempt_again(t, body, verdict)
		board.holds = nil
	end
	if verdict == "pass" and t.checks == 0 and not next(t.trials) then
		verdict, e = "inconclusive", { code = "inconclusive", message = "nothing was checked", where = "?" }
	end
	return { verdict = verdict, error = e, again = again, bench = broken, holds = verdict == "pass" and board.holds or nil }
end

return rig, run_item
