#!/usr/bin/perl
# A run that was cut short is taken up again: the verdicts are those of a run that was not, whatever ended it.
# A run that is to be ended waits at a trial of its own accord, so that nothing here depends on who is faster.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $root = Bench::root();
my $patience = 300; # seconds, on a machine that does much else
my $last_id; # of the run under test

my $bench = Bench->new(boards => ['demo-1', 'demo-2', 'demo-broken']);
mkdir $bench->path($_) for 'scenarios', 'scenarios/lib';
$bench->write('scenarios/lib/real.lua', Bench::slurp("$root/scenarios/power_loss.lua"));
my $scenario = $bench->write('power_loss.lua', <<'LUA');
local real = require "scenarios.lib.real"
local stop = require "scenarios.lib.stop"
local run = real.run

-- as it is shipped, but that it waits in the trial after those that it may run
function real.run(t, board, item)
	local trial, left = t.trial, stop[item.key] or stop.any or math.huge
	function t.trial(self, key, f, ...)
		return trial(self, key, function()
			if not self.again then
				if left == 0 then
					board.console:expect("what nobody says", 86400)
				end
				left = left - 1
			end
			return f()
		end, ...)
	end
	return run(t, board, item)
end
return real
LUA

# How many trials of each item ("any"), or of one, are run before it waits.
sub stop_after { my ($spec) = @_; $bench->write('scenarios/lib/stop.lua', "return { $spec }\n") }

# A document that prove accepts, by prove itself.
sub prove_says {
	my ($bench, $tap) = @_;
	my $file = $bench->write('prove.tap', $tap);
	my $said = `prove --norc -e cat $file 2>&1`;
	return ($? >> 8, $said);
}

# What each item ended with, and its trials in the order of the TAP document: of the last start of each.
sub verdicts {
	my ($bench, $id) = @_;
	my (%items, %on);
	for my $r ($bench->journal($id)) {
		my $board = $r->{board} // '';
		if ($r->{kind} eq 'item-start') {
			my $item = $items{ $r->{item} } ||= { board => $board, trials => [] };
			$item->{trials} = [] unless $r->{resumed};
			delete $item->{verdict};
			$on{$board} = $item;
		} elsif ($r->{kind} eq 'verdict' && $r->{verdict} ne 'error') {
			push @{ $on{$board}{trials} }, join ' ', $r->{trial}, $r->{verdict}, $r->{cut} // '', $r->{again} // '',
				map { $_->{name} } @{ $r->{findings} || [] };
		} elsif ($r->{kind} eq 'item-end') {
			$items{ $r->{item} }{verdict} = $r->{verdict};
		}
	}
	return \%items;
}

