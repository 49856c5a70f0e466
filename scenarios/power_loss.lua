-- Power is cut while an update runs, at operations spread over all of it. Whatever happens, the board must come
-- up by itself as exactly the old or exactly the new release, with the user's data.
local rig = require "rig"

-- One update without a cut: its operations are what the cuts are counted in.
local function traced(board, item, state)
	board:restore(state)
	board:power_on()
	board:wait_ready()
	board:update(item.to)
	return board:trace("uncut.trace")
end

-- It must pass.
local function uncut(t, board, item, state)
	local trace = traced(board, item, state)
	local seen = board:observe(t.seed)
	seen.from, seen.to, seen.expect = item.from.version, item.to.version, item.expect
	seen.update = { accepted = true }
	t:judge(seen)
	return trace
end

local function cut_once(t, board, item, state, trace, cuts)
	board:restore(state)
	board:power_on()
	board:wait_ready()
	local fired, event = board:cut_during(cuts[1], function()
		board:update(item.to)
	end)
	local landed = fired and board:landing(state, trace, cuts[1], event) or nil
	-- a second cut counts from the power-on after the first
	for i = 2, #cuts do
		fired = fired and board:cut_recovery(cuts[i])
	end
	local seen = board:observe(t.seed)
	seen.from, seen.to, seen.expect = item.from.version, item.to.version, item.expect
	seen.cut = { requested = cuts.text, operations = trace.operations, fired = fired, landed = landed }
	t:judge(seen)
end

return rig.scenario {
	name = "power-loss",
	about = "each update cut at chosen flash operations, recovered without help, judged",
	over = "transitions",
	kinds = { "upgrade", "upgrade-via", "downgrade" },
	needs = { "power", "console", "probe", "transport", "trigger" },

	run = function(t, board, item)
		board:hold(item.from)
		board:write_user_data(t.seed)
		local state = board:capture("before")
		local trace
		local whole = t:trial("uncut", function()
			trace = uncut(t, board, item, state)
		end)
		if whole ~= "pass" then
			return -- nothing to count cuts in, and nothing that a cut could spoil
		end
		trace = trace or traced(board, item, state) -- in a run that was taken up again, its verdict is known

		local chosen = t.options.cut or board:choose_cuts(trace, t.options.cuts ~= "all" and t.options.cuts or nil, t.index, t.seed)
		for _, text in ipairs(chosen) do
			local cuts = rig.parse_cuts(text)
			cuts.text = text
			t:trial("cut=" .. text, function()
				cut_once(t, board, item, state, trace, cuts)
			end, text)
		end
	end,
}
