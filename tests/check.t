#!/usr/bin/perl
# rig check: each device of a board is tried, what is wrong is said with its mend, and a board is left as it was.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use JSON::PP;
use POSIX ();
use Test::More;

my $root = Bench::root();
my $build = Bench::build();
my $virtual = 'driver = "virtual"';
my %device = (
	power => '{ driver = "virtual", linger_ms = 2000 }',
	console => "{ $virtual }",
	probe => '{ driver = "openocd", adapter = "virtual" }',
);

# A board of rig.conf whose devices are as given beside the usual ones; undef: it has none.
sub board {
	my ($name, %o) = @_;
	my %d = (%device, %{ $o{devices} || {} });
	return "board \"$name\" { type = \"" . ($o{type} // 'nrf52840dk') . "\", boot = { ready_within = " . ($o{ready_within} // 10) . " },\n"
		. ($o{more} // '') . join('', map { "  $_ = $d{$_},\n" } grep { defined $d{$_} } sort keys %d) . "}\n";
}

my $bench = Bench->new(boards => ['demo-1'], conf => join '',
	board('blank', ready_within => 0.2),
	board('no-power', devices => { power => "{ $virtual, program = \"/nonexistent/vboard\" }" }, ready_within => 0.2),
	board('no-console', type => 'plain', devices => { console => undef, probe => undef }, more => "  power_off = { verify = \"none\" },\n"),
	board('wrong-probe', devices => { probe => '{ driver = "openocd", adapter = "jlink" }' }),
	board('fed', ready_within => 0.2));

# the same without a transport, which needs a console
mkdir $bench->path('boards') or die;
$bench->write('boards/plain.lua', Bench::slurp("$root/boards/nrf52840dk.lua") =~ s/^\ttransport = .*?,\n//mr);

sub state_of {
	my ($name) = @_;
	my ($row) = grep { $_->{name} eq $name } @{ decode_json($bench->rig('boards', '--json')->{out}) };
	return $row->{state};
}
sub cycles {
	my ($name) = @_;
	my ($row) = grep { $_->{name} eq $name } @{ decode_json($bench->rig('boards', '--json')->{out}) };
	return $row->{wear}{relay_cycles};
}

is $bench->rig('flash', 'demo-1', '1.0.0')->{exit}, 0, 'a board holds a release';

# all is well
my $before = cycles('demo-1');
my $r = $bench->rig('check', 'demo-1');
is $r->{exit}, 0, 'a board with which all is well' or diag $r->{err};
like $r->{out}, qr/^ok +probe .*; flash can be read$/m, 'whose target answers';
is $r->{out} =~ s/adapter virtual; .*(?=; flash)/opened/r, <<'TEXT', 'is a line for each device';
demo-1 (nrf52840dk)
ok    power     virtual       it is off; switched on and off; off is read back
ok    console   virtual       opened; says "boot: demo bootloader 1"
ok    probe     openocd       opened; flash can be read
ok    trigger   virtual       opened
ok    transport smp           opened
ok    snapshot  virtual       opened
TEXT
my ($shown) = Bench::slurp("$root/docs/checking-a-bench.md") =~ /^```\n(demo-1 .*?)^```$/ms;
s/Debugger [\d.]+/Debugger/, s/[\d.]+ V at/x V at/ for my ($said, $told) = ($r->{out}, $shown // '');
is $said, $told, 'as docs/checking-a-bench.md shows it';
is cycles('demo-1'), $before + 1, 'it was switched on once';
is state_of('demo-1'), 'free', 'and left free';
ok Bench::wait_for(10, sub { !$bench->processes('rig-keeper') }), 'by a keeper that is gone';

$r = $bench->rig('check', 'demo-1', '--no-switch');
is $r->{exit}, 0, '--no-switch';
like $r->{out}, qr/^ok +power .*not switched \(--no-switch\)/m, 'says what is not known then';
is cycles('demo-1'), $before + 1, 'and switches nothing';

$r = $bench->rig('check', 'demo-1', '--json');
my $json = eval { decode_json($r->{out}) } // [];
is_deeply [map { [$_->{board}, $_->{type}, $_->{verdict}] } @$json], [['demo-1', 'nrf52840dk', 'ok']], 'for programs: the board';
is_deeply [map { "$_->{what} $_->{driver} $_->{verdict}" } @{ $json->[0]{checks} }],
	['power virtual ok', 'console virtual ok', 'probe openocd ok', 'trigger virtual ok', 'transport smp ok', 'snapshot virtual ok'],
	'and its devices';

# nothing attached
$r = $bench->rig('check', 'blank');
is $r->{exit}, 0, 'a board without firmware is a warning';
like $r->{out}, qr/^warn +console +virtual +opened; silent for 0 s after power on$/m, 'of its console' or diag $r->{out};
like $r->{out}, qr/^ok +power .*switched on and off/m, 'whose power was seen by the probe';
like $r->{out}, qr/^to mend:\n +console +is it the right port, at the right baud rate/m, 'with what it may be';

# one that fails hides no other
$r = $bench->rig('check', 'no-power');
is $r->{exit}, 3, 'a board whose power does not open';
like $r->{out}, qr{^FAIL +power +virtual +cannot start /nonexistent/vboard: }m, 'says so';
like $r->{out}, qr/^(ok|warn) +console .*^ok +probe .*^ok +transport /ms, 'and tries the rest' or diag $r->{out};
is state_of('no-power'), 'free', 'and is in no quarantine';

{
	local $bench->{env}{PATH} = $build;
	$r = $bench->rig('check', 'demo-1');
	is $r->{exit}, 3, 'without openocd';
	like $r->{out}, qr/^FAIL +probe +openocd .*openocd.*install/m, 'the probe fails, and what to install is said' or diag $r->{out};
	like $r->{out}, qr/^ok +power .*switched on and off/m, 'the power is switched all the same';
}

$r = $bench->rig('check', 'wrong-probe');
is $r->{exit}, 3, 'a probe that is not there';
like $r->{out}, qr/^FAIL +probe +openocd .*No J-Link device found/m, 'fails with what OpenOCD says' or diag $r->{out};

# what is not verified
$r = $bench->rig('check', 'no-console');
is $r->{exit}, 0, 'a board whose power nothing sees';
like $r->{out}, qr/^warn +power .*that it switches cannot be seen: the board has no console, meter or probe/m, 'is warned of';
like $r->{out}, qr/power off is unverified: power_off\.verify is "none"$/m, 'and so is a power off that nothing proves';

# fed through its console: the power goes, and the board does not
is $bench->rig('flash', 'fed', '1.0.0')->{exit}, 0, 'a board';
is $bench->rig('power', 'fed', 'on')->{exit}, 0, 'that is on';
$r = $bench->rig('check', 'fed');
is $r->{exit}, 0, 'under a lease by hand';
like $r->{out}, qr/^ok +power .*it is on; not switched: the board is leased by hand$/m, 'stays so' or diag $r->{out};
is $bench->rig('power', 'fed', 'get')->{out}, "on\n", 'and on';
ok $bench->vboard('fed', 'fault', { phantom => JSON::PP::true }), 'then it is fed';
$bench->rig('power', 'fed', 'off');
$r = $bench->rig('check', 'fed');
is $r->{exit}, 3, 'a board that is fed is found out';
like $r->{out}, qr/^FAIL +power .*no power change seen|^FAIL +power .*it is off, and the console says something/m, 'by what is seen' or diag $r->{out};
like $r->{out}, qr/^ +power +.*(another supply|fed through its console)/m, 'with what to look for';
$bench->vboard('fed', 'fault', { phantom => JSON::PP::false });

# in quarantine, as a keeper leaves it that could not make the board safe
$bench->write('runs/.boards/demo-1/quarantine', encode_json({
	board => 'demo-1', since => '2025-01-01T00:00:00Z', reason => 'the relay says on', holder => undef }));
$before = cycles('demo-1');
$r = $bench->rig('check', 'demo-1');
is $r->{exit}, 3, 'a board in quarantine';
like $r->{out}, qr/^FAIL +board +it is in quarantine: since 2025-01-01T00:00:00Z: the relay says on$/m, 'says why' or diag $r->{out};
like $r->{out}, qr/^ok +power +virtual +it is off$/m, 'has its devices tried';
like $r->{out}, qr/^ +board +when that is mended: rig unlock demo-1$/m, 'says what to do';
is cycles('demo-1'), $before, 'is not switched';
is state_of('demo-1'), 'quarantined', 'and stays there';
is $bench->rig('unlock', 'demo-1')->{exit}, 0, 'until a person clears it';

# left by a keeper that was killed
is $bench->rig('power', 'demo-1', 'on')->{exit}, 0, 'a board is on';
kill KILL => $bench->processes('rig-keeper');
ok Bench::wait_for(10, sub { state_of('demo-1') eq 'dirty' }), 'and its keeper is killed' or diag state_of('demo-1');
$r = $bench->rig('check', 'demo-1');
is $r->{exit}, 0, 'it can be checked';
like $r->{out}, qr/^warn +board +it was made safe first: its keeper was killed/m, 'and was made safe first' or diag $r->{out};

# somebody has it
my $wait = $bench->write('wait.lua', <<'LUA');
return require("rig").scenario { name = "wait", over = "once", run = function(t, board)
	t:note("up")
	board.console:try_expect("never", 600)
end }
LUA
my $run = $bench->start('run', $wait, '--board', 'demo-1');
ok Bench::wait_for(60, sub { state_of('demo-1') eq 'leased' }), 'a run has a board';
$r = $bench->rig('check', 'demo-1');
is $r->{exit}, 4, 'it is busy';
like $r->{out}, qr/^busy +board .*run \S+-wait/m, 'and who has it is said' or diag $r->{out};
$r = $bench->rig('check');
is $r->{exit}, 3, 'of all boards, one that fails counts for more';
is_deeply [$r->{out} =~ /^(\S+) \((?:nrf52840dk|plain)\)$/mg], [qw(demo-1 blank no-power no-console wrong-probe fed)], 'and all are tried';
kill INT => $run->{pid};
is $bench->finish($run)->{exit}, 130, 'the run ends';

# wrongly used
is $bench->rig('check', 'demo-9')->{exit}, 2, 'a board that is not there';
is $bench->rig('check', 'demo-1', 'blank')->{exit}, 2, 'two boards';
is $bench->rig('check', '--scan', 'demo-1')->{exit}, 2, 'a scan of a board';
like $bench->rig('check', '--help')->{out}, qr/--no-switch/, 'its help tells the options';

# on a terminal lines fit
{
	my $out = $bench->path('terminal');
	local %ENV = %{ $bench->{env} };
	system 'sh', '-c', 'exec script -qec "$1" "$2" >/dev/null </dev/null', 'sh', "stty cols 72 && $build/rig check no-power --no-switch", $out;
	my @lines = grep { !/^Script / } split /\r?\n/, Bench::slurp($out) // '';
	is_deeply [grep { length > 72 } @lines], [], 'lines fit the terminal';
	ok scalar(grep { /^ {16}\S/ } @lines), 'those that do not, go on below' or diag join "\n", @lines;
}

# --- what this host has: a keeper that finds what we say ---
mkdir $bench->path('bin') or die;
system('cp', "$build/rig", $bench->path('bin/rig')) == 0 or die 'cp';
my $fake = $bench->write('bin/rig-keeper', <<"SH");
#!/bin/sh
case \$1 in
--scan) cat "\$(dirname "\$0")/found" ;;
*) exec $build/rig-keeper "\$@" ;;
esac
SH
chmod 0755, $fake;

sub scan {
	my ($found, @args) = @_;
	$bench->write('bin/found', JSON::PP->new->canonical->encode($found));
	local %ENV = (%{ $bench->{env} }, RIG_CONFIG => '');
	my $out = $bench->path('scan.out');
	my $exit = system 'sh', '-c', 'cd / && exec "$0" check "$@" >"$OUT"', $bench->path('bin/rig'), @args if ($ENV{OUT} = $out);
	return ($exit >> 8, Bench::slurp($out));
}

my $found = {
	'usb-hid-relay' => { help => 'USB relay boards', caps => ['power'], found => [
		{ what => 'USB relay board 16c0:05df, serial 6QMBS, 8 channels', at => '1-1.4',
		  conf => 'power = { driver = "usb-hid-relay", serial = "6QMBS", channel = 1 }' },
		{ what => 'USB relay board 16c0:05df', at => '1-1.5', mend => 'it cannot be opened: sudo usermod -aG plugdev ann' } ] },
	openocd => { help => 'a debug probe, through OpenOCD', caps => ['probe'], found => [
		{ what => 'J-Link, serial 683101', conf => 'probe = { driver = "openocd", adapter = "jlink", serial = "683101" }' } ] },
	serial => { help => 'a serial port', caps => [qw(console modem)], found => [] },
	'gpio-relay' => { help => 'power through GPIO lines', caps => ['power'], found => [], error => '/dev: Permission denied' },
};
my ($exit, $text) = scan($found, '--scan');
is $exit, 0, 'a scan needs no configuration';
is $text, <<'TEXT', 'and lists what was found, by what it is for';
power: gpio-relay (power through GPIO lines)
  cannot look: /dev: Permission denied
power: usb-hid-relay (USB relay boards)
  USB relay board 16c0:05df, serial 6QMBS, 8 channels, at 1-1.4
      power = { driver = "usb-hid-relay", serial = "6QMBS", channel = 1 }
  USB relay board 16c0:05df, at 1-1.5
      to mend: it cannot be opened: sudo usermod -aG plugdev ann
probe: openocd (a debug probe, through OpenOCD)
  J-Link, serial 683101
      probe = { driver = "openocd", adapter = "jlink", serial = "683101" }
TEXT
($exit, $text) = scan($found, '--scan', '--json');
is_deeply decode_json($text), $found, 'for programs it is what the drivers say';
($exit, $text) = scan({ serial => { help => 'a serial port', caps => ['console'], found => [] } }, '--scan');
is $text, <<'TEXT', 'where nothing is found, what was looked for is said';
Nothing was found on this host. Looked for:
  serial         a serial port
TEXT
like `$build/rig-keeper --scan`, qr/^\{/, 'the keeper looks by itself';

# what there is instead of what was asked for
$bench->write('bin/found', JSON::PP->new->canonical->encode($found));
{
	local %ENV = %{ $bench->{env} };
	$text = `@{[$bench->path('bin/rig')]} check wrong-probe`;
	like $text, qr/^ +probe +there is J-Link, serial 683101: probe = \{ driver = "openocd", adapter = "jlink", serial = "683101" \}$/m,
		'a device that is not there is answered with those that are' or diag $text;
}

# --- boards that a stand-in switches: a relay that is a script, a sensor that is a file, a console that is a terminal ---

# Of a board: what its "on" and "off" do is that the file of that name holds the word; the sensor shows what is given.
my $switch = $bench->write('bin/switch', <<'SH');
#!/bin/sh
# switch FOLDER on|off [millivolts milliamperes]
if [ -n "$3" ]; then
	echo "$3" >"$1/hwmon0/in1_input.new" && mv "$1/hwmon0/in1_input.new" "$1/hwmon0/in1_input" || exit 1
	echo "$4" >"$1/hwmon0/curr1_input.new" && mv "$1/hwmon0/curr1_input.new" "$1/hwmon0/curr1_input" || exit 1
fi
echo "$2" >"$1/power.new" && mv "$1/power.new" "$1/power"
SH
chmod 0755, $switch;

sub stand_in {
	my ($name, %o) = @_;
	my $dir = $bench->path($name);
	mkdir $_ or die "$_: $!" for $dir, "$dir/hwmon0";
	$bench->write("$name/power", "off\n");
	my ($off, $on) = map { $o{$_} // '' } qw(off on);
	my ($volts, $amps) = split / /, $off;
	$bench->write("$name/hwmon0/name", "ina226\n");
	$bench->write("$name/hwmon0/in1_input", ($volts // 0) . "\n");
	$bench->write("$name/hwmon0/curr1_input", ($amps // 0) . "\n");
	return board($name, type => 'plain', ready_within => 3, devices => {
		power => "{ driver = \"command\", on = \"$switch $dir on $on\", off = \"$switch $dir off $off\" }",
		meter => $o{meter} ? "{ driver = \"hwmon\", chip = \"ina226\", root = \"$dir\" }" : undef,
		console => $o{console} ? "{ driver = \"pty\", path = \"$dir/console\" }" : undef,
		probe => undef });
}

# A terminal's other end, with a link to the terminal.
sub terminal {
	my ($link) = @_;
	my ($number, $unlock) = (pack('I', 0), pack('i', 0));
	open my $master, '+<', '/dev/ptmx' or die "/dev/ptmx: $!";
	ioctl($master, 0x40045431, $unlock) or die "TIOCSPTLCK: $!";
	ioctl($master, 0x80045430, $number) or die "TIOCGPTN: $!";
	unlink "$link.new";
	symlink '/dev/pts/' . unpack('I', $number), "$link.new" or die $!;
	rename "$link.new", $link or die $!;
	return $master;
}

# What is at the console does this when the power comes: it says the bytes, or it is plugged in anew.
sub device {
	my ($name, $does) = @_;
	my $dir = $bench->path($name);
	my $master = terminal("$dir/console");
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	my $was = 'off';
	while (-e "$dir/power") {
		my $is = (Bench::slurp("$dir/power") // 'off') =~ /on/ ? 'on' : 'off';
		if ($is ne $was && $is eq 'on') {
			if (defined $does) { syswrite $master, $does }
			else { close $master; $master = terminal("$dir/console") }
		}
		$was = $is;
		select undef, undef, undef, 0.01;
	}
	POSIX::_exit(0);
}

sub line_of { my ($r, $what) = @_; return $r->{out} =~ /^(\w+ +\Q$what\E .*)$/m ? $1 =~ s/ +/ /gr : "no line of $what: $r->{out}" }

{
	my $conf = Bench::slurp($bench->path('rig.conf'));
	$bench->write('rig.conf', $conf
		. stand_in('metered', off => '12 0', on => '3300 25', meter => 1)
		. stand_in('stuck', off => '3300 25', on => '3300 25', meter => 1)
		. stand_in('unplugged', off => '0 0', on => '0 0', meter => 1)
		. stand_in('garbled', console => 1)
		. stand_in('plain-text', console => 1)
		. stand_in('returns', console => 1)
		. stand_in('stays', console => 1));
	my @devices = (device('garbled', "\x80\xf8\x00\xe0x\xff\x1e\xfc\x80\x80" x 3), device('plain-text', "boot \xff 7\r\n"), device('returns'), device('stays', ''));

	$r = $bench->rig('check', 'metered');
	is $r->{exit}, 0, 'a relay that reads nothing back, beside a meter' or diag $r->{out}, $r->{err};
	like line_of($r, 'power'), qr/^warn power command .*switched on and off; off is verified by the meter$/, 'has its power verified by the meter';
	like line_of($r, 'meter'), qr/^ok meter hwmon .*off 0\.01 V 0 mA, on 3\.30 V 25 mA$/, 'which says what it read';

	like $r->{out}, qr/^ +power +nothing tells whether the power is on: give get = /m, 'what would tell more is said';
	is $bench->rig('power', 'metered', 'on')->{exit}, 0, 'by hand it is switched on';
	is $bench->rig('power', 'metered', 'get')->{out}, "on\n", 'is what it was set to';
	is $bench->rig('power', 'metered', 'off')->{exit}, 0, 'and is switched off';

	$r = $bench->rig('check', 'stuck');
	is $r->{exit}, 3, 'one that sticks';
	like $r->{out}, qr/^FAIL +power .*meter/m, 'is found out by the meter' or diag $r->{out};
	unlike $r->{out}, qr/verified by the meter/, 'and not called off';
	$bench->rig('unlock', 'stuck');

	$r = $bench->rig('check', 'unplugged');
	is $r->{exit}, 3, 'a supply that is not plugged in';
	like line_of($r, 'power'), qr/^FAIL power .*no power change seen \(meter: 0\.00 V 0 mA off, 0\.00 V 0 mA on\); off is verified by the meter$/,
		'shows no change at the meter';
	like $r->{out}, qr/^ +power +is the board's supply plugged in/m, 'and where to look is said';

	$r = $bench->rig('check', 'garbled');
	is $r->{exit}, 0, 'a console at the wrong baud rate is a warning' or diag $r->{err};
	like line_of($r, 'console'), qr/^warn console pty .*what it says after power on is no text: "\\x80/, 'with what it says';
	like $r->{out}, qr/^ +console +is the baud rate right\?$/m, 'and what it is likely to be' or diag $r->{out};
	like line_of($r, 'power'), qr/^warn power .*switched on and off; off is verified by the console$/, 'its power is seen to switch all the same';

	$r = $bench->rig('check', 'plain-text');
	like line_of($r, 'console'), qr/^ok console pty .*says "boot \\xff 7"$/, 'a line with a byte that is none is text';

	$r = $bench->rig('check', 'returns');
	is $r->{exit}, 0, 'a console that comes back when the power does' or diag $r->{out};
	like line_of($r, 'power'), qr/^warn power .*switched on and off; /, 'shows that it switches';
	like line_of($r, 'console'), qr/^warn console .*silent for 3 s after power on$/, 'though it says nothing';
	$r = $bench->rig('check', 'stays');
	is $r->{exit}, 3, 'one that stays there and says nothing does not';
	like line_of($r, 'power'), qr/^FAIL power .*no power change seen \(console: silent for 3 s\)/, 'as is said';

	is_deeply [map { state_of($_) } qw(metered stuck unplugged garbled returns stays)], [('free') x 6], 'these boards are left free, too';
	unlink map { $bench->path("$_/power") } qw(garbled plain-text returns stays);
	waitpid $_, 0 for @devices;
	$bench->write('rig.conf', $conf);
}

is_deeply [map { state_of($_) } qw(demo-1 blank no-power no-console wrong-probe fed)], [('free') x 6], 'every board is left free';
ok Bench::wait_for(10, sub { !$bench->processes('rig-keeper') }), 'and no keeper is left';
done_testing;
