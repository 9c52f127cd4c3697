# Mail::DMARC as an oracle: reads one JSON object, { suffixes: path, jobs: [ { from, spf: {domain, result}, dkim: [ … ], zone: { name: [ text ] } } ] },
# and prints one answer a line, as JSON: { result, disposition, spf, dkim }.
use strict;
use warnings;
use JSON::PP;

# What only writes and sends reports is not loaded: it wants XML and a mail system.
BEGIN { $INC{$_} = 1 for qw(XML/LibXML.pm Email/MIME.pm Email/Simple.pm Mail/DMARC/Report/Send.pm Mail/DMARC/Report/Store.pm) }
use Mail::DMARC::PurePerl;
use Net::DNS;

# Answers out of a table; a name without records exists all the same.
package Zone;
sub new { return bless { zone => $_[1] }, $_[0] }
sub send {
    my ($self, $name, $type) = @_;
    my $packet = Net::DNS::Packet->new($name, $type);
    $packet->push(answer => Net::DNS::RR->new(owner => $name, type => 'TXT', txtdata => [ unpack '(a255)*', $_ ])) for $type eq 'TXT' ? @{ $self->{zone}{lc $name} || [] } : ();
    $packet->push(answer => Net::DNS::RR->new(owner => $name, type => 'A', address => '192.0.2.1')) if $type eq 'A';
    return $packet;
}
sub query {
    my ($self, @what) = @_;
    my $packet = $self->send(@what);
    return $packet->header->ancount ? $packet : undef;
}

package main;
my $input = do { local $/; decode_json(<STDIN>) };
$SIG{__WARN__} = sub { };

sub judge {
    my $job = shift;
    my $dmarc = Mail::DMARC::PurePerl->new;
    $dmarc->config->{dns}{public_suffix_list} = $input->{suffixes};
    $dmarc->set_resolver(Zone->new($job->{zone}));
    $dmarc->source_ip('192.0.2.1');
    $dmarc->header_from($job->{from});
    $dmarc->spf([ { scope => 'mfrom', domain => $job->{spf}{domain}, result => $job->{spf}{result} } ]);
    $dmarc->dkim([ map { { domain => $_->{domain}, selector => 's', result => $_->{result} } } @{ $job->{dkim} } ]);
    my $result = $dmarc->validate;
    return { result => $result->result, disposition => lc($result->disposition), spf => $result->spf // '', dkim => $result->dkim // '' };
}

for my $job (@{ $input->{jobs} }) {
    my $answer = eval { judge($job) } // { error => "$@" };
    print encode_json($answer), "\n";
}
