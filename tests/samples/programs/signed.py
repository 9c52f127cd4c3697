"""Mail signed and encrypted by gpg and openssl, with keys made for it."""

import os
import quopri
import subprocess
import sys
import tempfile

NOW = "20260105T100000"  # of keys and signatures: Mon, 5 Jan 2026


def run(*argv, data=None, env=None):
    done = subprocess.run(argv, input=data, capture_output=True, check=False, env={**os.environ, **(env or {})})
    if done.returncode != 0:
        sys.exit(f"{argv}: {done.stderr.decode()}")
    return done.stdout


def crlf(text):
    return text.replace("\n", "\r\n").encode()


SIGNED_PART = """Content-Type: multipart/mixed; boundary="------------inner0001"

--------------inner0001
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: quoted-printable

Signed =E2=9C=93: see https://signed.example.org/

--------------inner0001
Content-Type: text/plain; name="contract.txt"
Content-Disposition: attachment; filename="contract.txt"
Content-Transfer-Encoding: base64

QSBjb250cmFjdC4K
--------------inner0001--
"""


class Gpg:
    """A key ring of its own, with one key."""

    def __init__(self, folder):
        self.env = {"GNUPGHOME": folder}
        os.chmod(folder, 0o700)
        self("--quick-gen-key", "Ann Sender <ann@example.org>", "ed25519", "sign", "never")
        listing = self("--with-colons", "--list-keys").decode()
        self.key = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
        self("--quick-add-key", self.key, "cv25519", "encr", "never")

    def __call__(self, *words, data=None):
        return run("gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback", "--faked-system-time", NOW + "!", "--trust-model", "always",
                   "--no-emit-version", *words, data=data, env=self.env)


def with_gpg(work):
    with tempfile.TemporaryDirectory() as folder:
        try:
            return work(Gpg(folder))
        finally:
            subprocess.run(["gpgconf", "--kill", "all"], env={**os.environ, "GNUPGHOME": folder}, check=False)


PGP_HEADER = """From: Ann Sender <ann@example.org>
To: Bob Recipient <bob@example.net>
Subject: {subject}
Date: Mon, 5 Jan 2026 10:00:00 +0000
Message-ID: <{id}@example.org>
MIME-Version: 1.0
User-Agent: Mozilla Thunderbird
"""


def pgp_signed():
    """PGP/MIME (RFC 3156), signed; the key that verifies it is in the mail, as Thunderbird attaches it."""
    def work(gpg):
        key = gpg("--armor", "--export", gpg.key).decode()
        armour = quopri.encodestring(key.encode()).decode()
        part = SIGNED_PART.replace("--------------inner0001--\n", f"""--------------inner0001
Content-Type: application/pgp-keys; name="OpenPGP_0x{gpg.key[-16:]}.asc"
Content-Disposition: attachment; filename="OpenPGP_0x{gpg.key[-16:]}.asc"
Content-Description: OpenPGP public key
Content-Transfer-Encoding: quoted-printable

{armour}
--------------inner0001--
""")
        signature = gpg("--armor", "--detach-sign", "--digest-algo", "SHA256", "--local-user", gpg.key, data=crlf(part)).decode()
        return PGP_HEADER.format(subject="Signed with OpenPGP", id="pgp-signed") + f"""Content-Type: multipart/signed; micalg=pgp-sha256;
 protocol="application/pgp-signature";
 boundary="------------outer0001"

This is an OpenPGP/MIME signed message (RFC 4880 and 3156)
--------------outer0001
{part}
--------------outer0001
Content-Type: application/pgp-signature; name="OpenPGP_signature.asc"
Content-Description: OpenPGP digital signature
Content-Disposition: attachment; filename="OpenPGP_signature"

{signature}
--------------outer0001--
"""
    return with_gpg(work)


def pgp_encrypted():
    """PGP/MIME, encrypted."""
    def work(gpg):
        sealed = gpg("--armor", "--encrypt", "--recipient", gpg.key, data=crlf(SIGNED_PART)).decode()
        return PGP_HEADER.format(subject="...", id="pgp-encrypted") + f"""Content-Type: multipart/encrypted;
 protocol="application/pgp-encrypted";
 boundary="------------outer0002"

This is an OpenPGP/MIME encrypted message (RFC 4880 and 3156)
--------------outer0002
Content-Type: application/pgp-encrypted
Content-Description: PGP/MIME version identification

Version: 1

--------------outer0002
Content-Type: application/octet-stream; name="encrypted.asc"
Content-Description: OpenPGP encrypted message
Content-Disposition: inline; filename="encrypted.asc"

{sealed}
--------------outer0002--
"""
    return with_gpg(work)


class Openssl:
    """A certificate for one address, signed by itself."""

    def __init__(self, folder):
        self.key, self.certificate = os.path.join(folder, "key"), os.path.join(folder, "certificate")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "36500",
            "-subj", "/CN=Ann Sender/emailAddress=ann@example.org", "-addext", "keyUsage=digitalSignature,keyEncipherment",
            "-addext", "extendedKeyUsage=emailProtection", "-addext", "subjectAltName=email:ann@example.org")


def with_openssl(work):
    with tempfile.TemporaryDirectory() as folder:
        return work(Openssl(folder)).decode().replace("\r\n", "\n")


SMIME_HEADER = PGP_HEADER.replace("User-Agent: Mozilla Thunderbird\n", "X-Mailer: Microsoft Outlook 16.0\n").replace("MIME-Version: 1.0\n", "")


def smime_signed():
    """S/MIME (RFC 8551), signed so that everybody can read it: multipart/signed."""
    text = with_openssl(lambda o: run("openssl", "cms", "-sign", "-signer", o.certificate, "-inkey", o.key, "-md", "sha256", data=crlf(SIGNED_PART)))
    return SMIME_HEADER.format(subject="Signed with S/MIME", id="smime-signed") + text


def smime_opaque():
    """S/MIME, signed, with the content inside of the signature: application/pkcs7-mime."""
    text = with_openssl(lambda o: run("openssl", "cms", "-sign", "-nodetach", "-signer", o.certificate, "-inkey", o.key, "-md", "sha256",
                                      data=crlf(SIGNED_PART)))
    return SMIME_HEADER.format(subject="Signed with S/MIME, opaque", id="smime-opaque") + text


def smime_pieces():
    """The same, written while it was read: in pieces, without lengths, and without the certificate."""
    text = with_openssl(lambda o: run("openssl", "cms", "-sign", "-nodetach", "-stream", "-nocerts", "-signer", o.certificate, "-inkey", o.key, "-md", "sha256",
                                      data=crlf(SIGNED_PART)))
    return SMIME_HEADER.format(subject="Signed with S/MIME, in pieces", id="smime-pieces") + text


def smime_encrypted():
    """S/MIME, encrypted."""
    text = with_openssl(lambda o: run("openssl", "cms", "-encrypt", "-aes256", o.certificate, data=crlf(SIGNED_PART)))
    return SMIME_HEADER.format(subject="Encrypted with S/MIME", id="smime-encrypted") + text
