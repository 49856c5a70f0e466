#!/usr/bin/perl
# Nothing is believed that is only said: a flipped bit in the body is caught though the header is whole.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $bench = Bench->new;
my $scenario = $bench->write('flip.lua', <<'LUA');
local rig = require "rig"
return rig.scenario {
	name = "flip", over = "releases", needs = { "probe", "transport" },
	run = function(t, board, item)
		board:hold(item.release)
		t:ok(board:image_intact("primary", item.release), "the image is whole at first")
		local at = board.regions.primary[1] + 0x200 + 0x400
		board:with_probe(function()
			board.probe:read { address = at, size = 4, path = board.work .. "/word" }
			board.probe:write_word { address = at, value = 0 }
		end)
		local found = board:identify("primary")
		t:is(found.version, item.release.version, "the header still says the version")
		t:is(found.release, nil, "but it is no release's image")
		t:like(found.detail, "damaged", "and its hash is wrong")
		t:ok(not board:image_intact("primary", item.release), "so it is not intact")
	end,
}
LUA
my $r = $bench->rig('run', $scenario);
is $r->{exit}, 0, 'a bit flipped through the probe is caught' or diag $r->{out}, $r->{err};

# what a dead board's console said before the power went satisfies nothing after it
$scenario = $bench->write('stale.lua', <<'LUA');
local rig = require "rig"
return rig.scenario {
	name = "stale", over = "once", needs = { "console" },
	run = function(t, board)
		board:hold(board.releases[1])
		board:power_off()
		board:flash_release(board.releases[1])
		board.probe:hold_reset { hold = true }
		board:power_on()
		t:is(board.console:try_expect("ready", 0.5), nil, "the line of the boot before does not count")
		board:power_off()
		board.probe:hold_reset { hold = false }
		board:power_on()
		t:ok(board.console:try_expect("ready", 5), "the line of this boot does")
	end,
}
LUA
$r = $bench->rig('run', $scenario);
is $r->{exit}, 0, 'stale output satisfies nothing' or diag $r->{out}, $r->{err};

# a script may catch what the bench failed with, but it does not pass over it
$scenario = $bench->write('passes_over.lua', <<'LUA');
local rig = require "rig"
return rig.scenario {
	name = "passes-over", over = "once", needs = { "probe" },
	run = function(t, board)
		board:hold(board.releases[1])
		local ok, e = pcall(board.probe.read, board.probe, { address = 0, size = 4, path = "/no/such/folder/x" })
		t:ok(not ok and e.code ~= "dut", "the read fails, and not by the device")
	end,
}
LUA
$r = $bench->rig('run', $scenario);
is $r->{exit}, 3, 'a bench error that a script caught is an error all the same' or diag $r->{out}, $r->{err};
like $r->{out}, qr/^Bail out!/m, 'and the report says so';

# what a scenario is given of a trace writes no file
$scenario = $bench->write('trace.lua', <<'LUA');
local rig = require "rig"
return rig.scenario {
	name = "trace", over = "once", needs = { "probe", "transport" },
	run = function(t, board)
		board:hold(board.releases[1])
		local state = board:capture("before")
		board:start_from(state)
		board:trace_begin()
		board:update(board.releases[2])
		local trace = board:trace("uncut.trace", state)
		t:is(trace.log.flash, nil, "the flash is not written where a scenario likes")
		t:is(trace.log.save_flash, nil, "by no name")
		t:is(type(trace.log.around), "function", "though it can be looked at")
	end,
}
LUA
$r = $bench->rig('run', $scenario);
is $r->{exit}, 0, 'a trace writes no file for a scenario' or diag $r->{out}, $r->{err};

# a scenario that is stuck without waiting can be interrupted, and the board is made safe
$scenario = $bench->write('stuck.lua', <<'LUA');
local rig = require "rig"
return rig.scenario { name = "stuck", over = "once", run = function(t, board)
	board:power_on()
	t:note("stuck")
	while true do pcall(function() while true do end end) end
end }
LUA
my $run = $bench->start('run', $scenario);
ok Bench::wait_for(20, sub {
	my $id = ($bench->runs)[-1] // return;
	return scalar grep { $_->{kind} eq 'note' } $bench->journal($id);
}), 'a scenario loops for ever';
kill INT => $run->{pid};
$bench->finish($run);
is $run->{exit}, 130, 'it can be interrupted' or diag $run->{err};
ok !$bench->vboard('demo-1', 'state')->{power}, 'and its board is off';

# a process that was started with other options is not taken for the board that rig.conf describes
is $bench->rig('power', 'demo-1', 'off')->{exit}, 0, 'the board is off';
is $bench->vboard('demo-1', 'state')->{seed}, 1, 'its process has the seed of rig.conf';
my $conf = Bench::slurp($bench->path('rig.conf'));
$bench->write('rig.conf', $conf =~ s/driver = "virtual", linger_ms/driver = "virtual", seed = 7, linger_ms/r);
is $bench->rig('power', 'demo-1', 'on')->{exit}, 0, 'with another seed it comes on';
is $bench->vboard('demo-1', 'state')->{seed}, 7, 'as a process of its own';
is $bench->rig('power', 'demo-1', 'off')->{exit}, 0, 'and goes off';

done_testing;
