#!/usr/bin/perl
# Wrong input: one clear message, the right exit status, nothing that looks like a result.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $matrix = "$FindBin::Bin/../scenarios/upgrade_matrix.lua";
my $bench = Bench->new;

sub refused {
	my ($b, $args, $exit, $says, $what) = @_;
	my $r = $b->rig(@$args);
	is $r->{exit}, $exit, "$what: exit status $exit" or diag $r->{out}, $r->{err};
	like $r->{err}, $says, "$what: says what is wrong";
	my @lines = grep { /\S/ } split /\n/, $r->{err};
	cmp_ok scalar @lines, '<=', 2, "$what: in one message" or diag $r->{err};
	is $r->{out}, '', "$what: nothing on standard output";
	is_deeply [$b->runs], [], "$what: nothing left that looks like a run";
}

refused($bench, ['run', 'no_such.lua'], 2, qr/no_such\.lua/, 'a scenario that is not there');
refused($bench, ['run', $bench->write('syntax.lua', "local x = = 2\n")], 2, qr/syntax\.lua:1/, 'a scenario with a syntax error');
refused($bench, ['run', $matrix, '--board', 'demo-9'], 2, qr/demo-9.*demo-1/, 'an unknown board');
refused($bench, ['run', $matrix, '--only', '1.0.0:9.9.9'], 2, qr/9\.9\.9/, 'an unknown version');
refused($bench, ['run', $matrix, '--cut', '5:ripped'], 2, qr/ripped/, 'an unknown tear');
refused($bench, ['run', $matrix, '--cuts', 'many'], 2, qr/many/, 'cuts that are no number');
refused($bench, ['run', $matrix, '--nonsense'], 2, qr/nonsense/, 'an unknown option');
refused($bench, ['frobnicate'], 2, qr/frobnicate/, 'an unknown command');
refused($bench, ['flash', 'demo-1', '7.7.7'], 2, qr/7\.7\.7/, 'flashing an unknown version');
refused($bench, ['--config', 'no.conf', 'boards'], 2, qr/no\.conf/, 'a configuration that is not there');

refused(Bench->new(conf => "board \"x\" { typ = \"nrf52840dk\" }\n"), ['boards'], 2,
	qr/rig\.conf:\d+.*typ\b.*type/, 'an unknown key');
refused(Bench->new(conf => "board \"x\" {\n"), ['boards'], 2, qr/rig\.conf:\d+/, 'a configuration with a syntax error');

my $root = Bench::root();
sub write_releases {
	my ($b, $image) = @_;
	$b->write('releases.lua', join "\n", 'return { product = "p", releases = {',
		(map { "{ version = \"$_\", images = { bootloader = \"$image\", application = \"$root/build/firmware/$_/app.bin\" } }," }
			'1.0.0', '1.1.0'),
		'}, policy = { updates = "any" } }', '');
}

my $missing = Bench->new(releases => 'releases.lua');
write_releases($missing, 'gone.hex');
refused($missing, ['run', $matrix], 2, qr/releases\.lua:2.*gone\.hex/, 'an image that is not there');

my $truncated = Bench->new(releases => 'releases.lua');
my $hex = Bench::slurp("$root/build/firmware/bootloader.hex");
$truncated->write('short.hex', substr $hex, 0, length($hex) / 2);
write_releases($truncated, $truncated->path('short.hex'));
refused($truncated, ['run', $matrix], 2, qr/short\.hex:\d+/, 'a truncated hex file');

# OpenOCD is not installed
my $without = Bench->new;
my $bin = $without->path('bin');
mkdir $bin;
$without->{env}{PATH} = $bin;
my $r = $without->rig('run', $matrix);
is $r->{exit}, 3, 'without openocd: exit status 3' or diag $r->{err};
like $r->{err}, qr/openocd is not installed/, 'without openocd: says so';
like $r->{out}, qr/^Bail out!/m, 'without openocd: the TAP is an error of the bench, no failure of the device';
unlike $r->{out}, qr/^not ok/m, 'and blames no device';
is $without->rig('boards')->{out} =~ /demo-1 +\S+ +(\w+)/ && $1, 'free', 'and the board is free';

# a full disk for the journal
SKIP: {
	my $full = Bench->new;
	my $mnt = $full->path('runs');
	mkdir $mnt;
	my $mounted = system("mount -t tmpfs -o size=400k tmpfs $mnt 2>/dev/null") == 0;
	# CI has the right: there it is no excuse
	ok $mounted, 'a small file system can be mounted' if $ENV{CI};
	skip 'needs the right to mount a small file system', 4 if !$mounted;
	# flash of the virtual board lives elsewhere; only the journal's disk is small
	mkdir $full->path('boards');
	symlink $full->path('boards'), "$mnt/.boards";
	system("dd if=/dev/zero of=$mnt/filler bs=1k count=370 2>/dev/null");
	my $f = $full->rig('run', $matrix);
	is $f->{exit}, 3, 'full disk: exit status 3' or diag $f->{out}, $f->{err};
	like $f->{err}, qr/No space left/, 'full disk: says so';
	unlike $f->{out}, qr/^# verdict pass/m, 'full disk: no pass is claimed';
	like $full->rig('boards')->{out}, qr/demo-1 +\S+ +free/, 'full disk: the board was made safe';
	system("umount $mnt");
}

done_testing;
