#!/usr/bin/perl
# The example of docs/adding-a-driver.md: built as the document says, and put under the contract of drivers.
use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $root = "$FindBin::Bin/..";
my $build = $ENV{RIG_BUILD} || "$root/build/release";
my $dir = tempdir(CLEANUP => 1);

sub slurp {
	my ($path) = @_;
	open my $f, '<', $path or die "$path: $!";
	local $/;
	return <$f>;
}

sub put {
	my ($name, $text) = @_;
	open my $f, '>', "$dir/$name" or die "$name: $!";
	print $f $text;
	close $f or die "$name: $!";
	return "$dir/$name";
}

my $doc = slurp("$root/docs/adding-a-driver.md");
my %block;
$block{$1}{$2} = $3 while $doc =~ /^```c (\w+)=(\w+)\n(.*?)^```$/msg;
is_deeply [sort keys %block], ['contract', 'driver', 'table'], 'the document has a driver, its line and its contract';

for my $name (sort keys %{$block{driver}}) {
	my $table = slurp("$root/drivers/drivers.c");
	$table =~ s{"driver.h"}{"drivers/driver.h"};
	$table =~ s/^(#define DRIVERS\(X\) \\\n)/$1$block{table}{$name}/m or die 'drivers.c: no table';
	my @sources = (put('table.c', $table), put("$name.c", $block{driver}{$name}),
		put('contract.c', $block{contract}{$name} . <<'END'));

/* what the table's other drivers need */
#include "probe_port_bench.h"

int main(void)
{
	struct CMUnitTest tests[CONTRACT_CLAIMS];
	int failed;

	contract_tests(&contract, tests);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < CONTRACT_CLAIMS; i++)
		free((char *)(uintptr_t)tests[i].name);
	return failed;
}
END
	my ($variant) = $build =~ m{([^/]+)/*$};
	my %more = (asan => '-fsanitize=address,undefined', tsan => '-fsanitize=thread', cov => '--coverage');
	my $flags = `pkg-config --cflags --libs libuv jansson libcbor nettle libpcre2-8 libgpiod libusb-1.0 libserialport libcurl`;
	$flags =~ s/\s+/ /g;
	my $warn = '-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror';
	my $said = `gcc -std=gnu11 -D_GNU_SOURCE -g $warn -I$root -I$root/tests @{[$more{$variant} || '']} -o $dir/run @sources \\
		$build/libdrivers.a $build/librig.a -lcmocka $flags 2>&1`;
	is $?, 0, "$name is built without a warning" or diag $said;
	is $said, '', "$name: the compiler has nothing to say";
	my $tap = `CMOCKA_MESSAGE_OUTPUT=TAP $dir/run 2>&1`;
	is $?, 0, "$name keeps the contract" or diag $tap;
	cmp_ok scalar(() = $tap =~ /^ok /mg), '>=', 10, "$name: all of it was tested";
	my %option = map { $_ => 1 } $block{driver}{$name} =~ /^\t\{"(\w+)", OPTION_/mg;
	my ($conf) = $doc =~ /^```lua\n(power = .*?)^```$/ms;
	my @unknown = grep { !$option{$_} && $_ ne 'power' && $_ ne 'driver' } $conf =~ /(\w+) =/g;
	is "@unknown", '', "$name: rig.conf's example has no option that the driver has not";
}

done_testing;
