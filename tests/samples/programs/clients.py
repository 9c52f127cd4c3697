"""Mail that programs of people write."""

from pieces import Tnef, archive, b64, pdf, png, qp, word


def outlook_winmail():
    """Outlook in rich text: the text plain, everything else in one winmail.dat, two files with long names among it."""
    tnef = Tnef("Plan for the week")
    tnef.attach("REPORT~1.PDF", "Report of the week – draft.pdf", pdf("Report"))
    tnef.attach("NOTES.TXT", "notes.txt", b"Call the printer on Tuesday.\r\n")
    return """Return-Path: <dave@example.com>
Received: from mail.example.com (mail.example.com [192.0.2.10])
\tby mx.example.net with ESMTP id 0059abcd
\tfor <bob@example.net>; Mon, 5 Jan 2026 10:00:05 +0000
From: "Dave Office" <dave@example.com>
To: "Bob Recipient" <bob@example.net>
Subject: Plan for the week
Date: Mon, 5 Jan 2026 11:00:00 +0100
Message-ID: <000001dc7e2a$12345670$369d0350$@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed;
\tboundary="----=_NextPart_000_0001_01DC7E32.74F8DE70"
X-Mailer: Microsoft Outlook 16.0
Thread-Index: Adx+KhIAAAAAAAAAAAAAAAAAAAAAAA==
Content-Language: en-gb

This is a multipart message in MIME format.

------=_NextPart_000_0001_01DC7E32.74F8DE70
Content-Type: text/plain;
\tcharset="us-ascii"
Content-Transfer-Encoding: 7bit

Bob,

the plan is attached. It is on http://intranet.example.com/plan too.

Dave


------=_NextPart_000_0001_01DC7E32.74F8DE70
Content-Type: application/ms-tnef;
\tname="winmail.dat"
Content-Transfer-Encoding: base64
Content-Disposition: attachment;
\tfilename="winmail.dat"

@TNEF@
------=_NextPart_000_0001_01DC7E32.74F8DE70--

""".replace("@TNEF@\n", b64(tnef.out))


def apple_mail():
    """Apple Mail: an alternative whose second half is a mixed one, of HTML before and after an attachment; names in RFC 2231."""
    return """Return-Path: <eve@example.com>
From: Eve Designer <eve@example.com>
Content-Type: multipart/alternative;
\tboundary="Apple-Mail=_0F1E2D3C-4B5A-4678-8796-A5B4C3D2E1F0"
Mime-Version: 1.0 (Mac OS X Mail 16.0 \\(3774.600.62\\))
Subject: =?utf-8?Q?Entw=C3=BCrfe?=
Message-Id: <5C4D3E2F-1A0B-4C9D-8E7F-6A5B4C3D2E1F@example.com>
Date: Mon, 5 Jan 2026 11:00:00 +0100
To: Bob Recipient <bob@example.net>
X-Mailer: Apple Mail (2.3774.600.62)


--Apple-Mail=_0F1E2D3C-4B5A-4678-8796-A5B4C3D2E1F0
Content-Transfer-Encoding: quoted-printable
Content-Type: text/plain;
\tcharset=utf-8

Hi Bob,

die Entw=C3=BCrfe:



Sag=E2=80=99 mir, was du denkst.=

--Apple-Mail=_0F1E2D3C-4B5A-4678-8796-A5B4C3D2E1F0
Content-Type: multipart/mixed;
\tboundary="Apple-Mail=_11223344-5566-4778-899A-ABBCCDDEEFF0"


--Apple-Mail=_11223344-5566-4778-899A-ABBCCDDEEFF0
Content-Transfer-Encoding: 7bit
Content-Type: text/html;
\tcharset=us-ascii

<html><head><meta http-equiv="content-type" content="text/html; charset=us-ascii"></head><body>Hi Bob,<div><br></div><div>die Entw&uuml;rfe:</div></body></html>
--Apple-Mail=_11223344-5566-4778-899A-ABBCCDDEEFF0
Content-Disposition: attachment;
\tfilename*=utf-8''Entwu%CC%88rfe%201.pdf
Content-Type: application/pdf;
\tx-unix-mode=0644;
\tname="=?utf-8?Q?Entwu=CC=88rfe_1=2Epdf?="
Content-Transfer-Encoding: base64

@PDF@
--Apple-Mail=_11223344-5566-4778-899A-ABBCCDDEEFF0
Content-Transfer-Encoding: quoted-printable
Content-Type: text/html;
\tcharset=utf-8

<html><head></head><body><div>Sag=E2=80=99 mir, was du <a href=3D"https://d=
esign.example.com/vote?id=3D7">denkst</a>.</div></body></html>=

--Apple-Mail=_11223344-5566-4778-899A-ABBCCDDEEFF0--

--Apple-Mail=_0F1E2D3C-4B5A-4678-8796-A5B4C3D2E1F0--
""".replace("@PDF@\n", b64(pdf("Drafts")))


