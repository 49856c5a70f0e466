#!/usr/bin/perl
# Power loss as a user runs it: the good bootloader survives every cut that is tried, the one with the planted
# defect is found, and the printed command does it again.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $bench = Bench->new(boards => ['demo-1', 'demo-broken']);
my $scenario = "$FindBin::Bin/../scenarios/power_loss.lua";
my @pair = ('--only', '1.0.0:1.1.0');

my $good = $bench->rig('run', $scenario, '--board', 'demo-1', @pair, '--cuts', 12);
is $good->{exit}, 0, 'twelve cuts of an update pass' or diag $good->{out}, $good->{err};
my @records = $bench->journal(($bench->runs)[-1]);
my %first = map { $_->{trial} => 1 } grep { $_->{kind} eq 'cut' } @records;
my @cuts = grep { $_->{kind} eq 'cut' && delete $first{ $_->{trial} } } @records;
is scalar(grep { !defined $_->{landed_as} } @cuts), 0, 'every first cut landed';
is scalar(grep { $_->{landed_as} ne $_->{requested} } @cuts), 0, 'where it was asked for';
is scalar(keys %{ { map { $_->{landed_as} => 1 } @cuts } }), 12, 'twelve of them at different places';
my @second = grep { $_->{kind} eq 'cut' && $_->{agreement} eq 'unknown' } @records;
cmp_ok scalar @second, '>', 0, 'second cuts were made in recoveries';
is_deeply [grep { !defined $_->{counted} } @second], [], 'and the board says where';
my ($traced) = grep { $_->{kind} eq 'trace' } @records;
is $traced->{source}, 'operations', 'the trace is of flash operations';
my %sizes = map { $_->{size} => 1 } @{ $traced->{classes} };
is_deeply [sort keys %sizes], [qw(bulk metadata)], 'which are metadata and bulk';
my ($coverage) = grep { $_->{kind} eq 'coverage' } @records;
is $coverage->{cuts}, 12, 'coverage says as much';
like $good->{out}, qr/# 12 distinct cuts of 16,\d+ operations: /, 'in a sentence for people, too';
my $recomputed = `$^X $FindBin::Bin/coverage.pl @{[ $bench->path('runs/' . ($bench->runs)[-1] . '/journal.ndjson') ]} 2>&1`;
is $?, 0, 'coverage worked out again from the journal agrees' or diag $recomputed;
is scalar(grep { $_->{kind} eq 'verdict' && $_->{verdict} ne 'pass' } @records), 0, 'all passed';
my $updates = grep { $_->{kind} eq 'update' && ($_->{trial} // '') =~ /^cut=/ } @records;
cmp_ok $updates, '>=', 2 * @cuts, 'after each cut the same update was given once more';

# nothing writes flash between a cut and its verdict
my ($cut, $writes) = (0, 0);
for my $r (@records) {
	$cut = 1 if $r->{kind} eq 'cut';
	$cut = 0 if $r->{kind} eq 'verdict';
	$writes++ if $cut && $r->{kind} eq 'probe' && $r->{writes};
}
is $writes, 0, 'no probe write between a cut and its verdict';
ok scalar(grep { $_->{kind} eq 'probe' && $_->{writes} } @records), 'though the journal does show probe writes';

my ($first) = grep { $_->{kind} eq 'prepare' } @records;
is $first->{how}, 'probe', 'the first trial was prepared by the probe';
is scalar(grep { $_->{kind} eq 'prepare' && $_->{how} eq 'snapshot' } @records), scalar @cuts,
	'those after it from a snapshot';

my $bad = $bench->rig('run', $scenario, '--board', 'demo-broken', @pair, '--cuts', 300, '--fail-fast');
is $bad->{exit}, 1, 'the planted defect is found' or diag $bad->{out}, $bad->{err};
my ($failed) = grep { $_->{kind} eq 'verdict' && $_->{verdict} eq 'fail' } $bench->journal(($bench->runs)[-1]);
ok $failed, 'a trial failed';
is $failed->{again}, 'deterministic', 'and failed again the same way';
my ($short) = grep { $_->{kind} eq 'coverage' } $bench->journal(($bench->runs)[-1]);
is $short->{failed}, 1, 'the coverage has the trial that the run stopped at';
unlike $short->{sentence}, qr/no failing window/, 'and does not say that nothing fails';
like $failed->{replay}, qr/^rig run .* --board demo-broken --only 1\.0\.0:1\.1\.0 --cut \d\S* --seed 1$/,
	'with the command that replays it';
like $bad->{out}, qr/replay: /, 'which is in the TAP too';

my @args = split ' ', $failed->{replay} =~ s/^rig //r;
my %how;
for my $n (1 .. $ENV{RIG_REPLAYS} || 3) {
	my $again = $bench->rig(@args);
	my ($verdict) = grep { $_->{kind} eq 'verdict' && $_->{verdict} eq 'fail' } $bench->journal(($bench->runs)[-1]);
	$how{"$again->{exit} " . join ',', map { $_->{name} } @{ $verdict->{findings} }}++;
}
is_deeply [keys %how], ['1 ' . join ',', map { $_->{name} } @{ $failed->{findings} }],
	'each replay fails the same way';

my ($at) = $failed->{replay} =~ /--cut (\S+)/;
my $control = $bench->rig('run', $scenario, '--board', 'demo-1', @pair, '--cut', $at);
is $control->{exit}, 0, 'the same cut on the good bootloader passes' or diag $control->{out};

# a board that cuts one operation late while it claims it did not is caught by the flash itself
my $on = $bench->rig('power', 'demo-1', 'on');
is $on->{exit}, 0, 'power on by hand';
ok $bench->vboard('demo-1', 'fault', { skew => 1 }), 'the virtual board is made to skew';
is $bench->rig('power', 'demo-1', 'off')->{exit}, 0, 'power off by hand';
my $skewed = $bench->rig('run', $scenario, '--board', 'demo-1', @pair, '--cut', '100');
is $skewed->{exit}, 3, 'a skewed cut is an error of the bench' or diag $skewed->{out};
like $skewed->{out}, qr/skew/i, 'and is said to be one';

my $beyond = $bench->rig('run', $scenario, '--board', 'demo-broken', @pair, '--cut', '99999999');
is $beyond->{exit}, 5, 'a cut that cannot be hit is inconclusive' or diag $beyond->{out};

done_testing;
