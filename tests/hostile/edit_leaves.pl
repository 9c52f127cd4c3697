# Reads paths of messages from its standard input; for each writes a line: the parts that hold no others as MIME::Parser finds them,
# "type:md5 of the decoded content with LF line ends", separated by blanks; or "error …".
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use MIME::Parser;

sub leaves {
    my ($entity) = @_;
    return map { leaves($_) } $entity->parts if $entity->parts;
    my $body = $entity->bodyhandle ? $entity->bodyhandle->as_string : "";
    $body =~ s/\r\n/\n/g;
    $body =~ s/\n+\z//;
    return $entity->effective_type . ":" . md5_hex($body);
}

$| = 1;
while (my $path = <STDIN>) {
    chomp $path;
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1);
    $parser->tmp_to_core(1);
    $parser->decode_headers(0);
    my $entity = eval { $parser->parse_open($path) };
    print $entity ? join(" ", leaves($entity)) : "error $@", "\n";
}
