#!/usr/bin/perl
# Whatever dies, the board is made safe before anybody else gets it, and the journal says error.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $bench = Bench->new;
my @run = ('run', "$FindBin::Bin/../scenarios/power_loss.lua", '--board', 'demo-1', '--only', '1.0.0:1.1.0',
	'--cuts', 500);

# Starts a run and waits until it is in the middle of a cut trial.
sub start_run {
	my %before = map { $_ => 1 } $bench->runs;
	my $r = $bench->start(@run);
	my $cutting = Bench::wait_for(60, sub {
		my ($id) = grep { !$before{$_} } $bench->runs;
		return if !$id;
		return scalar grep { $_->{kind} eq 'cut' } $bench->journal($id);
	});
	ok $cutting, 'a run is cutting' or diag Bench::slurp($r->{err_path});
	return $r;
}

sub free_again {
	my ($who) = @_;
	ok Bench::wait_for(30, sub { $bench->rig('boards')->{out} =~ /demo-1 +\S+ +(free|dirty)/ }),
		"$who: the lease ends";
}

sub power { my $s = $bench->vboard('demo-1', 'state'); return $s ? ($s->{power} ? 'on' : 'off') : 'off' }

sub report_says_error {
	my ($who) = @_;
	my $report = $bench->rig('report', 'last');
	like $report->{out}, qr/^Bail out!/m, "$who: the report of the journal says error";
	like $bench->rig('runs')->{out}, qr/ error [^\n]*\n\z/, "$who: so does rig runs";
}

# the worker
my $r = start_run();
my ($worker) = $bench->processes('rig-worker');
kill KILL => $worker;
$bench->finish($r);
is $r->{exit}, 3, 'worker killed: the command line says the bench failed' or diag $r->{err};
free_again('worker killed');
is power(), 'off', 'worker killed: the board is off';
report_says_error('worker killed');

# the command line
$r = start_run();
kill KILL => $r->{pid};
$bench->finish($r);
free_again('command line killed');
is power(), 'off', 'command line killed: the board is off';
Bench::wait_for(10, sub { !$bench->processes('rig-worker') });
report_says_error('command line killed');

# the keeper
$r = start_run();
my @keepers = $bench->processes("rig-keeper");
is scalar @keepers, 1, "one keeper" or diag join " ", map { "$_: " . (Bench::slurp("/proc/$_/stat") // "") } @keepers;
my $keeper = $keepers[0];
kill KILL => $keeper;
$bench->finish($r);
is $r->{exit}, 3, 'keeper killed: the run is an error' or diag $r->{err};
like $bench->rig('boards')->{out}, qr/demo-1 +\S+ +dirty/, 'keeper killed: the board is marked dirty';
report_says_error('keeper killed');
my $get = $bench->rig('power', 'demo-1', 'get');
is $get->{out}, "off\n", 'keeper killed: whoever takes the board next finds it made safe';
like $bench->rig('boards')->{out}, qr/demo-1 +\S+ +free/, 'and then it is free';

# Ctrl-C in the middle of a cut
$r = start_run();
kill INT => $r->{pid};
$bench->finish($r);
is $r->{exit}, 130, 'interrupted: exit status 130' or diag $r->{err};
is power(), 'off', 'interrupted: the board is off when the command returns';
like $r->{out}, qr/^Bail out!/m, 'interrupted: the TAP says so';
my @records = $bench->journal(($bench->runs)[-1]);
is $records[-1]{kind}, 'end', 'interrupted: the journal has its end';
is $records[-1]{reason}, 'interrupted', 'with the reason';
is scalar(grep { $_->{kind} eq 'safe' && $_->{ok} } @records), 1, 'and that the board was made safe';

# rig cancel
$r = start_run();
my $cancel = $bench->rig('cancel', 'last');
is $cancel->{exit}, 0, 'rig cancel works' or diag $cancel->{err};
$bench->finish($r);
is $r->{exit}, 3, 'cancelled: not passed';
is power(), 'off', 'cancelled: the board is off';

# busy
$r = start_run();
my $second = $bench->rig(@run);
is $second->{exit}, 4, 'a leased board is busy';
like $second->{err}, qr/demo-1.*run \d{8}/, 'and the message says who has it';
is scalar(grep { !$bench->journal($_) } $bench->runs), 0, 'nothing is left that looks like a run';
my $hand = $bench->rig('power', 'demo-1', 'on');
is $hand->{exit}, 4, 'nor can it be switched by hand';
is $bench->rig('safe-state', 'demo-1')->{exit}, 0, 'but it can be made safe';
$bench->finish($r);
is $r->{exit}, 3, 'which is an error for the run that had it';
is power(), 'off', 'and the board is off';

is_deeply [$bench->processes('openocd')], [], 'no openocd is left';
is_deeply [$bench->processes('rig-keeper')], [], 'no keeper is left';
done_testing;
