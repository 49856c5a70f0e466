#!/usr/bin/perl
# The upgrade matrix as a user runs it, on a virtual board, with the real OpenOCD and the demo firmware.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $bench = Bench->new(boards => ['demo-1', 'demo-2']);
my @args = ('run', "$FindBin::Bin/../scenarios/upgrade_matrix.lua");

my $one = $bench->rig(@args, '--board', 'demo-1');
is $one->{exit}, 0, 'the matrix passes on one board' or diag $one->{out}, $one->{err};
like $one->{out}, qr{\ATAP version 13\n(#[^\n]*\n)*1\.\.16\n}, 'TAP 13 with a plan of sixteen transitions';
unlike $one->{out}, qr/^ *not ok/m, 'nothing failed';
my ($first) = $bench->runs;

# what prove makes of it
my $tap = $bench->write('one.tap', $one->{out});
my $prove = `prove --exec cat $tap 2>&1`;
is $?, 0, 'prove accepts it' or diag $prove;

my @transitions = glob $bench->path("runs/$first/transitions/*.tap");
is scalar @transitions, 16, 'a document for each transition';
$prove = `prove --exec cat @transitions 2>&1`;
is $?, 0, 'prove accepts each of them' or diag $prove;

my $again = $bench->rig('report', 'last');
is $again->{out}, $one->{out}, 'the report made from the journal is the same byte for byte';

my @records = $bench->journal($first);
is $records[0]{kind}, 'run', 'the journal begins with the run';
is $records[-1]{kind}, 'end', 'and ends with its end';
is_deeply [map { $_->{seq} } @records], [1 .. @records], 'without gaps';
is scalar(grep { $_->{kind} eq 'prepare' && $_->{how} eq 'probe' } @records),
	$records[1]{flashes}, 'the probe flashed as often as the plan said';
ok scalar(grep { $_->{kind} eq 'prepare' && $_->{how} eq 'update' } @records), 'other items stood on the update before';

# the release that fails its self-test
my %seen = map { $_->{item} => $_->{expect} } @{ $records[1]{items} };
is_deeply [map { $seen{"$_:2.0.1"} } qw(1.0.0 1.1.0 1.2.0 2.0.0)], [('revert') x 4], 'every release is updated to the one that reverts';
is_deeply [grep { /^2\.0\.1:/ } keys %seen], [], 'and nothing starts from it';
is scalar(grep { $_->{kind} eq 'point' && $_->{name} eq '2.0.1 was tried and gave itself up' && $_->{ok} } @records),
	4, 'which was tried each time';

my $two = $bench->rig(@args, '--board', 'demo-1');
is $two->{exit}, 0, 'a second run passes';
my @runs = $bench->runs;
my @files = map { $bench->path("runs/$_/journal.ndjson") } @runs;
my $same = `$^X $FindBin::Bin/journal_same.pl $files[0] $files[-1] 2>&1`;
is $?, 0, 'the same seed gave the same journal' or diag $same;

my $both = $bench->rig(@args, '--board', 'demo-1', '--board', 'demo-2', '--tap', '14');
is $both->{exit}, 0, 'the matrix passes on two boards' or diag $both->{err};
like $both->{out}, qr/\ATAP version 14\n/, '--tap 14 says 14';
my @parallel = $bench->journal(($bench->runs)[-1]);
my %boards = map { $_->{board} => 1 } grep { $_->{kind} eq 'item-start' } @parallel;
is_deeply [sort keys %boards], ['demo-1', 'demo-2'], 'both boards worked';

# a release that is said to revert and does not
my $held = Bench->new(releases => 'releases.lua');
my $root = Bench::root();
$held->write('releases.lua', join "\n", 'return { product = "p", releases = {',
	(map { "{ version = \"$_->[0]\", reverts = $_->[1], images = { bootloader = \"$root/build/firmware/bootloader.hex\", "
		. "application = \"$root/build/firmware/$_->[0]/app.bin\" } }," } ['1.0.0', 'false'], ['1.1.0', 'true']), '} }', '');
my $stays = $held->rig(@args);
is $stays->{exit}, 1, 'a release that should have given itself up and runs is a failure' or diag $stays->{err};
like $stays->{out}, qr/^ *not ok \d+ - 1\.1\.0 was tried and gave itself up$/m, 'because it stayed';
like $stays->{out}, qr/^ *not ok \d+ - runs 1\.0\.0$/m, 'and is not the old one';

is_deeply [$bench->processes('rig-keeper')], [], 'no keeper is left';
like $bench->rig('boards')->{out}, qr/demo-1 +nrf52840dk +free/, 'and the boards are free';

done_testing;
