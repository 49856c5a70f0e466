#!/usr/bin/perl
# coverage.pl JOURNAL: works out again what the cuts of every item covered (docs/coverage.md), from the journal's trace,
# trial-start, cut and verdict records alone, and compares it with the coverage records. A line per item. Exit 0 when all
# agree, 1 when one does not (and says in what), 2 when the journal cannot be read or there is nothing to compare in it.
use strict;
use warnings;
use JSON::PP;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub cannot { print STDERR "coverage.pl: @_\n"; exit 2 }

# --- the journal: items with their trace, trials and newest coverage record ----------------------------------------

my (%items, @order, %at, %open); # $at{board}: its item; $open{board}: its trial under way

sub item_start {
	my ($r) = @_;
	my $key = $r->{item} // cannot("record $r->{seq}: an item-start without item");
	push @order, $key unless $items{$key};
	if (!$items{$key} || !$r->{resumed}) {
		$items{$key} = { trials => {} };
	}
	$items{$key}{ended} = undef;
	$at{ $r->{board} } = $items{$key};
	delete $open{ $r->{board} };
}

sub verdict {
	my ($r, $item) = @_;
	my $trial = delete $open{ $r->{board} };
	cannot("record $r->{seq}: a verdict without the trial's start")
		if !$trial || $trial->{key} ne ($r->{trial} // '');
	return if $r->{verdict} eq 'error' || $trial->{why} eq 'uncut';
	$item->{trials}{ $trial->{key} } = { verdict => $r->{verdict}, cuts => $trial->{cuts} };
	$item->{after_coverage} = 1;
}

sub take {
	my ($r) = @_;
	my $kind = $r->{kind} // cannot("record $r->{seq} has no kind");
	if ($kind eq 'resume') { %at = %open = (); return } # whatever was under way is void
	my $board = $r->{board} // return;
	return item_start($r) if $kind eq 'item-start';
	my $item = $at{$board} // return;
	if ($kind eq 'item-end') {
		$item->{ended} = $r;
		delete $at{$board};
		delete $open{$board};
	} elsif ($kind eq 'trace') {
		$item->{trace} = $r;
	} elsif ($kind eq 'trial-start') {
		$open{$board} = { key => $r->{trial} // '', why => $r->{why} // '', cuts => [] };
	} elsif ($kind eq 'cut') {
		my $trial = $open{$board} // return;
		push @{ $trial->{cuts} }, $r if $trial->{key} eq ($r->{trial} // '') && !$r->{again};
	} elsif ($kind eq 'verdict') {
		verdict($r, $item);
	} elsif ($kind eq 'coverage') {
		@$item{qw(coverage after_coverage)} = ($r, 0);
	}
}

sub read_journal {
	my ($path) = @_;
	open my $in, '<', $path or cannot("$path: $!");
	my $last = 0;
	while (my $line = <$in>) {
		last if $line !~ /\n\z/; # a last line without its end is no record
		my $r = eval { $json->decode($line) };
		cannot("$path:$.: no record") if ref $r ne 'HASH' || ($r->{seq} // 0) !~ /^\d+$/;
		cannot("$path:$.: seq is not " . ($last + 1)) if ($r->{seq} // 0) != $last + 1;
		$last++;
		take($r);
	}
	cannot("$path: no records") if !$last;
}

# --- one item ----------------------------------------------------------------------------------------------------

# A cut of the grammar as (position, tear, seed).
sub cut {
	my ($text, $n, $where) = @_;
	defined $text && !ref $text && $text =~ /^(?:(end)|0*([1-9]\d*)(?::(clean|torn)(?::(\d+))?)?)$/
		or cannot("$where is no cut");
	return ($n + 1, 'clean', 0) if $1;
	my ($op, $tear, $seed) = ($2, $3 // 'clean', $4 // 0);
	return ($op, $tear, $tear eq 'torn' ? $seed + 0 : 0);
}

# Where a first cut landed: (position, tear, seed), or nothing.
sub landed {
	my ($r, $n, $knows) = @_;
	my $where = "record $r->{seq}";
	return if !$knows && ($r->{agreement} // '') eq 'skewed'; # flash shows another place than was counted
	if (defined $r->{landed_as}) {
		my @cut = cut($r->{landed_as}, $n, "$where: landed_as");
		cannot("$where: landed_as is beyond the trace") if $cut[0] > $n + ($cut[1] eq 'clean');
		return $knows ? @cut : ($cut[0], 'clean', 0);
	}
	return if $knows;
	return $r->{requested} eq 'end' ? ($n + 1, 'clean', 0) : () unless defined $r->{counted};
	cannot("$where: counted is no number from 1") if $r->{counted} !~ /^[1-9]\d*$/;
	return $r->{counted} <= $n + 1 ? ($r->{counted}, 'clean', 0) : ();
}

# The first of the longest stretches of 1 … $last that is not in %$hit: (length, first).
sub longest {
	my ($last, $hit) = @_;
	my ($longest, $first, $from) = (0, undef, 1);
	for my $p (sort { $a <=> $b } (grep { $_ <= $last } keys %$hit), $last + 1) {
		($longest, $first) = ($p - $from, $from) if $p - $from > $longest;
		$from = $p + 1;
	}
	return ($longest, $first);
}

# Everything the coverage record says, and, in a second hash, what the sentence needs besides.
sub work_out {
	my ($item) = @_;
	my ($trace, @trials) = ($item->{trace}, values %{ $item->{trials} });
	my ($n, $source) = ($trace->{operations}, $trace->{source} // 'operations');
	my $knows = $source eq 'operations';
	my (%cuts, %clean, %torn, %tearless, %passed, @errors, $unplaced, $by_count, $fired, $depth, $second);
	$_ = 0 for $unplaced, $by_count, $fired, $depth, $second;
	for my $trial (@trials) {
		my @records = @{ $trial->{cuts} };
		$depth = @records if @records > $depth;
		$second++ if @records > 1;
		next unless @records;
		$fired++;
		my @asked = cut($records[0]{requested}, $n, "record $records[0]{seq}: requested");
		my ($op, $tear, $seed) = landed($records[0], $n, $knows) or do { $unplaced++; next };
		$cuts{"$op:$tear:$seed"} = [$op, $tear];
		($tear eq 'torn' ? $torn{$op} : $clean{$op}) = 1;
		$passed{"$op:$tear"} = 1 if $trial->{verdict} eq 'pass' && @records == 1; # that cut alone
		$tearless{$op} = 1 if $asked[1] eq 'torn' && $tear eq 'clean' && $asked[0] == $op;
		$by_count++ if !$knows && !defined $records[0]{landed_as};
		push @errors, abs($op - $asked[0]);
	}
	delete $tearless{$_} for keys %torn, $n + 1;
	my %hit = (%clean, %torn);
	my @cuts = values %cuts;
	my $kind = sub { my ($tear) = @_; $knows ? scalar grep { $_->[1] eq $tear } @_[1 .. $#_] : 0 };

	my (@classes, @metadata);
	my $classes = $trace->{classes};
	for my $class (ref $classes eq 'ARRAY' ? @$classes : ()) {
		my @ranges = ref $class->{ranges} eq 'ARRAY' ? @{ $class->{ranges} } : ();
		my @in = grep {
			my $op = $_->[0];
			$op <= $n && grep { $op >= $_->[0] && $op <= $_->[1] } @ranges
		} @cuts;
		push @classes, { name => $class->{name}, operations => $class->{operations},
			cuts => scalar @in, clean => $kind->('clean', @in), torn => $kind->('torn', @in) };
		push @metadata, map { $_->[0] .. $_->[1] } @ranges if $class->{size} eq 'metadata';
	}
	my $count = sub { my ($in, $off) = @_; $knows ? scalar grep { $in->{ $_ + $off } } @metadata : 0 };

	my ($gap, $first) = longest($n + 1, \%hit);
	my ($clean_gap) = longest($n + 1, \%clean);
	my ($torn_gap) = longest($n, { %torn, %tearless });
	my ($sum, $max) = (0, 0);
	for (@errors) { $sum += $_; $max = $_ if $_ > $max }
	my %verdicts = (fail => 0, inconclusive => 0);
	$verdicts{ $_->{verdict} }++ for @trials;
	return {
		operations => $n, source => $source, cuts => scalar @cuts, positions => scalar keys %hit,
		tears => { clean => $kind->('clean', @cuts), torn => $kind->('torn', @cuts) },
		end => $clean{ $n + 1 } ? JSON::PP::true : JSON::PP::false, depth => $depth, second => $second,
		metadata => { operations => scalar @metadata, before => $count->(\%clean, 0), torn => $count->(\%torn, 0),
			untearable => $count->(\%tearless, 0), after => $count->(\%clean, 1) },
		classes => \@classes, gap => $gap, gap_at => $gap ? [$first, $first + $gap - 1] : undef,
		gap_by_tear => $knows ? { clean => $clean_gap, torn => $torn_gap } : undef,
		landing_error => @errors
			? { max => $max, mean => int(($sum * 1000 + int(@errors / 2)) / @errors) / 1000 }
			: { max => undef, mean => undef },
		unplaced => $unplaced, by_count => $by_count, trials => scalar @trials, failed => $verdicts{fail},
		inconclusive => $verdicts{inconclusive},
	}, {
		fired => $fired, placed => scalar @errors, tearless => scalar keys %tearless,
		all_passed => !grep { !$passed{"$_->[0]:$_->[1]"} } @cuts,
	};
}

# --- comparing ---------------------------------------------------------------------------------------------------

# Where two values differ: "gap: 3 worked out, 4 recorded".
sub differences {
	my ($path, $mine, $theirs) = @_;
	if (ref $mine eq 'HASH' && ref $theirs eq 'HASH') {
		return map { differences($path eq '' ? $_ : "$path.$_", $mine->{$_}, $theirs->{$_}) } sort keys %$mine;
	}
	if (ref $mine eq 'ARRAY' && ref $theirs eq 'ARRAY' && @$mine == @$theirs) {
		return map { differences($path . '[' . ($_ + 1) . ']', $mine->[$_], $theirs->[$_]) } 0 .. $#$mine;
	}
	my $number = qr/^-?\d+(?:\.\d+)?(?:e-?\d+)?$/i;
	my $numbers = grep { defined && !ref && /$number/ } $mine, $theirs;
	return if $numbers == 2 && abs($mine - $theirs) < 1e-9; # 0 and 0.0 are one number
	my ($a, $b) = map { $json->encode($_) } $mine, $theirs;
	return if $numbers < 2 && $a eq $b;
	return "$path: $a worked out, $b recorded";
}

# What is not so in a sentence. Each phrase that names a number is known here, with the numbers it must name and what
# must hold for it to be said; what is left over must name none.
sub untrue {
	my ($text, $c, $more) = @_;
	return 'sentence: missing' if !defined $text || ref $text || $text eq '';
	my ($m, $knows, @wrong) = ($c->{metadata}, $c->{source} eq 'operations');
	my $unit = $knows ? qr/operations?/ : qr/(?:line|edge|breakpoint|step)s?/;
	my $n = qr/(\d{1,3}(?:,\d{3})*)/;
	my $all_metadata = $m->{before} == $m->{operations} && $m->{after} == $m->{operations}
		&& $m->{torn} + $m->{untearable} == $m->{operations};
	my $no_gap = $knows && $c->{gap_by_tear}{clean} == 0 && $c->{gap_by_tear}{torn} == 0;
	my $no_failure = $c->{failed} == 0 && $more->{all_passed};
	my $by_count = !$knows && $c->{by_count};
	my $all_by_count = $by_count && $c->{by_count} == $more->{placed};
	my $all_points = $text =~ /all points/;
	my @phrases = (
		[qr/$n distinct cuts? of $n $unit/, [@$c{qw(cuts operations)}], $c->{cuts}],
		[qr/all $n metadata operations before, torn and after/, [$m->{operations}], $all_metadata],
		[qr/$n of $n metadata operations before, $n torn, $n after/, [@$m{qw(before operations torn after)}], 1],
		[qr/\($n showed no tear\)/, [$all_points ? $more->{tearless} : $m->{untearable}], 1],
		[qr/no failing window wider than $n $unit/, [$c->{gap}], $no_failure],
		[qr/\($n where only clean cuts fail, $n where only torn ones\)/,
			[$knows ? @{ $c->{gap_by_tear} }{qw(clean torn)} : (-1, -1)], $no_failure],
		[qr/the widest stretch without a cut is $n $unit/, [$c->{gap}], 1],
		[qr/all points\b/, [], $no_gap],
		[qr/\(by count: where in flash they fell is not known\)/, [], $all_by_count],
		[qr/\($n of $n by count: where in flash those fell is not known\)/, [$c->{by_count}, $more->{placed}],
			$by_count && !$all_by_count],
		[qr/\(as flash shows\)/, [], !$knows && !$c->{by_count}],
		[qr/depth $n, a second cut in $n trials?/, [@$c{qw(depth second)}], 1],
		[qr/$n of $n trials? failed/, [@$c{qw(failed trials)}], 1],
		[qr/$n of $n trials? inconclusive/, [@$c{qw(inconclusive trials)}], 1],
		[qr/$n cuts? could not be placed/, [$c->{unplaced}], 1],
		[qr/$n cuts? fired, and none could be placed/, [$more->{fired}], !$c->{cuts}],
		[qr/nothing was cut/, [], !$more->{fired}],
	);
	# what must be said
	push @wrong, 'sentence: does not say that trials failed' if $c->{failed} && $text !~ /trials? failed/;
	push @wrong, 'sentence: does not say that it is not known where cuts fell' if $c->{cuts} && $by_count && $text !~ /by count: .* not known/;
	for (@phrases) {
		my ($pattern, $numbers, $holds) = @$_;
		my @seen = $text =~ $pattern or next;
		@seen = () if !@$numbers;
		my $phrase = substr $text, $-[0], $+[0] - $-[0];
		$text =~ s/$pattern//;
		s/,//g for @seen;
		push @wrong, "sentence: \"$phrase\" names other numbers than " . join ', ', @$numbers if "@seen" ne "@$numbers";
		push @wrong, "sentence: \"$phrase\" is not so" if !$holds;
	}
	push @wrong, "sentence: \"$text\" names a number that nothing is known of" if $text =~ /\d/;
	return @wrong;
}

if (@ARGV != 1) { print STDERR "usage: coverage.pl JOURNAL\n"; exit 2 }
read_journal($ARGV[0]);
my ($compared, $bad) = (0, 0);
for my $key (@order) {
	my $item = $items{$key};
	next if !$item->{trace}; # nothing was cut in it
	my $trace = $item->{trace};
	cannot("record $trace->{seq}: operations is no number") if ($trace->{operations} // '') !~ /^\d+$/;
	my $ended = $item->{ended} && $item->{ended}{verdict} ne 'error';
	if (!$ended && (!$item->{coverage} || $item->{after_coverage})) {
		print "# $key: did not end, and has no coverage record of all its trials\n";
		next;
	}
	my ($mine, $more) = work_out($item);
	if (!$item->{coverage} && !$more->{fired}) {
		print "# $key: nothing was cut\n";
		next;
	}
	my $theirs = $item->{coverage};
	my @wrong = $theirs
		? (differences('', $mine, $theirs), untrue($theirs->{sentence}, $mine, $more))
		: ('no coverage record');
	$compared++;
	$bad++ if @wrong;
	if (@wrong) {
		printf "not ok %s: %s%s\n", $key, $theirs ? "record $theirs->{seq}: " : '', join '; ', @wrong;
	} else {
		printf "ok %s: %d cuts, gap %d, %d of %d metadata operations before, %d torn, %d after, depth %d, %d trials\n",
			$key, @$mine{qw(cuts gap)}, @{ $mine->{metadata} }{qw(before operations torn after)},
			@$mine{qw(depth trials)};
	}
}
cannot("$ARGV[0]: no item with a trace has ended: nothing to compare") if !$compared;
exit($bad ? 1 : 0);
