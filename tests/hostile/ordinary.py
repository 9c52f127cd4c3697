"""Ordinary mail as many programs write it, the same bytes every time: what every reader must read alike."""

import base64
import random
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

CRLF = policy.SMTP

# charset: a text that it can write
TEXTS = {
    "us-ascii": "Hello, please find the report attached.\nRegards\n",
    "utf-8": "Grüße aus Köln – naïve café, 日本語, русский, ελληνικά, 😀\n",
    "iso-8859-1": "Grüße aus Köln, naïve café, £ und §\n",
    "iso-8859-15": "Grüße, 100 €\n",
    "windows-1252": "Grüße, “quoted”, 100 € – dash\n",
    "iso-8859-2": "Příliš žluťoučký kůň, zażółć gęślą jaźń\n",
    "windows-1250": "Příliš žluťoučký kůň „úpěl“\n",
    "koi8-r": "Съешь же ещё этих мягких французских булок\n",
    "windows-1251": "Съешь же ещё этих мягких булок «да»\n",
    "iso-8859-7": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία\n",
    "windows-1255": "שלום עולם\n",
    "iso-2022-jp": "こんにちは、世界。添付をご覧ください。\n",
    "shift_jis": "こんにちは、世界\n",
    "euc-jp": "こんにちは、世界\n",
    "gb18030": "你好，世界。请查收附件。\n",
    "gb2312": "你好世界\n",
    "big5": "你好，世界\n",
    "euc-kr": "안녕하세요 세계\n",
    "utf-16le": "Wide Größe\n",
}
ENCODINGS = ("7bit", "8bit", "quoted-printable", "base64")
NAMES = ("report.pdf", "Über die Größe.docx", "счёт.xlsx", "添付.zip", "a name with spaces.txt", "x" * 120 + ".txt", "semi;colon.txt", "percent%41.txt",
         "apostrophe's.txt", "plus+equals=.txt", "dots...tar.gz")
SUBJECTS = ("Re: plain subject", "Grüße aus Köln", "日本語の件名がとても長いので折り返されるはずです、そうでしょう", "Ein sehr langer Betreff, " * 8, "=?x?=, not a word",
            "mixed ASCII и кириллица together", "tabs\tinside", "100 % of (comments) and \"quotes\"")


def wrapped_base64(data, width=76):
    text = base64.b64encode(data).decode()
    return "\r\n".join(text[i:i + width] for i in range(0, len(text), width)) + "\r\n"


def top(rng, subject="ordinary"):
    message = EmailMessage(policy=CRLF)
    message["Received"] = f"from a.example.org (a.example.org [192.0.2.{rng.randrange(256)}]) by b.example.net with ESMTPS id {rng.getrandbits(40):x}; Mon, 5 Jan 2026 10:00:00 +0000"
    message["From"] = Address(rng.choice(("Jürgen Müller", "A. Sender", "Иван", "")), "sender", "example.org")
    message["To"] = (Address("One", "one", "example.net"), Address("", "two", "example.net"))
    message["Subject"] = subject
    message["Date"] = "Mon, 05 Jan 2026 10:00:00 +0000"
    message["Message-ID"] = f"<{rng.getrandbits(64):x}@example.org>"
    return message


def raw(headers, body):
    return ("From: a@example.org\r\nTo: b@example.net\r\nSubject: raw\r\nMIME-Version: 1.0\r\n" + headers + "\r\n").encode() + body


