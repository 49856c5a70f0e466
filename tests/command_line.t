#!/usr/bin/perl
# The command line where it is used oddly: outputs that are closed or full, a terminal that goes, a lease taken twice.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use JSON::PP;
use Test::More;

my $root = Bench::root();
my $bench = Bench->new;
my $matrix = "run $root/scenarios/upgrade_matrix.lua --only 1.0.0:1.1.0";

# Exit status and standard error of rig in a shell, which closes what cannot be closed here.
sub shell {
	my ($command) = @_;
	local %ENV = %{ $bench->{env} };
	my $err = $bench->path('shell.err');
	system 'sh', '-c', "{ $command; } 2>$err";
	return ($? & 127 ? 'signal ' . ($? & 127) : $? >> 8, Bench::slurp($err));
}

my ($exit, $err) = shell("rig $matrix >/dev/full");
is $exit, 130, 'a run whose TAP finds no place is stopped';
like $err, qr/output takes no more/, 'and says why';
($exit) = shell('rig drivers >/dev/full');
is $exit, 3, 'a listing that finds no place is no success';
($exit) = shell("rig $matrix <&- >&- 2>&-");
is $exit, 130, 'without any of the standard descriptors nothing is taken for them';
($exit) = shell("rig $matrix <&- 2>&- >/dev/null");
is $exit, 0, 'a run needs neither standard input nor standard error';
($exit) = shell("rig power demo-1 get <&- >/dev/null");
is $exit, 0, 'nor does a command by hand';

# a terminal that goes ends the run as Ctrl-C does; nohup keeps it
my $r = $bench->start('run', "$root/scenarios/power_loss.lua", '--only', '1.0.0:1.1.0', '--cuts', 'all');
ok Bench::wait_for(60, sub { (Bench::slurp($r->{out_path}) // '') =~ /^TAP version/ }), 'a run is under way';
kill HUP => $r->{pid};
$bench->finish($r);
is $r->{exit}, 130, 'a run whose terminal goes is interrupted';
like $r->{out}, qr/^Bail out! the terminal was closed$/m, 'says so in its TAP';
is_deeply [$bench->processes('rig-keeper')], [], 'and leaves no board leased';

($exit) = shell('rig lock demo-1 >/dev/null');
is $exit, 0, 'a board is leased by hand';
($exit, $err) = shell('rig lock demo-1');
is $exit, 4, 'a second lease finds it busy';
like $err, qr/^rig: board demo-1 is leased by .*\n\z/, 'in one line';
($exit, $err) = shell("rig $matrix");
is $exit, 4, 'so does a run';
like $err, qr/; --wait 10m waits for it\n\z/, 'which says what would help';
is $bench->rig('unlock', 'demo-1')->{out}, "board demo-1 is safe and free\n", 'unlock says what it did';

my @left = map { (shell("{ sleep 0.1; printf '\\035'; } | rig console demo-1 >/dev/null"))[0] } 1 .. 8;
is_deeply \@left, [(0) x 8], 'a console of a free board stays until it is left, every time';

for my $command (qw(boards cancel check console drivers flash lock plan power report reset run runs safe-state show unlock)) {
	$r = $bench->rig($command, '--help');
	ok $r->{exit} == 0 && $r->{out} =~ /^usage: rig $command\b/, "rig $command --help says how it is used";
}
$r = $bench->rig('plan', '--seeds', '1');
is $r->{exit}, 2, 'an unknown option is a usage error';
like $r->{err}, qr/^rig plan: /, 'whose message begins with the command';
for my $listing ('boards', 'drivers', 'runs', "plan $root/scenarios/upgrade_matrix.lua") {
	$r = $bench->rig(split(' ', $listing), '--json');
	ok eval { decode_json($r->{out}) }, "rig $listing --json prints JSON";
}
# pairs before density
$bench->write('pairs.lua', <<'LUA');
return require("rig").scenario { name = "pairs", over = "transitions", order = "diverse", run = function() end }
LUA
$r = $bench->rig('plan', 'pairs.lua');
like $r->{out}, qr/^items +16\n +1\.0\.0:2\.0\.0 +upgrade: smaller, data format changes, skips 2, first to last$/m,
	'rig plan shows a diverse order and what makes each pair different';
my ($flashes) = $r->{out} =~ /^flashes +(\d+) instead of 16$/m;
is $flashes, scalar(() = $r->{out} =~ /^trail /mg), 'and a flash for each trail it leaves';
like $bench->rig('flash', 'demo-1', '9.9.9')->{err}, qr/has no release 9\.9\.9; it has 1\.0\.0, /,
	'a release that is not there is answered with those that are';

# a scenario of which nothing could be done
$bench->write('boards/bare.lua', Bench::slurp("$root/boards/nrf52840dk.lua") =~ s/\bdut = .*?,\n/dut = {},\n/r) if mkdir $bench->path('boards');
$bench->write('bare.conf', Bench::slurp($bench->path('rig.conf')) =~ s/nrf52840dk/bare/r);
$r = $bench->rig('--config', $bench->path('bare.conf'), split ' ', $matrix);
like $r->{out}, qr/^ok 1 - .* # SKIP board type bare has no dut/m, 'a board type without functions: skipped';
is $r->{exit}, 5, 'and where all is skipped nothing has passed';

# installed below any folder, it finds what was installed with it
my ($variant) = Bench::build() =~ m{([^/]+)$};
{
	delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
	is system('make', '-s', '-C', $root, "VARIANT=$variant", '-o', 'all', 'install', 'PREFIX=/usr',
		'DESTDIR=' . $bench->path('inst')), 0, 'make install';
}
like Bench::slurp($bench->path('inst/usr/lib/udev/rules.d/60-rig.rules')) // '', qr/^SUBSYSTEM=="gpio",.*GROUP="gpio"$/m,
	'and the rules that give its devices to groups are installed with it';
delete local $bench->{env}{RIG_DATADIR};
local $bench->{env}{PATH} = $bench->path('inst/usr/bin') . ':/usr/bin:/bin';
($exit, $err) = shell('rig run upgrade-matrix --only 1.0.0:1.1.0 --quiet >/dev/null');
is $exit, 0, 'what was installed runs a scenario by name' or diag $err;
($exit, $err) = shell('rig run nope');
like $err, qr{/inst/usr/share/rig/scenarios$}m, 'from where it was installed';

done_testing;
