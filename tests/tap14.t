#!/usr/bin/perl
# What the rig calls TAP, read by a parser that is not ours: npm's tap-parser, in its strict mode.
# It is installed into build/node when it is not there. Without npm, or without its registry, this
# fails in CI (CI is set) and is skipped elsewhere.
use strict;
use warnings;
use Fcntl qw(:flock);
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use JSON::PP;
use Test::More;

my $build = $ENV{RIG_BUILD} // 'build/release';
my $node = 'build/node';
my $parser = "$node/node_modules/.bin/tap-parser";
my $printer = "$build/tests/test_tap";

sub give_up {
	my ($why) = @_;
	if ($ENV{CI}) {
		ok(0, 'the independent TAP 14 parser is there');
		diag("tap-parser from npm is needed in CI: $why");
		done_testing();
	} else {
		plan(skip_all => $why);
	}
	exit;
}

sub install {
	make_path($node);
	open my $lock, '>', "$node/.lock" or give_up("$node/.lock: $!");
	flock $lock, LOCK_EX;
	return if -x $parser;
	my $said = `npm install --silent --no-audit --no-fund --prefer-offline --prefix $node tap-parser\@18 2>&1`;
	-x $parser or give_up("npm cannot install tap-parser: $said");
}

# The parser's events for one golden journal rendered as TAP of that version, or for a file, and its exit status.
sub parse {
	my ($name, $version, @item) = @_;
	my $pid = open(my $in, '-|') // die "fork: $!";
	if (!$pid) {
		my $tap;
		if (-e $name) {
			open $tap, '<', $name or die "$name: $!";
		} else {
			open $tap, '-|', $printer, '--print', "tests/golden/$name.ndjson", $version, @item
				or die "$printer: $!";
		}
		open STDIN, '<&', $tap or die "stdin: $!";
		exec $parser, '--strict', '-j' or die "$parser: $!";
	}
	my $text = do { local $/; <$in> };
	close $in;
	return (decode_json($text), $? >> 8);
}

# Everything the parser says about a document, subtests included.
sub look {
	my ($events, $found) = @_;
	$found //= { points => [], extra => [], errors => [], complete => undef, version => undef };
	for my $event (@$events) {
		my ($kind, $what) = @$event;
		if ($kind eq 'child') {
			my $inner = look($what);
			push @{ $found->{$_} }, @{ $inner->{$_} } for qw(extra errors);
			push @{ $found->{children} }, $inner;
		}
		push @{ $found->{extra} }, $what if $kind eq 'extra';
		push @{ $found->{points} }, $what if $kind eq 'assert';
		push @{ $found->{errors} }, $what->{tapError} if $kind eq 'assert' && $what->{tapError};
		$found->{version} = $what if $kind eq 'version';
		if ($kind eq 'complete') {
			$found->{complete} = $what;
			push @{ $found->{errors} }, grep { $_->{tapError} } @{ $what->{failures} // [] };
		}
	}
	return $found;
}

-e $printer or BAIL_OUT("$printer is not built");
install() unless -x $parser;
my $version = `$parser --version 2>&1`;
diag("tap-parser $version") if $version =~ /^\d/;

my %expect = ( # points, failed, subtests, bails out
	'matrix' => [ 4, 2, 2, 0 ],
	'power-loss' => [ 1, 1, 1, 0 ],
	'bench-error' => [ 2, 1, 2, 1 ],
	'fail-fast' => [ 2, 1, 1, 0 ],
	'interrupted' => [ 1, 1, 1, 1 ],
	'resumed' => [ 3, 1, 3, 0 ],
	'coverage' => [ 2, 1, 2, 0 ],
	'died' => [ 2, 1, 2, 1 ],
	'before-plan' => [ 0, 0, 0, 1 ],
	'inconclusive' => [ 1, 0, 0, 0 ],
);

for my $name (sort keys %expect) {
	my ($points, $failed, $subtests, $bails) = @{ $expect{$name} };
	for my $v (13, 14) {
		my ($events, $status) = parse($name, $v);
		my $seen = look($events);
		is($seen->{version}, $v, "$name: is TAP $v");
		is_deeply($seen->{extra}, [], "$name: no line is foreign to TAP $v");
		is(scalar @{ $seen->{points} }, $points, "$name: $points points");
		is(scalar(grep { !$_->{ok} } @{ $seen->{points} }), $failed, "$name: $failed failed");
		is(scalar @{ $seen->{children} // [] }, $subtests, "$name: $subtests subtests");
		is(!!$seen->{complete}{bailout}, !!$bails, "$name: bails out: $bails");
		is($status != 0, $failed > 0 || $bails > 0, "$name: the parser's exit status agrees");
		is_deeply($seen->{errors}, [], "$name: no error in TAP") unless $bails;
	}
}

my ($events) = parse('power-loss', 14);
my $diag = look($events)->{children}[0]{points}[2]{diag};
is($diag->{cuts}[0]{landed}, 900, 'a failing trial says where its cut landed');
is($diag->{findings}[0]{name}, 'bricked', 'and what was found');
is($diag->{console}[1], 'not ok 1 - this is the DUT speaking', 'a console line is data only');
is($diag->{console}[3], 'key: value', 'a console line with a colon stays a string');
is($diag->{console}[0], "boot: \e[31mswap resumed at \x{e9} \x{2028} sector 12",
	'escapes come back as the bytes they stand for');
like($diag->{replay}, qr/^rig run .* --cut 900 --seed 7$/, 'and how to replay it');

($events) = parse('matrix', 14);
is(look($events)->{points}[0]{name}, '1.0.0:2.0.0 upgrade #1', 'an escaped # is a #');

($events) = parse('matrix', 14, '1.0.0:1.1.0');
my $one = look($events);
is($one->{complete}{ok}, JSON::PP::true, "one item's document passes by itself");
is(scalar @{ $one->{points} }, 1, 'and has its point alone');

# prove reads version 13, top-level diagnostics included.
my %prove = ('inconclusive' => 0, 'fail-fast' => 1, 'matrix' => 1, 'power-loss' => 1, 'resumed' => 1, 'coverage' => 1);
for my $name (sort keys %prove) {
	my $said = `prove --norc -e cat tests/golden/$name.tap 2>&1`;
	is($? >> 8, $prove{$name}, "prove takes $name: exit status $prove{$name}");
	unlike($said, qr/Parse errors/, 'and finds no error in it');
}

# what a user gets: a whole run, live
my $bench = Bench->new;
my $run = $bench->rig('run', 'upgrade-matrix', '--only', '1.0.0:*', '--tap', '14');
is($run->{exit}, 0, 'a run passes') or diag($run->{err});
my ($live, $status) = parse($bench->write('live.tap', $run->{out}));
my $seen = look($live);
is($status, 0, 'and the parser agrees');
is($seen->{version}, 14, 'that it is TAP 14');
is_deeply([$seen->{extra}, $seen->{errors}], [[], []], 'without a foreign line or an error');
is(scalar @{ $seen->{children} }, 4, 'with a subtest for each transition');

done_testing();
