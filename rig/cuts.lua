-- Power loss, as the Lua half has it: an update's trace, cuts in it, where they landed, what they left, and the
-- campaign that chooses them. Loaded by board.lua, to whose Board and Trial it adds.

local prim, Board, Trial, lib = ...
local fail, wait, tool, caught = lib.fail, lib.wait, lib.tool, lib.caught

-- What a tool's object answers nil, code, message when it fails.
local function sure(result, code, message)
	if result == nil then
		fail(code, message)
	end
	return result
end

local LOG_LINES = 1000 -- of the console, as far as a board that has nothing better is traced by them
local FULL_EVIDENCE = 16 -- failures of an item whose evidence has the flash too: three times its size each

-- --- states to come back to ----------------------------------------------------------------------

-- The flash as it is, to come back to; leaves power off.
function Board:capture(name)
	local state = { name = name, path = self:read_flash(name .. ".flash"), holds = self.holds }
	if self:can("snapshot") then
		wait("snapshot.save", { name = name })
		state.snapshot = true
	end
	return state
end

-- Brings a captured state back. The first time it is the probe that does it, on every board.
function Board:restore(state)
	self:power_off()
	self.holds = nil
	if state.snapshot and state.proven then
		wait("snapshot.restore", { name = state.name })
		prim.record("prepare", { how = "snapshot", release = state.holds })
	else
		local result
		self:with_probe(function()
			result = self.probe:program { segments = { { address = self.flash.base, path = state.path } } }
		end)
		prim.record("prepare", {
			how = "probe", release = state.holds, pages_written = result.pages_written,
			pages_kept = result.pages_kept,
		})
		state.proven = true
	end
	self.holds = state.holds
end

-- The same, and up and ready. Nothing was done to the board yet: where it does not come up from a snapshot, the probe's
-- word decides whether the snapshot or the device is at fault.
function Board:start_from(state)
	local from_snapshot = state.snapshot and state.proven
	self:restore(state)
	self:power_on()
	local up, why, code = lib.try(self.wait_ready, self)
	if up then
		return
	end
	if from_snapshot then
		state.proven = false
		self:restore(state)
		self:power_on()
		if lib.try(self.wait_ready, self) then
			fail("bench", "the snapshot of %s does not boot, what the probe programmed does: %s",
				state.holds or state.name, why)
		end
	end
	fail(code, "%s", why)
end

-- --- the trace -----------------------------------------------------------------------------------

