"""The benchmark's messages: the same bytes every time, twenty header fields each, as a mail that passed three hops has.

small   3 KB text/plain
html   38 KB multipart/alternative, text and quoted-printable HTML
attach  1 MB multipart/mixed with a base64 attachment
big    10 MB the same
exe     5 KB the same with invoice.exe: every peer must refuse it
digest  1 MB multipart/digest of four hundred small messages
"""

import base64
import os
import quopri
import random

WORDS = ("order invoice meeting schedule report please find attached regards thanks monday tuesday budget draft review "
         "delivery address customer number total amount payment before after team office project plan quarter").split()


def token(rng, n):
    return base64.b64encode(rng.randbytes(n)).decode()


def header(rng, name, content_type, encoding=None):
    fields = []
    for hop in (3, 2, 1):
        fields.append(f"Received: from hop{hop}.example.test (hop{hop}.example.test [192.0.2.{hop}])\n"
                      f"\tby hop{hop + 1}.example.test (Postfix) with ESMTPS id {rng.getrandbits(48):012X}\n"
                      f"\tfor <rcpt0@example.test>; Mon,  5 Jan 2026 10:0{hop}:00 +0000 (UTC)")
    signature = token(rng, 256)
    fields.append("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.test; s=sel;\n"
                  "\th=from:to:subject:date:message-id:mime-version:content-type;\n"
                  f"\tbh={token(rng, 32)};\n\tb=" + "\n\t ".join(signature[i:i + 70] for i in range(0, len(signature), 70)))
    fields += ["Return-Path: <sender@example.test>", "From: A Sender <sender@example.test>", "To: A Recipient <rcpt0@example.test>",
               "Cc: other@example.test", f"Subject: =?utf-8?Q?A_measured_mail_=E2=80=93_{name}?=", "Date: Mon,  5 Jan 2026 10:00:00 +0000",
               f"Message-ID: <{rng.getrandbits(64):016x}@example.test>", "Reply-To: sender@example.test", "List-Id: <list.example.test>",
               "List-Unsubscribe: <mailto:leave@example.test>", "X-Mailer: corpus", "X-Priority: 3", "Precedence: list", "MIME-Version: 1.0",
               "Content-Type: " + content_type]
    if encoding:
        fields.append("Content-Transfer-Encoding: " + encoding)
    return "\n".join(fields) + "\n\n"


def text(rng, size):
    lines, line, total = [], "", 0
    while total < size:
        word = rng.choice(WORDS)
        if len(line) + len(word) > 71:
            lines.append(line)
            total += len(line) + 1
            line = ""
        line += (" " if line else "") + word
    return "\n".join(lines) + "\n"


def html(rng, size):
    out, total = ["<html><head><style>p { margin: 1em; }</style></head><body>"], 0
    while total < size:
        paragraph = (f'<p class="c{rng.randrange(9)}" style="color:#{rng.getrandbits(24):06x}">{text(rng, 200)} '
                     f'<a href="https://www.example.test/{rng.getrandbits(40):x}">café {rng.choice(WORDS)}</a></p>').replace("\n", " ")
        out.append(paragraph)
        total += len(paragraph)
    return "\n".join(out) + "\n</body></html>\n"


def part(content_type, encoding, body, extra=""):
    return f"Content-Type: {content_type}\nContent-Transfer-Encoding: {encoding}\n{extra}\n{body}\n"


def multipart(parts, boundary):
    return "".join(f"--{boundary}\n{p}" for p in parts) + f"--{boundary}--\n"


def alternative(rng, size):
    rich = quopri.encodestring(html(rng, size * 5 // 8).encode()).decode()
    return multipart([part("text/plain; charset=utf-8", "7bit", text(rng, size // 4)), part("text/html; charset=utf-8", "quoted-printable", rich)], "=_inner_0002")


def mixed(rng, name, filename, raw, text_size):
    inner = 'Content-Type: multipart/alternative; boundary="=_inner_0002"\n\n' + alternative(rng, text_size)
    attachment = part(f'application/octet-stream; name="{filename}"', "base64", base64.encodebytes(rng.randbytes(raw)).decode(),
                      f'Content-Disposition: attachment; filename="{filename}"\n')
    return header(rng, name, 'multipart/mixed; boundary="=_outer_0001"') + multipart([inner, attachment], "=_outer_0001")


def digest(rng, n):
    boundary = "=_digest_0003"
    messages = "".join(f"--{boundary}\n\n{header(rng, f'digest {i}', 'text/plain; charset=utf-8', '8bit')}{text(rng, 200)}\n" for i in range(n))
    return header(rng, "digest", f'multipart/digest; boundary="{boundary}"') + messages + f"--{boundary}--\n"


def write_fields(folder, n):
    """A small message with exactly n header fields; returns its path."""
    rng = random.Random(n)
    fields = [f"X-Field-{i}: {rng.choice(WORDS)} {rng.getrandbits(64):x}" for i in range(n)]
    path = os.path.join(folder, f"fields{n}.eml")
    with open(path, "w", newline="\r\n", encoding="utf-8") as file:
        file.write("\n".join(fields) + "\n\n" + text(rng, 1450))
    return path


def write(folder):
    """Writes NAME.eml for each; returns {name: path}."""
    rng = random.Random(20260105)
    mails = {
        "small": header(rng, "small", "text/plain; charset=us-ascii", "7bit") + text(rng, 1450),
        "html": header(rng, "html", 'multipart/alternative; boundary="=_inner_0002"') + alternative(rng, 38500),
        "attach": mixed(rng, "attach", "report.pdf", 760000, 4000),
        "big": mixed(rng, "big", "archive.zip", 7750000, 4000),
        "exe": mixed(rng, "exe", "invoice.exe", 600, 1500),
        "digest": digest(rng, 400),
    }
    os.makedirs(folder, exist_ok=True)
    paths = {}
    for name, mail in mails.items():
        paths[name] = os.path.join(folder, name + ".eml")
        with open(paths[name], "w", newline="\r\n", encoding="utf-8") as file:
            file.write(mail)
    return paths
