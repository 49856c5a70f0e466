-- Power is cut while an update runs, at operations spread over all of it. Whatever happens, the board must come
-- up by itself as exactly the old or exactly the new release, with the user's data, and take the same update again.
local rig = require "rig"

local function expectation(item)
	return { from = item.from.version, to = item.to.version, expect = item.expect }
end

-- The same update given once more, with no help, to a board at rest: what became of it. What it did not answer then is
-- added to what was seen before.
local function give(t, board, release, before)
	board:power_on()
	local ok, why = rig.try(board.wait_ready, board)
	if ok then
		ok, why = rig.try(board.update, board, release)
	end
	local seen = { accepted = ok, error = not ok and why or nil }
	if ok then
		local answered, version = rig.try(board.version, board)
		seen.boot = { ready = answered, version = answered and version or nil }
		seen.user_data = answered and board:observe_user_data(t.seed, before) or nil
	end
	seen.primary = board:identify("primary")
	return seen
end

-- Whether a later release is tried, too: the same for a cut and its replay.
local function is_later_tried(item, cuts)
	return item.expect == "revert" or not cuts or cuts[1].op == "end" or cuts[1].op % 4 == 0
end

-- What follows when nothing is wrong so far: the same update again, and a later one.
local function go_on(t, board, item, seen, cuts)
	seen.retry = give(t, board, item.to, seen)
	local later = item.later
	if later and seen.retry.accepted and is_later_tried(item, cuts) then
		seen.later = give(t, board, later, seen)
		seen.later.to = later.version
	end
end

-- Judges what was seen; where that fails, keeps the evidence as it stands, else goes on. Where the bench is at fault
-- nothing more is asked of the device: what it does after a cut that nobody knows is not held against it.
local function judge(t, board, item, trace, seen, cuts, landed, recovery)
	local fails, verdict = t:would_fail(seen)
	if fails then
		board:keep_evidence(trace, cuts, landed, recovery)
	elseif verdict ~= "error" then
		go_on(t, board, item, seen, cuts)
		if t:would_fail(seen) then
			board:keep_evidence(trace, cuts, landed, recovery)
		end
	end
	t:judge(seen)
end

-- One update without a cut: its operations are what the cuts are counted in. Where it is not taken, why is returned.
local function traced(board, item, state)
	board:start_from(state)
	board:evidence_begin()
	board:trace_begin()
	local taken, why = rig.try(board.update, board, item.to)
	if not taken then
		return nil, why
	end
	return board:trace("uncut.trace", state)
end

-- It must pass.
local function uncut(t, board, item, state)
	local trace, why = traced(board, item, state)
	local given = expectation(item)
	given.update = { accepted = trace ~= nil, error = why }
	if trace then
		-- as a fleet's server asks once a device is back; a cut at the end comes before that
		local answered, silence = rig.try(board.version, board)
		given.unanswered = not answered and "its version: " .. silence or nil
		board:trace_rest(trace)
	end
	local seen = board:observe(t.seed, given)
	seen.writes = trace and board:writes(trace) or nil
	judge(t, board, item, trace or { state = state }, seen)
	return trace
end

local function which(item, seen)
	local version = seen.boots[#seen.boots].version
	return version == item.from.version and "old" or version == item.to.version and "new" or nil
end

local function cut_once(t, board, item, trace, cuts)
	board:start_from(trace.state)
	board:evidence_begin()
	local taken, why = true, nil
	local fired, event = board:cut_during(cuts[1], function()
		taken, why = rig.try(board.update, board, item.to)
	end, trace)
	if fired and event.op ~= "end" then
		taken = true -- as far as the power let it
	elseif not taken then
		fired = false -- its end never came
	end
	local landed = fired and board:landing(trace, cuts[1], event) or nil
	local count = fired and 1 or 0
	local down
	-- a second cut counts from the power-on after the first
	for i = 2, #cuts do
		if fired then
			fired, down = board:cut_recovery(cuts[i])
		end
		count = count + (fired and 1 or 0)
	end
	local seen = board:observe(t.seed, expectation(item))
	if down then
		table.insert(seen.boots, 1, down) -- it may come up now: it needed help all the same
	end
	local placed = landed and landed.agreement
	-- with one boot for its trial an image that a cut kept from its confirmation rightly goes back
	local commit = board.boot.trial_boots == 1 and {} or t.commit
	seen.cut = {
		requested = cuts.text, operations = trace.operations, fired = fired, landed = placed and landed or nil,
		new_at = commit.new_at, old_at = commit.old_at,
	}
	seen.update = not taken and { accepted = false, error = why } or nil
	local recovery, writes, path
	if landed and #cuts == 1 then
		recovery, writes, path = board:recovery(trace, landed)
		seen.writes = writes
	end
	judge(t, board, item, trace, seen, cuts, landed, path)
	local known = placed == "agrees"
	return {
		landed = known and landed.cut or landed and landed.counted or nil, done = known and landed.done or nil,
		torn = known and landed.torn or nil, fired = count, runs = which(item, seen), recovery = recovery,
	}
end

return rig.scenario {
	name = "power-loss",
	about = "each update cut at chosen flash operations, recovered without help, judged",
	over = "transitions",
	order = "diverse",
	cuts = true,
	kinds = { "upgrade", "downgrade", "revert" },
	needs = { "power", "console", "probe", "transport" },

	run = function(t, board, item)
		board:hold(item.from)
		board:write_user_data(t.seed)
		local state = board:capture("before")
		local trace, why
		local whole = t:trial("uncut", function()
			trace = uncut(t, board, item, state)
		end, nil, "uncut")
		if whole ~= "pass" then
			return -- nothing to count cuts in, and nothing that a cut could spoil
		end
		if not trace then -- in a run that was taken up again, its verdict is known
			trace, why = traced(board, item, state)
			if trace then
				board:trace_rest(trace)
			end
		end
		if not trace then
			return t:ok(false, "takes the update again: " .. why)
		end
		t:cuts(trace, function(cuts)
			return cut_once(t, board, item, trace, cuts)
		end)
	end,
}
