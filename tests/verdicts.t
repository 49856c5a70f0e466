#!/usr/bin/perl
# Who is to blame, and for what: exit statuses and journals of runs in which something is missing or wrong.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $root = Bench::root();
my $power_loss = "$root/scenarios/power_loss.lua";
my @pair = ('--only', '1.0.0:1.1.0');

sub of_kind { my ($kind, @records) = @_; return grep { $_->{kind} eq $kind } @records }

# a second cut, in the recovery from the first
{
	my $bench = Bench->new;
	my $r = $bench->rig('run', $power_loss, @pair, '--cut', '12000,5');
	is $r->{exit}, 0, 'a second cut in the recovery passes' or diag $r->{out};
	my @cuts = of_kind('cut', $bench->journal(($bench->runs)[-1]));
	is scalar @cuts, 2, 'both cuts are journaled';
	is $cuts[0]{landed}, 12000, 'the first with where flash shows it';
	is $cuts[1]{counted}, 5, 'the second with the word of the board';
	is $cuts[1]{landed}, undef, 'and without a landing that nobody saw';

	# the first falls into the upload: the recovery has nothing to do, and the old release is right
	$r = $bench->rig('run', $power_loss, @pair, '--cut', '2000,5');
	is $r->{exit}, 5, 'a second cut that cannot be hit is inconclusive' or diag $r->{out};
	like $r->{out}, qr/SKIP inconclusive: .*the recovery ended before it/, 'and says so';
	unlike $r->{out}, qr/not ok/, 'and no failure of the device';
}