# What the cuts of each item covered, and the windows that were found: of its last start.
sub covered {
	my ($bench, $id) = @_;
	my (%items, %on);
	for my $r ($bench->journal($id)) {
		my ($kind, $board) = ($r->{kind}, $r->{board} // '');
		$on{$board} = $r->{item} if $kind eq 'item-start';
		$items{ $on{$board} } = {} if $kind eq 'item-start' && !$r->{resumed};
		next if $kind !~ /^(?:coverage|window)$/;
		delete @$r{qw(seq t_mono_ns t_wall board trial kind)};
		$items{ $on{$board} }{$kind eq 'window' ? "window $r->{first}-$r->{last} $r->{tear}" : $kind} = $r;
	}
	return \%items;
}

# Boards interleave: without the order.
sub points { my ($tap) = @_; return [sort map { s/ok \d+/ok/r } $tap =~ /^( *(?:not )?ok \d+ - .*)$/mg] }

sub end_of { my ($bench, $id) = @_; return [grep { $_->{kind} eq 'end' } $bench->journal($id)]->[-1] }

# Starts a run that waits where it is told to, or takes one up again, and returns when its journal holds what is asked for.
sub start_until {
	my ($bench, $args, $stop, $enough) = @_;
	stop_after($stop);
	my $before = $last_id && "@$args" =~ /--resume/ ? scalar $bench->journal($last_id) : 0;
	my %before = map { $_ => 1 } $bench->runs;
	my $r = $bench->start(@$args);
	ok Bench::wait_for($patience, sub {
		my $id = $before ? $last_id : [grep { !$before{$_} } $bench->runs]->[0];
		return if !$id;
		$last_id = $id;
		my @records = $bench->journal($id);
		return $enough->(@records[$before .. $#records]);
	}), 'it comes so far' or diag Bench::slurp($r->{err_path});
	return $r;
}

# It waits in so many trials, after those that were asked for.
sub waits { my ($n) = @_; return sub { $n == (grep { $_->{kind} eq 'trial-start' } @_) - grep { $_->{kind} eq 'verdict' } @_ } }
sub with_verdict { my ($n) = @_; return sub { $n <= grep { $_->{kind} eq 'verdict' } @_ } }

sub kill_worker { my ($bench) = @_; kill KILL => $bench->processes('rig-worker') }

# The run goes on to its end, and is the one that was not cut short.
sub resume {
	my ($bench, $whole, $name) = @_;
	stop_after('');
	my $r = $bench->rig('run', '--resume', 'last');
	is $r->{exit}, $whole->{exit}, "$name: the exit status is that of a run that was not cut short"
		or diag $r->{err};
	is_deeply verdicts($bench, $last_id), $whole->{verdicts}, "$name: so are the verdicts, in their order";
	is_deeply covered($bench, $last_id), $whole->{covered}, "$name: so are coverage and windows";
	is_deeply points($r->{out}), points($whole->{out}), "$name: so are the points of the TAP";
	my ($exit, $said) = prove_says($bench, $r->{out});
	is $exit, $whole->{prove}, "$name: prove takes the whole document" or diag $said;
	unlike $said, qr/Parse errors/, "$name: without an error";
	is $bench->rig('report', $last_id)->{out}, $r->{out}, "$name: the report is the same, byte for byte";
	is Bench::slurp($bench->path("runs/$last_id/run.tap")), $r->{out}, "$name: so is run.tap";
	is_deeply end_of($bench, $last_id)->{totals}, $whole->{totals}, "$name: nothing is counted twice, or not at all";
	return $r;
}

sub uninterrupted {
	my ($bench, @args) = @_;
	stop_after('');
	my $whole = $bench->rig(@args);
	my $id = ($bench->runs)[-1];
	$whole->{verdicts} = verdicts($bench, $id);
	$whole->{covered} = covered($bench, $id);
	$whole->{totals} = end_of($bench, $id)->{totals};
	($whole->{prove}) = prove_says($bench, $whole->{out});
	return $whole;
}

# --- one board ------------------------------------------------------------------------------------

my @run = ('run', $scenario, '--only', '1.0.0:1.1.0', '--cuts', 8);
my $whole = uninterrupted($bench, @run);
is $whole->{exit}, 0, 'a run that is not cut short passes' or diag $whole->{err};
my @order = @{ $whole->{verdicts}{'1.0.0:1.1.0'}{trials} };
cmp_ok scalar @order, '>=', 9, 'with its trials';

my $r = $bench->rig('run', '--resume', 'last');
is $r->{exit}, 2, 'a run that went to its end is not taken up again';
like $r->{err}, qr/^rig: run \S+ cannot be taken up again: it has ended \(finished\): nothing is left to do$/,
	'and the message says why';

for my $how (['any = 1', sub { @_ }, 'after its first record'], ['any = 1', with_verdict(1), 'after one verdict'],
	['any = 3', sub { @_ && $_[-1]{kind} eq 'trial-start' && with_verdict(3)->(@_) }, 'in a trial']) {
	my ($stop, $enough, $name) = @$how;
	$r = start_until($bench, \@run, $stop, $enough);
	kill_worker($bench);
	$bench->finish($r);
	is $r->{exit}, 3, "killed $name: the bench failed" or diag $r->{err};
	like $r->{err}, qr/`rig run --resume $last_id` goes on with it/, 'and what to do is said';
	# a journal of one record has no plan, and there is nothing to go on with
	if (!grep { $_->{kind} eq 'plan' } $bench->journal($last_id)) {
		$r = $bench->rig('run', '--resume', $last_id);
		is $r->{exit}, 2, "killed $name: refused";
		like $r->{err}, qr/nothing was run yet/, 'and why is said';
		next;
	}
	resume($bench, $whole, "killed $name");
}

# twice, the second time while the keeper of the killed run makes its board safe
$r = start_until($bench, \@run, 'any = 2', with_verdict(2));
kill_worker($bench);
$bench->finish($r);
$r = start_until($bench, ['run', '--resume', 'last'], 'any = 2', with_verdict(2));
like Bench::slurp($r->{out_path}), qr/^# taken up again after record \d+$/m, 'the TAP begins with the journal';
kill_worker($bench);
$bench->finish($r);
is $r->{exit}, 3, 'taken up again, and killed again' or diag $r->{err};
$r = resume($bench, $whole, 'killed twice');
is scalar(() = $r->{out} =~ /^# taken up again/mg), 2, 'killed twice: and the TAP says so';
is scalar(grep { $_->{kind} eq 'trial-start' } $bench->journal($last_id)) <= @order + 2, 1,
	'killed twice: what had a verdict was not run again';

# the keeper of the killed run has not let the board go yet
$r = start_until($bench, \@run, 'any = 2', with_verdict(2));
my ($keeper) = $bench->processes('rig-keeper');
kill STOP => $keeper;
kill_worker($bench);
$bench->finish($r);
stop_after('');
$r = $bench->start('run', '--resume', 'last');
# what an attempt leaves behind, when the board is busy: without the folder of the killed run's working files
ok Bench::wait_for($patience, sub { !-d $bench->path("runs/$last_id/work") }), 'a board that its old keeper still holds';
kill CONT => $keeper;
$bench->finish($r);
is $r->{exit}, 0, 'is waited for' or diag $r->{err};
is_deeply verdicts($bench, $last_id), $whole->{verdicts}, 'and the run goes on';

# somebody else has it
$r = start_until($bench, \@run, 'any = 2', with_verdict(2));
kill_worker($bench);
$bench->finish($r);
ok Bench::wait_for($patience, sub { $bench->rig('lock', 'demo-1')->{exit} == 0 }), 'a board that was leased by hand since';
stop_after('');
$r = $bench->rig('run', '--resume', 'last');
is $r->{exit}, 4, 'is busy';
like $r->{err}, qr/^rig: board demo-1 is leased by .*; --wait 10m waits for it$/m, 'and the message says by whom';
is $bench->rig('unlock', 'demo-1')->{exit}, 0, 'it is let go';
resume($bench, $whole, 'was busy');

# Ctrl-C
$r = start_until($bench, \@run, 'any = 3', with_verdict(3));
kill INT => $r->{pid};
$bench->finish($r);
is $r->{exit}, 130, 'interrupted' or diag $r->{err};
like $r->{out}, qr/^Bail out!/m, 'whose TAP says so';
$r = resume($bench, $whole, 'interrupted');
unlike $r->{out}, qr/^Bail out!/m, 'interrupted: which is void afterwards';
like $bench->rig('show', 'last')->{out}, qr/^verdict   pass$/m, 'interrupted: rig show says pass';
unlike $bench->rig('show', 'last')->{out}, qr/ error /, 'interrupted: and knows of no error';

# the command line
$r = start_until($bench, \@run, 'any = 3', with_verdict(3));
kill KILL => $r->{pid};
$bench->finish($r);
ok Bench::wait_for($patience, sub { !$bench->processes('rig-worker') }), 'the command line is killed, the worker ends';
resume($bench, $whole, 'command line killed');

# while it runs
$r = start_until($bench, \@run, 'any = 1', with_verdict(1));
my $second = $bench->rig('run', '--resume', 'last');
is $second->{exit}, 2, 'a run that runs is not taken up again';
like $second->{err}, qr/it is still running; `rig cancel $last_id` stops it/, 'and the message says so';
is $bench->rig('cancel', 'last')->{exit}, 0, 'it is cancelled';
$bench->finish($r);

# --- two boards, two transitions ------------------------------------------------------------------

@run = ('run', $scenario, '--only', '1.0.0:1.1.0', '--only', '1.1.0:2.0.0', '--cuts', 6, '--board', 'demo-1',
	'--board', 'demo-2');
$whole = uninterrupted($bench, @run);
is $whole->{exit}, 0, 'two boards, two transitions' or diag $whole->{err};
is scalar(keys %{ $whole->{verdicts} }), 2, 'each is an item';
$r = start_until($bench, \@run, 'any = 3', waits(2));
kill_worker($bench);
$bench->finish($r);
resume($bench, $whole, 'two boards');

# killed when one item has ended, which is not begun again
@run = ('run', $scenario, '--only', '1.0.0:1.1.0', '--only', '1.1.0:2.0.0', '--cuts', 4);
$whole = uninterrupted($bench, @run);
my $second_item = [$bench->journal(($bench->runs)[-1])]->[1]{items}[1]{item};
$r = start_until($bench, \@run, "['$second_item'] = 2", with_verdict(7));
kill_worker($bench);
$bench->finish($r);
resume($bench, $whole, 'one item had ended');
my %starts;
$starts{ $_->{item} }++ for grep { $_->{kind} eq 'item-start' } $bench->journal($last_id);
is_deeply [sort values %starts], [1, 2], 'one item had ended: it is not begun again';

# --- failures -------------------------------------------------------------------------------------

# the seed is one that comes to the planted defect soon
@run = ('run', $scenario, '--only', '1.1.0:1.2.0', '--board', 'demo-broken');
stop_after('');
is $bench->rig(@run, '--cuts', 300, '--fail-fast', '--seed', 2)->{exit}, 1, 'a planted defect is found';
my ($bad) = grep { $_->{kind} eq 'verdict' && $_->{verdict} eq 'fail' } $bench->journal(($bench->runs)[-1]);
push @run, map { ('--cut', $_) } 1, $bad->{cut}, 100, 'end';
$whole = uninterrupted($bench, @run);
is $whole->{exit}, 1, 'and a run that makes its cut fails' or diag $whole->{out};
for my $n (2, 3) {
	$r = start_until($bench, \@run, "any = $n", with_verdict($n));
	kill_worker($bench);
	$bench->finish($r);
	resume($bench, $whole, 'killed ' . ($n == 2 ? 'before' : 'after') . ' the trial that fails');
}

# --- refused --------------------------------------------------------------------------------------

@run = ('run', $scenario, '--only', '1.0.0:2.0.0', '--cuts', 6, '--board', 'demo-1');
$whole = uninterrupted($bench, @run);
$r = start_until($bench, \@run, 'any = 2', with_verdict(2));
kill_worker($bench);
$bench->finish($r);
my @journal = $bench->journal($last_id);

for my $option ([qw(--cuts 6)], [qw(--seed 1)], [qw(--only 1.0.0:1.1.0)], [qw(--board demo-1)], [qw(--cut 1)]) {
	$r = $bench->rig('run', '--resume', 'last', @$option);
	is $r->{exit}, 2, "$option->[0] with --resume is a usage error";
	like $r->{err}, qr/^rig run: $option->[0] with --resume: /, 'and the message names it';
}
is $bench->rig('plan', '--resume', 'last')->{exit}, 2, '--resume is not for rig plan';
$r = $bench->rig('run', '--resume', 'no-such');
is $r->{exit}, 2, 'there must be such a run';

sub refused {
	my ($why, $pattern, @args) = @_;
	my $got = $bench->rig(@args, 'run', '--resume', $last_id);
	is $got->{exit}, 2, "refused: $why" or diag $got->{err};
	like $got->{err}, qr/^rig: run $last_id cannot be taken up again: $pattern[^\n]*\n\z/, 'in one line that says why';
}

my $lua = Bench::slurp($scenario);
$bench->write('power_loss.lua', "-- changed\n$lua");
refused('the scenario is another', 'scenario \S+ is not what the run was begun with');
$r = $bench->rig('run', '--resume', $last_id, "$root/scenarios/upgrade_matrix.lua");
is $r->{exit}, 2, 'so is one that is given, and is another';
$bench->write('power_loss.lua', $lua);

my $conf = Bench::slurp($bench->path('rig.conf'));
$bench->write('other.conf', $conf =~ s/linger_ms = 2000/linger_ms = 1999/r);
refused('a device is another', 'board demo-1: its devices in rig.conf are others now', '--config',
	$bench->path('other.conf'));
$bench->write('other.conf', $conf =~ s/(board "demo-1" \{)/$1 boot = { ready_within = 11 },/r);
refused('what rig.conf says of the boot is another', 'board demo-1: its "boot" is another one now, in rig.conf or its type nrf52840dk',
	'--config', $bench->path('other.conf'));
$bench->write('other.conf', $conf =~ s/(board "demo-1" \{)/$1 images = { bootloader = "$root\/build\/firmware\/broken\/bootloader.hex" },/r);
refused('an image is another', 'board demo-1: its images are others now', '--config', $bench->path('other.conf'));
my $manifest = Bench::slurp("$root/fixtures/firmware/releases.lua") =~ s{\.\./\.\./build}{$root/build}gr;
$bench->write('other.conf', $conf =~ s{releases = "[^"]*"}{releases = "releases.lua"}r);
$bench->write('releases.lua', $manifest =~ s{firmware/bootloader\.hex}{firmware/broken/bootloader.hex}r);
refused('a release is another', 'the images of release 1\.0\.0 are others now', '--config', $bench->path('other.conf'));
$bench->write('releases.lua', $manifest =~ s/("2\.0\.0", "[\d-]+"), 2/$1, 1/r);
refused('the plan is another', 'the plan is another one now', '--config', $bench->path('other.conf'));
my $type = Bench::slurp("$root/boards/nrf52840dk.lua");
mkdir $bench->path('boards');
$bench->write('boards/nrf52840dk.lua', "$type-- changed\n");
refused('the board type is another', 'board demo-1: its type nrf52840dk is another one now');
$bench->write('boards/nrf52840dk.lua', $type); # the same, elsewhere
is scalar @{ [$bench->journal($last_id)] }, scalar @journal, 'a run that is refused stays as it was';

my $path = $bench->path("runs/$last_id/journal.ndjson");
my $text = Bench::slurp($path);
$bench->write("runs/$last_id/journal.ndjson", $text =~ s/\n\{"seq":5,/\n{"seq":6,/r);
$r = $bench->rig('run', '--resume', $last_id);
is $r->{exit}, 3, 'a damaged journal is refused';
like $r->{err}, qr/^rig: run $last_id cannot be taken up again: \S+journal\.ndjson:5: a gap/, 'and the line is named';

# one that stops in the middle of a line is not damaged
$bench->write("runs/$last_id/journal.ndjson", substr($text, 0, -7));
resume($bench, $whole, 'half a line');

# --- the budget -----------------------------------------------------------------------------------

# it is spent by what was before; how long that took, the journal's clock says
@run = ('run', $scenario, '--only', '1.0.0:1.1.0', '--cuts', 4, '--board', 'demo-1', '--budget', '1h');
for my $case ([3600, 5, 'budget'], [60, 0, 'finished']) {
	my ($seconds, $exit, $reason) = @$case;
	$r = start_until($bench, \@run, 'any = 2', with_verdict(2));
	kill_worker($bench);
	$bench->finish($r);
	my $file = "runs/$last_id/journal.ndjson";
	my $killed = Bench::slurp($bench->path($file));
	my $trials = grep { $_->{kind} eq 'trial-start' } $bench->journal($last_id);
	$killed =~ s/"t_mono_ns":(\d+)(?=[^\n]*\n\z)/'"t_mono_ns":' . ($1 + $seconds * 1e9)/e or die 'no last record';
	$bench->write($file, $killed);
	stop_after('');
	$r = $bench->rig('run', '--resume', 'last');
	is $r->{exit}, $exit, "after $seconds s of an hour: the exit status" or diag $r->{err};
	is end_of($bench, $last_id)->{reason}, $reason, "after $seconds s of an hour: it ends as $reason";
	my ($bad, $said) = prove_says($bench, $r->{out});
	unlike $said, qr/Parse errors/, "after $seconds s of an hour: prove takes the document";
	my $made = grep { $_->{kind} eq 'trial-start' } $bench->journal($last_id);
	is $made > $trials, $reason eq 'finished', "after $seconds s of an hour: trials are run when there is time";
}

done_testing;
