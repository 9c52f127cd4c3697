"""Tricks with encodings and charsets, and what is over a limit."""

from trick import ATTACH, B64, END, GAP, INVASION, MARK, MULTI, NISCC, SMUGGLING, TEXT, TOP, UTR36, disposition, encode, part, to_bytes, trick


def encoding_tricks():
    def of(encoding, body, header="Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=evil.exe\n"):
        return part(f"{header}{encoding}", body)

    base, quoted = "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: quoted-printable"
    rows = [
        # the field
        ("7bit, then base64", GAP, "Content-Transfer-Encoding: 7bit\n" + base, B64 + "\n", ["duplicate-content-transfer-encoding"], True),
        ("base64, then 7bit", GAP, base + "\nContent-Transfer-Encoding: 7bit", B64 + "\n", ["duplicate-content-transfer-encoding"], True),
        ("7bit, then base64, plain content", GAP, "Content-Transfer-Encoding: 7bit\n" + base, "EVIL\n", ["duplicate-content-transfer-encoding"], True),
        ("base64, then 7bit, plain content", GAP, base + "\nContent-Transfer-Encoding: 7bit", "EVIL\n", ["duplicate-content-transfer-encoding"], True),
        ("quoted-printable, then base64", GAP, quoted + "\n" + base, B64 + "\n", ["duplicate-content-transfer-encoding"], True),
        ("base64, then quoted-printable", GAP, base + "\n" + quoted, "=45VIL\n", ["duplicate-content-transfer-encoding"], True),
        ("base64 twice", GAP, base + "\n" + base, B64 + "\n", ["duplicate-content-transfer-encoding"], None),
        ("unknown, then base64", GAP, "Content-Transfer-Encoding: foo\n" + base, B64 + "\n", ["duplicate-content-transfer-encoding", "unknown-encoding"], True),
        ("base64, then unknown", GAP, base + "\nContent-Transfer-Encoding: foo", B64 + "\n", ["duplicate-content-transfer-encoding"], True),
        ("upper case", "RFC 2045 6.1", base.upper(), B64 + "\n", [], False),
        ("comment behind", NISCC, base + " (x)", B64 + "\n", [], False),
        ("comment before", NISCC, "Content-Transfer-Encoding: (x) base64", B64 + "\n", [], False),
        ("comment in the middle", NISCC, "Content-Transfer-Encoding: base(x)64", B64 + "\n", ["odd-encoding"], True),
        ("semicolon behind", GAP, base + ";", B64 + "\n", [], None),
        ("parameter behind", GAP, base + "; x=y", B64 + "\n", [], None),
        ("word behind", GAP, base + " 7bit", B64 + "\n", ["odd-encoding"], True),
        ("word before", GAP, "Content-Transfer-Encoding: 7bit base64", B64 + "\n", ["odd-encoding"], True),
        ("comma", GAP, "Content-Transfer-Encoding: 7bit, base64", B64 + "\n", ["odd-encoding"], True),
        ("quoted", NISCC, 'Content-Transfer-Encoding: "base64"', B64 + "\n", ["odd-encoding"], True),
        ("blank in the word", GAP, "Content-Transfer-Encoding: base 64", B64 + "\n", ["unknown-encoding"], True),
        ("dash in the word", GAP, "Content-Transfer-Encoding: base-64", B64 + "\n", ["unknown-encoding"], True),
        ("x- before it", GAP, "Content-Transfer-Encoding: x-base64", B64 + "\n", ["unknown-encoding"], True),
        ("letter behind it", GAP, "Content-Transfer-Encoding: base64x", B64 + "\n", ["unknown-encoding"], True),
        ("NUL behind it", GAP, base + "␀", B64 + "\n", ["nul-bytes"], True),
        ("NUL in the word", GAP, "Content-Transfer-Encoding: base␀64", B64 + "\n", ["nul-bytes"], True),
        ("control character before it", GAP, "Content-Transfer-Encoding: \x0bbase64", B64 + "\n", ["unknown-encoding"], True),
        ("bare CR before it", NISCC, "Content-Transfer-Encoding: ␍base64", B64 + "\n", ["bare-cr"], True),
        ("encoded word", INVASION, "Content-Transfer-Encoding: =?utf-8?Q?base64?=", B64 + "\n", ["odd-encoding"], True),
        ("folded before it", "RFC 5322 2.2.3", "Content-Transfer-Encoding:\n base64", B64 + "\n", [], False),
        ("blank before the colon", GAP, "Content-Transfer-Encoding : base64", B64 + "\n", ["odd-field-name"], True),
        ("NUL before the colon", GAP, "Content-Transfer-Encoding␀: base64", B64 + "\n", ["odd-field-name"], True),
        ("behind a bare CR", NISCC, "X-A: b␍" + base, B64 + "\n", ["bare-cr"], True),
        ("behind a line of blanks", "RFC 5322 4.2", "X-A: b\n \n" + base, B64 + "\n", ["blank-continuation"], True),
        ("empty", "RFC 2045 6.1", "Content-Transfer-Encoding: ", "EVIL\n", [], None),
        ("unknown", "RFC 2045 6.3", "Content-Transfer-Encoding: x-unknown", "EVIL\n", ["unknown-encoding"], True),
        ("8-bit", "RFC 2045 6.1", "Content-Transfer-Encoding: 8-bit", "EVIL\n", ["unknown-encoding"], True),
        ("binhex", INVASION, "Content-Transfer-Encoding: binhex", "EVIL\n", ["unknown-encoding"], True),
        ("gzip", INVASION, "Content-Transfer-Encoding: gzip", "EVIL\n", ["unknown-encoding"], True),
        ("binary", "RFC 2045 2.9", "Content-Transfer-Encoding: binary", "EVIL\n", [], False),
        ("8bit", "RFC 2045 2.8", "Content-Transfer-Encoding: 8bit", "EVIL é\n", [], False),
        # base64
        ("base64, usual", "RFC 2045 6.8", base, B64 + "\n", [], False),
        ("base64 without padding", "RFC 2045 6.8", base, "RVZJTCA\n", [], False),
        ("base64, one letter a line", "RFC 2045 6.8", base, "\n".join(B64) + "\n", [], False),
        ("base64 on one long line", "RFC 2045 6.8", base, B64 * 40 + "\n", [], False),
        ("base64 with blanks", "RFC 2045 6.8", base, " ".join(B64) + "\n", [], False),
        ("base64 with tabs", "RFC 2045 6.8", base, "\t".join(B64) + "\n", [], False),
        ("base64, blank lines between", "RFC 2045 6.8", base, B64[:8] + "\n\n\n" + B64[8:] + "\n", [], False),
        ("base64 with stars", INVASION, base, "*".join(B64) + "\n", ["broken-base64"], True),
        ("base64 with dots", INVASION, base, B64[:6] + "." + B64[6:] + "\n", ["broken-base64"], True),
        ("base64 with bytes over 127", INVASION, base, B64[:6] + "\udcff\udcfe" + B64[6:] + "\n", ["broken-base64"], True),
        ("base64 with NUL", INVASION, base, B64[:6] + "␀" + B64[6:] + "\n", ["broken-base64", "nul-bytes"], True),
        ("base64 with a comment", INVASION, base, B64[:4] + "(--)" + B64[4:] + "\n", ["broken-base64"], True),
        ("base64, a line of text first", INVASION, base, "%%%%\n" + B64 + "\n", ["broken-base64"], True),
        ("base64 of the URL alphabet", "RFC 4648 5", base, B64 + "\n_-_-\n", ["broken-base64"], True),
        ("base64, padding in the middle", GAP, base, "RVZJTA==\n" + B64 + "\n", ["broken-base64"], True),
        ("base64, padding first", GAP, base, "====\n" + B64 + "\n", ["broken-base64"], True),
        ("base64, one equals sign first", GAP, base, "=" + B64 + "\n", ["broken-base64"], True),
        ("base64, padding behind each group", GAP, base, "RQ==VkI=SUw=RVZJTA==\n", ["broken-base64"], True),
        ("base64, too much padding in the middle", GAP, base, "RVZJTA======\n" + B64 + "\n", ["broken-base64"], True),
        ("base64, several streams", INVASION, base, "RVZJTA==\n" * 3, ["broken-base64"], True),
        ("base64, several streams with blank lines", INVASION, base, "aGVsbG8=\n\nRVZJTA==\n", ["broken-base64"], True),
        ("base64, text behind the end", INVASION, base, "RVZJTA==\n\n-- \nA footer!\n", ["broken-base64"], True),
        ("base64, dash line behind the end", INVASION, base, "RVZJTA==\n-- \n", ["broken-base64"], True),
        ("base64, a letter behind the end", INVASION, base, "RVZJTA==A\n", ["broken-base64"], True),
        ("base64, bits left in the last letter", "RFC 4648 3.5", base, "RVZJTB==\n", [], None),
        ("base64 with bare CR", NISCC, base, B64[:8] + "␍" + B64[8:] + "\n", ["bare-cr"], True),
        ("base64 with form feeds", INVASION, base, B64[:8] + "\x0c" + B64[8:] + "\n", ["broken-base64"], True),
        ("base64, plain text", INVASION, base, "EVIL\n", [], None),
        ("base64 of base64", INVASION, base, encode(B64), [], None),
        ("base64 with the boundary's dashes", INVASION, base, B64[:8] + "\n--\n" + B64[8:] + "\n", ["broken-base64"], True),
        # quoted-printable
        ("quoted-printable, usual", "RFC 2045 6.7", quoted, "=45=56=49=4C\n", [], False),
        ("quoted-printable, lower case", "RFC 2045 6.7", quoted, "=45=56=49=4c\n", [], False),
        ("quoted-printable, soft breaks", "RFC 2045 6.7", quoted, "E=\nV=\nI=\nL\n", [], False),
        ("quoted-printable, blanks behind the soft break", "RFC 2045 6.7", quoted, "E= \nV=\t\nI=  \nL\n", [], None),
        ("quoted-printable, soft break with CR CR LF", INVASION, quoted, "E=␍\nVIL\n", ["bare-cr"], True),
        ("quoted-printable, soft break with bare LF", SMUGGLING, quoted, "E=␊VIL\n", ["bare-lf"], True),
        ("quoted-printable, soft break in a code", INVASION, quoted, "=4=\n5VIL EVIL\n", ["broken-quoted-printable"], None),
        ("quoted-printable, soft break at the end", "RFC 2045 6.7", quoted, "EVIL=", [], None),
        ("quoted-printable, no code behind =", "RFC 2045 6.7", quoted, "EVIL =zz\n", ["broken-quoted-printable"], False),
        ("quoted-printable, = and a letter", "RFC 2045 6.7", quoted, "EVIL =4\n", ["broken-quoted-printable"], False),
        ("quoted-printable, ==", "RFC 2045 6.7", quoted, "==45VIL EVIL\n", ["broken-quoted-printable"], False),
        ("quoted-printable, CR LF as codes", "RFC 2045 6.7", quoted, "EVIL=0D=0A\n", [], False),
        ("quoted-printable, bytes over 127", "RFC 2045 6.7", quoted, "EVIL \udce9\n", [], None),
        ("quoted-printable, blanks at line ends", "RFC 2045 6.7", quoted, "EVIL   \n", [], False),
        ("quoted-printable, long line", "RFC 2045 6.7", quoted, "=45VIL" + "x" * 900 + "\n", [], False),
        ("quoted-printable, NUL as code", "RFC 2045 6.7", quoted, "=00EVIL\n", [], False),
        # uuencode
        ("uuencode", "POSIX uuencode", "Content-Transfer-Encoding: x-uuencode", "begin 644 evil.exe\n%159)3`H\n`\nend\n", [], None),
        ("uuencode by another name", "POSIX uuencode", "Content-Transfer-Encoding: uuencode", "begin 644 evil.exe\n%159)3`H\n`\nend\n", [], None),
    ]
    for name, source, encoding, body, kinds, is_ambiguous in rows:
        is_garbled = name in ("base64, plain text", "base64 of base64")  # for everybody
        trick("encodings", name, source, of(encoding, body), ["evil.exe"], () if is_garbled else (MARK,), defects=kinds, ambiguous=is_ambiguous)
    for name, encoding, body in (("two encodings of a text", "Content-Transfer-Encoding: 7bit\n" + base, B64 + "\n"),
                                 ("two encodings of a text, plain", base + "\nContent-Transfer-Encoding: 7bit", "EVIL\n")):
        trick("encodings", name, GAP, TOP + encoding + "\n\n" + body, types=["text/plain"], defects=["duplicate-content-transfer-encoding"])
    trick("encodings", "name in uuencoded content", "POSIX uuencode", of("Content-Transfer-Encoding: x-uue", "begin 644 worse.exe\n%159)3`H\n`\nend\n"),
          ["evil.exe", "worse.exe"], ambiguous=None)