# a bench with a board of a type of its own: the nRF52840-DK with these functions instead
sub odd_bench {
	my ($functions, $devices) = @_;
	my $bench = Bench->new(conf => "board \"bad\" { type = \"odd\", power = { driver = \"virtual\", linger_ms = 2000 },\n"
		. "console = { driver = \"virtual\" }, probe = { driver = \"openocd\", adapter = \"virtual\" },\n$devices }\n");
	mkdir $bench->path('boards');
	my $type = Bench::slurp("$root/boards/nrf52840dk.lua");
	$type =~ s/dut = require "boards.smp"/dut = dut/;
	$type =~ s/\breturn \{/local smp, dut = require "boards.smp", {}\nfor k, v in pairs(smp) do dut[k] = v end\n$functions\nreturn {/;
	$bench->write('boards/odd.lua', $type);
	return $bench;
}

# the run, its one failing verdict and the names of what was found
sub failing {
	my ($bench, $what, @args) = @_;
	my $r = $bench->rig('run', $power_loss, @pair, '--board', 'bad', @args);
	is $r->{exit}, 1, "$what is a failure of the device @args" or diag $r->{out}, $r->{err};
	my @records = $bench->journal(($bench->runs)[-1]);
	my @bad = grep { $_->{verdict} ne 'pass' } of_kind('verdict', @records);
	is scalar @bad, 1, 'of one trial';
	ok $bad[0]{evidence} && -s $bench->path('runs/' . ($bench->runs)[-1] . "/$bad[0]{evidence}/flash-at-rest.bin"),
		'whose evidence is kept';
	is $bad[0]{again}, 'deterministic', 'and which does it again';
	is $records[-1]{reason}, 'finished', 'the run came to its end';
	return (\@records, join ' ', map { $_->{name} } @{ $bad[0]{findings} });
}

# a device that does not take the update at all
{
	my $bench = odd_bench('function dut.update(board) board:fail("I do not want it") end', 'trigger = { driver = "virtual" }');
	for my $more ([], ['--cut', '57']) {
		my ($records, $names) = failing($bench, 'an update that is not taken', @$more);
		is $names, 'update-failed', 'and has its name';
		is scalar of_kind('verdict', @$records), 1, 'and no cuts are counted in it';
	}
}

# one that takes it once, and not when it is to be cut
{
	my $bench = odd_bench('function dut.update(board, image)
		if board.t.key == "cut=57" or board.t.key == "cut=end" then board:fail("not now") end
		return smp.update(board, image) end', 'trigger = { driver = "virtual" }');
	for my $cut ('57', 'end') {
		my ($records, $names) = failing($bench, 'an update that is not taken before its cut', '--cut', $cut);
		is $names, 'update-failed', 'and has its name';
		is scalar of_kind('cut', @$records), 0, 'and there was no cut';
	}
}

# one that comes up, says its version and then nothing more
{
	for my $ask ('status', 'check_user_data', 'version') {
		my $bench = odd_bench("function dut.$ask(board, ...)
			if board.t.key == 'cut=57' then board:fail('lost for words') end
			return smp.$ask(board, ...) end", 'trigger = { driver = "virtual" }');
		my ($records, $names) = failing($bench, "a device that fails in $ask", '--cut', '57');
		is $names, 'unresponsive', 'and has its name';
		my ($bad) = grep { $_->{evidence} } @$records;
		is -s $bench->path('runs/' . ($bench->runs)[-1] . "/$bad->{evidence}/flash-after-cut.bin"), 0x100000,
			'its evidence has the flash that the cut left';
		is scalar of_kind('cut', @$records), 2, 'after its cut, which was made twice';
	}
}

# a bootloader that gives an image on trial one boot only: where its type says so, to go back is right
{
	my $conf = '';
	for my $boots ('', 'boot = { trial_boots = 1 },') {
		my $name = $boots ? 'once' : 'twice';
		$conf .= "board \"$name\" { type = \"nrf52840dk\", $boots power = { driver = \"virtual\", linger_ms = 2000 },\n"
			. "console = { driver = \"virtual\" }, probe = { driver = \"openocd\", adapter = \"virtual\" },\n"
			. "trigger = { driver = \"virtual\" }, images = { bootloader =\n"
			. "\"$root/build/firmware/planted/one-attempt/bootloader.hex\" } }\n";
	}
	my $bench = Bench->new(conf => $conf);
	my $r = $bench->rig('run', $power_loss, @pair, '--board', 'once', '--cuts', 0);
	my ($trace) = of_kind('trace', $bench->journal(($bench->runs)[-1]));
	my @cuts = ('--cut', '12000', '--cut', $trace->{operations});
	$r = $bench->rig('run', $power_loss, @pair, '--board', 'twice', @cuts);
	is $r->{exit}, 1, 'an image that a cut keeps from its confirmation goes back' or diag $r->{out}, $r->{err};
	like $r->{out}, qr/commit-not-monotone/, 'though others after fewer operations had not';
	$r = $bench->rig('run', $power_loss, @pair, '--board', 'once', @cuts);
	is $r->{exit}, 0, 'which is right where an image has one boot for its trial' or diag $r->{out}, $r->{err};
}

# a snapshot that is not what was saved
{
	my $bench = Bench->new;
	my $scenario = $bench->write('snapshot.lua', <<'LUA');
local rig = require "rig"
return rig.scenario { name = "snapshot", over = "once", run = function(t, board, item)
	board:hold(board.releases[1])
	local state = board:capture("whole")
	board:start_from(state)
	board:with_probe(function()
		board.probe:write_word { address = board.regions.primary[1] + 0x400, value = 0 }
	end)
	local damaged = board:capture("damaged")
	state.name = damaged.name
	state.path = DAMAGED and damaged.path or state.path
	board:start_from(state)
end }
LUA
	my $text = Bench::slurp($scenario);
	$bench->write('snapshot.lua', $text =~ s/DAMAGED/false/gr);
	my $r = $bench->rig('run', $scenario);
	is $r->{exit}, 3, 'a snapshot that does not boot is an error of the bench' or diag $r->{out}, $r->{err};
	like $r->{out}, qr/the snapshot of 1\.0\.0 does not boot, what the probe programmed does/, 'and said to be one';
	$bench->write('snapshot.lua', $text =~ s/DAMAGED/true/gr);
	$r = $bench->rig('run', $scenario);
	is $r->{exit}, 1, 'where the probe brings back the same, it is the device' or diag $r->{out}, $r->{err};
}

# a board that is traced by the lines of its console
{
	my $bench = odd_bench('', '');
	my $r = $bench->rig('run', $power_loss, @pair, '--board', 'bad', '--cut', '3,2');
	is $r->{exit}, 2, 'a second cut is refused' or diag $r->{out}, $r->{err};
	like $r->{err}, qr/--cut 3,2: board bad has no trigger, and cannot be cut in its recovery/, 'and why is said';
	is_deeply [$bench->runs], [], 'before anything was done';

	$bench = odd_bench('function dut.update(board, image)
		local tail = {}
		for i = 1, 1000 do tail[i] = "line" end
		smp.update(board, image)
		board.console.tail = function() return tail end end', '');
	$r = $bench->rig('run', $power_loss, @pair, '--board', 'bad', '--cut', '3');
	is $r->{exit}, 3, 'a console that said more than can be looked back at is an error' or diag $r->{out}, $r->{err};
	like $r->{out}, qr/the console said 1000 lines or more since power-on: too many to trace/, 'and nothing is miscounted';
}

# a trial failed, and then the bench did: something is wrong with the device
{
	my $bench = Bench->new;
	my $r = $bench->rig('run', $bench->write('both.lua', <<'LUA'));
local rig = require "rig"
return rig.scenario { name = "both", over = "once", run = function(t, board)
	t:trial("a", function() t:ok(false, "wrong") end)
	board.probe:command { text = "no-such-command" }
end }
LUA
	is $r->{exit}, 1, 'a failure of the device counts, though the bench failed later' or diag $r->{out}, $r->{err};
	is +($bench->journal(($bench->runs)[-1]))[-1]{verdict}, 'fail', 'in the journal too';
}

# two images whose files have one name
{
	my $bench = Bench->new(releases => 'releases.lua');
	mkdir $bench->path($_) for 'boot', 'app';
	system('arm-none-eabi-objcopy', '-I', 'binary', '-O', 'ihex', '--change-addresses', '0xc000',
		"$root/build/firmware/1.0.0/app.bin", $bench->path('app/zephyr.hex')) == 0 or die 'objcopy';
	$bench->write('boot/zephyr.hex', Bench::slurp("$root/build/firmware/bootloader.hex"));
	$bench->write('releases.lua', 'return { product = "p", releases = { { version = "1.0.0", images = {'
		. ' bootloader = "boot/zephyr.hex", application = "app/zephyr.hex" } } }, policy = { updates = "any" } }');
	my $r = $bench->rig('run', $bench->write('hold.lua', <<'LUA'));
local rig = require "rig"
return rig.scenario { name = "hold", over = "releases", run = function(t, board, item)
	board:hold(item.release)
	t:is(board:version(), item.release.version, "the application is in its place")
end }
LUA
	is $r->{exit}, 0, 'both get to flash' or diag $r->{out}, $r->{err};
}

# a scenario that nothing in its own process can stop
{
	my $bench = Bench->new;
	my $scenario = $bench->write('stuck.lua', <<'LUA');
local rig = require "rig"
return rig.scenario { name = "stuck", over = "once", run = function(t, board)
	board.power:on()
	t:note("stuck");
	("x"):gsub(".", function() while true do end end)
end }
LUA
	my $r = $bench->start('run', $scenario);
	Bench::wait_for(20, sub { scalar of_kind('note', map { $bench->journal($_) } $bench->runs) });
	kill INT => $r->{pid};
	ok !Bench::wait_for(0.3, sub { !$bench->processes('rig-worker') }), 'a script stuck in a library function does not hear an interrupt';
	kill INT => $r->{pid};
	$bench->finish($r);
	is $r->{exit}, 130, 'the second interrupt ends it';
	ok Bench::wait_for(20, sub { !$bench->processes('rig-keeper') }), 'its keeper ends';
	ok !$bench->vboard('demo-1', 'state')->{power}, 'and the board is off';

	$r = $bench->rig('run', $scenario);
	is $r->{exit}, 3, 'left alone, it is given up after a while' or diag $r->{err};
	ok Bench::wait_for(20, sub { !$bench->processes('rig-keeper') }), 'its keeper ends';
	ok !$bench->vboard('demo-1', 'state')->{power}, 'and the board is off';
}

done_testing;
