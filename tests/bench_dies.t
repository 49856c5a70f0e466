#!/usr/bin/perl
# What stands around the device dies or stops: that is the bench's error, and never a failure of the device.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $power_loss = "$FindBin::Bin/../scenarios/power_loss.lua";

# Starts a run, and when its journal satisfies the condition, gives the processes of that name the signal.
sub strike {
	my ($bench, $when, $program, $signal, @args) = @_;
	my $r = $bench->start('run', @args);
	my $hit = Bench::wait_for(60, sub {
		my $id = ($bench->runs)[-1] // return;
		return scalar grep { $when->($_) } $bench->journal($id);
	});
	ok $hit, "$program: the run got as far as it should" or diag Bench::slurp($r->{err_path});
	my @pids = $bench->processes($program);
	is scalar @pids, 1, "$program: there is one" or diag "@pids";
	kill $signal => @pids;
	$r->{pids} = \@pids;
	return $r;
}

sub is_an_error_of_the_bench {
	my ($bench, $r, $what) = @_;
	$bench->finish($r);
	is $r->{exit}, 3, "$what: an error of the bench" or diag substr($r->{out}, 0, 2000), $r->{err};
	ok $r->{out} =~ /^Bail out!/m, "$what: TAP says so";
	my @records = $bench->journal(($bench->runs)[-1]);
	my @blame = grep { ($_->{verdict} // '') eq 'fail' || ($_->{kind} eq 'point' && !$_->{ok}) } @records;
	is_deeply \@blame, [], "$what: nobody blames the device";
	return @records;
}

# a scenario that waits for a line which the device never sends
my $wait = <<'LUA';
local rig = require "rig"
return rig.scenario { name = "wait", over = "boards", run = function(t, board)
	board:hold(board.releases[1])
	t:note("waits")
	board.console:expect("never said", 4)
end }
LUA
my $waits = sub { $_[0]{kind} eq 'note' };

{
	my $bench = Bench->new;
	my $r = strike($bench, $waits, 'vboard', 'STOP', $bench->write('wait.lua', $wait));
	is_an_error_of_the_bench($bench, $r, 'a bench that is silent with the device');
	kill CONT => @{ $r->{pids} };
}
{
	my $bench = Bench->new;
	my $r = strike($bench, $waits, 'vboard', 'KILL', $bench->write('wait.lua', $wait));
	is_an_error_of_the_bench($bench, $r, 'a port that goes away');
}
{
	my $bench = Bench->new;
	my $r = strike($bench, sub { $_[0]{kind} eq 'cut' }, 'vboard', 'KILL', $power_loss, '--only', '1.0.0:1.1.0', '--cuts', 500);
	my @records = is_an_error_of_the_bench($bench, $r, 'a port that goes away in the middle of cuts');
	my ($safe) = grep { $_->{kind} eq 'safe' } @records;
	ok $safe->{ok}, 'a board without its process is off, and its keeper lives to say so' or diag explain $safe;
	like $bench->rig('boards')->{out}, qr/demo-1 +\S+ +free/, 'and leaves it free';
}
{
	my $bench = Bench->new;
	my $r = strike($bench, sub { $_[0]{kind} eq 'cut' }, 'openocd', 'KILL', $power_loss, '--only', '1.0.0:1.1.0', '--cuts', 20);
	$bench->finish($r);
	is $r->{exit}, 0, 'an OpenOCD that dies once is started again, and the run passes' or diag $r->{err};
	my @notes = grep { $_->{kind} eq 'note' && ($_->{text} // '') =~ /openocd ended \(signal 9\).*started again/ } $bench->journal(($bench->runs)[-1]);
	is scalar @notes, 1, 'which its journal says once';
}
{
	my $bench = Bench->new;
	my $r = strike($bench, sub { $_[0]{kind} eq 'cut' }, 'openocd', 'KILL', $power_loss, '--only', '1.0.0:1.1.0', '--cuts', 500);
	Bench::wait_for(120, sub {
		kill KILL => $bench->processes('openocd');
		return scalar grep { $_->{kind} eq 'end' } $bench->journal(($bench->runs)[-1]);
	});
	is_an_error_of_the_bench($bench, $r, 'a probe that dies again and again in the middle of cuts');
}

# the board that has nothing left to do is the run's until its end
{
	my $bench = Bench->new(boards => ['demo-1', 'demo-2']);
	my $scenario = $bench->write('idle.lua', <<'LUA');
local rig = require "rig"
return rig.scenario { name = "idle", over = "boards", run = function(t, board)
	if board.name == "demo-2" then
		t:note("waits")
		board.console:try_expect("never said", 3)
	end
end }
LUA
	my $r = $bench->start('run', $scenario, '--board', 'demo-1', '--board', 'demo-2');
	ok Bench::wait_for(20, sub {
		my $id = ($bench->runs)[-1] // return;
		my %kinds = map { ("$_->{kind} " . ($_->{board} // '')) => 1 } $bench->journal($id);
		return $kinds{'item-end demo-1'} && $kinds{'note demo-2'};
	}), 'one board is done, the other is not';
	for my $keeper ($bench->processes('rig-keeper')) {
		kill KILL => $keeper if grep { m{/demo-1/lock$} } map { readlink($_) // '' } glob "/proc/$keeper/fd/*";
	}
	my @records = is_an_error_of_the_bench($bench, $r, 'a board that is not made safe at the end');
	like $records[-1]{text}, qr/demo-1 was not made safe/, 'and the run says which' or diag explain $records[-1];
}

done_testing;