def thunderbird_flowed():
    """Thunderbird in plain text: format=flowed, with lines that end in a blank, and stuffed ones."""
    return """Return-Path: <frank@example.org>
Message-ID: <3f2c1b0a-9e8d-4c7b-a6f5-0123456789ab@example.org>
Date: Mon, 5 Jan 2026 10:30:00 +0100
MIME-Version: 1.0
User-Agent: Mozilla Thunderbird
Content-Language: de-DE, en-GB
To: Bob Recipient <bob@example.net>
From: Frank Writer <frank@example.org>
Subject: =?UTF-8?Q?Umlaute_und_lange_Zeilen_=E2=80=93_ein_Versuch_mit_viel?=
 =?UTF-8?Q?_Text?=
Content-Type: text/plain; charset=UTF-8; format=flowed
Content-Transfer-Encoding: 8bit

Ein Absatz, der so lang ist, dass Thunderbird ihn in mehrere Zeilen 
umbricht, die mit einem Leerzeichen enden, damit das andere Programm sie 
wieder zusammenfügen kann.

 From the beginning of a line: stuffed.
 > not a quotation, but stuffed, too
> a quotation

--@
Frank
""".replace("--@", "-- ")


def japanese():
    """A Japanese mail reader: ISO-2022-JP in text and encoded words, an attachment's name in RFC 2047 and in RFC 2231, in sections."""
    name = "請求書 一月分.pdf"
    raw = "".join(chr(c) if chr(c).isalnum() and c < 128 else f"%{c:02X}" for c in name.encode("iso-2022-jp"))
    cut = raw.index("%", 40)
    body = "山田様\n\nお世話になっております。\n請求書を添付いたします。\nhttps://www.example.jp/ をご覧ください。\n\n鈴木\n".encode("iso-2022-jp").decode("ascii")
    return f"""Return-Path: <suzuki@example.jp>
Date: Mon, 05 Jan 2026 19:00:00 +0900
From: {word("鈴木", "ISO-2022-JP")} <suzuki@example.jp>
To: {word("山田", "ISO-2022-JP")} <yamada@example.net>
Subject: {word("請求書の件", "ISO-2022-JP")}
 {word("(一月分)", "ISO-2022-JP")}
Message-Id: <20260105190000.1A2B.SUZUKI@example.jp>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="------_695B8C1000000000ABCD_MULTIPART_MIXED_"
Content-Transfer-Encoding: 7bit
X-Mailer: Becky! ver. 2.75.05 [ja]

--------_695B8C1000000000ABCD_MULTIPART_MIXED_
Content-Type: text/plain; charset="ISO-2022-JP"
Content-Transfer-Encoding: 7bit

{body}
--------_695B8C1000000000ABCD_MULTIPART_MIXED_
Content-Type: application/pdf;
 name="{word(name, "ISO-2022-JP")}"
Content-Disposition: attachment;
 filename*0*=iso-2022-jp''{raw[:cut]};
 filename*1*={raw[cut:]}
Content-Transfer-Encoding: base64

@PDF@
--------_695B8C1000000000ABCD_MULTIPART_MIXED_--
""".replace("@PDF@\n", b64(pdf("Invoice")))


