-- Scenarios, board types and the manifests: Lua 5.4 without I/O (docs/configuration.md).
std = {
	read_globals = {
		"assert", "error", "ipairs", "next", "pairs", "pcall", "require", "select", "setmetatable", "tonumber",
		"tostring", "type",
		string = { other_fields = true }, table = { other_fields = true }, math = { other_fields = true },
		utf8 = { other_fields = true },
	},
}
max_line_length = 140
-- a scenario's run(t, board, item) need not use them all
unused_args = false
-- the rig's own Lua half is no data: it has what its host gives it
files["rig/*.lua"] = { std = "lua54" }
