#!/usr/bin/perl
# Wear as a user sees it: counted over runs, shown, journaled, and bounded where rig.conf says so.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use JSON::PP;
use Test::More;

my $scenario = "$FindBin::Bin/../scenarios/power_loss.lua";
my @pair = ('--only', '1.0.0:1.1.0');

sub wear_of { my ($bench) = @_; return decode_json($bench->rig('boards', '--json')->{out})->[0]{wear} }
sub of_kind { my ($kind, @records) = @_; return grep { $_->{kind} eq $kind } @records }

my $bench = Bench->new;
unlike $bench->rig('boards')->{out}, qr/power cycles/, 'of a new board there is nothing to say';
is $bench->rig('run', $scenario, @pair, '--cuts', 3)->{exit}, 0, 'a run on a virtual board is bounded by nothing';
my $first = wear_of($bench);
cmp_ok $first->{relay_cycles}, '>', 3, 'its power cycles were counted';
cmp_ok $first->{erases_max}, '>', 3, 'and its erases';
is $first->{percent}, undef, 'without a budget';
like $bench->rig('boards')->{out}, qr/\(page $first->{erases_page}: $first->{erases_max} erases\), $first->{relay_cycles} power cycles$/m,
	'rig boards shows both';

my @records = $bench->journal(($bench->runs)[-1]);
my ($record) = of_kind('wear', @records);
is $record->{board}, 'demo-1', 'the journal has them for the board';
is_deeply [@$record{qw(relay_cycles erases_max erases_page)}], [@$first{qw(relay_cycles erases_max erases_page)}],
	'as rig boards shows them';
is $records[-2]{kind}, 'safe', 'before the end';
is_deeply [map { $_->{off} } of_kind('cut', @records)], [('read-back') x 3], 'each cut says how it is known that it was one';

is $bench->rig('run', $scenario, @pair, '--cuts', 3)->{exit}, 0, 'a second run';
my $second = wear_of($bench);
cmp_ok $second->{relay_cycles}, '>', $first->{relay_cycles}, 'is added to the first: power cycles';
cmp_ok $second->{erases_max}, '>', $first->{erases_max}, 'and erases';
is $second->{since}, $first->{since}, 'counted since the same time';

# the same board, with a budget that one campaign eats
my $conf = Bench::slurp($bench->path('rig.conf'));
my $budget = $second->{erases_max} + 4;
$bench->write('rig.conf', $conf =~ s/(type = "nrf52840dk",)/$1 wear = { erases = $budget },/r);
my $r = $bench->rig('run', $scenario, @pair, '--cuts', 40);
is $r->{exit}, 3, 'a campaign that eats the budget is stopped by the bench' or diag $r->{out}, $r->{err};
like $r->{out} . $r->{err}, qr/worn out: page \d+ has had \d+ of $budget erases/, 'and says which page, and the budget';
@records = $bench->journal(($bench->runs)[-1]);
is scalar of_kind('verdict', grep { ($_->{verdict} // '') eq 'fail' } @records), 0, 'no trial failed by it';
is scalar(grep { $_->{text} =~ /^worn to \d+ %: page/ } of_kind('note', @records)), 1, 'that little was left was noted once';
cmp_ok +(of_kind('wear', @records))[0]{percent}, '>=', 100, 'the journal says that all of it is used';
like $bench->rig('boards')->{out}, qr/ worn 1\d\d % \(page /, 'and so does rig boards';
$r = $bench->rig('power', 'demo-1', 'on');
is $r->{exit}, 3, 'nor can it be powered by hand';
like $r->{err}, qr/Raise wear = \{ erases, relay_cycles \} in rig.conf/, 'with what to do';

# a file that was torn
$bench->write('runs/.boards/demo-1/wear.json', '{"since":"2026-');
$bench->write('rig.conf', $conf);
is $bench->rig('power', 'demo-1', 'get')->{exit}, 0, 'a torn file stops nobody';
ok -e $bench->path('runs/.boards/demo-1/wear.json.damaged'), 'it is kept aside';
like $bench->rig('boards')->{out}, qr/what was before is lost, see wear\.json\.damaged/, 'and rig boards says so';

done_testing;
