#!/usr/bin/perl
# tests/coverage.pl agrees with coverage records that are right, the rig's own among them, and finds each that is not.
use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use JSON::PP;
use Test::More;

my $json = JSON::PP->new->canonical->utf8;
my $dir = tempdir(CLEANUP => 1);
my $build = $ENV{RIG_BUILD} || "$FindBin::Bin/../build/release";
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# Writes records as a journal and runs coverage.pl over it: (exit status, output).
sub check {
	my ($tail, @records) = @_;
	my $path = "$dir/journal.ndjson";
	my $seq = 0;
	open my $out, '>', $path or die "$path: $!";
	print $out $json->encode({ %$_, seq => ++$seq }), "\n" for @records;
	print $out $tail;
	close $out or die "$path: $!";
	my $seen = qx{'$^X' '$FindBin::Bin/coverage.pl' '$path' 2>&1};
	return ($? >> 8, $seen);
}

sub r { my ($kind, $board, @fields) = @_; return { kind => $kind, board => $board, trial => undef, @fields } }
sub copy { my ($value) = @_; return $json->decode($json->encode($value)) }

# The records of one trial on a board: cuts are [requested, landed_as] or a hash.
sub trial {
	my ($board, $key, $verdict, @cuts) = @_;
	return (
		r('trial-start', $board, trial => $key),
		(map { r('cut', $board, trial => $key,
			ref eq 'HASH' ? %$_ : (requested => $_->[0], landed_as => $_->[1], counted => 1)) } @cuts),
		defined $verdict ? r('verdict', $board, trial => $key, verdict => $verdict) : ());
}

sub begin {
	my ($board, $item, @fields) = @_;
	return r('item-start', $board, item => $item, @fields);
}

