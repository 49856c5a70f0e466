#!/usr/bin/perl
# rig plan of a campaign as a user reads it: nothing before an update was traced, then what would be cut and covered; and
# the campaign that is run makes exactly those trials and covers exactly that.
use strict;
use warnings;
use FindBin;
use JSON::PP;
use lib "$FindBin::Bin/lib";
use Bench;
use File::Copy qw(copy);
use Test::More;

my $root = Bench::root();
my $bench = Bench->new(boards => [ 'demo-1', 'demo-2', 'demo-broken' ], releases => 'releases.lua', conf => <<'E2');
board "plain" { type = "nrf52840dk",
  power = { driver = "virtual", linger_ms = 2000 }, console = { driver = "virtual" },
  probe = { driver = "openocd", adapter = "virtual" } }
E2
my $scenario = "$FindBin::Bin/../scenarios/power_loss.lua";
my @asked = ($scenario, '--only', '1.1.0:1.2.0');
my @on = (@asked, '--board', 'demo-1');

# the manifest, with a copy of 1.2.0 that may be changed
my $image = $bench->path('app-1.2.0.bin');
my $original = "$root/build/firmware/1.2.0/app.bin";
copy($original, $image) or die "$image: $!";
my $manifest = Bench::slurp("$root/fixtures/firmware/releases.lua");
$manifest =~ s{"\.\./\.\./}{"$root/}g;
$manifest =~ s{"$root/build/firmware/" \.\. version \.\. "/app.bin"}
	{(version == "1.2.0" and "$image" or "$root/build/firmware/" .. version .. "/app.bin")}
	or die 'the manifest is not what it was';
$bench->write('releases.lua', $manifest);

sub planned { return $bench->rig('plan', @_) }

sub campaign {
	my $r = $bench->rig('plan', '--json', @_);
	my $plan = eval { decode_json($r->{out}) } or return { missing => "no JSON: $r->{out}$r->{err}" };
	return $plan->{plan}{items}[0]{campaign};
}

sub records { my ($kind) = @_; return grep { $_->{kind} eq $kind } $bench->journal(($bench->runs)[-1]) }

# --- before any run ------------------------------------------------------------------------------

my $r = planned(@on);
is $r->{exit}, 0, 'a plan can be had before any run' or diag $r->{err};
like $r->{out}, qr/^ +no trace of 1\.1\.0:1\.2\.0: none was kept$/m, 'it says that there is no trace';
like $r->{out}, qr/^time +not known: 1 of 1 items have no trace of these images yet; `rig run … --cuts 0` traces them$/m, 'and what to do';
is_deeply [keys %{ campaign(@on) }], ['missing'], 'nor has the JSON any numbers';
is_deeply [$bench->runs], [], 'no run came of it';
is scalar(grep { -e } glob $bench->path('runs/.boards/*')), 0, 'and no board was touched';

# --- after an update was traced ------------------------------------------------------------------

$r = $bench->rig('run', @on, '--cuts', 0);
is $r->{exit}, 0, 'the update is traced' or diag $r->{out}, $r->{err};
my ($trace) = records('trace');

# With this seed no torn cut is of a word that cannot tear, and the recoveries have as many operations as a plan
# supposes: what is planned is what comes.
my @eight = ('--cuts', 8, '--seed', 2);
$r = planned(@on, @eight);
my $plan = campaign(@on, @eight);
is $plan->{operations}, $trace->{operations}, 'then the plan is of that trace';
is_deeply $plan->{classes}, $trace->{classes}, 'and its classes';
my $by = join ', ', map { "$plan->{by}{$_} $_" } grep { $plan->{by}{$_} } qw(metadata edge bulk second);
like $r->{out}, qr/^ +$plan->{operations} operations, $plan->{trials} trials: $by; about \d+ /m,
	'for people: how many operations, trials by reason, and about how long';
my $sum = 1;
$sum += $_ for values %{ $plan->{by} };
is $plan->{trials}, $sum, 'with the uncut one, the reasons add up to the trials';
my %shown = $r->{out} =~ /^ {6}(boot \d \S.*?) +\d+ operations +(\d+) cuts$/mg;
is_deeply \%shown, { map { $_->{name} => $_->{cuts} } @{ $plan->{coverage}{classes} } }, 'each class is shown with its cuts';
$sum = 1; # the end is in none of them
$sum += $_ for values %shown;
is $sum, 8, 'which add up to what was asked for';
like $r->{out}, qr/^ +if all of them land and pass: \Q$plan->{coverage}{sentence}\E$/m, 'and what that would cover';
unlike $r->{out}, qr/not known/, 'the time is known';
cmp_ok campaign(@on, '--cuts', 100)->{seconds}, '>', $plan->{seconds}, 'more cuts take longer';

# --- it is what comes ----------------------------------------------------------------------------

$r = $bench->rig('run', @on, @eight);
is $r->{exit}, 0, 'the campaign that was planned passes' or diag $r->{out}, $r->{err};
my %made;
$made{ $_->{why} }++ for records('trial-start');
is delete $made{uncut}, 1, 'it begins with one uncut trial';
is_deeply \%made, $plan->{by}, 'and makes as many for each reason as were planned';
my ($got) = records('coverage');
for (qw(cuts positions tears end depth second metadata classes gap gap_at gap_by_tear sentence)) {
	is_deeply $got->{$_}, $plan->{coverage}{$_}, "its coverage is as planned: $_";
}
my %by_hand = map { $_->{requested} => 1 } grep { $_->{agreement} eq 'agrees' } records('cut');
is scalar(keys %by_hand), $plan->{coverage}{cuts}, 'and the cuts in the journal are as many';

# --- cuts that are asked for ---------------------------------------------------------------------

my $own = campaign(@on, map { ('--cut', $_) } '5', '5', 'end', '99999999');
is_deeply [$own->{by}, $own->{coverage}{cuts}], [{ asked => 4 }, 2], 'of cuts that are asked for, those count that can land';
my $none = campaign(@on, '--cuts', 0);
is_deeply [@$none{qw(trials by)}, $none->{coverage}{sentence}], [1, {}, 'nothing was cut'], 'no cuts are no cuts';

# --- what a trace is good for --------------------------------------------------------------------

is campaign(@asked, '--board', 'demo-2', @eight)->{trials}, $plan->{trials}, 'the trace serves another board like it';
like campaign(@asked, '--board', 'demo-broken', @eight)->{missing} // '', qr/other images/, 'but not one with another bootloader';
like campaign(@asked, '--board', 'plain', @eight)->{missing} // '', qr/traced another way/, 'nor one that cannot tell its operations';
open my $f, '>>', $image or die "$image: $!";
print $f "\0";
close $f or die "$image: $!";
$r = planned(@on, @eight);
is $r->{exit}, 0, 'after a change of an image';
like $r->{out}, qr/^ +no trace of 1\.1\.0:1\.2\.0: .*other images/m, 'the trace is void';
like $r->{out}, qr/--cuts 0` traces them/, 'and what to do is said again';
copy($original, $image) or die "$image: $!";
is_deeply campaign(@on, @eight)->{by}, $plan->{by}, 'with the image as it was, it is good again';
my ($kept) = glob $bench->path('runs/.traces/nrf52840dk/*.trace');
open $f, '>>', $kept or die "$kept: $!";
print $f "1 erase 0x0 4096\n";
close $f or die "$kept: $!";
like planned(@on, @eight)->{out}, qr/no trace of 1\.1\.0:1\.2\.0: what was kept is damaged/, 'a damaged trace is not used';
unlink $kept;
is planned(@on, @eight)->{exit}, 0, 'nor is one that is gone missed';

done_testing;