def texts():
    """Each charset in each encoding that can carry it, with CR LF lines."""
    for charset, text in TEXTS.items():
        data = (text * 20).replace("\n", "\r\n").encode(charset)
        for encoding in ENCODINGS:
            if encoding == "7bit" and (max(data) > 127 or b"\0" in data) or encoding == "8bit" and b"\0" in data:
                continue
            body = data
            if encoding == "base64":
                body = wrapped_base64(data).encode()
            elif encoding == "quoted-printable":
                body = b"".join(b"\r\n" if piece == b"\r\n" else b"=%02X" % piece[0] if piece[0] > 126 or piece in b"=\0" or piece[0] < 32 else piece
                                for piece in crlf_pieces(data, charset))
                body = soft_lines(body)
            yield f"text {charset} {encoding}", raw(f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n", body)


def crlf_pieces(data, charset):
    """Single bytes, a line end as one piece where the charset has one byte for each of its characters."""
    at = 0
    while at < len(data):
        n = 2 if charset != "utf-16le" and data[at:at + 2] == b"\r\n" else 1
        yield data[at:at + n]
        at += n


def soft_lines(body):
    """Lines of at most 76 characters."""
    out, line = [], b""
    at = 0
    while at < len(body):
        n = 3 if body[at:at + 1] == b"=" else 2 if body[at:at + 2] == b"\r\n" else 1
        piece = body[at:at + n]
        at += n
        if piece == b"\r\n":
            out.append(line + piece)
            line = b""
            continue
        if len(line) + n > 75:
            out.append(line + b"=\r\n")
            line = b""
        line += piece
    return b"".join(out) + line


def composed(rng):
    """What Python's email package writes: alternatives, related images, attachments, forwarded mail."""
    for number in range(60):
        message = top(rng, rng.choice(SUBJECTS))
        charset = rng.choice(("utf-8", "iso-8859-1", "iso-8859-2"))
        message.set_content(TEXTS["us-ascii"] if charset == "iso-8859-2" else TEXTS["iso-8859-1"], charset=charset)
        if rng.random() < 0.7:
            message.add_alternative("<html><body><p>Grüße &amp; <b>bold</b><img src=\"cid:i@x\"></p></body></html>", subtype="html", cte=rng.choice(("quoted-printable", "base64")))
            if rng.random() < 0.5:
                message.get_payload()[1].add_related(rng.randbytes(rng.randrange(1, 2000)), "image", "png", cid="<i@x>")
        for _ in range(rng.randrange(3)):
            message.add_attachment(rng.randbytes(rng.randrange(5000)), maintype="application", subtype=rng.choice(("pdf", "zip", "octet-stream")), filename=rng.choice(NAMES))
        if rng.random() < 0.3:
            inner = top(rng, "forwarded")
            inner.set_content("the mail inside\n")
            inner.add_attachment(b"inner bytes", maintype="application", subtype="pdf", filename="inner.pdf")
            message.add_attachment(inner)
        yield f"composed {number}", message.as_bytes()


def old_style(rng):
    """The older interface: other line lengths, RFC 2231 and RFC 2047 names, digests."""
    for number in range(30):
        message = MIMEMultipart(rng.choice(("mixed", "related", "report", "parallel", "x-unknown")))
        message["Subject"] = "old style"
        message["From"] = "a@example.org"
        message.attach(MIMEText("first part\n", "plain", "utf-8"))
        data = MIMEApplication(rng.randbytes(3000))
        name = rng.choice(NAMES)
        data.add_header("Content-Disposition", "attachment", filename=("utf-8", "", name) if number % 2 else f"=?utf-8?B?{base64.b64encode(name.encode()).decode()}?=")
        message.attach(data)
        message.attach(MIMEMessage(MIMEText("nested\n")))
        message.preamble, message.epilogue = "This is a multipart message.\n", "after all\n"
        yield f"old style {number}", message.as_bytes(policy=CRLF)


def lines():
    """Base64 in lines of many lengths, the last group complete or padded."""
    for width in (4, 60, 64, 72, 76, 80, 92, 96, 998):
        for size in (0, 1, 2, 3, 57, 58, 1000, 10000):
            data = bytes(n * 7 % 256 for n in range(size))
            yield f"base64 {width} {size}", raw("Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n", wrapped_base64(data, width).encode())


ALTERNATIVE = 'Content-Type: multipart/alternative; boundary="=-=b_1.2:3/(x)"\r\n'
SPECIAL = {
    "delivery status": ("Content-Type: multipart/report; report-type=delivery-status; boundary=\"R/1\"\r\n",
                        b"--R/1\r\nContent-Type: text/plain\r\n\r\nYour mail could not be delivered.\r\n\r\n--R/1\r\nContent-Type: message/delivery-status\r\n\r\n"
                        b"Reporting-MTA: dns; mx.example.net\r\n\r\nFinal-Recipient: rfc822; x@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
                        b"--R/1\r\nContent-Type: message/rfc822\r\n\r\nFrom: a@example.org\r\nSubject: original\r\n\r\noriginal text\r\n\r\n--R/1--\r\n"),
    "disposition notification": ("Content-Type: multipart/report; report-type=disposition-notification; boundary=m\r\n",
                                 b"--m\r\n\r\nread\r\n--m\r\nContent-Type: message/disposition-notification\r\n\r\nDisposition: manual-action; displayed\r\n\r\n--m--\r\n"),
    "mailing list": ("List-Id: <list.example.org>\r\nContent-Type: multipart/mixed; boundary=\"===============1234==\"\r\n",
                     b"--===============1234==\r\nContent-Type: text/plain; charset=\"utf-8\"; format=flowed; delsp=yes\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
                     b"flowed \r\ntext\r\n-- \r\nsignature\r\n\r\n--===============1234==\r\nContent-Type: text/plain; charset=\"us-ascii\"\r\nMIME-Version: 1.0\r\n"
                     b"Content-Transfer-Encoding: 7bit\r\nContent-Disposition: inline\r\n\r\n_______________\r\nlist mailing list\r\n\r\n--===============1234==--\r\n"),
    "PGP/MIME signed": ("Content-Type: multipart/signed; micalg=pgp-sha256;\r\n protocol=\"application/pgp-signature\"; boundary=\"sig\"\r\n",
                        b"--sig\r\nContent-Type: text/plain\r\n\r\nsigned text\r\n\r\n--sig\r\nContent-Type: application/pgp-signature; name=\"signature.asc\"\r\n"
                        b"Content-Description: OpenPGP digital signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\niQEz\r\n-----END PGP SIGNATURE-----\r\n\r\n--sig--\r\n"),
    "PGP/MIME encrypted": ("Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=e\r\n",
                           b"--e\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--e\r\nContent-Type: application/octet-stream\r\n\r\n"
                           b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQEM\r\n-----END PGP MESSAGE-----\r\n\r\n--e--\r\n"),
    "S/MIME": ("Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=\"smime.p7m\"\r\nContent-Transfer-Encoding: base64\r\n"
               "Content-Disposition: attachment; filename=\"smime.p7m\"\r\n", b"MIAGCSqGSIb3DQEHA6CAMIACAQAxggFg\r\nMIIBXAIBADBEMDAx\r\n"),
    "calendar": (ALTERNATIVE, b"--=-=b_1.2:3/(x)\r\nContent-Type: text/plain\r\n\r\nA meeting\r\n--=-=b_1.2:3/(x)\r\nContent-Type: text/calendar; charset=utf-8; method=REQUEST\r\n"
                 b"Content-Transfer-Encoding: 8bit\r\n\r\nBEGIN:VCALENDAR\r\nSUMMARY:Caf\xc3\xa9\r\nEND:VCALENDAR\r\n\r\n--=-=b_1.2:3/(x)--\r\n"),
    "digest": ("Content-Type: multipart/digest; boundary=\"d\"\r\n",
               b"--d\r\n\r\nFrom: a@b\r\nSubject: one\r\n\r\nfirst\r\n--d\r\nContent-Type: text/plain\r\n\r\nnot a message\r\n--d\r\n\r\nSubject: two\r\n\r\nsecond\r\n--d--\r\n"),
    "empty parts": (ALTERNATIVE, b"--=-=b_1.2:3/(x)\r\nContent-Type: text/plain\r\n\r\n\r\n--=-=b_1.2:3/(x)\r\nContent-Type: text/html\r\n\r\n--=-=b_1.2:3/(x)--\r\n"),
    "preamble and epilogue": (ALTERNATIVE, b"preamble\r\n-- \r\n--=-=b\r\n--=-=b_1.2:3/(x)\r\n\r\n-- \r\n----\r\n--- x\r\n--=-=b_1.2:3/(x)--\r\nepilogue\r\n"),
    "binary": ("Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n", b"a\r\n\x80\xff b\r\n"),
    "no content": ("Content-Type: text/plain\r\n", b""),
    "no final newline": ("Content-Type: text/plain\r\n", b"last line"),
    "comments": ("Content-Type: text/plain (a comment); charset=us-ascii (another)\r\nContent-Transfer-Encoding: 7bit (see?)\r\n", b"x\r\n"),
    "folded parameters": ("Content-Type: text/plain;\r\n\tcharset=\"utf-8\";\r\n format=flowed\r\nX-Folded: one\r\n two\r\n\tthree\r\n", b"x\r\n"),
    "trailing blanks": ("Content-Type: text/plain \r\nContent-Transfer-Encoding: quoted-printable \r\n", b"blanks at the end  =\r\n and on\r\nline=20\r\n"),
    "upper case": ("CONTENT-TYPE: TEXT/PLAIN; CHARSET=UTF-8\r\nCONTENT-TRANSFER-ENCODING: BASE64\r\n", b"R3LDvMOfZQ0K\r\n"),
    "continuations": ("Content-Type: application/pdf;\r\n name*0=\"a long \"; name*1=\"name.pdf\"\r\nContent-Disposition: attachment;\r\n filename*0*=utf-8''%C3%9Cber;\r\n filename*1*=%20die.pdf\r\n", b"x\r\n"),
    "uuencode": ("Content-Type: application/octet-stream; name=a.txt\r\nContent-Transfer-Encoding: x-uuencode\r\n", b"begin 644 a.txt\r\n#0V%T\r\n`\r\nend\r\n"),
    "many words": ("X-Words: =?utf-8?Q?Gr=C3=BC?= =?utf-8?Q?=C3=9Fe?= and =?iso-8859-1?Q?K=F6ln?= (=?utf-8?B?w6Q=?=)\r\nContent-Type: text/plain\r\n", b"x\r\n"),
}


def special():
    for name, (headers, body) in SPECIAL.items():
        yield name, raw(headers, body)


def mails():
    """{name: bytes}."""
    rng = random.Random(2045)
    random.seed(2045)   # boundaries of the email package
    found = {}
    for family in (texts(), composed(rng), old_style(rng), lines(), special()):
        found.update(family)
    return found
