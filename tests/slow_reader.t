#!/usr/bin/perl
# A command line that reads slowly (its output goes to a pager, the machine is busy) misses nothing of the run.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $trials = 4000; # far more records than a socket takes
my $bench = Bench->new;
my $scenario = $bench->write('empty.lua', <<"LUA");
local rig = require "rig"
return rig.scenario {
	name = "empty", over = "once", needs = { "power" },
	run = function(t)
		for i = 1, $trials do
			t:trial("n" .. i, function() end)
		end
	end,
}
LUA

my $run = $bench->start('run', $scenario, '--board', 'demo-1', '--quiet');
my $journal = Bench::wait_for(30, sub { (glob $bench->path('runs/*/journal.ndjson'))[0] });
ok Bench::wait_for(30, sub { (Bench::slurp($journal) // '') =~ /"kind":"verdict"/ }), 'trials are under way';
kill 'STOP', $run->{pid};
ok Bench::wait_for(60, sub { (Bench::slurp($journal) // '') =~ /"kind":"end"/ }), 'the run ends meanwhile';
kill 'CONT', $run->{pid};
$bench->finish($run);
is $run->{exit}, 0, 'it passed' or diag $run->{err};
is scalar(() = $run->{out} =~ /^    ok \d+ - n\d+$/mg), $trials, 'every trial is told of';

done_testing;
