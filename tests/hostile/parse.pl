#!/usr/bin/perl
# What MIME::Parser makes of mails: for each file named on standard input one line of JSON, with the names that it recommends and the
# decoded content of each part. An error that it dies of is told as such.
use strict;
use warnings;

use JSON::PP;
use MIME::Parser;

# Prints bytes as JSON text: each byte as the character of that number.
my $json = JSON::PP->new->latin1->canonical;

sub look {
    my ($entity, $out) = @_;
    my $name = $entity->head->recommended_filename;
    push @{ $out->{names} }, $name if defined $name;
    my $body = $entity->bodyhandle;
    push @{ $out->{contents} }, $body->as_string if defined $body;
    look($_, $out) for $entity->parts;
}

while (my $path = <STDIN>) {
    chomp $path;
    my %out = (names => [], contents => []);
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1);
    $parser->tmp_to_core(1);
    $parser->extract_nested_messages(1);
    $parser->decode_headers(0);
    my $entity = eval { $parser->parse_open($path) };
    if (defined $entity) {
        eval { look($entity, \%out); 1 } or $out{error} = "$@";
    } else {
        $out{error} = "$@";
    }
    print $json->encode(\%out), "\n";
}
