#!/usr/bin/perl
# journal_same.pl A B: exit 0 when two journals are the same in the sense of docs/journal.md, 1 when
# they are not (and shows the first difference), 2 when one cannot be read.
use strict;
use warnings;
use JSON::PP;

my $json = JSON::PP->new->canonical->utf8;
my %left_out = map { $_ => 1 }
	qw(seq t_mono_ns t_wall run tools ms path file pages_written pages_kept);

sub strip {
	my ($value) = @_;
	if (ref $value eq 'HASH') {
		return { map { $_ => strip($value->{$_}) }
			grep { !$left_out{$_} && !/_(?:ms|ns|path|file)$/ } keys %$value };
	}
	return [ map { strip($_) } @$value ] if ref $value eq 'ARRAY';
	return $value;
}

# The records of each board, in order, each as one line of canonical JSON.
sub load {
	my ($path) = @_;
	my %boards;
	open my $in, '<', $path or do { print STDERR "$path: $!\n"; exit 2 };
	while (my $line = <$in>) {
		my $record = eval { $json->decode($line) };
		if (!$record) { print STDERR "$path:$.: no JSON\n"; exit 2 }
		delete @$record{qw(until gdb how)} if ($record->{kind} // '') eq 'held';
		next if ($record->{kind} // '') eq 'wear'; # counted over all runs
		push @{ $boards{ $record->{board} // '' } }, [ $., $json->encode(strip($record)) ];
	}
	return \%boards;
}

if (@ARGV != 2) { print STDERR "usage: journal_same.pl A B\n"; exit 2 }
my ($file_a, $file_b) = @ARGV;
my ($a_boards, $b_boards) = (load($file_a), load($file_b));
my %names = (%$a_boards, %$b_boards);
for my $board (sort keys %names) {
	my ($a_list, $b_list) = ($a_boards->{$board} // [], $b_boards->{$board} // []);
	my $n = @$a_list > @$b_list ? @$a_list : @$b_list;
	for my $i (0 .. $n - 1) {
		my ($x, $y) = ($a_list->[$i], $b_list->[$i]);
		next if $x && $y && $x->[1] eq $y->[1];
		printf "%s: record %d differs\n", $board eq '' ? 'no board' : "board $board", $i + 1;
		printf "%s: %s\n", $x ? "$file_a:$x->[0]" : $file_a, $x ? $x->[1] : '(no record)';
		printf "%s: %s\n", $y ? "$file_b:$y->[0]" : $file_b, $y ? $y->[1] : '(no record)';
		exit 1;
	}
}
