-- Every version still in the field can be updated to every later one, and keeps its user's data;
-- what policy forbids is refused; and an update that fails its self-test gives itself up.
local rig = require "rig"

local function refused(t, board, item)
	local ok, e = pcall(board.update, board, item.to)
	if not ok and e.code ~= "dut" then
		error(e, 0)
	end
	t:ok(not ok, "the update is refused" .. (ok and "" or ": " .. e.message))
end

-- How often the board began anew since its power came on; nil where its type does not say how that looks.
local function starts(board)
	local count = 0
	if not board.boot.start then
		return nil
	end
	for _, line in ipairs(board.console:tail(1000)) do
		if line:find(board.boot.start, 1, true) then
			count = count + 1
		end
	end
	return count
end

-- The old release that runs at the end says nothing by itself: an update that was never tried looks the same. One that
-- was takes a reset to be swapped in, and one more to be swapped back.
local function reverted(t, board, item)
	local before = starts(board)
	board:update(item.to)
	if before then
		t:ok(starts(board) - before >= 2, item.to.version .. " was tried and gave itself up")
	end
end

return rig.scenario {
	name = "upgrade-matrix",
	about = "every transition of the policy: version, image, user data; refusals refused, failing updates reverted",
	over = "transitions",
	needs = { "power", "console" },

	run = function(t, board, item)
		local holds = item.to

		board:hold(item.from)
		board:write_user_data(t.seed)
		if item.expect == "refuse" then
			holds = item.from
			refused(t, board, item)
		elseif item.expect == "revert" then
			holds = item.from
			reverted(t, board, item)
		else
			for _, step in ipairs(item.via or {}) do
				board:update(step)
				t:is(board:version(), step.version, "runs " .. step.version .. " on the way")
			end
			board:update(item.to)
		end

		t:is(board:version(), holds.version, "runs " .. holds.version)
		t:ok(board:check_user_data(t.seed), "user data survived")
		t:is(board:reboot(), holds.version, "runs " .. holds.version .. " after another power cycle")
		t:ok(board:check_user_data(t.seed), "user data is still there")
		t:ok(board:image_intact("primary", holds), "the image in flash is the release's")
		board:settled(holds)
	end,
}
