#!/usr/bin/perl
# Every driver has a page in docs/drivers/, whose table is what `rig drivers` says, and stands in rig.conf.example.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use JSON::PP;
use Test::More;

my $root = Bench::root();
my $bench = Bench->new;
my $drivers = decode_json($bench->rig('drivers', '--json')->{out});
my $example = Bench::slurp("$root/rig.conf.example");

# The options of a page's table, {NAME => the rest of its row}: the first table whose head says "option".
sub table {
	my ($page) = @_;
	my ($rows) = $page =~ /^\| *options? *\|[^\n]*\n\|[-| :]+\n((?:\|[^\n]*\n)*)/m or return {};
	my %found;
	for my $row (split /\n/, $rows) {
		my ($names, $rest) = $row =~ /^\|([^|]*)\|(.*)/ or next;
		$found{$_} = $rest for $names =~ /`([^`]+)`/g;
	}
	return \%found;
}

# How a default is written in a table.
sub written {
	my ($option) = @_;
	return 'required' if $option->{required};
	my $default = $option->{default};
	return if !defined $default;
	return ref $default eq 'JSON::PP::Boolean' ? ($default ? 'true' : 'false') : ref $default ? encode_json($default) : $default;
}

for my $name (sort keys %$drivers) {
	my $page = Bench::slurp("$root/docs/drivers/$name.md") // '';
	like $page, qr/^# \Q$name\E$/m, "$name has a page" or next;
	like $page, qr/driver = "\Q$name\E"/, "$name: with a line for rig.conf";
	my $options = $drivers->{$name}{options};
	my $rows = table($page);
	is_deeply [sort keys %$rows], [sort keys %$options], "$name: its table has the driver's options";
	my @wrong = grep { my $w = written($options->{$_}); defined $w && ($rows->{$_} // '') !~ /(?<![\w.])\Q$w\E(?![\w.])/ } sort keys %$options;
	is_deeply [map { "$_: " . written($options->{$_}) } @wrong], [], "$name: and their defaults";
	like $example, qr/driver = "\Q$name\E"/, "$name stands in rig.conf.example";
}
my @strays = grep { !$drivers->{$_} } map { m{([^/]+)\.md$} } glob "$root/docs/drivers/*.md";
is_deeply \@strays, [], 'no page is of a driver that is not there';
done_testing;