def exchange_related():
    """Outlook over Exchange: related, with the alternative inside and pictures by Content-ID, plus a spreadsheet; windows-1252."""
    book = archive({"[Content_Types].xml": "<Types/>", "xl/workbook.xml": "<workbook/>"})
    html = ('<html xmlns:o="urn:schemas-microsoft-com:office:office"><head>\n<meta http-equiv="Content-Type" content="text/html; charset=Windows-1252">\n'
            '<style><!-- p.MsoNormal {margin:0cm; font-size:11.0pt;} --></style></head>\n<body lang="EN-GB"><p class="MsoNormal">Price: 100 €, “as agreed”.</p>\n'
            '<p class="MsoNormal"><img width="8" height="8" src="cid:image001.png@01DC7E32.74F8DE70"></p>\n'
            '<p><a href="https://shop.example.com/order?a=1&amp;b=2">Order</a></p></body></html>\n')
    text = "Price: 100 €, “as agreed”.\n\n[cid:image001.png@01DC7E32.74F8DE70]\nOrder<https://shop.example.com/order?a=1&b=2>\n"
    return f"""Received: from AM0PR01MB1234.eurprd01.prod.example.com (2001:db8:208::17)
 by mx.example.net with HTTPS; Mon, 5 Jan 2026 10:00:09 +0000
From: Grace Sales <grace@example.com>
To: Bob Recipient <bob@example.net>
CC: "Office, Front" <office@example.net>
Subject: Your order
Thread-Topic: Your order
Thread-Index: Adx+KhIAAAAAAAAAAAAAAAAAAAAAAA==
Date: Mon, 5 Jan 2026 10:00:05 +0000
Message-ID:
 <AM0PR01MB1234ABCDEF0123456789ABCDEF0@AM0PR01MB1234.eurprd01.prod.example.com>
Accept-Language: en-GB, en-US
Content-Language: en-GB
X-MS-Has-Attach: yes
X-MS-TNEF-Correlator:
Content-Type: multipart/mixed;
\tboundary="_005_AM0PR01MB1234ABCDEF01234567_"
MIME-Version: 1.0

--_005_AM0PR01MB1234ABCDEF01234567_
Content-Type: multipart/related;
\tboundary="_004_AM0PR01MB1234ABCDEF01234567_";
\ttype="multipart/alternative"

--_004_AM0PR01MB1234ABCDEF01234567_
Content-Type: multipart/alternative;
\tboundary="_000_AM0PR01MB1234ABCDEF01234567_"

--_000_AM0PR01MB1234ABCDEF01234567_
Content-Type: text/plain; charset="Windows-1252"
Content-Transfer-Encoding: quoted-printable

{qp(text, "cp1252")}
--_000_AM0PR01MB1234ABCDEF01234567_
Content-Type: text/html; charset="Windows-1252"
Content-Transfer-Encoding: quoted-printable

{qp(html, "cp1252")}
--_000_AM0PR01MB1234ABCDEF01234567_--

--_004_AM0PR01MB1234ABCDEF01234567_
Content-Type: image/png; name="image001.png"
Content-Description: image001.png
Content-Disposition: inline; filename="image001.png"; size=@SIZE@;
\tcreation-date="Mon, 05 Jan 2026 10:00:04 GMT";
\tmodification-date="Mon, 05 Jan 2026 10:00:05 GMT"
Content-ID: <image001.png@01DC7E32.74F8DE70>
Content-Transfer-Encoding: base64

@PNG@
--_004_AM0PR01MB1234ABCDEF01234567_--

--_005_AM0PR01MB1234ABCDEF01234567_
Content-Type:
\tapplication/vnd.openxmlformats-officedocument.spreadsheetml.sheet;
\tname="order 2026.xlsx"
Content-Description: order 2026.xlsx
Content-Disposition: attachment; filename="order 2026.xlsx"
Content-Transfer-Encoding: base64

@XLSX@
--_005_AM0PR01MB1234ABCDEF01234567_--
""".replace("@SIZE@", str(len(png(8, 8, (0, 90, 200))))).replace("@PNG@\n", b64(png(8, 8, (0, 90, 200)))).replace("@XLSX@\n", b64(book))


CALENDAR = """BEGIN:VCALENDAR
METHOD:REQUEST
PRODID:{product}
VERSION:2.0
BEGIN:VEVENT
ORGANIZER;CN=Grace Sales:mailto:grace@example.com
ATTENDEE;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE;CN=Bob:mailto:bob@example.net
SUMMARY:Café meeting
DTSTART:20260108T090000Z
DTEND:20260108T100000Z
UID:040000008200E00074C5B7101A82E008
DTSTAMP:20260105T100000Z
LOCATION:Room 7
SEQUENCE:0
STATUS:CONFIRMED
END:VEVENT
END:VCALENDAR
"""


