"""What is to be read out of each message of programs/: subject, parts, text, addresses.

A part is "path type charset encoding disposition name", with - for what it has not; names of containers' files stand there too. After it, in
brackets, what else is true of it. Line ends of texts are LF here.
"""

FLOWED = ("Ein Absatz, der so lang ist, dass Thunderbird ihn in mehrere Zeilen \numbricht, die mit einem Leerzeichen enden, damit das andere Programm sie \n"
          "wieder zusammenfügen kann.\n\n From the beginning of a line: stuffed.\n > not a quotation, but stuffed, too\n> a quotation\n\n-- \nFrank\n")
CONTRACT = "Signed ✓: see https://signed.example.org/\n"

READINGS = {
    "apple-mail": (
        "Entwürfe",
        ["1 multipart/alternative", "1.1 text/plain utf-8 quoted-printable", "1.2 multipart/mixed", "1.2.1 text/html us-ascii 7bit",
         "1.2.2 application/pdf - base64 attachment Entwu\u0308rfe 1.pdf", "1.2.3 text/html utf-8 quoted-printable"],
        "Hi Bob,\n\ndie Entwürfe:\n\n\n\nSag’ mir, was du denkst.",
        ["https://design.example.com/vote?id=7"]),
    "calendar-exchange": (
        "Café meeting",
        ["1 multipart/alternative", "1.1 text/plain utf-8 base64", "1.2 text/html utf-8 base64", "1.3 text/calendar utf-8 base64"],
        "When: Thursday, 9:00-10:00\nWhere: Room 7\nJoin: https://meet.example.com/j/123\n",
        ["https://meet.example.com/j/123", "mailto:grace@example.com", "mailto:bob@example.net"]),
    "calendar-google": (
        "Invitation: Café meeting @ Thu 8 Jan 2026",
        ["1 multipart/mixed", "1.1 multipart/alternative", "1.1.1 text/plain utf-8 base64", "1.1.2 text/html utf-8 quoted-printable",
         "1.1.3 text/calendar utf-8 7bit", "1.2 application/ics - base64 attachment invite.ics"],
        "Café meeting\nThursday 8 Jan 2026\n",
        ["https://calendar.example.com/event?action=VIEW&eid=abc", "mailto:grace@example.com", "mailto:bob@example.net"]),
    "dsn-exim": (
        "Mail delivery failed: returning message to sender",
        ["1 text/plain"],
        "This message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more of its\n"
        "recipients. This is a permanent error. The following address(es) failed:\n\n  nobody@example.com\n    Unrouteable address\n\n"
        "------ This is a copy of your message, including all the headers. ------\n\nReturn-path: <ann@example.org>\n"
        "From: Ann Sender <ann@example.org>\nSubject: Are you there?\n\nHello?\n",
        []),
    "dsn-postfix": (
        "Undelivered Mail Returned to Sender",
        ["1 multipart/report", "1.1 text/plain us-ascii", "1.2 message/delivery-status", "1.3 message/rfc822", "1.3.1 multipart/mixed",
         "1.3.1.1 text/plain", "1.3.1.2 text/csv - - attachment table.csv"],
        "This is the mail system at host mx.example.net.\n\n<nobody@example.com>: host mail.example.com[192.0.2.10] said: 550 5.1.1\n"
        "    <nobody@example.com>: Recipient address rejected: User unknown (in reply to\n    RCPT TO command)\n\nPlease look at the table.",
        []),
    "exchange-related": (
        "Your order",
        ["1 multipart/mixed", "1.1 multipart/related", "1.1.1 multipart/alternative", "1.1.1.1 text/plain windows-1252 quoted-printable",
         "1.1.1.2 text/html windows-1252 quoted-printable", "1.1.2 image/png - base64 inline image001.png",
         "1.2 application/vnd.openxmlformats-officedocument.spreadsheetml.sheet - base64 attachment order 2026.xlsx"],
        "Price: 100 €, “as agreed”.\n\n[cid:image001.png@01DC7E32.74F8DE70]\nOrder<https://shop.example.com/order?a=1&b=2>\n",
        ["https://shop.example.com/order?a=1&b=2"]),
    "forwarded": (
        "Fwd: Photos",
        ["1 multipart/mixed", "1.1 text/plain utf-8 7bit", "1.2 message/rfc822 utf-8 7bit attachment Photos.eml", "1.2.1 multipart/mixed",
         "1.2.1.1 text/plain iso-8859-1 quoted-printable", "1.2.1.2 application/zip - base64 attachment photos.zip"],
        "See below.\n\nSchöne Grüße aus http://dora.example.com/\n",
        ["http://dora.example.com/"]),
    "japanese": (
        "請求書の件(一月分)",
        ["1 multipart/mixed - 7bit", "1.1 text/plain iso-2022-jp 7bit", "1.2 application/pdf - base64 attachment 請求書 一月分.pdf"],
        "山田様\n\nお世話になっております。\n請求書を添付いたします。\nhttps://www.example.jp/ をご覧ください。\n\n鈴木\n",
        ["https://www.example.jp/"]),
    "mailman": (
        "[Gardeners] Re: When to sow tomatoes",
        ["1 multipart/mixed", "1.1 text/plain utf-8 8bit inline", "1.2 text/plain us-ascii 7bit inline"],
        "On Sun, Jan 4, 2026 Bob wrote:\n> When do you sow yours?\n\nEnd of February, on the window sill. Für Gurken ist das zu früh.\n"
        "See https://garden.example.com/tomatoes for a table.\n\n_______________________________________________\nGardeners mailing list\n"
        "Gardeners@lists.example.org\nhttps://lists.example.org/mailman/listinfo/gardeners\n",
        ["https://garden.example.com/tomatoes", "https://lists.example.org/mailman/listinfo/gardeners"]),
    "mailman-digest": (
        "Gardeners Digest, Vol 12, Issue 1",
        ["1 multipart/mixed", "1.1 text/plain us-ascii 7bit", "1.2 multipart/digest", "1.2.1 message/rfc822",
         "1.2.1.1 text/plain utf-8 quoted-printable", "1.2.2 message/rfc822", "1.2.2.1 multipart/mixed", "1.2.2.1.1 text/plain us-ascii",
         "1.2.2.1.2 image/png - base64 attachment tomato.png", "1.3 text/plain us-ascii 7bit"],
        "Send Gardeners mailing list submissions to\n\tgardeners@lists.example.org\n\nToday's Topics:\n\n   1. When to sow tomatoes (Bob)\n"
        "   2. A picture of mine (Carol)\n\nWhen do you sow yours? Mine are Grüne Zebra.\n\nLook at https://garden.example.com/carol\n\n"
        "_______________________________________________\nGardeners mailing list\n",
        ["https://garden.example.com/carol"]),
    "newsletter": (
        "Winter sale ❄ 50 % off",
        ["1 multipart/alternative", "1.1 text/plain utf-8 base64", "1.2 text/html utf-8 base64"],
        "Sale: https://click.example.com/r?u=1\n",
        ["https://click.example.com/r?u=1", "https://click.example.com/r?u=https%3A%2F%2Fshop.example.com%2F", "https://open.example.com/p.gif?id=1"]),
    "outlook-winmail": (
        "Plan for the week",
        ["1 multipart/mixed", "1.1 text/plain us-ascii 7bit", "1.2 application/ms-tnef - base64 attachment winmail.dat",
         "1.2.1 application/octet-stream - - attachment Report of the week – draft.pdf", "1.2.2 application/octet-stream - - attachment notes.txt"],
        "Bob,\n\nthe plan is attached. It is on http://intranet.example.com/plan too.\n\nDave\n\n",
        ["http://intranet.example.com/plan"]),
    "pgp-encrypted": (
        "...",
        ["1 multipart/encrypted [encrypted]", "1.1 application/pgp-encrypted [encrypted]",
         "1.2 application/octet-stream - - inline encrypted.asc [encrypted]"],
        "", []),
    "pgp-signed": (
        "Signed with OpenPGP",
        ["1 multipart/signed [signed]", "1.1 multipart/mixed [signed]", "1.1.1 text/plain utf-8 quoted-printable [signed]",
         "1.1.2 text/plain - base64 attachment contract.txt [signed]",
         "1.1.3 application/pgp-keys - quoted-printable attachment @KEY@ [signed]", "1.2 application/pgp-signature - - attachment OpenPGP_signature [signed]"],
        CONTRACT, ["https://signed.example.org/"]),
    "smime-encrypted": (
        "Encrypted with S/MIME",
        ["1 application/pkcs7-mime - base64 attachment smime.p7m [encrypted]"],
        "", []),
    "smime-opaque": (
        "Signed with S/MIME, opaque",
        ["1 application/pkcs7-mime - base64 attachment smime.p7m [signed]", "1.1 multipart/mixed [signed]",
         "1.1.1 text/plain utf-8 quoted-printable [signed]", "1.1.2 text/plain - base64 attachment contract.txt [signed]"],
        CONTRACT, ["https://signed.example.org/"]),
    "smime-pieces": (
        "Signed with S/MIME, in pieces",
        ["1 application/pkcs7-mime - base64 attachment smime.p7m [signed]", "1.1 multipart/mixed [signed]",
         "1.1.1 text/plain utf-8 quoted-printable [signed]", "1.1.2 text/plain - base64 attachment contract.txt [signed]"],
        CONTRACT, ["https://signed.example.org/"]),
    "smime-signed": (
        "Signed with S/MIME",
        ["1 multipart/signed [signed]", "1.1 multipart/mixed [signed]", "1.1.1 text/plain utf-8 quoted-printable [signed]",
         "1.1.2 text/plain - base64 attachment contract.txt [signed]", "1.2 application/pkcs7-signature - base64 attachment smime.p7s [signed]"],
        CONTRACT, ["https://signed.example.org/"]),
    "thunderbird-flowed": ("Umlaute und lange Zeilen – ein Versuch mit viel Text", ["1 text/plain utf-8 8bit"], FLOWED, []),
}
