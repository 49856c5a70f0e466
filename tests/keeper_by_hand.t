#!/usr/bin/perl
# Leases by hand, as a user meets them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use JSON::PP;
use Test::More;

my $bench = Bench->new;

sub state_of { my ($text) = $bench->rig('boards')->{out} =~ /^demo-1 +\S+ +(\S+)/m; return $text // '' }
sub keepers { return scalar $bench->processes('rig-keeper') }

is $bench->rig('flash', 'demo-1', '1.0.0')->{exit}, 0, 'a release by hand';
is $bench->rig('power', 'demo-1', 'on')->{exit}, 0, 'power on by hand';
is keepers(), 1, 'a keeper stays';
like state_of(), qr/^leased/, 'and holds the board';
is $bench->rig('power', 'demo-1', 'get')->{out}, "on\n", 'it is on';
my $console = $bench->start('console', 'demo-1'); # with /dev/null to read from
ok Bench::wait_for(60, sub {
	$bench->rig('power', 'demo-1', 'cycle');
	return Bench::slurp($console->{out_path}) =~ /boot: demo bootloader/;
}), 'its console shows what it says, without a terminal';
kill INT => $console->{pid};
is $bench->finish($console)->{exit}, 0, 'until it is left';
is $bench->rig('power', 'demo-1', 'off')->{exit}, 0, 'power off by hand';
is state_of(), 'free', 'the board is free when the command returns';
ok Bench::wait_for(10, sub { !keepers() }), 'and no keeper is left';
is $bench->rig('power', 'demo-1', 'get')->{out}, "off\n", 'asking leaves nothing behind';
is state_of(), 'free', 'either';

is $bench->rig('lock', 'demo-1')->{exit}, 0, 'a lock';
is $bench->rig('power', 'demo-1', 'off')->{exit}, 0, 'a command under it';
like state_of(), qr/^leased/, 'does not end it';
is $bench->rig('unlock', 'demo-1')->{exit}, 0, 'unlock does';
is state_of(), 'free', 'at once';

# as a keeper leaves it that could not make the board safe
$bench->write('runs/.boards/demo-1/quarantine', encode_json({
	board => 'demo-1', since => '2025-01-01T00:00:00Z', reason => 'the relay says on', holder => undef }));
is state_of(), 'quarantined', 'a quarantined board is shown';
my $r = $bench->rig('power', 'demo-1', 'on');
is $r->{exit}, 3, 'nobody gets it';
like $r->{err}, qr/quarantined since 2025-01-01T00:00:00Z: the relay says on.*rig unlock demo-1/, 'who tries is told why, and what to do';
$r = $bench->rig('unlock', 'demo-1');
is $r->{exit}, 0, 'a person clears it';
like $r->{out}, qr/out of quarantine \(the relay says on\)/, 'and is told what it was';
is $bench->rig('power', 'demo-1', 'get')->{exit}, 0, 'it can be used again';
is state_of(), 'free', 'and is free';
is $bench->rig('unlock', 'demo-1')->{out}, "board demo-1 is not locked\n", 'there is nothing more to unlock';
done_testing;