-- What the console has said since power-on, but for what a management protocol says there. All of it: what has a part
-- missing cannot be counted in.
local function progress_lines(board)
	local lines, tail = {}, board.console:tail(LOG_LINES)
	if #tail >= LOG_LINES then
		fail("bench", "the console said %d lines or more since power-on: too many to trace an update by them", LOG_LINES)
	end
	for _, line in ipairs(tail) do
		if not line:find("^\\x0[46]") and line:find("%S") then
			lines[#lines + 1] = line
		end
	end
	return lines
end

-- Whether the trigger is to count the update that is about to be given. One that counts something else than the flash's
-- operations may do it by the probe, and what is judged is judged without.
function Board:counts()
	return self:can("trigger") and (not self.is_counted or self.is_traced or self.is_armed)
end

-- The probe is wanted: what a trigger that counts by it was to count for a trace that nobody came for is dropped.
function Board:stop_counting()
	if self.is_traced and self:can("trigger") then
		prim.wait("trigger.trace", { path = self.work .. "/dropped.trace" })
	end
	self.is_traced = nil
end

-- Where a trace begins: call it right before the update is given.
function Board:trace_begin()
	self.is_traced = true
	self.heard = not self:can("trigger") and #progress_lines(self) or nil
end

-- The trace of the update that was just given without a cut, from state on: by what its trigger counts. A board that
-- has none is traced by the lines of progress on its console.
function Board:trace(name, state)
	local path, lines = self.work .. "/" .. name, nil
	self.is_traced = nil
	if self:can("trigger") then
		self.trigger:trace(path)
	else
		local text = {}
		lines = progress_lines(self)
		table.move(lines, (self.heard or 0) + 1, #lines, 1, lines)
		for i = #lines, #lines - (self.heard or 0) + 1, -1 do
			lines[i] = nil
		end
		for i, line in ipairs(lines) do
			text[i] = ("%d line %s\n"):format(i, line)
		end
		tool("save", path, table.concat(text))
	end
	local trace = tool("open_trace", path, state.path, {
		base = self.flash.base, page = self.flash.page, regions = self.regions, may_write = self.conf.may_write,
	})
	local described = trace:describe()
	prim.record("trace", described)
	self.is_counted = described.source ~= "operations"
	return {
		log = trace, path = path, described = described, lines = lines, state = state, board = self.conf,
		operations = described.operations, source = described.source,
		ranges = described.source == "operations" and trace:ranges() or {},
	}
end

-- Keeps the flash at rest after the update that was traced, for boards whose operations are not the flash's: what there
-- is of it after a cut is compared with that. Leaves power off where it does.
function Board:trace_rest(trace)
	if not self.is_counted then
		return
	end
	sure(trace.log:rest(self:read_flash("rest.flash")))
	trace.ranges = trace.log:ranges()
	trace.is_at_rest = true
end

-- --- cuts ----------------------------------------------------------------------------------------

local special = "[%^%$%(%)%%%.%[%]%*%+%-%?%{%}|\\/#]"

-- A cut at the nth line of a trace: the pattern, and how many times it has to come.
local function at_line(trace, n)
	local line, count = trace.lines[n], 0
	for i = 1, n do
		count = count + (trace.lines[i] == line and 1 or 0)
	end
	-- bytes that stand as \xNN in the line stand so in a pattern, too
	local pattern = line:gsub(special, "\\%0"):gsub("\\\\x(%x%x)", "\\x%1")
	return { console = "^" .. pattern .. "$", count = count }
end

local function what_to_arm(cut, trace)
	if trace and trace.lines then
		if cut.op > #trace.lines then
			return nil
		end
		return at_line(trace, cut.op)
	end
	return { op = cut.op, tear = cut.tear, seed = cut.seed }
end

-- Runs f with a cut armed. Returns true and the event when the power was cut, false when f ended before
-- the cut came. What f was doing when the power went ends in an error that stops here.
function Board:cut_during(cut, f, trace)
	local armed = false
	if cut.op ~= "end" then
		local on = what_to_arm(cut, trace)
		if self:can("trigger") then
			wait("trigger.mark")
		end
		if on and on.console then
			self.heard = #progress_lines(self)
		end
		if on then
			wait("cut.arm", { on = on })
			armed = true
		end
	end
	self.is_armed = armed
	local ok, e = xpcall(f, caught)
	self.is_armed = nil
	if not armed and not ok then
		error(e, 0)
	elseif cut.op == "end" then
		return true, { op = "end", off = self:power_off() }
	elseif not armed then
		return false -- what could be disarmed is the cut of the trial before
	end
	local result = wait("cut.disarm")
	if result.fired then
		self.holds = nil
		if trace and trace.lines then
			result.cut.op = cut.op
		end
		return true, result.cut
	end
	if not ok then
		error(e, 0)
	end
	return false
end

local function record_cut(board, fields)
	local t = board.t
	fields.again = t.again and true or nil
	prim.record("cut", fields)
	if not t.again and t.outcome then
		local cuts = t.outcome.cuts
		cuts[#cuts + 1] = {
			requested = fields.requested, landed_as = fields.landed_as, counted = fields.counted,
			agreement = fields.landed_as == nil and fields.agreement == "skewed" and "skewed" or nil,
		}
	end
end

-- How many lines of progress came since the cut was armed. The last one may be the beginning of a line.
local function heard_since(board, lines)
	local said = progress_lines(board)
	local n = #said - (board.heard or 0)
	local whole = lines and n > 0 and lines[n]
	if whole and #said[#said] < #whole and whole:sub(1, #said[#said]) == said[#said] then
		n = n - 1
	end
	return n
end

-- How many operations the trigger had seen when the power was gone: no fewer than where it fired. At the end nobody
-- counts. To be asked before the power comes on again.
local function counted_at(board, event, lines)
	if event.op == "end" then
		return nil
	elseif not board:can("trigger") then
		return math.max(event.op, heard_since(board, lines))
	end
	local state = board.trigger:state()
	if state.step_ns then -- what time goes by while the power is proven to be off is not the update's
		return event.op + (event.latency_ns or 0) // state.step_ns
	end
	return math.max(event.op, state.operations)
end

-- A cut in the recovery from one before, counted from the power-on. No uncut recovery was traced that flash could be
-- compared with: where it fell is the board's own word, and what it landed on is left open.
-- Returns whether it fired and, where the device did not come up before that, this boot, for the judge.
function Board:cut_recovery(cut)
	local up, why = true, nil
	local fired, event = self:cut_during(cut, function()
		self:power_off()
		self:power_on()
		up, why = lib.try(self.wait_ready, self)
	end)
	if not up then
		self.t:note(("it did not come up after the cut before: %s"):format(why))
		return false, { ready = false }
	end
	if fired then
		local counted = event.op ~= "end" and event.op or nil
		if self.is_counted then
			counted = counted_at(self, event)
		end
		record_cut(self, {
			requested = cut.text, op = cut.op, tear = cut.tear, seed = cut.seed, counted = counted,
			error = self.is_counted and counted and counted - cut.op or nil, agreement = "unknown", latency_ns = event.latency_ns, off = event.off,
			what = ("in the recovery from the cut before; %s"):format(
				counted and "the board says operation " .. counted or "when it was over"),
		})
	end
	return fired, nil
end

-- What flash shows of a cut whose place was counted: {parts, progress, words, agreement …}, or what is said where it
-- cannot be compared.
local function compare_counted(board, trace, cut, counted)
	if not trace.is_at_rest then
		return { agreement = "unknown" }
	end
	local parts = board:read_ranges("landed", trace.ranges)
	local check = sure(trace.log:progress(parts, cut.text, counted and { op = counted, tear = "clean" } or nil))
	check.parts = parts
	-- flash has room for several operations where some change nothing that can be seen: then it places none
	check.is_placed = check.agreement == "agrees" and check.range and check.range[1] == check.range[2]
	return check
end

local function what_was_counted(trace, event, counted, check)
	local said = { "when it was over" }
	if counted then
		said[1] = ("at %d of %d (%s), and %d when the power was gone"):format(
			event.op, trace.operations, event.line or trace.lines and trace.lines[event.op] or trace.source, counted)
	end
	if check.text then
		said[#said + 1] = check.text
	end
	if check.words and check.words > 0 then
		said[#said + 1] = ("of the %d words that the update changes %d are as after it, %d as before"):format(
			check.words, check.new, check.old)
	end
	return table.concat(said, "; ")
end

-- A cut as its position in the trace, where it is one.
local function as_position(trace, counted)
	if not counted or counted == trace.operations + 1 then
		return "end"
	end
	return counted <= trace.operations and tostring(counted) or nil
end

-- Of operations that are not the flash's: the trigger's count is what there is, and flash may agree with it.
local function landing_by_count(board, trace, cut, event)
	local counted = counted_at(board, event, trace.lines)
	local check = compare_counted(board, trace, cut, counted)
	local place = not check.is_placed and check.agreement ~= "skewed" and as_position(trace, counted) or nil
	record_cut(board, {
		requested = cut.text, op = cut.op, tear = cut.tear, seed = cut.seed,
		landed = check.is_placed and check.done + 1 or nil, landed_as = check.is_placed and check.cut or nil,
		by_count = place and true or nil, counted = counted, error = counted and counted - cut.op or nil,
		progress = check.words and check.words > 0 and math.floor(check.progress * 1000 + 0.5) / 1000 or nil,
		agreement = check.agreement, latency_ns = event.latency_ns, off = event.off,
		what = what_was_counted(trace, event, counted, check),
	})
	if check.is_placed then
		check.counted_done = check.done
		return check
	end
	return { counted = place, parts = check.parts }
end

-- Where a cut landed, from the flash: state is what was there before, trace the uncut update, whose pages are read
-- back. Journals it. The parts that were read stay with the result for evidence.
function Board:landing(trace, cut, event)
	if trace.source ~= "operations" then
		return landing_by_count(self, trace, cut, event)
	end
	local parts = self:read_ranges("landed", trace.ranges)
	local board = event.op ~= "end" and event or nil
	local check = sure(trace.log:landing(parts, cut.text,
		board and { op = board.op, tear = board.tear, seed = board.seed } or nil))
	record_cut(self, {
		requested = cut.text, op = cut.op, tear = cut.tear, seed = cut.seed,
		landed = check.agreement == "agrees" and check.done + 1 or nil,
		landed_as = check.agreement == "agrees" and check.cut or nil,
		counted = board and board.op or nil, error = check.skew, what = check.text, agreement = check.agreement,
		latency_ns = event.latency_ns, off = event.off,
	})
	check.parts = parts
	-- a torn operation counts as one, whether flash shows the tear or not
	check.counted_done = board and board.op - (board.tear == "torn" and 0 or 1) or check.done
	return check
end

-- What the device did to its flash after a cut that landed as it did, until it is at rest; nil where nobody can tell.
-- Returns how many operations, and what was wrong with them (and with those before) in the judge's words.
function Board:recovery(trace, landed)
	if trace.source ~= "operations" or landed.agreement ~= "agrees" then
		return nil
	end
	local done = landed.counted_done
	local path = self.work .. "/recovery.trace"
	local total = wait("trigger.trace", { path = path, from = done + 1 }).operations
	return total - done, sure(trace.log:writes(landed.parts, path, done + 1)), path
end

-- What the uncut update did to flash, in the judge's words; nil where nobody can tell.
function Board:writes(trace)
	if trace.source ~= "operations" then
		return nil
	end
	return sure(trace.log:writes())
end

-- --- evidence ------------------------------------------------------------------------------------

local function log_size(board, kind)
	return (tool("file_bytes", ("%s/%s-%s.log"):format(board.run_dir, kind, board.name)))
end

-- Remembers where a trial begins in the raw logs.
function Board:evidence_begin()
	self.logs_at = { console = log_size(self, "console"), openocd = log_size(self, "openocd") }
end

-- The flash, as files for the evidence: before the update, after the cut and at rest.
local function flash_files(board, trace, landed)
	local files = { ["flash-before.bin"] = trace.state.path }
	if landed and landed.parts then
		local path = board.work .. "/after-cut.flash"
		tool("save_flash", trace.log, landed.parts, path)
		files["flash-after-cut.bin"] = path
	end
	files["flash-at-rest.bin"] = board:read_flash("at-rest.flash")
	return files
end

-- Keeps what a person needs to understand why this trial failed. landed and recovery as landing() and recovery()
-- gave them, where the power was cut; of an update that was not traced, trace has its state alone. Leaves power off.
-- The first attempt's is kept. All was seen that the verdict is made of: where the bench fails now, the verdict
-- stands, and the item ends with the bench's error after it.
function Board:keep_evidence(trace, cuts, landed, recovery)
	local t = self.t
	if t.again or not t.key or t.evidence then
		return
	end
	local files, texts, logs = {}, {}, {}
	t.console_said = self.last_lines and self.last_lines[1] and self.last_lines or nil
	t.evidence_kept = (t.evidence_kept or 0) + 1
	if t.evidence_kept <= FULL_EVIDENCE then
		local ok, found = xpcall(flash_files, caught, self, trace, landed)
		if ok then
			files = found
		else
			t.trouble = found
			texts["flash-left-out.txt"] = ("the flash could not be read: %s\n"):format(found.message)
		end
	else
		texts["flash-left-out.txt"] = ("the first %d failures of this item have the flash in their evidence\n"):format(
			FULL_EVIDENCE)
	end
	if cuts and trace.log then
		texts["operations.txt"] = trace.log:around(cuts[1].text)
	end
	if recovery then
		files["recovery-operations.txt"] = recovery
	end
	for kind, from in pairs(self.logs_at or {}) do
		logs[kind .. ".log"] = { path = ("%s/%s-%s.log"):format(self.run_dir, kind, self.name), from = from }
	end
	local dir, _, why = prim.keep_evidence(self.run_dir, t.item_key, t.key, files, texts, logs)
	if dir then
		t.evidence = dir
	else -- the verdict stands all the same
		t:note(("the evidence of %s could not be kept: %s"):format(t.key, why))
	end
end

-- --- the campaign --------------------------------------------------------------------------------

-- Remembers what a single cut ended with: the update's commit point is monotone over all of them.
local function learn_commit(t, outcome, text)
	if not outcome.done or not outcome.runs or outcome.fired ~= 1 or text:find(",", 1, true) then
		return
	end
	local c, first = t.commit, outcome.done + (outcome.torn and 1 or 0)
	if outcome.runs == "new" and (not c.new_at or first < c.new_at) then
		c.new_at, c.new_cut = first, text
	elseif outcome.runs == "old" and (not c.old_at or outcome.done > c.old_at) then
		c.old_at, c.old_cut = outcome.done, text
	end
end

local function names_of(findings)
	local names = {}
	for i, finding in ipairs(findings) do
		names[i] = finding.name
	end
	return names[1] and names or nil
end

local function one_cut(t, f, text, why)
	local cuts = tool("parse_cuts", text)
	cuts.text = text
	t.outcome = { cuts = {} } -- what there is of it, should the trial end early
	local verdict, outcome = t:trial("cut=" .. text, function()
		local seen = f(cuts)
		if not t.again then
			for name, value in pairs(seen) do
				t.outcome[name] = value
			end
			t.outcome.findings = names_of(t.findings)
		end
	end, text, why, function(verdict, outcome)
		-- of the trial that ends the item, too
		sure(t.coverage:trial { verdict = verdict, cuts = outcome and outcome.cuts or {} })
	end)
	outcome = outcome or {}
	learn_commit(t, outcome, text)
	if verdict == "fail" and outcome.landed then
		t.failures[outcome.landed] = outcome.findings
	end
	return verdict, outcome
end

-- Windows whose search has ended since.
local function record_windows(t, campaign)
	local window = campaign:window(t.windows + 1)
	while window do
		t.windows = t.windows + 1
		window.findings = t.failures[window.found] or {}
		prim.record("window", window)
		window = campaign:window(t.windows + 1)
	end
end

-- Whether the cuts asked for can be made on this board at all, before anything is done to it.
function Trial:check_cuts(board)
	for _, text in ipairs(not board:can("trigger") and self.options.cut or {}) do
		if text:find(",", 1, true) then
			fail("config", "--cut %s: a board without a trigger cannot be cut in its recovery", text)
		end
	end
end

-- Cuts along a trace: those asked for, or as many as a campaign chooses. f(cuts) makes one trial and returns its
-- outcome: {landed = where the first cut landed, as a cut, done =, torn =: the same apart, fired = how many of the cuts
-- did, runs = "old" or "new", recovery = operations after the first cut}.
function Trial:cuts(trace, f)
	self.coverage, self.commit = tool("coverage", trace.described), {}
	self.windows, self.failures = 0, {}
	local began = prim.clock()
	local before_ms = began - self.began_ms -- for the uncut update: about what a trial takes, until one was made
	local made, known = 0, 0 -- known: of those made, before the run was taken up again
	local function count(text)
		made = made + 1
		known = known + (self.known["cut=" .. text] and 1 or 0)
	end
	self.at_end[#self.at_end + 1] = function()
		prim.record("coverage", self.coverage:result())
		local ok, _, why = prim.remember_trace(trace.board, self.item, trace.path,
			made > known and (prim.clock() - began) / (made - known) or before_ms)
		if not ok then
			self:note("the trace could not be kept for plans: " .. why)
		end
	end
	if self.options.cut then
		for _, text in ipairs(self.options.cut) do
			count(text) -- first: a failure may end the item
			one_cut(self, f, text, "asked")
		end
		return
	end
	local campaign = sure(trace.log:campaign {
		seed = self.seed, index = self.index, limit = math.type(self.options.cuts) and self.options.cuts or nil,
		tears = trace.source == "operations", second = trace.source == "operations",
		windows = not self.options.fail_fast,
	})
	local planned = sure(campaign:planned())
	prim.record("chosen", { cuts = planned })
	for text, why in campaign.next, campaign do
		if self:time_is_up() then
			self:note(("the time for %s is used up: %d of about %d trials were made"):format(
				self.item_key, made, planned))
			break
		end
		count(text)
		local verdict, outcome = one_cut(self, f, text, why)
		outcome.verdict = verdict
		sure(campaign:outcome(text, outcome))
		record_windows(self, campaign)
	end
	record_windows(self, campaign)
end
