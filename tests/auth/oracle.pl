# Mail::DKIM as an oracle: reads one JSON object, { zone: { name: text }, jobs: [ … ] }, and prints one answer a line.
# A job is { do: "verify", mail: base64 } or { do: "sign", mail:, key: path, algorithm:, method:, domain:, selector: }.
use strict;
use warnings;
use JSON::PP;
use MIME::Base64;
use Mail::DKIM::PrivateKey;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;
use Mail::DKIM::ARC::Verifier;
use Net::DNS::RR;

my $input = do { local $/; decode_json(<STDIN>) };
{
    no warnings 'redefine';
    *Mail::DKIM::DNS::query = sub {
        my ($name, $type) = @_;
        my $text = $input->{zone}{lc $name};
        return unless defined $text;
        return Net::DNS::RR->new(owner => $name, type => 'TXT', txtdata => [ unpack '(a255)*', $text ]);
    };
}

sub feed {
    my ($object, $mail) = @_;
    $object->PRINT($mail);
    $object->CLOSE;
    return $object;
}

my %do = (
    verify => sub {
        my ($job, $mail) = @_;
        return feed(Mail::DKIM::Verifier->new, $mail)->result;
    },
    each => sub { # "signature=result" of each that it reads; unlike the field, without blanks
        my ($job, $mail) = @_;
        my $verifier = feed(Mail::DKIM::Verifier->new(Strict => 1), $mail);
        return join ',', map { (($_->data // '') =~ s/\s//gr) . ':' . ($_->result // 'none') } $verifier->signatures;
    },
    arc => sub {
        my ($job, $mail) = @_;
        return feed(Mail::DKIM::ARC::Verifier->new(Strict => 0), $mail)->result;
    },
    sign => sub {
        my ($job, $mail) = @_;
        my $signer = Mail::DKIM::Signer->new(Algorithm => $job->{algorithm}, Method => $job->{method}, Domain => $job->{domain},
            Selector => $job->{selector}, Key => Mail::DKIM::PrivateKey->load(File => $job->{key}));
        return encode_base64(feed($signer, $mail)->signature->as_string . "\r\n" . $mail, '');
    },
);

for my $job (@{ $input->{jobs} }) {
    my $answer = eval { $do{ $job->{do} }->($job, decode_base64($job->{mail})) };
    print defined $answer ? "$answer\n" : "error: " . ($@ =~ s/\n/ /gr) . "\n";
}
