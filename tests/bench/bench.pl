#!/usr/bin/perl
# What the rig itself costs: the C benches, then whole runs on virtual boards. Every figure is measured here
# and now; docs/benchmarks.md says how. Nothing is asserted: targets stand beside results.
use strict;
use warnings;
use lib 'tests/lib';
use Bench;
use File::Path qw(remove_tree);
use List::Util qw(sum0);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC sleep);

my $root = Bench::root();
my @ours = qw(rig rig-worker rig-keeper);
my @all  = (@ours, 'openocd', 'vboard');
$| = 1;

sub row { my ($name, $text, $target) = @_; printf "  %-34s %s%s\n", $name, $text, $target ? "   target: $target" : '' }
sub slurp { return Bench::slurp($_[0]) // '' }

# --- whose CPU ------------------------------------------------------------------------------------

# Of a process so far, all threads: seconds on a core, and seconds ready to run with no core free.
sub times_of {
	my ($pid) = @_;
	my @threads = map { [split ' ', slurp($_)] } glob "/proc/$pid/task/*/schedstat";
	return map { my $i = $_; sum0(map { $_->[$i] // 0 } @threads) / 1e9 } 0, 1;
}

# Runs rig and watches it and every process that came of it, twenty times a second; returns the run with
# samples => [[time, { program => CPU seconds so far, queue => seconds without a core }], …].
sub watched_run {
	my ($bench, @args) = @_;
	my $run = $bench->start(@args);
	my %member = ($run->{pid} => 'rig');
	my (%strange, %cpu, %queue, $ended);
	until ($ended) {
		$ended = waitpid($run->{pid}, POSIX::WNOHANG()) > 0;
		$run->{exit} = $? >> 8 if $ended;
		opendir my $proc, '/proc' or die "/proc: $!";
		for my $pid (sort { $a <=> $b } grep { /^\d+$/ && !$strange{$_} } readdir $proc) {
			my ($name, $parent) = slurp("/proc/$pid/stat") =~ /^\d+ \((.*)\) \S (\d+)/ or next;
			if ($member{$pid} || $member{$parent}) {
				$member{$pid} = $name; # each time: a child has its parent's name at first
				my ($on, $off) = times_of($pid);
				($cpu{$pid}, $queue{$pid}) = ($on, $off) if $on;
			} else {
				$strange{$pid} = 1;
			}
		}
		my %sum;
		$sum{ $member{$_} } += $cpu{$_} for keys %cpu;
		$sum{queue} = sum0(values %queue);
		push @{ $run->{samples} }, [clock_gettime(CLOCK_MONOTONIC), \%sum];
		sleep 0.05;
	}
	($run->{out}, $run->{err}) = map { slurp($run->{$_}) } qw(out_path err_path);
	return $run;
}

# CPU seconds of a program between two times.
sub cpu_between {
	my ($run, $program, $from, $to) = @_;
	my @at = map {
		my $t = $_;
		my ($before) = reverse grep { $_->[0] <= $t } @{ $run->{samples} };
		my ($after) = grep { $_->[0] > $t } @{ $run->{samples} };
		$before //= $after;
		$after //= $before;
		my ($x, $y) = map { $_->[1]{$program} // 0 } $before, $after;
		my $span = $after->[0] - $before->[0];
		$span ? $x + ($y - $x) * ($t - $before->[0]) / $span : $x;
	} $from, $to;
	return $at[1] - $at[0];
}

# Runs a scenario; what became of it, with CPU and time from the first item's start to the last one's end.
sub scenario {
	my ($name, $boards, @args) = @_;
	my $bench = Bench->new(boards => $boards);
	my $run = watched_run($bench, 'run', "$root/scenarios/$name.lua", (map { ('--board', $_) } @$boards), @args, '--quiet');
	die "$name.lua failed: $run->{err}$run->{out}" if $run->{exit};
	my @records = $bench->journal(($bench->runs)[-1]);
	my @items = grep { $_->{kind} =~ /^item-/ } @records;
	my ($from, $to) = map { $_->{t_mono_ns} / 1e9 } @items[0, -1];
	return {
		records => \@records, boards => scalar @$boards, seconds => $to - $from,
		cpu => { map { $_ => cpu_between($run, $_, $from, $to) } @all, 'queue' },
	};
}

# Per cent of the time that the boards were at work: CPU of rig, worker and keepers.
sub share {
	my ($run) = @_;
	return 100 * sum0(map { $run->{cpu}{$_} } @ours) / ($run->{seconds} * $run->{boards});
}

# --- empty trials ---------------------------------------------------------------------------------

my $empty_trials = 2000;

sub empty_trials {
	my ($where) = @_;
	my $bench = Bench->new(boards => ['demo-1'], conf => '');
	my $conf = slurp($bench->path('rig.conf'));
	my $state = $where ? File::Temp->newdir('rig-bench-XXXXXX', DIR => $where) : undef;
	$conf =~ s/state_dir = "runs"/state_dir = "$state"/ if $state;
	$bench->write('rig.conf', $conf);
	my $scenario = $bench->write('empty.lua', <<"LUA");
local rig = require "rig"
return rig.scenario {
	name = "empty", over = "once", needs = { "power" },
	run = function(t)
		for i = 1, $empty_trials do
			t:trial("n" .. i, function() end)
		end
	end,
}
LUA
	my $run = $bench->rig('run', $scenario, '--board', 'demo-1', '--quiet');
	die "the empty scenario failed: $run->{err}" if $run->{exit};
	my ($dir) = glob(($state // $bench->path('runs')) . '/*/journal.ndjson');
	my @t = map { /"t_mono_ns":(\d+)/ ? $1 : () } grep { /"kind":"(?:trial-start|verdict)"/ } split /\n/, slurp($dir);
	my $us = ($t[-1] - $t[0]) / 1e3 / $empty_trials;
	if ($state) { # the board's process holds files there: let it end first
		undef $bench;
		remove_tree("$state", { error => \my $ignored });
	}
	return $us;
}

for my $part (qw(cut drivers probe start consoles)) {
	system("$ENV{RIG_BUILD}/bench", $part) == 0 or exit 3;
	print "\n";
}

print "An empty trial, us                         mean of $empty_trials\n";
my $disk = empty_trials();
my $memory = -d '/dev/shm' && -w _ ? empty_trials('/dev/shm') : undef;
row('state_dir in memory (no disk)', sprintf('%8.1f', $memory), '50 us') if defined $memory;
row('state_dir on disk', sprintf('%8.1f   fdatasync: %.0f %%', $disk, 100 * ($disk - ($memory // 0)) / $disk));

# --- power loss -----------------------------------------------------------------------------------

my @parts = (
	[ prepare => 'prepare: state back, boot' ],
	[ update  => 'update until the cut' ],
	[ cut     => 'cut: off, read back, landed' ],
	[ recover => 'recover: two boots, user data' ],
	[ judge   => 'judge: image, writes, verdict' ],
	[ retry   => 'retry: the update again, judged' ],
	[ verdict => 'verdict on disk, next trial' ],
);

# What each kind of record ends, in a trial with a cut.
my %ends = (cut => 'cut', boot => 'recover');

# Trials with a cut, and their mean milliseconds by part, as the journal's times tell them.
sub parts_of {
	my ($records) = @_;
	my (%sum, %trial, $n);
	for my $r (grep { $_->{board} } @$records) {
		my ($trial, $kind) = ($trial{ $r->{board} } //= {}, $r->{kind});
		my $now = $trial->{part} // '';
		my $part = $ends{$kind};
		$part = 'prepare' if $kind eq 'update' && $now eq '';
		$part = 'judge' if $kind eq 'update' && $now eq 'recover';
		$part = 'update' if $kind eq 'probe' && $now eq 'prepare';
		$part = $now eq 'judge' ? 'retry' : 'judge' if $kind eq 'verdict';
		$part = 'verdict' if $kind =~ /^(?:trial-start|item-end|coverage)$/ && $now =~ /^(?:retry|judge)$/;
		if ($part && $trial->{t}) {
			$sum{$part} += ($r->{t_mono_ns} - $trial->{t}) / 1e6;
			@$trial{qw(t part)} = ($r->{t_mono_ns}, $part);
		}
		$n++ if $part && $part eq 'verdict' && $trial->{t};
		%$trial = $r->{trial} =~ /^cut=/ ? (t => $r->{t_mono_ns}, part => '') : () if $kind eq 'trial-start';
		%$trial = () if $kind =~ /^(?:item-end|coverage)$/;
	}
	return ($n, map { ($sum{ $_->[0] } // 0) / ($n || 1) } @parts);
}

print "\nUpdates on a virtual board\n";
my $matrix = scenario('upgrade_matrix', ['demo-1']);
my $items = grep { $_->{kind} eq 'item-end' } @{ $matrix->{records} };
row('upgrade_matrix, transitions', sprintf('%8d', $items));
row('seconds per transition', sprintf('%8.2f', $matrix->{seconds} / $items));
row('the rig\'s share of the time, %', sprintf('%8.1f', share($matrix)), 'under 5 %');

print "\nPower loss on virtual boards               one board  two boards\n";
my @runs = (
	scenario('power_loss', ['demo-1'], '--only', '1.0.0:2.0.0', '--cuts', 40),
	scenario('power_loss', [ 'demo-1', 'demo-2' ], '--only', '1.0.0:2.0.0', '--only', '1.1.0:2.0.0', '--cuts', 40),
);
@$_{qw(n ms)} = do { my ($n, @ms) = parts_of($_->{records}); ($n, \@ms) } for @runs;

sub both {
	my ($name, $format, $of, $target) = @_;
	row($name, join('', map { sprintf '%12s', sprintf $format, $of->($_) } @runs), $target);
}

both('trials with a cut', '%d', sub { $_[0]{n} });
both('trials per second, all in all', '%.2f', sub { $_[0]{n} / $_[0]{seconds} });
for my $i (0 .. $#parts) {
	both("ms: $parts[$i][1]", '%.1f', sub { $_[0]{ms}[$i] });
}
for my $program (reverse @all) {
	both("CPU of $program, % of a core", '%.1f', sub { 100 * $_[0]{cpu}{$program} / $_[0]{seconds} });
}
both('ready, but no core free, %', '%.1f', sub { 100 * $_[0]{cpu}{queue} / $_[0]{seconds} });
both('the rig\'s share of the time, %', '%.1f', \&share, 'under 5 %');
