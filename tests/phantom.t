#!/usr/bin/perl
# A board that is fed through its console goes on when its power is switched off, though everybody says that it is
# off: an error of the bench, never a pass, and never a failure of the device.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use JSON::PP;
use Test::More;

my $root = Bench::root();
my @pair = ('--only', '1.0.0:1.1.0');

sub of_kind { my ($kind, @records) = @_; return grep { $_->{kind} eq $kind } @records }

# Plants it in the board's process, which lives on for a while.
sub plant {
	my ($bench, $value) = @_;
	$bench->rig('power', 'demo-1', 'on')->{exit} == 0 or return;
	$bench->vboard('demo-1', 'fault', { phantom => $value ? JSON::PP::true : JSON::PP::false }) or return;
	return $bench->rig('power', 'demo-1', 'off');
}

sub nothing_but_the_bench {
	my ($bench, $r, $what) = @_;
	my @records = $bench->journal($r->{out} =~ /, run (\S+)/ ? $1 : 'none');
	is $r->{exit}, 3, "$what is an error of the bench" or diag $r->{out}, $r->{err};
	like $r->{out} . $r->{err}, qr/console bytes came in \d+ ms after the power was switched off/, "$what: and says what was seen";
	is scalar(grep { ($_->{verdict} // '') =~ /^(pass|fail)$/ } of_kind('verdict', @records)), 0, "$what: no trial has passed or failed";
	is_deeply [map { $_->{verdict} } of_kind('item-end', @records)], ['error'], "$what: nor has the item";
}

my $bench = Bench->new(power => 'linger_ms = 60000');
my $good = $bench->rig('run', "$root/scenarios/power_loss.lua", @pair, '--cut', '2000');
is $good->{exit}, 0, 'a cut of a board that is off passes' or diag $good->{out}, $good->{err};

# by hand nothing waits for bytes: on a slow machine the board may say nothing before the command is over
my $hand;
for (1 .. 10) {
	$hand = plant($bench, 1);
	last if $hand->{exit} == 3;
}
is $hand->{exit}, 3, 'by hand, power off is not believed' or diag $hand->{out}, $hand->{err};
like $hand->{err}, qr/is the board fed through its console or probe\?/, 'and the likely reason is asked for';

nothing_but_the_bench($bench, $bench->rig('run', "$root/scenarios/power_loss.lua", @pair, '--cut', $_), "a false cut ($_)")
	for '2000', '12000', '2000:torn:1', 'end';
nothing_but_the_bench($bench, $bench->rig('run', "$root/scenarios/upgrade_matrix.lua", @pair), 'a run without cuts');

# the cut alone: planted when the board is up, so that nothing before it could give it away
my $cut = $bench->write('cut.lua', <<'LUA');
local rig = require "rig"
return rig.scenario { name = "cut", over = "transitions", run = function(t, board, item)
	board:hold(item.from)
	t:note("up")
	board.console:try_expect("never", 3)
	t:trial("cut", function()
		t:ok(board:cut_during({ op = 2000, tear = "clean", seed = 0 }, function() board:update(item.to) end), "cut")
	end)
end }
LUA
plant($bench, 0);
my $r = $bench->start('run', $cut, @pair);
my $up = sub { scalar of_kind('note', map { $bench->journal($_) } grep { /-cut$/ } $bench->runs) };
ok Bench::wait_for(30, $up), 'the board is up';
ok $bench->vboard('demo-1', 'fault', { phantom => JSON::PP::true }), 'then it is fed';
nothing_but_the_bench($bench, $bench->finish($r), 'its cut');

is plant($bench, 0)->{exit}, 0, 'no longer fed, it is off when it is switched off';
my $again = $bench->rig('run', "$root/scenarios/power_loss.lua", @pair, '--cut', '2000');
is $again->{exit}, 0, 'and its cuts count again' or diag $again->{out}, $again->{err};

# what rig.conf takes as a proof is what the journal says of each cut
my $conf = Bench::slurp($bench->path('rig.conf'));
for (['none', 'unverified', 1], ['console', 'console', 0]) {
	my ($verify, $off, $notes) = @$_;
	$bench->write('rig.conf', $conf =~ s/(type = "nrf52840dk",)/$1 power_off = { verify = "$verify", discharge_ms = 20 },/r);
	$r = $bench->rig('run', "$root/scenarios/power_loss.lua", @pair, '--cuts', 2);
	is $r->{exit}, 0, "$verify: two cuts pass" or diag $r->{out}, $r->{err};
	my @records = $bench->journal($r->{out} =~ /, run (\S+)/ ? $1 : 'none');
	is_deeply [map { $_->{off} } of_kind('cut', @records)], [$off, $off], "$verify: the cuts are $off";
	is scalar(grep { $_->{text} =~ /its cuts are unverified/ } of_kind('note', @records)), $notes,
		"$verify: " . ($notes ? 'which is noted once' : 'and nothing is noted');
}

done_testing;
