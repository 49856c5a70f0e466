#!/usr/bin/perl
# The udev rules that are shipped: each line is one that udev reads, and every device that the drivers know by its
# numbers gets its group, and is left alone by ModemManager where it has ports.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $root = Bench::root();
my $file = "$root/drivers/60-rig.rules";

# --- the lines (udev(7)) ---------------------------------------------------------------------------

my %matches = map { $_ => 1 } qw(SUBSYSTEM KERNEL DRIVER ATTR ATTRS ENV);
my %sets = map { $_ => 1 } qw(MODE GROUP TAG ENV ATTR RUN);
my @rules;
my $number = 0;
for my $line (split /\n/, Bench::slurp($file)) {
	$number++;
	next if $line =~ /^\s*(#|$)/;
	my (@match, @set, @wrong);
	my $rest = $line;
	while ($rest =~ s/^([A-Z]+)(?:\{([^}]+)\})?(==|!=|\+=|=)"([^"]*)"(?:, |$)//) {
		my ($key, $name, $op, $value) = ($1, $2, $3, $4);
		my $is_match = $op =~ /^[=!]=$/;
		push @wrong, "$key$op" if !($is_match ? $matches{$key} : $sets{$key});
		push @wrong, "$key wants a name" if $key =~ /^(ATTRS?|ENV)$/ && !defined $name;
		push @wrong, "$key $op adds nothing" if $op eq '+=' && $key !~ /^(TAG|RUN)$/;
		push @wrong, "$key=$value" if $key eq 'MODE' && $value !~ /^0[0-7]{3}$/;
		push @{ $is_match ? \@match : \@set }, [$key, $name, $op, $value];
	}
	is "$rest@wrong", '', "line $number is one that udev reads";
	ok @match && @set, "line $number matches something, and does something";
	push @rules, { match => \@match, set => \@set };
}
my $verify = qx(udevadm verify --help 2>/dev/null);
is qx(udevadm verify --no-summary '$file' 2>&1), '', 'and so says udevadm verify' if $verify =~ /verify/;

# --- devices ---------------------------------------------------------------------------------------

sub glob_matches {
	my ($pattern, $value) = @_;
	return 0 if !defined $value;
	my $re = join '|', map { my $p = quotemeta; $p =~ s/\\\*/.*/g; $p =~ s/\\\?/./g; $p =~ s/\\\[(.*?)\\\]/'[' . $1 =~ s{\\}{}gr . ']'/ge; $p } split /\|/, $pattern;
	return $value =~ /^(?:$re)$/;
}

# What the rules make of an event. %of: subsystem, type, kernel, driver, and attr of it and its USB device.
sub treated {
	my (%of) = @_;
	my %got;
	RULE: for my $rule (@rules) {
		for (@{ $rule->{match} }) {
			my ($key, $name, $op, $value) = @$_;
			my $is = $key eq 'SUBSYSTEM' ? $of{subsystem} : $key eq 'KERNEL' ? $of{kernel} : $key eq 'DRIVER' ? $of{driver}
				: $key eq 'ENV' ? ($name eq 'DEVTYPE' ? $of{type} : undef)
				: $key eq 'ATTR' && $of{subsystem} eq 'tty' ? undef # it is its parent's
				: $of{attr}{$name};
			next RULE if glob_matches($value, $is) != ($op eq '==');
		}
		for (@{ $rule->{set} }) {
			my ($key, $name, undef, $value) = @$_;
			$got{ defined $name ? $key . "{$name}" : $key } = $value;
		}
	}
	return \%got;
}

sub usb { my ($id, %more) = @_; my ($v, $p) = split /:/, $id; return (subsystem => 'usb', type => 'usb_device', attr => { idVendor => $v, idProduct => $p, %more }) }
sub tty { return (usb(@_), subsystem => 'tty', type => undef) }

sub is_for {
	my ($what, $group, $got) = @_;
	is $got->{GROUP}, $group, "$what belongs to $group" or return;
	like $got->{MODE}, qr/^06/, "$what can be written by it";
}
sub is_no_modem { my ($what, $got) = @_; is $got->{'ENV{ID_MM_DEVICE_IGNORE}'}, 1, "$what is no modem" }

# The numbers that the drivers know.
sub numbers { my ($source, $re) = @_; return Bench::slurp("$root/drivers/$source") =~ /$re/g }
my ($relay_vendor) = numbers('usb_hid_relay.c', qr/#define VENDOR 0x(\w{4})/);
my ($relay_product) = numbers('usb_hid_relay.c', qr/#define PRODUCT 0x(\w{4})/);
is_for("a USB relay board $relay_vendor:$relay_product", 'plugdev', treated(usb("$relay_vendor:$relay_product")));

my ($lcus) = numbers('serial_relay.c', qr/is_lcus\(.*?\{(.*?)\}/s);
my ($vendor) = $lcus =~ /vendor == 0x(\w{4})/;
my @ports = map { "$vendor:$_" } $lcus =~ /product == 0x(\w{4})/g;
is scalar(@ports), 2, 'serial-relay knows two chips by their numbers';
my ($numato) = numbers('serial_relay.c', qr/is_numato\(.*?vendor == 0x(\w{4})/s);
push @ports, "$numato:0c01", "$numato:0c05";
push @ports, '0403:6001', '0403:6015'; # whose latency timer is set
for my $id (@ports) {
	is_for("a port of $id", 'dialout', treated(tty($id)));
	is_no_modem("what has a port of $id", treated(usb($id)));
}

my ($list) = numbers('openocd_usb.c', qr/stlink_products\[\] = \{(.*?)\}/s);
my %probe = map { $_ => numbers('openocd_usb.c', qr/#define $_ 0x(\w{4})/) } qw(SEGGER ST);
my @stlinks = $list =~ /0x(\w{4})/g;
cmp_ok scalar(@stlinks), '>=', 9, 'openocd knows ST-LINKs by their numbers';
for my $id ((map { "$probe{ST}:$_" } @stlinks), "$probe{SEGGER}:0101", "$probe{SEGGER}:1015") {
	is_for("a probe $id", 'plugdev', treated(usb($id)));
	is_no_modem("a probe $id", treated(usb($id)));
}
for my $name ('DAPLink CMSIS-DAP', 'Debugprobe on Pico (CMSIS-DAP)', 'CMSIS-DAP') {
	my @dap = ('2e8a:000c', product => $name);
	is_for("\"$name\"", 'plugdev', treated(usb(@dap)));
	is_no_modem("\"$name\"", treated(usb(@dap)));
	is_for("\"$name\" as a HID device", 'plugdev', treated(usb(@dap), subsystem => 'hidraw', type => undef));
}

# a DUT, a modem, and another product of a vendor whose probes are known stay as they are
for my $id ('2fe3:0004', '12d1:1506', "$probe{ST}:5740", "$relay_vendor:0477", "$vendor:55d4") {
	is_deeply [treated(usb($id, product => 'Zephyr')), treated(tty($id, product => 'Zephyr'))], [{}, {}], "$id is none of the rig's";
}

is_for('a hub', 'plugdev', treated(usb('05e3:0610', bDeviceClass => '09')));
is_for('a GPIO chip', 'gpio', treated(subsystem => 'gpio', kernel => 'gpiochip0'));
done_testing;