def charset_tricks():
    def text(charset, body, encoding="8bit"):
        body = body if isinstance(body, bytes) else to_bytes(body)
        return to_bytes(TOP + f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n") + body

    rows = [
        ("UTF-7", UTR36, text("utf-7", "+AEU-VIL\n"), ["utf-7"], True, ["utf-7"]),
        ("UTF-7 by another name", UTR36, text("unicode-1-1-utf-7", "EVIL\n"), ["utf-7"], True, ["unicode-1-1-utf-7"]),
        ("UTF-7 in quotes", UTR36, text('"UTF-7"', "EVIL\n"), ["utf-7"], True, ["utf-7"]),
        ("UTF-7 in HTML", UTR36, to_bytes(TOP + "Content-Type: text/html; charset=utf-7\n\n+ADw-script+AD4-EVIL+ADw-/script+AD4-\n"), ["utf-7"], True, ["utf-7"]),
        ("overlong UTF-8", UTR36, text("utf-8", "\udcc1\udc85VIL EVIL\n"), ["overlong-utf8"], True, ["utf-8"]),
        ("overlong UTF-8 of three bytes", UTR36, text("utf-8", "\udce0\udc81\udc85VIL EVIL\n"), ["overlong-utf8"], True, ["utf-8"]),
        ("overlong UTF-8 in base64", UTR36, text("utf-8", encode(b"\xc1\x85VIL EVIL"), "base64"), ["overlong-utf8"], True, ["utf-8"]),
        ("overlong UTF-8 in quoted-printable", UTR36, text("utf-8", "=C1=85VIL EVIL\n", "quoted-printable"), ["overlong-utf8"], True, ["utf-8"]),
        ("bytes that are no UTF-8", UTR36, text("utf-8", "EVIL \udcff\udcfe\n"), [], False, ["utf-8"]),
        ("surrogates in UTF-8", UTR36, text("utf-8", "EVIL \udced\udca0\udc80\n"), [], None, ["utf-8"]),
        ("bytes over 127 in us-ascii", "RFC 2046 4.1.2", text("us-ascii", "EVIL \udce9\n"), [], False, ["us-ascii"]),
        ("UTF-16 in base64", "RFC 2781", text("utf-16le", encode("EVIL".encode("utf-16le")), "base64"), [], False, ["utf-16le"]),
        ("unknown charset", "RFC 2046 4.1.2", text("x-none", "EVIL\n"), [], None, ["x-none"]),
        ("two charsets", NISCC, text("utf-8; charset=koi8-r", "EVIL\n"), ["duplicate-parameter"], True, ["utf-8", "koi8-r"]),
        ("charset in sections", "RFC 2231 3", text("x; charset*0=ko; charset*1=i8-r", "EVIL\n"), [], None, ["koi8-r"]),
        ("charset, extended", "RFC 2231 4", to_bytes(TOP + "Content-Type: text/plain; charset*=us-ascii''koi8%2Dr\n\nEVIL\n"), [], False, ["koi8-r", "us-ascii"]),
        ("charset of a second type", INVASION, to_bytes(TOP + "Content-Type: text/plain; charset=utf-8\nContent-Type: text/plain; charset=koi8-r\n\nEVIL\n"),
         ["conflicting-content-type"], True, ["utf-8", "koi8-r"]),
        ("charset in a comment", NISCC, text("utf-8 (charset=koi8-r)", "EVIL\n"), [], None, ["utf-8", "koi8-r"]),
        ("charset in capitals", "RFC 2045 5.1", text("KOI8-R", "EVIL\n"), [], False, ["koi8-r"]),
        ("charset of HTML inside it", "HTML 4.01 5.2.2", to_bytes(TOP + 'Content-Type: text/html\n\n<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">EVIL\n'),
         [], False, ["koi8-r"]),
        ("charset of HTML 5 inside it", "HTML 5 4.2.5", to_bytes(TOP + 'Content-Type: text/html\n\n<meta charset="koi8-r">EVIL\n'), [], False, ["koi8-r"]),
        ("charset of XHTML inside it", "XML 1.0 4.3.3", to_bytes(TOP + 'Content-Type: application/xhtml+xml\n\n<?xml version="1.0" encoding="koi8-r"?>EVIL\n'), [], False, ["koi8-r"]),
        ("charset in the subject", "RFC 2047 2", to_bytes(TOP.replace("Subject: s", "Subject: =?koi8-r?B?8NLJ18XU?=") + "\nEVIL\n"), [], False, ["koi8-r"]),
        ("charset in an address", "RFC 2047 5", to_bytes(TOP.replace("From: a", "From: =?gb2312?B?xOPO0g==?= <a").replace(".org\n", ".org>\n", 1) + "\nEVIL\n"), [], False, ["gb2312"]),
        ("charset in a comment of the date", "RFC 2047 5", to_bytes(TOP + "Date: Sun, 22 Nov 2026 10:00:00 +0000 (=?big5?Q?x?=)\n\nEVIL\n"), [], False, ["big5"]),
        ("charset with a language", "RFC 2231 5", to_bytes(TOP.replace("Subject: s", "Subject: =?koi8-r*ru?Q?x?=") + "\nEVIL\n"), [], False, ["koi8-r"]),
        ("charset in a part's header", "RFC 2047 5", to_bytes(part("Content-Description: =?gb2312?Q?x?=")), [], False, ["gb2312"]),
        ("charset in the header of a message inside", "RFC 2047 5", to_bytes(part("Content-Type: message/rfc822", "Subject: =?gb2312?Q?x?=\n\nEVIL\n")), [], False, ["gb2312"]),
        ("charset in an extended name", "RFC 2231 4", to_bytes(disposition("attachment; filename*=gb2312''evil.exe")), [], False, ["gb2312"]),
        ("charset in extended sections", "RFC 2231 4.1", to_bytes(disposition("attachment; filename*0*=gb2312''evil; filename*1=.exe")), [], False, ["gb2312"]),
        ("charset in an encoded word of a name", "RFC 2047 5", to_bytes(disposition('attachment; filename="=?gb2312?Q?evil?=.exe"')), [], False, ["gb2312"]),
        ("charset behind 63 others", NISCC, to_bytes(TOP.replace("Subject: s", "Subject: " + " ".join(f"=?x-{n}?Q?a?=" for n in range(63))) +
                                                     "Content-Type: text/plain; charset=koi8-r\n\nEVIL\n"), [], False, ["koi8-r"]),
        ("more charsets than are kept", NISCC, to_bytes(TOP.replace("Subject: s", "Subject: " + " ".join(f"=?x-{n}?Q?a?=" for n in range(300))) + "\nEVIL\n"),
         ["too-many-charsets"], True, ["x-0"]),
    ]
    for name, source, data, kinds, is_ambiguous, charsets in rows:
        trick("charsets", name, source, data, defects=kinds, ambiguous=is_ambiguous, charsets=charsets)


def limit_tricks():
    """Over a limit: the mail never looks clean."""
    def levels(n, opening, closing=""):
        return TOP + "".join(opening.format(k, k) for k in range(n)) + ATTACH + "".join(closing.format(k) for k in range(n - 1, -1, -1))

    multi, message = "Content-Type: multipart/mixed; boundary=b{}x\n\n--b{}x\n", "Content-Type: message/rfc822\n\n"
    trick("limits", "45 levels of multipart", "RFC 2046 5.1", levels(45, multi, "--b{}x--\n"), ["evil.exe"], ambiguous=None)
    trick("limits", "60 levels of multipart", "RFC 2046 5.1", levels(60, multi, "--b{}x--\n"), defects=["too-deep"])
    trick("limits", "45 levels of message", "RFC 2046 5.2.1", levels(45, message), ["evil.exe"], ambiguous=False)
    trick("limits", "60 levels of message", "RFC 2046 5.2.1", levels(60, message), defects=["too-deep"])
    trick("limits", "900 parts", "RFC 2046 5.1", MULTI + TEXT * 900 + "--b\n" + ATTACH + END, ["evil.exe"], ambiguous=False)
    trick("limits", "1100 parts", "RFC 2046 5.1", MULTI + TEXT * 1100 + "--b\n" + ATTACH + END, marks=(), defects=["too-many-parts"])
    trick("limits", "1100 empty parts", "RFC 2046 5.1", MULTI + "--b\n" * 1100 + "--b\n" + ATTACH + END, marks=(), defects=["too-many-parts"])
    trick("limits", "9000 fields", "RFC 5322 2.1", TOP + "X-A: b\n" * 9000 + "Content-Type: application/zip; name=evil.exe\n\nEVIL\n", ["evil.exe"], ambiguous=False)
    trick("limits", "11000 fields", "RFC 5322 2.1", TOP + "X-A: b\n" * 11000 + "Content-Type: application/zip; name=evil.exe\n\nEVIL\n", defects=["too-many-headers"])
    trick("limits", "11000 fields in a part", "RFC 5322 2.1", part("X-A: b\n" * 11000 + "Content-Type: application/zip; name=evil.exe"), defects=["too-many-headers"])
    trick("limits", "field of 300 KB", "RFC 5322 2.1.1", part("Content-Disposition: attachment; x=" + "y" * 300000 + "; filename=evil.exe"), defects=["header-too-long"])
    trick("limits", "field of 300 KB, folded", "RFC 5322 2.1.1", part("Content-Disposition: attachment;" + ("\n x=" + "y" * 900 + ";") * 300 + "\n filename=evil.exe"),
          defects=["header-too-long"])
    trick("limits", "300 parameters", "RFC 2045 5.1", part("Content-Disposition: attachment" + "".join(f"; p{n}=x" for n in range(300)) + "; filename=evil.exe"), ["evil.exe"],
          defects=["too-many-parameters"])
    trick("limits", "300 sections", "RFC 2231 3", part("Content-Disposition: attachment" + "".join(f"; filename*{n}=x" for n in range(300)) + "; filename*300=.exe"),
          defects=["too-many-parameters"])
    trick("limits", "20 boundaries", GAP, TOP + "Content-Type: multipart/mixed" + "".join(f"; boundary=b{n}" for n in range(20)) + "\n\n--b19\n" + ATTACH + "--b19--\n",
          marks=(), defects=["too-many-parameters"])
