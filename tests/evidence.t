#!/usr/bin/perl
# What a failure leaves behind as a user finds it: a folder with the flash before, after the cut and at rest, the
# operations, the logs, and the command that fails the same way again. Without the folder the verdict stands.
use strict;
use warnings;
use Digest::SHA;
use FindBin;
use JSON::PP;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $bench = Bench->new(boards => ['demo-broken']);
my $scenario = "$FindBin::Bin/../scenarios/power_loss.lua";
my @asked = ('--board', 'demo-broken', '--only', '1.1.0:1.2.0', '--cut', '11240');

sub last_run { return ($bench->runs)[-1] }
sub verdict_of { my ($cut) = @_; return grep { $_->{kind} eq 'verdict' && ($_->{cut} // '') eq $cut } $bench->journal(last_run()) }
sub names { return join ' ', sort map { $_->{name} } @{ $_[0]{findings} || [] } }

# Operations of a log as flash takes them: an erase sets bits, programming clears them.
sub apply {
	my ($flash, $log, $count) = @_;
	for my $line (split /\n/, $log) {
		last if defined $count && $count-- == 0;
		my (undef, $kind, $address, $value) = split ' ', $line;
		if ($kind eq 'erase') {
			substr $flash, hex $address, $value, "\xff" x $value;
		} else {
			my $was = unpack 'V', substr $flash, hex $address, 4;
			substr $flash, hex $address, 4, pack 'V', $was & hex $value;
		}
	}
	return $flash;
}

my $failed = $bench->rig('run', $scenario, @asked);
is $failed->{exit}, 1, 'a cut in the window of the planted defect fails' or diag $failed->{out}, $failed->{err};
my ($verdict) = verdict_of('11240');
is $verdict->{verdict}, 'fail', 'its trial has that verdict';
is $verdict->{evidence}, 'evidence/1.1.0--1.2.0/cut=11240', 'which names the folder of the evidence';
like $failed->{out}, qr{^ +evidence: "evidence/1\.1\.0--1\.2\.0/cut=11240"$}m, 'as do the diagnostics in the TAP';
my $rel = 'runs/' . last_run() . "/$verdict->{evidence}";
my @files = sort map { s{.*/}{}r } glob $bench->path("$rel/*");
is_deeply \@files, [qw(console.log flash-after-cut.bin flash-at-rest.bin flash-before.bin openocd.log operations.txt
	recovery-operations.txt replay.txt trial.json)], 'the folder has all that there is to keep';
my %kept = map { $_ => Bench::slurp($bench->path("$rel/$_")) } @files;
is_deeply [map { length $kept{"flash-$_.bin"} } qw(before after-cut at-rest)], [(1 << 20) x 3], 'all of the flash, three times';

# the flash that was kept is that of this very cut
my @traces = glob $bench->path('runs/.traces/nrf52840dk/*.trace');
is scalar(@traces), 1, 'the trace of the uncut update was remembered';
my $trace = Bench::slurp($traces[0] // '') // '';
ok apply($kept{'flash-before.bin'}, $trace, 11_239) eq $kept{'flash-after-cut.bin'},
	'the first 11,239 operations make the flash after the cut of that before';
ok apply($kept{'flash-before.bin'}, $trace, 11_240) ne $kept{'flash-after-cut.bin'}, 'and one more does not';
ok apply($kept{'flash-after-cut.bin'}, $kept{'recovery-operations.txt'}) eq $kept{'flash-at-rest.bin'},
	'the operations of the recovery make the flash at rest of that after the cut';
ok $kept{'flash-after-cut.bin'} ne $kept{'flash-at-rest.bin'}, 'which is another';

my @shown = grep { /^->/ } split /\n/, $kept{'operations.txt'};
is scalar(@shown), 1, 'one operation is pointed at';
like $shown[0], qr/^-> +11240 +program +0x[0-9a-f]{8} /, 'the one that was cut';
my ($traced) = grep { /^11240 / } split /\n/, $trace;
like $shown[0], qr/ \Q@{[ (split ' ', $traced)[2] ]}\E +\Q@{[ (split ' ', $traced)[3] ]}\E /, 'as the trace has it';
like $kept{'operations.txt'}, qr/^ +11239 .*\n-> +11240 .*\n +11241 /m, 'between those before and after it';
my ($after) = $kept{'recovery-operations.txt'} =~ /\A(\d+) /;
is $after, 11_240, 'the operations of the recovery are counted on from there';
like $kept{'console.log'}, qr/boot: no valid image/, 'the console log has what the device said last';
like $kept{'openocd.log'}, qr/\S/, 'the log of OpenOCD is there';

my $told = decode_json($kept{'trial.json'});
my %hashes = map { $_ => Digest::SHA::sha256_hex($kept{$_}) } grep { $_ ne 'trial.json' } @files;
is_deeply $told->{files}, \%hashes, 'trial.json has the SHA-256 of every file';
is "$told->{verdict} $told->{again}", 'fail deterministic', 'the verdict';
is_deeply $told->{findings}, $verdict->{findings}, 'the findings';
is_deeply [@$told{qw(item trial board cut)}], ['1.1.0:1.2.0', 'cut=11240', 'demo-broken', '11240'], 'which trial it was';
is $told->{run}, last_run(), 'of which run';
is_deeply [map { $told->{$_}{version} } qw(from to)], ['1.1.0', '1.2.0'], 'from which release to which';
like $told->{tools}{openocd} // '', qr/^\d+\./, 'and the versions of the tools';

my ($replay) = $kept{'replay.txt'} =~ /\A(rig run .*)\n\z/;
is $replay, $verdict->{replay}, 'replay.txt is the command of the report';
my $again = $bench->rig(split ' ', ($replay // '') =~ s/^rig //r);
is $again->{exit}, 1, 'run, it fails' or diag $again->{err};
my ($second) = verdict_of('11240');
is names($second), names($verdict), 'the same way';
my $folder = 'runs/' . last_run() . "/$second->{evidence}";
is_deeply [map { Digest::SHA::sha256_hex(Bench::slurp($bench->path("$folder/flash-$_.bin"))) } qw(after-cut at-rest)],
	[@hashes{qw(flash-after-cut.bin flash-at-rest.bin)}], 'down to the bits that stay in flash';

my $passed = $bench->rig('run', $scenario, @asked[0 .. 3], '--cut', '11300');
is $passed->{exit}, 0, 'a cut behind the window passes' or diag $passed->{out};
ok !-e $bench->path('runs/' . last_run() . '/evidence'), 'and leaves no evidence';

# No folder can be made: the run is first stopped by a fault of the bench, then taken up with a file in the way.
is $bench->rig('power', 'demo-broken', 'on')->{exit}, 0, 'power on by hand';
ok $bench->vboard('demo-broken', 'fault', { skew => 1 }), 'the virtual board is made to skew';
is $bench->rig('power', 'demo-broken', 'off')->{exit}, 0, 'power off by hand';
my $skewed = $bench->rig('run', $scenario, @asked);
is $skewed->{exit}, 3, 'its cut is an error of the bench' or diag $skewed->{out};
ok !-e $bench->path('runs/' . last_run() . '/evidence'), 'of which there is no evidence';
$bench->write('runs/' . last_run() . '/evidence', "in the way\n");
is $bench->rig('power', 'demo-broken', 'on')->{exit}, 0, 'power on by hand';
ok $bench->vboard('demo-broken', 'fault', {}), 'the fault is taken away';
is $bench->rig('power', 'demo-broken', 'off')->{exit}, 0, 'power off by hand';
my $resumed = $bench->rig('run', '--resume', last_run());
is $resumed->{exit}, 1, 'where evidence cannot be kept, the verdict stands' or diag $resumed->{out}, $resumed->{err};
my ($bare) = grep { $_->{verdict} eq 'fail' } verdict_of('11240');
is names($bare), names($verdict), 'with its findings';
is $bare->{evidence}, undef, 'but names no evidence';
is $bare->{again}, 'deterministic', 'and was tried again all the same';
my @notes = grep { $_->{kind} eq 'note' && $_->{text} =~ /^the evidence of cut=11240 could not be kept: / } $bench->journal(last_run());
is scalar(@notes), 1, 'a note says why';

done_testing;
