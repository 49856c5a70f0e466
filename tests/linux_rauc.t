#!/usr/bin/perl
# boards/linux-rauc.lua: a Linux board that is updated by RAUC over its console, the upgrade matrix on a stand-in of it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use LinuxBoard;
use Test::More;

my $bench = Bench->new(boards => []);
$bench->write("os-$_.raucb", "bundle $_\n") for qw(1.0.0 1.1.0 1.2.0);
$bench->write('releases.lua', <<'LUA');
return { product = "gateway", releases = {
	{ version = "1.0.0", images = { application = "os-1.0.0.raucb" } },
	{ version = "1.1.0", images = { application = "os-1.1.0.raucb" } },
	{ version = "1.2.0", images = { application = "os-1.2.0.raucb" } },
} }
LUA
chmod 0755, $bench->write('switch', <<'PERL') or die $!;
#!/usr/bin/perl
use IO::Socket::INET;
my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$ARGV[0]") or die "the board's switch does not answer\n";
print $s "$ARGV[1]\n";
print scalar <$s>;
PERL

sub conf {
	my ($board) = @_;
	my ($switch, $power) = ($bench->path('switch'), $board->port('power'));
	$bench->write('rig.conf', 'bench { name = "test", state_dir = "runs", releases = "releases.lua" }' . "\n"
		. 'board "gateway" { type = "linux-rauc", power_off = { discharge_ms = 5 },' . "\n"
		. "power = { driver = \"command\", on = \"$switch $power on\", off = \"$switch $power off\", get = \"$switch $power get\" },\n"
		. "console = { driver = \"tcp\", host = \"127.0.0.1\", port = @{[ $board->port('console') ]} } }\n");
}

my $board = LinuxBoard->new(version => '1.0.0');
conf($board);
my $r = $bench->rig('run', "$FindBin::Bin/../scenarios/upgrade_matrix.lua", '--only', '1.0.0:1.1.0', '--only', '1.1.0:1.2.0');
is $r->{exit}, 0, 'updates pass' or diag $r->{out}, $r->{err};
like $r->{out}, qr/^ok \d - 1\.0\.0:1\.1\.0$/m, 'from the first';
like $r->{out}, qr/^ok \d - 1\.1\.0:1\.2\.0$/m, 'and from the second';
my @prepared = map { $_->{how} } grep { $_->{kind} eq 'prepare' } $bench->journal(($bench->runs)[-1]);
is_deeply \@prepared, [ 'update', 'update' ], 'releases came onto it by updates, and the journal says so';

$r = $bench->rig('run', "$FindBin::Bin/../scenarios/upgrade_matrix.lua", '--only', '1.2.0:1.0.0');
is $r->{exit}, 0, 'a downgrade is refused, as policy says' or diag $r->{out}, $r->{err};

$r = $bench->rig('run', "$FindBin::Bin/../scenarios/power_loss.lua", '--only', '1.0.0:1.1.0');
is $r->{exit}, 2, 'power loss needs a probe, and says so' or diag $r->{out}, $r->{err};
like $r->{err}, qr/board gateway has no probe, which scenario power-loss needs/, 'with what is missing';
$board->stop;

$board = LinuxBoard->new(version => '1.0.0', forgets => '1.1.0');
conf($board);
$r = $bench->rig('run', "$FindBin::Bin/../scenarios/upgrade_matrix.lua", '--only', '1.0.0:1.1.0');
is $r->{exit}, 1, 'an update that loses the data fails' or diag $r->{out}, $r->{err};
like $r->{out}, qr/not ok \d+ - user data survived/, 'for that reason';
$board->stop;

$r = $bench->rig('run', "$FindBin::Bin/../scenarios/upgrade_matrix.lua", '--only', '1.0.0:1.1.0');
is $r->{exit}, 3, 'a board whose switch does not answer is an error of the bench' or diag $r->{out}, $r->{err};

my $conf = Bench::slurp($bench->path('rig.conf'));
$bench->write('rig.conf', $conf =~ s/console = /probe = { driver = "openocd", adapter = "jlink" }, console = /r);
$r = $bench->rig('check', 'gateway');
is $r->{exit}, 2, 'a probe on a board without flash is refused';
like $r->{err}, qr/board type "linux-rauc" has no flash for a probe to reach/, 'and why';

done_testing;
