#!/usr/bin/perl
# --hold-on-fail as a user meets it: the board that failed stays as it is, and can be looked into; nothing else does.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use IO::Socket::INET;
use Test::More;

my $bench = Bench->new(boards => ['demo-broken', 'demo-1'], conf => <<'END');
board "bare" { type = "nrf52840dk",
  power = { driver = "virtual", linger_ms = 2000 }, console = { driver = "virtual" } }
board "slow" { type = "nrf52840dk",
  power = { driver = "virtual", linger_ms = 2000 }, console = { driver = "virtual" },
  probe = { driver = "openocd", adapter = "virtual", program = "./openocd-slow" } }
END

sub state_of { my ($board) = @_; my ($s) = $bench->rig('boards')->{out} =~ /^\Q$board\E +\S+ +(\S.*)/m; return $s // '' }
sub power { my ($board) = @_; my $s = $bench->vboard($board, 'state'); return $s && $s->{power} ? 'on' : 'off' }
# The journal of a run that was started, as far as it is.
sub records { my ($run) = @_; my ($id) = Bench::slurp($run->{out_path}) =~ /^# .*, run (\S+)$/m; return $id ? $bench->journal($id) : () }
sub of { my ($kind, @records) = @_; return grep { $_->{kind} eq $kind } @records }

# What the gdb stub at HOST:PORT answers to a packet (GDB manual, "Remote Serial Protocol").
sub gdb {
	my ($at, $packet) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => $at, Timeout => 30) or return "cannot connect: $@";
	my ($sum, $in) = (0, '');
	$sum += ord for split //, $packet;
	printf $s "+\$%s#%02x", $packet, $sum & 255;
	$s->flush;
	local $SIG{ALRM} = sub { die "no answer from gdb's port\n" };
	alarm 60;
	while ($in !~ /\$([^#]*)#../) { sysread($s, $in, 4096, length $in) or last }
	alarm 0;
	return $in =~ /\$([^#]*)#../ ? $1 : "closed after '$in'";
}

# --- a campaign that finds the planted defect on one of two boards

my $r = $bench->rig('run', "$FindBin::Bin/../scenarios/power_loss.lua", '--board', 'demo-broken', '--board', 'demo-1',
	'--only', '1.0.0:1.1.0', '--only', '1.0.0:1.2.0', '--cuts', 300, '--hold-on-fail');
is $r->{exit}, 1, 'a failure is found' or diag $r->{out}, $r->{err};
my @records = records($r);
my ($held) = of('held', @records);
ok $held, 'and the journal says that a board is held' or BAIL_OUT("nothing is held: $r->{out}$r->{err}");
is $held->{board}, 'demo-broken', 'the one that failed';
my ($fail) = grep { $_->{verdict} eq 'fail' } of('verdict', @records);
is $fail->{again}, 'deterministic', 'after it was run again';
is scalar(grep { $_->{verdict} eq 'fail' } of('verdict', @records)), 1, 'nothing was tried after it';
is $records[-1]{kind}, 'end', 'the journal has its end';
is $records[-1]{reason}, 'hold', 'with the reason';
is $records[-1]{text}, 'held at the first failure on board demo-broken', 'and its text';
is_deeply [map { $_->{board} } of('safe', @records)], ['demo-1'], 'the other board alone was made safe';
is power('demo-1'), 'off', 'and is off';
like state_of('demo-1'), qr/^free/, 'and free';

is power('demo-broken'), 'on', 'the board is on';
like state_of('demo-broken'), qr/^leased +run \S+-power-loss by \S+ since \S+ until \Q$held->{until}\E/,
	'and leased by the run, until then';
is scalar($bench->processes('rig-worker')), 0, 'though the run is over';
like $held->{gdb} // '', qr/^127\.0\.0\.1:\d+$/, 'gdb has a port on the loopback interface';
is_deeply $held->{how}, ['rig console demo-broken', "gdb-multiarch -ex 'target extended-remote $held->{gdb}'",
	'rig unlock demo-broken'], 'the record says how to reach it';
for my $line (@{ $held->{how} }) {
	like $r->{err}, qr/^ +\Q$line\E$/m, "the terminal shows: $line";
	like $r->{out}, qr/^# +\Q$line\E$/m, 'and the TAP';
	like $bench->rig('show', 'last')->{out}, qr/^ +\Q$line\E$/m, 'and rig show';
}

like gdb($held->{gdb}, 'g'), qr/^[0-9a-fx]{136,}$/, 'a debugger reads the registers';
my $vectors = gdb($held->{gdb}, 'm0,8');
like $vectors, qr/^[0-9a-f]{6}20[0-9a-f]{8}$/, 'and memory: a stack in RAM';
is gdb($held->{gdb}, 'm0,8'), $vectors, 'a second one too';

my $console = $bench->start('console', 'demo-broken');
# it follows from some moment on: reset until that has come
ok Bench::wait_for(60, sub {
	my $reset = $bench->rig('reset', 'demo-broken');
	$reset->{exit} == 0 or diag $reset->{err};
	return Bench::slurp($console->{out_path}) =~ /boot: demo bootloader/;
}), 'rig reset works, and rig console shows it';
is $bench->rig('power', 'demo-broken', 'cycle')->{exit}, 0, 'so does a power cycle';
is power('demo-broken'), 'on', 'which leaves it on';
kill INT => $console->{pid};
$bench->finish($console);
is $console->{exit}, 0, 'the console is left';
like state_of('demo-broken'), qr/^leased/, 'none of that ends the lease';
ok Bench::wait_for(60, sub { gdb($held->{gdb}, 'g') =~ /^[0-9a-fx]{136,}$/ }), 'nor closes the port for gdb';

my $busy = $bench->rig('run', "$FindBin::Bin/../scenarios/power_loss.lua", '--board', 'demo-broken');
is $busy->{exit}, 4, 'another run finds the board busy';

sub is_free {
	my ($board, $how) = @_;
	ok Bench::wait_for(30, sub { state_of($board) =~ /^free/ }), "$how: the board is free" or diag state_of($board);
	is power($board), 'off', "$how: and off";
	ok Bench::wait_for(10, sub { !$bench->processes('openocd') && !$bench->processes('rig-keeper') }),
		"$how: no openocd and no keeper is left";
}

is $bench->rig('unlock', 'demo-broken')->{exit}, 0, 'rig unlock ends it';
is_free('demo-broken', 'unlock');
like gdb($held->{gdb}, 'g'), qr/^cannot connect/, 'unlock: nobody answers at the port any more';

# --- an item without trials, and the other ways to end it

my $checks = $bench->write('checks.lua', <<'END');
local rig = require "rig"
return rig.scenario { name = "checks", over = "once", needs = { "power", "console" }, run = function(t, board)
	board:power_on()
	t:ok(false, "a check that fails")
	board:power_off()
end }
END

sub hold {
	my ($board, $option) = @_;
	my $run = $bench->rig('run', $checks, '--board', $board, $option);
	is $run->{exit}, 1, "$option: a failing check of $board" or diag $run->{out}, $run->{err};
	my ($record) = of('held', records($run));
	ok $record, 'has it held';
	return $record;
}

ok hold('demo-1', '--hold-on-fail')->{gdb}, 'with a port for gdb';
is power('demo-1'), 'on', 'and on, though it was off at the end';
is $bench->rig('power', 'demo-1', 'off')->{exit}, 0, 'power off by hand ends it';
is_free('demo-1', 'power off');

my $bare = hold('bare', '--hold-on-fail');
ok exists $bare->{gdb} && !defined $bare->{gdb}, 'a board without a probe has no port for gdb';
is_deeply $bare->{how}, ['rig console bare', 'rig unlock bare'], 'and no line for it';
is $bench->rig('safe-state', 'bare')->{exit}, 0, 'rig safe-state ends it';
is_free('bare', 'safe-state');

hold('bare', '--hold-on-fail=1s');
is_free('bare', 'when its time is up');

# --- the script cannot go on over it

my $deaf = $bench->write('deaf.lua', <<'END');
local rig = require "rig"
return rig.scenario { name = "deaf", over = "once", needs = { "power", "console" }, run = function(t, board)
	board:power_on()
	pcall(t.trial, t, "fails", function() t:ok(false, "a check that fails") end)
	board:power_off()
	t:note("went on")
end }
END
my $run = $bench->rig('run', $deaf, '--board', 'bare', '--hold-on-fail');
is $run->{exit}, 1, 'a script that catches the stop';
is power('bare'), 'on', 'does not get to switch the board off';
is scalar(of('note', records($run))), 0, 'or to anything else';
is $bench->rig('unlock', 'bare')->{exit}, 0, 'unlock';
is_free('bare', 'unlock');

# --- a board that cannot be held

my $dies = $bench->write('dies.lua', <<'END');
local rig = require "rig"
return rig.scenario { name = "dies", over = "once", needs = { "power", "console" }, run = function(t, board)
	board:power_on()
	t:note("began")
	for _ = 1, t.again and 600 or 0 do
		board.console:try_expect("never said", 0.1)
		board.power:get()
	end
	t:ok(false, "a check that fails")
end }
END
$run = $bench->start('run', $dies, '--board', 'bare', '--hold-on-fail');
ok Bench::wait_for(60, sub { 2 == grep { $_->{text} eq 'began' } of('note', records($run)) }),
	'a failure is run again';
kill KILL => $bench->processes('vboard');
$bench->finish($run);
is $run->{exit}, 1, 'the board dies meanwhile: what failed has failed' or diag $run->{out}, $run->{err};
@records = records($run);
is scalar(of('held', @records)), 0, 'but nothing is held';
like $records[-1]{text}, qr/^board bare could not be held: board bare: power \(virtual\): /, 'and the run says why';
like $run->{err}, qr/could not be held/, 'at the terminal too';
is scalar(of('safe', @records)), 1, 'the board was made safe as usual';
ok Bench::wait_for(10, sub { !$bench->processes('rig-keeper') }), 'and no keeper is left';

# --- interrupted on the way: an OpenOCD that shall serve gdb never comes up

$bench->write('openocd-slow', <<"END");
#!/bin/sh
case "\$*" in *"gdb_port 0"*) touch "$bench->{dir}/stuck"; exec sleep 600 ;; esac
exec openocd "\$@"
END
chmod 0755, $bench->path('openocd-slow');
$run = $bench->start('run', $checks, '--board', 'slow', '--hold-on-fail');
ok Bench::wait_for(60, sub { -e $bench->path('stuck') }), 'gdb is about to be served';
is power('slow'), 'on', 'the board is on already';
kill INT => $run->{pid};
$bench->finish($run);
is $run->{exit}, 130, 'interrupted then, the run says so' or diag $run->{out}, $run->{err};
@records = records($run);
is $records[-1]{reason}, 'interrupted', 'and its journal';
is scalar(of('held', @records)), 0, 'nothing is held';
is_free('slow', 'interrupted');

# --- nothing to hold, and nonsense

my $good = $bench->write('good.lua', <<'END');
local rig = require "rig"
return rig.scenario { name = "good", over = "once", needs = { "power" }, run = function(t, board)
	board:power_on()
	t:ok(true, "all is well")
end }
END
is $bench->rig('run', $good, '--board', 'demo-1', '--hold-on-fail')->{exit}, 0, 'a run that passes';
is_free('demo-1', 'passed');
is $bench->rig('run', $good, '--hold-on-fail=soon')->{exit}, 2, 'a time that is none is refused';

done_testing;
