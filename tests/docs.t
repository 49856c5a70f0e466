#!/usr/bin/perl
# Every example of README and docs is run: scenarios on a virtual board, board types, and the commands by hand.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench;
use Test::More;

my $root = Bench::root();

# The fenced blocks of a document whose info string says KIND=NAME.
sub blocks {
	my ($file, $kind) = @_;
	my $text = Bench::slurp($file);
	my %found;
	while ($text =~ /^```(\S+) $kind=(\S+)\n(.*?)^```$/msg) { $found{$2} = $3 }
	return %found;
}

my ($scenarios, $types) = (0, 0);
for my $doc (glob("$root/docs/*.md"), "$root/README.md") {
	my $name = $doc =~ s{.*/}{}r;
	my %scenario = blocks($doc, 'scenario');
	for my $key (sort keys %scenario) {
		my $bench = Bench->new;
		my $path = $bench->write("$key.lua", $scenario{$key});
		my $r = $bench->rig('run', $path);
		is $r->{exit}, 0, "$name: the scenario $key passes" or diag $r->{out}, $r->{err};
		$scenarios++;
	}
	my %board = blocks($doc, 'board');
	for my $key (sort keys %board) {
		my $bench = Bench->new(conf => "board \"x\" { type = \"$key\", power = { driver = \"virtual\" }, "
			. "console = { driver = \"virtual\" }, probe = { driver = \"openocd\", adapter = \"virtual\" } }\n");
		mkdir $bench->path('boards');
		$bench->write("boards/$key.lua", $board{$key});
		my $r = $bench->rig('run', "$root/scenarios/upgrade_matrix.lua", '--board', 'x', '--only', '1.0.0:1.1.0');
		is $r->{exit}, 0, "$name: a board of type $key runs the matrix" or diag $r->{out}, $r->{err};
		$types++;
	}
}
cmp_ok $scenarios, '>=', 2, 'scenarios were found in the docs';
cmp_ok $types, '>=', 1, 'board types were found in the docs';

# the README's commands, in their order, on the bench of rig.conf.example
my $bench = Bench->new;
my $conf = Bench::slurp("$root/rig.conf.example");
$conf =~ s{"reports/runs"}{"runs"} or die 'rig.conf.example: no state_dir';
$conf =~ s{"((?:fixtures|build)/[^"]+)"}{"$root/$1"}g;
$bench->write('rig.conf', $conf);
for my $dir (qw(scenarios fixtures)) { symlink "$root/$dir", $bench->path($dir) }
my $readme = Bench::slurp("$root/README.md");
my @commands = map { s/ *#.*//r } grep { /^rig / } map { split /\n/ } $readme =~ /^```\n(.*?)^```$/msg;
push @commands, grep { !/console/ } $readme =~ /`(rig (?!COMMAND)[^`]+)`/g;
cmp_ok scalar @commands, '>=', 8, 'commands were found in the README';
for my $command (@commands) {
	next if $command =~ /^rig\.conf/;
	my $r = $bench->rig(split ' ', $command =~ s/^rig //r);
	my $exit = $command =~ /^rig run.*demo-broken/ ? 1 : 0;
	is $r->{exit}, $exit, "README: $command" or diag $r->{out}, $r->{err};
}

done_testing;
