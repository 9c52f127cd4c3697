"""CMS (RFC 5652, RFC 3274), what S/MIME puts into smime.p7m, made byte by byte: signatures and certificates are left out, which nobody who looks for
the content asks for."""

import zlib

PKCS7 = bytes.fromhex("2a864886f70d0107")
SMIME = bytes.fromhex("2a864886f70d01091001")
DATA, SIGNED, ENVELOPED, DIGESTED, ENCRYPTED = (PKCS7 + bytes([n]) for n in (1, 2, 3, 5, 6))
AUTHENTICATED, COMPRESSED, AUTH_ENVELOPED = (SMIME + bytes([n]) for n in (2, 9, 0x17))


def der(tag, *content):
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def ber(tag, *content):
    """Without a length, two NUL at its end."""
    return bytes([tag, 0x80]) + b"".join(content) + bytes(2)


def oid(value):
    return der(0x06, value)


VERSION = der(0x02, b"\1")
SHA256 = der(0x30, oid(bytes.fromhex("608648016503040201")))


def octets(content):
    return der(0x04, content)


def pieces(content, size=7, make=ber):
    return make(0x24, *(octets(content[i:i + size]) for i in range(0, len(content), size)))


def inner(content, kind=DATA, make=der):
    return make(0x30, oid(kind), *([make(0xa0, content)] if content is not None else []))


def signed_data(content, kind=DATA, make=der):
    """content: an octet string, or None: it is elsewhere."""
    return make(0x30, VERSION, der(0x31, SHA256), inner(content, kind, make), make(0xa0, der(0x30, b"certificate")), der(0x31))


def info(kind, content, make=der):
    return make(0x30, oid(kind), make(0xa0, content))


def signed(content, make=der):
    return info(SIGNED, signed_data(octets(content) if make is der else pieces(content), make=make), make)


def compressed_data(content, kind=DATA):
    algorithm = der(0x30, oid(bytes.fromhex("2a864886f70d0109100308")))
    return der(0x30, VERSION, algorithm, inner(octets(zlib.compress(content, 9)), kind))


def compressed(content):
    return info(COMPRESSED, compressed_data(content))


def digested(content):
    return info(DIGESTED, der(0x30, VERSION, SHA256, inner(octets(content)), octets(bytes(32))))


def authenticated(content):
    return info(AUTHENTICATED, der(0x30, VERSION, der(0xa0, b"\x05\0"), der(0x31), SHA256, der(0xa1, b"\x05\0"), inner(octets(content)), octets(bytes(32))))


def enveloped(kind=ENVELOPED):
    return info(kind, der(0x30, VERSION, der(0x31), der(0x30, oid(DATA), SHA256, der(0x80, bytes(range(256))))))
