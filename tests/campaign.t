#!/usr/bin/perl
# The campaign as a user runs it: the window round a failure is found, a budget ends it, one seed gives one journal, and
# boards that cannot tell their flash operations are cut at what their triggers count, or at their lines of progress.
use strict;
use warnings;
use FindBin;
use JSON::PP;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $conf = <<'E2';
local function counted(trigger)
  return { type = "nrf52840dk", power = { driver = "virtual", linger_ms = 2000 }, console = { driver = "virtual" },
    probe = { driver = "openocd", adapter = "virtual" }, trigger = trigger }
end
board "plain" (counted(nil))
board "pattern" (counted { driver = "console-pattern", pattern = "^(boot: |app |\\x06)" })
board "timer" (counted { driver = "timer", step_ms = 2 })
board "stop" (counted { driver = "probe-breakpoint", register = "r0", address = NVMC_ERASE_PAGE })
E2
my ($erase_page) = qx{arm-none-eabi-nm '@{[ Bench::root() ]}/build/firmware/good/bootloader.elf'} =~ /^([0-9a-f]+) T nvmc_erase_page$/m
	or die 'where nvmc_erase_page is';
my $bench = Bench->new(boards => ['demo-1', 'demo-broken'], conf => $conf =~ s/NVMC_ERASE_PAGE/hex $erase_page/er);
my $scenario = "$FindBin::Bin/../scenarios/power_loss.lua";
my @pair = ('--only', '1.1.0:1.2.0');

sub last_run { return ($bench->runs)[-1] }
sub records { my ($kind, @r) = @_; return grep { $_->{kind} eq $kind } @r ? @r : $bench->journal(last_run()) }
sub journal_path { return $bench->path("runs/$_[0]/journal.ndjson") }
sub recomputed { my $said = `$^X $FindBin::Bin/coverage.pl @{[ journal_path(last_run()) ]} 2>&1`; return $? == 0 ? '' : $said }
sub of_class { my ($kind, $trials) = @_; return grep { $_->{why} eq $kind } @$trials }

# Cuts whose count when the power was gone is missing, or less than where they fired, or whose error is not the difference.
sub counted_wrong {
	return grep {
		$_->{op} eq 'end'
			? defined $_->{counted}
			: !defined $_->{counted} || $_->{counted} < $_->{op} || $_->{error} != $_->{counted} - $_->{op}
	} @_;
}

# --- a failure and its window --------------------------------------------------------------------

# With this seed the first cut of the campaign lies in the window of the planted defect (docs/demo-dut.md).
my @hunt = ('run', $scenario, '--board', 'demo-broken', @pair, '--seed', 2);
my $hunt = $bench->rig(@hunt, '--cuts', 1);
my $hunted = last_run();
is $hunt->{exit}, 1, 'a campaign that hits the planted defect fails' or diag $hunt->{out}, $hunt->{err};
my @records = $bench->journal($hunted);
my @windows = records('window', @records);
is scalar(@windows), 1, 'round the failure it finds one window' or diag $hunt->{out};
my $window = $windows[0] || {};
is "$window->{first}-$window->{last}", '11235-11268', 'from the erase to the record that comes late';
ok $window->{whole}, 'both ends are known';
is $window->{tear}, 'torn', 'the erase fails only when it is torn, so the window does';
is $window->{findings}[0], 'bricked', 'with what was found';
my @starts = records('trial-start', @records);
is scalar(grep { !$_->{why} } @starts), 0, 'every trial says what it was chosen for';
is_deeply [scalar of_class('uncut', \@starts), scalar of_class('window', \@starts), scalar @starts],
	[1, $window->{trials}, $window->{trials} + 2], 'beside the uncut one and the one asked for, all were for the window';