sub finish {
	my ($board, $item, $verdict) = @_;
	return r('item-end', $board, item => $item, verdict => $verdict // 'pass');
}

# --- one update of ten operations, worked out by hand -------------------------------------------------------------

my $trace = r('trace', 'b', operations => 10, source => 'operations', classes => [
	{ name => 'bulk', size => 'bulk', operations => 6, ranges => [[1, 3], [7, 9]] },
	{ name => 'status', size => 'metadata', operations => 4, ranges => [[4, 6], [10, 10]] },
]);
my @trials = (
	trial('b', 'x/uncut', 'pass'),
	trial('b', 'x/cut=2', 'pass', ['2', '2']),
	trial('b', 'x/cut=5:torn:3', 'pass', ['5:torn:3', '5:torn:3']),
	trial('b', 'x/cut=6:torn:3', 'pass', ['6:torn:3', '6']),
	trial('b', 'x/cut=5,2', 'pass', ['5', '5'], { requested => '2', landed_as => undef, counted => 2 }),
	trial('b', 'x/cut=5', 'pass', ['5', '5']),
	trial('b', 'x/cut=8', 'pass', ['8', '9']),
	trial('b', 'x/cut=7', 'pass', ['7', undef]),
	trial('b', 'x/cut=end', 'pass', ['end', 'end']),
);
my $coverage = r('coverage', 'b', operations => 10, source => 'operations', cuts => 6, positions => 5,
	tears => { clean => 5, torn => 1 }, end => $true, depth => 2, second => 1,
	metadata => { operations => 4, before => 2, torn => 1, untearable => 1, after => 3 },
	classes => [
		{ name => 'bulk', operations => 6, cuts => 2, clean => 2, torn => 0 },
		{ name => 'status', operations => 4, cuts => 3, clean => 2, torn => 1 },
	],
	gap => 2, gap_at => [3, 4], gap_by_tear => { clean => 2, torn => 4 },
	landing_error => { max => 1, mean => 0.143 }, unplaced => 1, by_count => 0, trials => 9, failed => 0, inconclusive => 0,
	sentence => '6 distinct cuts of 10 operations: 2 of 4 metadata operations before, 1 torn, 3 after (1 showed no tear); '
		. 'no failing window wider than 2 operations (2 where only clean cuts fail, 4 where only torn ones); '
		. 'depth 2, a second cut in 1 trial; 1 cut could not be placed');
my @head = (r('run', undef), begin('b', 'x'), $trace);

my ($exit, $out) = check('', @head, @trials, $coverage, finish('b', 'x'));
is $exit, 0, 'a right record agrees' or diag $out;
is $out, "ok x: 6 cuts, gap 2, 2 of 4 metadata operations before, 1 torn, 3 after, depth 2, 9 trials\n", 'in one line';

# --- a record that lies is found, in whichever field --------------------------------------------------------------

my $all = copy($coverage);
delete @$all{qw(kind board trial sentence)};

# Every place in a value: the way to it, and its name.
sub places {
	my ($value, $name) = @_;
	return map { my $k = $_; map { [ [$k, @{ $_->[0] }], $_->[1] ] } places($value->{$k}, $name ? "$name.$k" : $k) } sort keys %$value
		if ref $value eq 'HASH';
	return map { my $i = $_; map { [ [$i, @{ $_->[0] }], $_->[1] ] } places($value->[$i], $name . '[' . ($i + 1) . ']') } 0 .. $#$value
		if ref $value eq 'ARRAY';
	return [ [], $name ];
}

my @lies; # [what it is, the record, what is to be said of it]
for my $place (places($all, '')) {
	my ($way, $name) = @$place;
	my $lie = copy($coverage);
	my $at = \$lie;
	$at = ref $$at eq 'HASH' ? \$$at->{$_} : \$$at->[$_] for @$way;
	$$at = ref $$at ? $false : $$at =~ /^[\d.]+$/ ? $$at + 1 : 'lines';
	push @lies, ["a wrong $name", $lie, $name];
}
cmp_ok scalar @lies, '>=', 30, 'every field has its turn';
for my $field (sort keys %$all, 'sentence') {
	my $lie = copy($coverage);
	delete $lie->{$field};
	push @lies, ["a record without $field", $lie, $field];
}
for my $wrong (
	['6 distinct', '7 distinct'], ['of 10 operations:', 'of 11 operations:'], ['2 of 4 meta', '3 of 4 meta'],
	['1 torn, 3', '2 torn, 3'], ['3 after', '2 after'], ['(1 showed', '(2 showed'], ['wider than 2', 'wider than 1'],
	['(2 where', '(1 where'], ['4 where', '3 where'], ['depth 2', 'depth 3'], ['in 1 trial', 'in 2 trials'],
	['1 cut could', '2 cuts could'], ['operations: 2', 'operations: all points; 2'],
	['2 of 4 metadata operations before, 1 torn, 3 after', 'all 4 metadata operations before, torn and after'],
	['6 distinct cuts', '6 cuts'], ['; depth', '; 99 % sure; depth'],
) {
	my $lie = copy($coverage);
	$lie->{sentence} =~ s/\Q$wrong->[0]\E/$wrong->[1]/ or die "not in the sentence: $wrong->[0]";
	push @lies, ["a sentence that says \"$wrong->[1]\"", $lie, 'sentence'];
}
($exit, $out) = check('', map { (begin('b', "lie $_"), $trace, @trials, $lies[$_][1], finish('b', "lie $_")) } 0 .. $#lies);
is $exit, 1, 'what is not so is found';
my @found = split /\n/, $out;
is scalar @found, scalar @lies, 'a line each';
like $found[$_], qr/^not ok lie $_: record \d+: .*\Q$lies[$_][2]\E/, "$lies[$_][0] is found" for 0 .. $#lies;

($exit, $out) = check('', @head, @trials, finish('b', 'x'));
is $exit, 1, 'an item without a coverage record is found';
is $out, "not ok x: no coverage record\n", 'and named';

# --- what a failure takes from the sentence -----------------------------------------------------------------------

my @failing = (@trials, trial('b', 'x/cut=9', 'fail', ['9', '9'], { requested => '9', landed_as => '3', again => $true }));
my $failed = copy($coverage);
@$failed{qw(trials failed)} = (10, 1);
$failed->{landing_error}{mean} = 0.125;
($exit, $out) = check('', @head, @failing, $failed, finish('b', 'x', 'fail'));
is $exit, 1, 'no window may be ruled out when a trial failed';
like $out, qr/"no failing window wider than 2 operations" is not so/, 'which is said';
like $out, qr/does not say that trials failed/, 'as is what is missing';
$failed->{sentence} =~ s/no failing window .*?\)/the widest stretch without a cut is 2 operations/;
$failed->{sentence} =~ s/; 1 cut/; 1 of 10 trials failed; 1 cut/;
($exit, $out) = check('', @head, @failing, $failed, finish('b', 'x', 'fail'));
is $exit, 0, 'the failing trial counts once, its second attempt not at all' or diag $out;

# --- what a cut that was never alone takes from it ----------------------------------------------------------------

my @never_alone = grep { ($_->{trial} // '') ne 'x/cut=5' } @trials;
my $pairs = copy($coverage);
$pairs->{trials} = 8;
$pairs->{landing_error}{mean} = 0.167;
($exit, $out) = check('', @head, @never_alone, $pairs, finish('b', 'x'));
is $exit, 1, 'no window may be ruled out where only two cuts together were tried';
like $out, qr/record \d+: sentence: "no failing window wider than 2 operations" is not so/, 'which is said';
$pairs->{sentence} =~ s/no failing window .*?\)/the widest stretch without a cut is 2 operations/;
($exit, $out) = check('', @head, @never_alone, $pairs, finish('b', 'x'));
is $exit, 0, 'the numbers count that cut all the same' or diag $out;

# --- journals of runs that did not go straight --------------------------------------------------------------------

# the same on another board, records interleaved, one for one
my @other = map { my $o = copy($_); $o->{board} = 'c'; defined and s/^x/y/ for @$o{qw(trial item)}; $o }
	begin('b', 'x'), $trace, (grep { ($_->{trial} // '') ne 'x/cut=2' } @trials);
my $less = copy($coverage);
@$less{qw(board cuts positions gap trials)} = ('c', 5, 4, 4, 8);
$less->{tears}{clean} = 4;
@{ $less->{classes}[0] }{qw(cuts clean)} = (1, 1);
$less->{gap_at} = [1, 4];
$less->{gap_by_tear}{clean} = 4;
$less->{landing_error}{mean} = 0.167;
$less->{sentence} =~ s/^6/5/;
$less->{sentence} =~ s/wider than 2/wider than 4/;
$less->{sentence} =~ s/\(2 where/(4 where/;
my @one = (begin('b', 'x'), $trace, @trials, $coverage, finish('b', 'x'));
my @two = (@other, $less, finish('c', 'y'));
my @mixed = map { ($one[$_] // (), $two[$_] // ()) } 0 .. $#one;
($exit, $out) = check('', r('run', undef), @mixed);
is $exit, 0, 'two boards at once are told apart' or diag $out;
like $out, qr/^ok x: 6 cuts.*\nok y: 5 cuts/, 'each with its own cuts';

# killed in the middle of a trial, and resumed
my @killed = (
	trial('b', 'x/cut=3', undef, ['3', '3']),                     # void
	r('end', undef, verdict => 'error'), r('resume', undef, after => 9),
	begin('b', 'x', resumed => $true),
	trial('b', 'x/cut=3', 'error', ['3', '3']),                   # adds nothing
);
($exit, $out) = check('', @head, @trials, @killed, $coverage, finish('b', 'x'));
is $exit, 0, 'a trial without a verdict is void, one in error adds nothing, earlier ones count' or diag $out;
($exit, $out) = check('', @head, @trials[0 .. 4], $coverage, @killed, @trials[5 .. $#trials], $coverage, finish('b', 'x'));
is $exit, 0, 'an item goes on where it was resumed' or diag $out;
($exit, $out) = check('', @head, @trials, trial('b', 'x/cut=3', undef, ['3', '3']), trial('b', 'x/cut=4', undef, ['4', '4']),
	$coverage, finish('b', 'x'));
is $exit, 0, 'a trial that the next one follows without a verdict is void' or diag $out;
($exit, $out) = check('', @head, trial('b', 'x/cut=2', 'error', ['2', '4']), @trials, $coverage, finish('b', 'x'));
is $exit, 0, 'the same trial begun again after an error counts as it went then' or diag $out;

# begun anew
my @before = (r('run', undef), begin('b', 'x'), r('trace', 'b', operations => 99), trial('b', 'x/cut=44', 'pass', ['44', '44']),
	finish('b', 'x', 'error'), begin('b', 'x'), $trace);
($exit, $out) = check('', @before, @trials, $coverage, finish('b', 'x'));
is $exit, 0, 'an item begun anew forgets what was before' or diag $out;

# the newest record counts
my $stale = copy($coverage);
$stale->{cuts} = 1;
($exit, $out) = check('', @head, @trials, $stale, $coverage, finish('b', 'x'));
is $exit, 0, 'the newest coverage record counts' or diag $out;
($exit, $out) = check('', @head, @trials, $coverage, $stale, finish('b', 'x'));
is $exit, 1, 'even when the one before was right';

# not at its end
($exit, $out) = check('{"seq":', @head, @trials, $coverage);
is $exit, 0, 'an item that did not end is compared when its record is of all its trials' or diag $out;
($exit, $out) = check('', @head, @trials[0 .. 4], $coverage, @trials[5 .. $#trials]);
is $exit, 2, 'and not when trials followed';
like $out, qr/^# x: did not end/m, 'which is said';

# no cut, no record
($exit, $out) = check('', @head, trial('b', 'x/uncut', 'fail'), finish('b', 'x', 'fail'), begin('b', 'z'), { %$trace }, @trials,
	$coverage, finish('b', 'z'));
is $exit, 0, 'an item in which nothing was cut needs no record' or diag $out;

# --- what cannot be read ------------------------------------------------------------------------------------------

is((check('', r('run', undef)))[0], 2, 'a journal without a trace is nothing to compare');
is((check("nonsense\n", @head))[0], 2, 'a line that is no JSON');
is((check("{\"seq\":9,\"kind\":\"note\"}\n", @head))[0], 2, 'a gap in seq');
is((check('', @head, r('verdict', 'b', trial => 'x/1', verdict => 'pass')))[0], 2, 'a verdict of no trial');
is((check('', @head, trial('b', 'x/1', 'pass', ['1', '12']), finish('b', 'x')))[0], 2, 'a cut beyond the trace');
is((check('', @head, trial('b', 'x/1', 'pass', ['1,2', '1']), finish('b', 'x')))[0], 2, 'a cut that is none');
is((check(''))[0], 2, 'an empty journal');
qx{'$^X' '$FindBin::Bin/coverage.pl' '$dir/none' 2>&1};
is $? >> 8, 2, 'a journal that is not there';
qx{'$^X' '$FindBin::Bin/coverage.pl' 2>&1};
is $? >> 8, 2, 'no journal named';

# --- the rig's own records, over items of every kind --------------------------------------------------------------

my $state = 1;
sub pick { my ($n) = @_; $state = ($state * 1103515245 + 12345) % 2**31; return int($state / 65536) % $n }
sub one_of { return $_[ pick(scalar @_) ] }

sub random_cut {
	my ($n) = @_;
	return 'end' if pick(12) == 0 || $n == 0;
	return (1 + pick($n)) . one_of('', '', ':torn', ':torn:1', ':torn:2', ':torn:70');
}

sub random_trace {
	my ($n) = @_;
	my @classes = map { { name => "class $_", size => one_of('metadata', 'bulk'), operations => 0, ranges => [] } } 1 .. 1 + pick(4);
	for (my $op = 1; $op <= $n;) {
		my $last = $op + pick(5);
		$last = $n if $last > $n;
		my $class = one_of(@classes, undef);
		if ($class) {
			push @{ $class->{ranges} }, [$op, $last];
			$class->{operations} += $last - $op + 1;
		}
		$op = $last + 1;
	}
	return { operations => $n, source => one_of(('operations') x 5, 'lines', 'edges', 'breakpoints', 'breakpoints', 'time'), classes => \@classes };
}

sub random_first {
	my ($n, $source) = @_;
	my $asked = random_cut($n);
	if ($source ne 'operations') {
		my %of_flash = $source eq 'breakpoints' && $n && pick(2)
			? (landed_as => one_of(undef, 'end', '' . (1 + pick($n))), agreement => one_of('agrees', 'skewed', 'unknown'))
			: (landed_as => undef, agreement => 'unknown');
		return { requested => $asked, counted => pick(5) ? 1 + pick($n + 3) : undef, %of_flash };
	}
	my $as = pick(4) ? $asked : pick(2) ? $asked =~ s/:.*//r : pick(5) ? random_cut($n) : undef;
	return { requested => $asked, landed_as => $as, counted => 1 };
}

my (@input, @journal, $wanted);
for my $k (1 .. 300) {
	my $item = "item $k";
	my $trace = random_trace(one_of(0, 1, 2, 5, 12, 40, 1500));
	my $kindly = pick(2); # every trial passes
	my (@given, @records);
	for my $t (1 .. pick(one_of(2, 30, 120))) {
		my @cuts = pick(9) ? (random_first(@$trace{qw(operations source)})) : ();
		push @cuts, { requested => '3', landed_as => undef, counted => 3 } while @cuts && pick(6) == 0;
		my $verdict = $kindly ? 'pass' : one_of(('pass') x 6, 'fail', 'inconclusive', 'error');
		push @records, trial('b', "$item/$t", undef, @cuts) if pick(10) == 0;
		push @records, trial('b', "$item/$t", 'error', @cuts) if pick(10) == 0;
		push @records, trial('b', "$item/$t", $verdict, @cuts,
			pick(8) ? () : ({ requested => '1', landed_as => '1', again => $true }));
		push @given, { verdict => $verdict, cuts => \@cuts };
	}
	push @input, $json->encode({ trace => $trace, trials => \@given });
	push @journal, begin('b', $item), r('trace', 'b', %$trace), @records, $item, finish('b', $item);
}
open my $in, '>', "$dir/items" or die "$dir/items: $!";
print $in map { "$_\n" } @input;
close $in or die "$dir/items: $!";
my @made = map { $json->decode($_) } qx{'$build/tests/test_coverage' --records <'$dir/items'};
is $?, 0, 'the rig makes its records';
is scalar @made, scalar @input, 'one for each item';
@journal = map { ref ? $_ : r('coverage', 'b', %{ shift @made }) } @journal;
($exit, $out) = check('', @journal);
is $exit, 0, 'both ways of working it out agree' or diag $out;
is scalar(() = $out =~ /^ok /mg), 300, 'in every item';
for my $phrase ('all points', 'all \d+ metadata operations', 'no failing window', 'widest stretch', '\(by count: .* not known', '\d by count: .* not known', 'as flash shows', 'steps of time', 'nothing was cut',
	'none could be placed', 'depth 3', 'showed no tear') {
	ok scalar(grep { $_->{kind} eq 'coverage' && $_->{sentence} =~ /$phrase/ } @journal), "some of them say \"$phrase\"";
}

done_testing;
