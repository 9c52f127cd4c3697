# Mail::SPF as an oracle: reads one JSON object, { zones: [ { name: { type: [ value ] } } ], jobs: [ { zone, ip, sender, helo } ] }, and prints one result a line.
# A value of MX is [ preference, exchange ]; a type FAILS means that nothing of that name is answered.
use strict;
use warnings;
use JSON::PP;
use Mail::SPF;
use Net::DNS;

package Zone;
my %makers = (
    A => sub { (address => $_[0]) }, AAAA => sub { (address => $_[0]) }, PTR => sub { (ptrdname => $_[0]) },
    TXT => sub { (txtdata => [ unpack '(a255)*', $_[0] ]) }, MX => sub { (preference => $_[0][0], exchange => $_[0][1]) },
);
sub new { return bless { zone => $_[1], error => '' }, $_[0] }
sub errorstring { return $_[0]{error} }
sub send {
    my ($self, $name, $type) = @_;
    my $entry = $self->{zone}{ lc $name };
    $self->{error} = $entry && $entry->{FAILS} && !$entry->{$type} ? 'timeout' : '';
    return if $self->{error};
    my $packet = Net::DNS::Packet->new('x.invalid', $type);
    $packet->header->rcode($entry ? 'NOERROR' : 'NXDOMAIN');
    $packet->push(answer => Net::DNS::RR->new(owner => 'x.invalid', type => $type, $makers{$type}->($_))) for @{ ($entry || {})->{$type} || [] };
    return $packet;
}

package main;
my $input = do { local $/; decode_json(<STDIN>) };
for my $job (@{ $input->{jobs} }) {
    my $result = eval {
        my $server = Mail::SPF::Server->new(dns_resolver => Zone->new($input->{zones}[ $job->{zone} ]), max_void_dns_lookups => 2, query_rr_types => Mail::SPF::Server->query_rr_type_txt);
        my $request = Mail::SPF::Request->new(versions => [1], scope => 'mfrom', identity => $job->{sender}, ip_address => $job->{ip}, helo_identity => $job->{helo});
        $server->process($request)->code;
    };
    print defined $result ? "$result\n" : 'error: ' . ($@ =~ s/\n/ /gr) . "\n";
}