my %verdict = map { $_->{cut} => $_->{verdict} } grep { defined $_->{cut} } records('verdict', @records);
my ($torn_first) = grep { /^11235:torn/ } keys %verdict;
is $verdict{ $torn_first // 'none' }, 'fail', 'the first of the window failed when torn';
is $verdict{11235}, 'pass', 'and passed when cut clean';
is_deeply [map { $verdict{$_} } map { my $n = $_; grep { /^$n:torn/ } keys %verdict } 11234, 11269], [qw(pass pass)],
	'those on either side of it passed';
my @wrong = grep { my ($n) = /^(\d+)/; $verdict{$_} ne ($n < 11_235 || $n > 11_268 || $_ eq '11235' ? 'pass' : 'fail') } keys %verdict;
is_deeply \@wrong, [], 'all in it failed, and none outside of it';
my $line = qr/operations 11235-11268 torn: bricked/;
like $hunt->{out}, qr/^ +# $line/m, 'the TAP shows the window';
like $hunt->{err}, qr/^window +1\.1\.0:1\.2\.0: $line/m, 'the progress, too';
like $bench->rig('show', $hunted)->{out}, qr/^ +1\.1\.0:1\.2\.0 on demo-broken: $line/m, 'and so does rig show';
my ($coverage) = records('coverage', @records);
is $coverage->{failed}, scalar(grep { $_ eq 'fail' } values %verdict), 'the coverage says how many failed';
unlike $coverage->{sentence}, qr/no failing window/, 'and does not say that there is no window';
is recomputed(), '', 'coverage worked out again from the journal agrees';

my $again = $bench->rig(@hunt, '--cuts', 1);
is $again->{exit}, 1, 'the same campaign again fails';
my $same = `$^X $FindBin::Bin/journal_same.pl @{[ map { journal_path($_) } $hunted, last_run() ]} 2>&1`;
is $?, 0, 'with the same journal' or diag $same;

my $fast = $bench->rig(@hunt, '--cuts', 4, '--fail-fast');
is $fast->{exit}, 1, 'with --fail-fast it fails, too';
my @fast = $bench->journal(last_run());
is_deeply [map { $_->{verdict} } records('verdict', @fast)], [qw(pass fail)], 'and stops after the first failure';
is_deeply [records('window', @fast)], [], 'without a search for the window';
is +(records('end', @fast))[0]{reason}, 'fail-fast', 'as its end says';
is +(records('coverage', @fast))[0]{failed}, 1, 'what was covered is said all the same';
is recomputed(), '', 'and is what the journal says';

# --- how much ------------------------------------------------------------------------------------

my $none = $bench->rig('run', $scenario, '--board', 'demo-1', @pair, '--cuts', 0);
is $none->{exit}, 0, 'without any cuts the uncut update passes' or diag $none->{out}, $none->{err};
my @none = $bench->journal(last_run());
is_deeply [map { "$_->{trial} $_->{verdict}" } records('verdict', @none)], ['uncut pass'], 'which is the only trial';
is +(records('coverage', @none))[0]{cuts}, 0, 'nothing is covered';
like $none->{out}, qr/^ +# nothing was cut$/m, 'as the sentence for people says';

my $plan = decode_json($bench->rig('plan', $scenario, '--json', '--board', 'demo-1', @pair, '--cuts', 'all')->{out});
my $all = $plan->{plan}{items}[0]{campaign};
my ($n, $covered) = ($all->{operations}, $all->{coverage});
is $n, +(records('trace', @none))[0]{operations}, 'a plan for all cuts is of the operations that were traced';
is $covered->{cuts}, 2 * $n + 1, 'it has a clean and a torn cut of each, and the end';
is_deeply [@$covered{qw(gap end)}, $covered->{tears}], [0, JSON::PP::true, { clean => $n + 1, torn => $n }], 'and leaves nothing out';
like $covered->{sentence}, qr/all points, before and torn at each operation and after the last/, 'as it says';

my $short = $bench->rig('run', $scenario, '--board', 'demo-1', '--budget', '3s');
is $short->{exit}, 5, 'a budget that is too short for all transitions leaves it inconclusive' or diag $short->{out};
my @short = $bench->journal(last_run());
my ($end) = records('end', @short);
is "$end->{verdict} $end->{reason}", 'inconclusive budget', 'because of the budget';
my @ran = map { $_->{item} } records('item-end', @short);
is scalar(records('coverage', @short)), scalar(@ran), 'each item that ran says what was covered';
is_deeply [grep { $_->{verdict} ne 'pass' } records('item-end', @short)], [], 'and passed';
my $left = $end->{totals}{items} - @ran;
my @skipped = $short->{out} =~ /^ok \d+ - \S+ # SKIP not run: the time budget is used up/mg;
is scalar(@skipped), $left, 'those that did not are shown as skipped';
like $end->{text}, qr/ $left items? (?:was|were) not run$/, 'and counted';

my $part = $bench->rig('run', $scenario, '--board', 'demo-1', @pair, '--cuts', 'all', '--budget', '6s');
is $part->{exit}, 0, 'a budget that ends within the only transition gives what was tried' or diag $part->{out};
my @part = $bench->journal(last_run());
my $cuts = grep { defined $_->{cut} } records('verdict', @part);
my $trials = $all->{trials} - 1;
my @notes = grep { $_->{text} eq "the time for 1.1.0:1.2.0 is used up: $cuts of about $trials trials were made" } records('note', @part);
is scalar(@notes), 1, 'and says what was not' or diag explain [map { $_->{text} } records('note', @part)];
is +(records('coverage', @part))[0]{trials}, $cuts, 'the coverage is of what was made';

my $nothing = $bench->rig('run', $scenario, '--board', 'demo-1', @pair, '--budget', '1ms');
is $nothing->{exit}, 5, 'a budget for nothing is inconclusive';
is_deeply [records('item-start')], [], 'and nothing is begun';

# --- a board that cannot tell --------------------------------------------------------------------

my $plain = $bench->rig('run', $scenario, '--board', 'plain', @pair, '--cuts', 'all');
is $plain->{exit}, 0, 'a board without a trigger passes' or diag $plain->{out}, $plain->{err};
my @plain = $bench->journal(last_run());
my ($trace) = records('trace', @plain);
is $trace->{source}, 'lines', 'its trace is of lines of progress';
my $lines = $trace->{operations};
cmp_ok $lines, '>', 1, 'of which there are some';
is_deeply [map { "$_->{kind} $_->{region}" } @{ $trace->{classes} }], ['line none'], 'as the classes say: they are in no region';
my @plain_cuts = records('cut', @plain);
is_deeply [sort map { $_->{requested} } @plain_cuts], [sort 1 .. $lines, 'end'], 'it is cut at each of them and at the end';
is_deeply [grep { defined $_->{landed_as} || defined $_->{landed} } @plain_cuts], [], 'where in flash is not said';
is_deeply [counted_wrong(@plain_cuts)], [], 'but which line it was, and how many had come when the power was gone';
is_deeply [map { $_->{agreement} } @plain_cuts], [('unknown') x @plain_cuts], 'nobody else can tell';
my ($plain_end) = records('end', @plain);
is $plain_end->{totals}{cuts}, scalar(grep { $_->{by_count} } @plain_cuts), 'the totals have them as landed, by count';
is scalar(grep { $_->{by_count} } @plain_cuts), $lines + 1 - (records('coverage', @plain))[0]{unplaced}, 'those that coverage places';
my %progress = map { $_->{op} => $_->{progress} } @plain_cuts;
is $progress{end}, 1, 'at the end all of the update is in flash';
cmp_ok $progress{1}, '<', 0.1, 'and at its first line next to nothing';
my ($known) = records('coverage', @plain);
my $positions = $known->{positions} + $known->{unplaced}; # what came late may share a position, or have none
is_deeply [@$known{qw(end by_count trials)}, $known->{cuts}], [JSON::PP::true, $lines + 1 - $known->{unplaced}, $lines + 1, $known->{positions}],
	'coverage counts lines, and the end';
cmp_ok $positions, '<=', $lines + 1, 'each position once';
is_deeply $known->{tears}, { clean => 0, torn => 0 }, 'and knows of no tears';
like $known->{sentence}, qr/ of $lines lines of progress \(by count: where in flash they fell is not known\)/, 'which its sentence says';
is recomputed(), '', 'coverage worked out again from that journal agrees';
my $planned = decode_json($bench->rig('plan', $scenario, '--json', '--board', 'plain', @pair, '--cuts', 'all')->{out});
is_deeply [@{ $planned->{plan}{items}[0]{campaign}{coverage} }{qw(operations source cuts by_count gap)}], [$lines, 'lines', $lines + 1, $lines + 1, 0],
	'the plan of that campaign supposes that each lands as it is asked for';
like $bench->rig('plan', $scenario, '--board', 'plain', @pair)->{out}, qr/^ +$lines lines of progress, \d+ trials/m, 'and says what they are';

# --- boards whose triggers count something else ---------------------------------------------------

for my $board (['pattern', 'lines', qr/lines of progress/], ['timer', 'time', qr/steps of time/]) {
	my ($name, $source, $units) = @$board;
	my $r = $bench->rig('run', $scenario, '--board', $name, @pair, '--cuts', 3);
	# a step near the end may not come in an update that is faster than the traced one
	like $r->{exit}, $name eq 'timer' ? qr/^[05]$/ : qr/^0$/, "a board with a trigger that counts $source is cut" or diag $r->{out}, $r->{err};
	my @seen = $bench->journal(last_run());
	my ($seen_trace) = records('trace', @seen);
	is $seen_trace->{source}, $source, "$name: as its trace says";
	my @seen_cuts = records('cut', @seen);
	cmp_ok scalar(@seen_cuts), '>=', 2, "$name: the power goes";
	is_deeply [counted_wrong(@seen_cuts)], [], "$name: counted and error are in the journal";
	is_deeply [grep { !defined $_->{progress} || $_->{progress} < 0 || $_->{progress} > 1 } @seen_cuts], [], "$name: progress, too";
	is_deeply [grep { defined $_->{landed_as} || $_->{agreement} ne 'unknown' } @seen_cuts], [], "$name: and no place in flash";
	my ($covered) = records('coverage', @seen);
	my ($seen_end) = records('end', @seen);
	is $seen_end->{totals}{cuts}, $covered->{by_count}, "$name: those that coverage places have landed";
	cmp_ok $seen_end->{totals}{cuts}, '>', 0, "$name: which are some";
	# a slow machine's update may take more than a thousand steps, and the sentence parts thousands
	my $sentence = $covered->{sentence} =~ s/(?<=\d),(?=\d{3}\b)//gr;
	like $sentence, qr/ of $seen_trace->{operations} $units \(by count: /, "$name: the sentence says that it is by count" or diag $covered->{sentence};
	is recomputed(), '', "$name: coverage worked out again agrees";
}
my $second = $bench->rig('run', $scenario, '--board', 'pattern', @pair, '--cut', '2,1');
is $second->{exit}, 0, 'a trigger that counts lines cuts the recovery, too' or diag $second->{out}, $second->{err};
is_deeply [map { [$_->{op}, $_->{counted} >= $_->{op}, $_->{error} == $_->{counted} - $_->{op}] } records('cut')], [[2, 1, 1], [1, 1, 1]],
	'and counts there';
my $torn = $bench->rig('run', $scenario, '--board', 'pattern', @pair, '--cut', '2:torn:1');
is $torn->{exit}, 5, 'a torn cut cannot be asked of it: that is skipped';
like $torn->{out}, qr/a torn cut is not for console-pattern/, 'as it says';

my $runs = () = $bench->runs;
my $twice = $bench->rig('run', $scenario, '--board', 'stop', @pair, '--cut', 6, '--cut', '6,2');
is $twice->{exit}, 2, 'a trigger that stops the board by its probe cannot cut the recovery' or diag $twice->{out}, $twice->{err};
like $twice->{err}, qr/--cut 6,2: board stop cannot be cut in its recovery: its trigger probe-breakpoint must be armed while the board has power; /, 'which is said';
like $twice->{err}, qr/triggers that do without the probe can \(gpio-edge, console-pattern, timer\)/, 'with those that can';
is scalar(() = $bench->runs), $runs, 'before anything was done';

# the bootloader's erases, with the page in r0: the trace tells addresses, and flash is asked about them
my $stop = $bench->rig('run', $scenario, '--board', 'stop', @pair, '--cut', 6, '--cut', 16, '--cut', 'end');
is $stop->{exit}, 0, 'a board that the probe stops at its erases is cut there' or diag $stop->{out}, $stop->{err};
my @stop = $bench->journal(last_run());
my ($erases) = records('trace', @stop);
is $erases->{source}, 'breakpoints', 'as its trace says';
is_deeply [sort { $a cmp $b } map { $_->{region} } @{ $erases->{classes} }], [qw(primary scratch secondary)], 'which knows the regions';
my @stops = records('cut', @stop);
is_deeply [map { "$_->{requested} $_->{agreement} " . ($_->{counted} // '-') } @stops], ['6 agrees 6', '16 agrees 16', 'end agrees -'],
	'it stood where it was asked for, and flash agrees';
my @shown = map { $_->{what} =~ /flash shows (\d+) (?:to (\d+) )?operations done/ ? [$1, $2 // $1] : () } @stops;
is_deeply [map { $shown[$_][0] <= (5, 15, $erases->{operations})[$_] && $shown[$_][1] >= (5, 15, $erases->{operations})[$_] } 0 .. 2], [1, 1, 1],
	'that is among the places that it fits';
cmp_ok $stops[0]{progress}, '<', $stops[1]{progress}, 'the later, the more is there';
is recomputed(), '', 'coverage worked out again agrees';

my $missed = $bench->rig('run', $scenario, '--board', 'plain', @pair, '--cut', $lines + 1);
is $missed->{exit}, 5, 'a line that does not come is not cut at, which is inconclusive' or diag $missed->{out};

done_testing;