def calendar_exchange():
    """An invitation of Exchange: the calendar is one of three alternatives, in base64."""
    text = "When: Thursday, 9:00-10:00\nWhere: Room 7\nJoin: https://meet.example.com/j/123\n"
    html = '<html><body><p>When: Thursday</p><a href="https://meet.example.com/j/123">Join</a></body></html>'
    calendar = CALENDAR.format(product="Microsoft Exchange Server 2010").replace("\n", "\r\n")
    return f"""From: Grace Sales <grace@example.com>
To: Bob Recipient <bob@example.net>
Subject: {word("Café meeting", "utf-8")}
Date: Mon, 5 Jan 2026 10:00:00 +0000
Message-ID: <DB7PR01MB7777@DB7PR01MB7777.eurprd01.prod.example.com>
Content-Class: urn:content-classes:calendarmessage
Content-Type: multipart/alternative;
\tboundary="_000_DB7PR01MB7777_"
MIME-Version: 1.0

--_000_DB7PR01MB7777_
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: base64

{b64(text.encode())}
--_000_DB7PR01MB7777_
Content-Type: text/html; charset="utf-8"
Content-Transfer-Encoding: base64

{b64(html.encode())}
--_000_DB7PR01MB7777_
Content-Type: text/calendar; charset="utf-8"; method=REQUEST
Content-Transfer-Encoding: base64

{b64(calendar.encode())}
--_000_DB7PR01MB7777_--
"""


def calendar_google():
    """An invitation as a web calendar sends it: the calendar twice, as an alternative and as a file."""
    calendar = CALENDAR.format(product="-//Example Inc//Calendar 70.9054//EN")
    file = calendar.replace("\n", "\r\n").encode()
    text = "Café meeting\nThursday 8 Jan 2026\n"
    html = ('<span itemscope itemtype="http://schema.example.org/InformAction">'
            '<a href="https://calendar.example.com/event?action=VIEW&amp;eid=abc">Café meeting</a></span>\n')
    return f"""Return-Path: <3abc@calendar-server.bounces.example.com>
MIME-Version: 1.0
Reply-To: Grace Sales <grace@example.com>
Sender: Example Calendar <calendar-notification@example.com>
Message-ID: <calendar-0a1b2c3d@example.com>
Date: Mon, 05 Jan 2026 10:00:00 +0000
Subject: =?UTF-8?Q?Invitation=3A_Caf=C3=A9_meeting_=40_Thu_8_Jan_2026?=
From: Grace Sales <grace@example.com>
To: bob@example.net
Content-Type: multipart/mixed; boundary="000000000000abcdef0123456789"

--000000000000abcdef0123456789
Content-Type: multipart/alternative; boundary="000000000000abcdef012345678a"

--000000000000abcdef012345678a
Content-Type: text/plain; charset="UTF-8"; format=flowed; delsp=yes
Content-Transfer-Encoding: base64

{b64(text.encode())}
--000000000000abcdef012345678a
Content-Type: text/html; charset="UTF-8"
Content-Transfer-Encoding: quoted-printable

{qp(html)}
--000000000000abcdef012345678a
Content-Type: text/calendar; charset="UTF-8"; method=REQUEST
Content-Transfer-Encoding: 7bit

{calendar.replace("Café", "Cafe")}
--000000000000abcdef012345678a--

--000000000000abcdef0123456789
Content-Type: application/ics; name="invite.ics"
Content-Disposition: attachment; filename="invite.ics"
Content-Transfer-Encoding: base64

{b64(file)}
--000000000000abcdef0123456789--
"""


def forwarded():
    """A mail forwarded as an attachment, itself with an attachment."""
    return """From: Bob Recipient <bob@example.net>
To: Carol <carol@example.net>
Subject: Fwd: Photos
Date: Mon, 5 Jan 2026 12:00:00 +0000
Message-ID: <fwd.1@example.net>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="------------BOUNDARYFWD0001"
User-Agent: Mozilla Thunderbird

This is a multi-part message in MIME format.
--------------BOUNDARYFWD0001
Content-Type: text/plain; charset=UTF-8; format=flowed
Content-Transfer-Encoding: 7bit

See below.

--------------BOUNDARYFWD0001
Content-Type: message/rfc822; charset=UTF-8;
 name="Photos.eml"
Content-Disposition: attachment; filename="Photos.eml"
Content-Transfer-Encoding: 7bit

From: Dora <dora@example.com>
To: Bob Recipient <bob@example.net>
Subject: Photos
Date: Sun, 4 Jan 2026 20:00:00 +0000
Message-ID: <photos@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=-photos-="

--=-photos-=
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Sch=F6ne Gr=FC=DFe aus http://dora.example.com/

--=-photos-=
Content-Type: application/zip; name="photos.zip"
Content-Disposition: attachment; filename="photos.zip"
Content-Transfer-Encoding: base64

@ZIP@
--=-photos-=--

--------------BOUNDARYFWD0001--
""".replace("@ZIP@\n", b64(archive({"beach.png": png(2, 2, (250, 240, 200)), "readme.txt": "two photos\n"})))
