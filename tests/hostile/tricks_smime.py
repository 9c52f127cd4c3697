"""Tricks with S/MIME objects in one piece (RFC 8551 section 3.5.2): what they hold is shown in their place, though it looks like one attachment."""

import base64
import os
import sys

from trick import ATTACH, END, MULTI, TEXT, TOP, encode, to_bytes, trick

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import cms  # noqa: E402

P7M = 'Content-Type: application/pkcs7-mime; smime-type={}; name="smime.p7m"\nContent-Disposition: attachment; filename="smime.p7m"\nContent-Transfer-Encoding: base64\n'


def smime(data, kind="signed-data", fields=P7M):
    return TOP + fields.format(kind) + "\n" + encode(data)


def smime_tricks():
    entity = to_bytes("Content-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: text/plain\n\nhello\n--c\n" + ATTACH + "--c--\n")
    signed, pieces = cms.signed(entity), cms.signed(entity, cms.ber)
    stream = P7M.replace("application/pkcs7-mime; smime-type={}", "application/octet-stream")
    rows = [
        ("signed", "RFC 8551 3.5.2", smime(signed), [], False),
        ("signed, in pieces", "RFC 5652 5.2", smime(pieces), [], False),
        ("signed, one part alone", "RFC 8551 3.1", smime(cms.signed(to_bytes(ATTACH))), [], False),
        ("signed, the older type", "RFC 8551 3.2.1", smime(signed, fields=P7M.replace("application/pkcs7", "application/x-pkcs7")), [], False),
        ("signed, type in capitals", "RFC 2045 5.1", smime(signed, fields=P7M.replace("application/pkcs7-mime", "Application/PKCS7-MIME")), [], False),
        ("signed, called encrypted", "RFC 8551 3.2.2", smime(signed, "enveloped-data"), [], False),
        ("signed, called certificates", "RFC 8551 3.2.2", smime(signed, "certs-only"), [], False),
        ("signed, without smime-type", "RFC 8551 3.2.2", smime(signed, fields=P7M.replace("; smime-type={}", "")), [], False),
        ("signed, without a name", "RFC 8551 3.2.1", smime(signed, fields="Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: base64\n"), [], False),
        ("signed, by its name", "RFC 8551 3.2.1", smime(signed, fields=stream), [], False),
        ("signed, by its content", "RFC 8551 3.9", smime(signed, fields=stream.replace(".p7m", ".dat")), [], False),
        ("signed, called a signature", "RFC 8551 3.5.3",
         smime(signed, fields=stream.replace("octet-stream", "pkcs7-signature").replace(".p7m", ".p7s")), [], False),
        ("signed, in base64 that no header tells", "RFC 8551 3.2.1",
         TOP + P7M.format("signed-data").replace("Content-Transfer-Encoding: base64\n", "") + "\n" + base64.encodebytes(signed).decode(), [], False),
        ("signed, as PEM", "RFC 7468 8", TOP + P7M.format("signed-data").replace("Content-Transfer-Encoding: base64\n", "") +
         "\n-----BEGIN CMS-----\n" + base64.encodebytes(signed).decode() + "-----END CMS-----\n", [], False),
        ("signed, among other parts", "RFC 8551 3.4", MULTI + TEXT + "--b\n" + P7M.format("signed-data") + "\n" + encode(pieces) + END, [], False),
        ("signed twice", "RFC 8551 3.7", smime(cms.signed(to_bytes(P7M.format("signed-data") + "\n" + encode(pieces)))), [], False),
        ("signed twice, without MIME between", "RFC 5652 5.2", smime(cms.info(cms.SIGNED, cms.signed_data(cms.octets(cms.signed_data(cms.octets(entity))), cms.SIGNED))),
         [], False),
        ("signed and compressed", "RFC 8551 3.7", smime(cms.compressed(to_bytes(P7M.format("signed-data") + "\n" + encode(signed))), "compressed-data"), [], False),
        ("compressed", "RFC 3274 1.1", smime(cms.compressed(entity), "compressed-data"), [], False),
        ("compressed, called signed", "RFC 8551 3.2.2", smime(cms.compressed(entity)), [], False),
        ("digested", "RFC 5652 7", smime(cms.digested(entity)), [], False),
        ("authenticated", "RFC 5652 9.1", smime(cms.authenticated(entity)), [], False),
        ("data alone", "RFC 5652 4", smime(cms.info(cms.DATA, cms.octets(entity))), [], False),
        ("a signed file", "RFC 5652 5", smime(cms.signed(b"EVIL"), fields=P7M.replace("smime.p7m", "evil.exe.p7m")), [], False),
        ("a signed file by its name", "RFC 5652 5", smime(cms.signed(b"EVIL"), fields=stream.replace("smime.p7m", "evil.exe.p7m")), [], False),
        ("signed, cut off", "RFC 5652 5", smime(signed[:-20]), ["broken-smime"], True),
        ("signed, in pieces, cut off", "RFC 5652 5.2", smime(pieces[:-40]), ["broken-smime"], True),
        ("signed, with a length that lies", "X.690 8.1.3", smime(b"\x30\x84\x7f\xff\xff\xff" + signed[4:]), ["broken-smime"], True),
    ]
    for name, source, text, kinds, is_ambiguous in rows:
        trick("smime", name, source, text, ["evil.exe"], defects=kinds, ambiguous=is_ambiguous)
    for name, kind in (("no object", b"EVIL"), ("an unknown object", cms.info(cms.PKCS7 + b"\x63", cms.octets(entity)))):
        trick("smime", name, "RFC 5652 3", smime(kind), ["smime.p7m"], defects=["broken-smime"])
