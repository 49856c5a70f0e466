# A bench of virtual boards in a folder of its own, for tests that use rig as a user does.
package Bench;

use strict;
use warnings;
use Cwd qw(abs_path getcwd);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use IPC::Open3;
use JSON::PP;
use POSIX ();
use Time::HiRes qw(time);

my $root = abs_path(dirname(__FILE__) . '/../..');
my $build = $ENV{RIG_BUILD} || "$root/build/release";

sub root  { $root }
sub build { $build }

# Bench->new(conf => text behind the defaults, bench => lines of bench {…}, boards => [names],
#            power => 'options of the virtual board')
sub new {
	my ($class, %o) = @_;
	my $self = bless { dir => tempdir('rig-t-XXXXXX', TMPDIR => 1) }, $class;
	my $releases = $o{releases} // "$root/fixtures/firmware/releases.lua";
	my $conf = "bench { name = \"test\", state_dir = \"runs\", releases = \"$releases\" }\n";
	for my $name (@{ $o{boards} || ['demo-1'] }) {
		my $images = $name =~ /broken/
			? "images = { bootloader = \"$root/build/firmware/broken/bootloader.hex\" }," : '';
		$conf .= "board \"$name\" { type = \"nrf52840dk\", $images\n"
			. "  power = { driver = \"virtual\", linger_ms = 2000 }, console = { driver = \"virtual\" },\n"
			. "  probe = { driver = \"openocd\", adapter = \"virtual\" }, trigger = { driver = \"virtual\" },\n"
			. "  snapshot = { driver = \"virtual\" } }\n";
	}
	$self->write('rig.conf', $conf . ($o{conf} // ''));
	$self->{env} = { %ENV, RIG_CONFIG => "$self->{dir}/rig.conf", RIG_DATADIR => $root,
		PATH => "$build:$ENV{PATH}" };
	return $self;
}

sub path { my ($self, $name) = @_; return "$self->{dir}/$name" }

sub write {
	my ($self, $name, $text) = @_;
	open my $f, '>', $self->path($name) or die "$name: $!";
	print $f $text;
	close $f or die "$name: $!";
	return $self->path($name);
}

sub slurp {
	my ($path) = @_;
	open my $f, '<', $path or return undef;
	local $/;
	return scalar <$f>;
}

# Starts rig with these arguments; returns a hash to give to finish().
sub start {
	my ($self, @args) = @_;
	my ($out, $err) = ($self->path("out.$$." . ++$self->{n}), $self->path("err.$$.$self->{n}"));
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		%ENV = %{ $self->{env} };
		chdir $self->{dir} or POSIX::_exit(126);
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $out or POSIX::_exit(126);
		open STDERR, '>', $err or POSIX::_exit(126);
		exec "$build/rig", @args or POSIX::_exit(127);
	}
	return { pid => $pid, out_path => $out, err_path => $err };
}

# What takes longer than anything here may is ended, so that the test fails and does not hang.
my $patience = 900; # seconds, on the slowest machine and under sanitizers

sub finish {
	my ($self, $r) = @_;
	my $limit = $self->{patience} // $patience;
	my $ended = wait_for($limit, sub { waitpid($r->{pid}, POSIX::WNOHANG()) == $r->{pid} });
	if (!$ended) {
		kill TERM => $r->{pid};
		wait_for(30, sub { waitpid($r->{pid}, POSIX::WNOHANG()) == $r->{pid} })
			or do { kill KILL => $r->{pid}; waitpid $r->{pid}, 0 };
	}
	$r->{exit} = !$ended ? "ended after $limit s" : $? & 127 ? "signal " . ($? & 127) : $? >> 8;
	$r->{out} = slurp($r->{out_path}) // '';
	$r->{err} = slurp($r->{err_path}) // '';
	return $r;
}

sub rig { my ($self, @args) = @_; return $self->finish($self->start(@args)) }

# Ids of the runs there are, the oldest first.
sub runs { my ($self) = @_; return map { m{([^/]+)/journal\.ndjson$} } sort glob $self->path('runs/*/journal.ndjson') }

sub journal {
	my ($self, $run) = @_;
	my $text = slurp($self->path("runs/$run/journal.ndjson")) // '';
	return map { decode_json($_) } grep { /\}$/ } split /\n/, $text;
}

# Waits until code gives something true; it, or nothing after the seconds.
sub wait_for {
	my ($seconds, $code) = @_;
	my $until = time + $seconds;
	while (time < $until) {
		my $x = $code->();
		return $x if $x;
		select undef, undef, undef, 0.02;
	}
	return;
}

# The processes of this bench that live: its folder is in the command line, the working files or the environment.
sub processes {
	my ($self, $program) = @_;
	my @found;
	for my $p (glob '/proc/[0-9]*') {
		my $exe = readlink("$p/exe") // next;
		next unless $exe =~ m{/\Q$program\E( \(deleted\))?$};
		my $fds = join ' ', map { readlink($_) // '' } glob "$p/fd/*";
		my $said = join ' ', map { slurp("$p/$_") // '' } 'cmdline', 'environ';
		push @found, $p =~ s{.*/}{}r if index("$fds $said", $self->{dir}) >= 0;
	}
	return @found;
}

# The virtual board's own word: a call on its control socket.
sub vboard {
	my ($self, $board, $method, $params) = @_;
	require IO::Socket::UNIX;
	my $s = IO::Socket::UNIX->new(Peer => $self->path("runs/.boards/$board/vboard/control.sock")) or return;
	print $s encode_json({ jsonrpc => '2.0', id => 1, method => $method, params => $params || {} }), "\n";
	while (my $line = <$s>) {
		my $m = decode_json($line);
		return $m->{result} // $m if defined $m->{id};
	}
	return;
}

sub DESTROY {
	my ($self) = @_;
	return if $self->{keep} || !$self->{dir};
	local ($?, $!);
	$self->vboard($_, 'quit') for map { m{([^/]+)/vboard$} } glob $self->path('runs/.boards/*/vboard');
	remove_tree($self->{dir}, { error => \my $ignored });
}

1;
