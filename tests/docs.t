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

# the board object of docs/protocol.md opens a keeper
{
	require Socket;
	require JSON::PP;
	my $bench = Bench->new;
	my ($json) = Bench::slurp("$root/docs/protocol.md") =~ /^```json\n(.*?)^```$/ms;
	my $board = JSON::PP::decode_json($json);
	$board->{name} = 'demo-1';
	$board->{state_dir} = $bench->path('runs');
	socketpair my $ours, my $theirs, Socket::AF_UNIX(), Socket::SOCK_STREAM(), 0 or die "socketpair: $!";
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		$^F = 100;
		close $ours;
		open my $kept, '>&', $theirs or die "dup: $!";
		require Fcntl;
		fcntl $kept, Fcntl::F_SETFD(), 0;
		exec Bench::build() . '/rig-keeper', '--fd', fileno $kept or die "rig-keeper: $!";
	}
	close $theirs;
	my $call = sub {
		my ($id, $method, $params) = @_;
		syswrite $ours, JSON::PP::encode_json({ jsonrpc => '2.0', id => $id, method => $method, params => $params }) . "\n";
		while (my $line = <$ours>) {
			my $m = JSON::PP::decode_json($line);
			return $m if ($m->{id} // 0) == $id;
		}
		return {};
	};
	my $opened = $call->(1, 'open', { board => $board, log_dir => $bench->path('.'),
		owner => { user => 'u', host => 'h', pid => $$, what => 'a test' } });
	my %caps = %{ $opened->{result}{caps} || {} };
	is_deeply { map { $_ => $caps{$_} } keys %{ $board->{devices} } },
		{ map { $_ => $board->{devices}{$_}{driver} } keys %{ $board->{devices} } },
		'protocol.md: a keeper takes the example of a board' or diag JSON::PP::encode_json($opened);
	ok exists $call->(2, 'end', {})->{result}, 'protocol.md: and ends';
	waitpid $pid, 0;
}

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
	# none of the runs before was cut short
	my $exit = $command =~ /--resume/ ? 2 : $command =~ /^rig run.*demo-broken/ ? 1 : 0;
	is $r->{exit}, $exit, "README: $command" or diag $r->{out}, $r->{err};
}
is $bench->rig('safe-state')->{exit}, 0, 'and nothing is left on';

done_testing;
