# A board that runs Linux, as far as its console and its power go: two slots, RAUC's command line, a shell that knows
# what boards/linux-rauc.lua says to it. A process of its own; console and power are ports on the loopback interface.
package LinuxBoard;

use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use IO::Select;
use IO::Socket::INET;
use POSIX ();

# LinuxBoard->new(version => '1.0.0', forgets => '1.2.0': an update to it loses the data)
sub new {
	my ($class, %o) = @_;
	my $self = bless { forgets => '', %o }, $class;
	$self->{$_} = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) // die "listen: $!"
		for qw(console power);
	$self->{pid} = fork // die "fork: $!";
	if (!$self->{pid}) { $self->_live; POSIX::_exit(0) }
	$self->{port}{$_} = $self->{$_}->sockport, close delete $self->{$_} for qw(console power);
	return $self;
}

sub port { my ($self, $name) = @_; return $self->{port}{$name} }
sub stop { my ($self) = @_; kill TERM => $self->{pid}; waitpid $self->{pid}, 0; return }

sub _say { my ($self, $text) = @_; syswrite $self->{tty}, $text if $self->{tty}; return }

sub _boot {
	my ($self) = @_;
	$self->{on} = 1;
	@$self{qw(user line)} = ('', '');
	$self->{booted} = $self->{next};
	$self->_say("\r\nStarting kernel ...\r\n[    0.000000] Linux version 6.1\r\nWelcome to slot $self->{booted}\r\nboard login: ");
	return;
}

sub _rauc {
	my ($self, $args) = @_;
	my $other = 1 - $self->{booted};
	if ($args =~ m{^install \S*?-([\d.]+)\.raucb$}) {
		return (1, "LastError: downgrades are refused") if $1 lt $self->{slots}[ $self->{booted} ];
		$self->{slots}[$other] = $1;
		$self->{next} = $other;
		$self->{data} = undef if $1 eq $self->{forgets};
		return (0, "  0% Installing\r\n 99% Checking bootloader\r\n100% Installing done.");
	}
	return (0, "rauc status: marked slot rootfs.$self->{booted} as good") if $args eq 'status mark-good';
	my @said = ("RAUC_SYSTEM_BOOTED_BOOTNAME='s$self->{booted}'");
	for my $n (0, 1) {
		push @said, "RAUC_SLOT_STATE_$n='" . ($n == $self->{booted} ? 'booted' : 'inactive') . q('), "RAUC_SLOT_BOOTNAME_$n='s$n'",
			"RAUC_SLOT_DEVICE_$n='/dev/mmcblk0p$n'", "RAUC_SLOT_BOOT_STATUS_$n='good'",
			"RAUC_SLOT_STATUS_BUNDLE_VERSION_$n='$self->{slots}[$n]'",
			"RAUC_SLOT_STATUS_CHECKSUM_SHA256_$n='" . sha256_hex($self->{slots}[$n]) . q('), "RAUC_SLOT_STATUS_CHECKSUM_SIZE_$n='4096'";
	}
	return (0, join "\r\n", @said);
}

# Exit status and output of a command.
sub _run {
	my ($self, $command) = @_;
	return $self->_rauc($1) if $command =~ /^rauc (.*?)(?: --detailed --output-format=shell)?$/;
	return (0, "version=$self->{slots}[ $self->{booted} ]") if $command =~ /os-release/;
	if ($command =~ /^echo '(.*)' >/) { $self->{data} = $1; return (0) }
	if ($command =~ /^rm -f/) { $self->{data} = undef; return (0) }
	return defined $self->{data} ? (0, $self->{data}) : (1, 'cat: no such file') if $command =~ /^cat /;
	return (0, sha256_hex($self->{slots}[$1]) . '  -') if $command =~ m{^head -c \d+ /dev/mmcblk0p(\d) \| sha256sum};
	return (127, "sh: $command: not found");
}

sub _line {
	my ($self, $line) = @_;
	if (!$self->{user}) {
		$self->{user} = $line;
		$self->_say("$line\r\nLast login: today\r\nroot\@board:~# ");
	} elsif ($line =~ /PS1='(.*)'/) {
		$self->_say("$line\r\n$1");
	} elsif ($line eq 'reboot') {
		$self->_boot;
	} elsif ($line =~ /^echo (\S+)-begin; (.*); echo \1-end \$\?$/) {
		my ($mark, $command) = ($1, $2);
		my ($status, $out) = $self->_run($command);
		$self->_say("$mark-begin\r\n" . (defined $out ? "$out\r\n" : '') . "$mark-end $status\r\nrig> ");
	} else {
		$self->_say("sh: $line: not understood\r\nrig> ");
	}
	return;
}

sub _live {
	my ($self) = @_;
	my $select = IO::Select->new($self->{console}, $self->{power});
	@$self{qw(slots booted next on)} = ([ $self->{version}, '0.9.0' ], 0, 0, 0);
	while (1) {
		for my $fh ($select->can_read) {
			if ($fh == $self->{console}) {
				$self->{tty} = $fh->accept;
				$select->add($self->{tty});
			} elsif ($fh == $self->{power}) {
				my $asked = $fh->accept // next;
				my $what = <$asked> // '';
				$self->_boot if $what =~ /^on/ && !$self->{on};
				$self->{on} = 0 if $what =~ /^off/;
				print $asked $self->{on} ? "on\n" : "off\n";
				close $asked;
			} elsif (!sysread $fh, my $bytes, 4096) {
				$select->remove($fh);
				$self->{tty} = undef;
			} elsif ($self->{on}) {
				$self->{line} .= $bytes;
				$self->_line($1) while $self->{line} =~ s/^([^\n]*)\n//;
			}
		}
	}
}

1;
