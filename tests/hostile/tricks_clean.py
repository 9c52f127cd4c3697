"""Mail as honest programs write it, which nobody may call ambiguous."""

from trick import END, MULTI, TEXT, TOP, clean, disposition, encode, part, to_bytes
from tricks_smime import cms


def clean_mails():
    alternative = ('Content-Type: multipart/alternative; boundary="{0}"\n\n--{0}\nContent-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: quoted-printable\n\n'
                   'caf=C3=A9\n--{0}\nContent-Type: text/html; charset="utf-8"\nContent-Transfer-Encoding: base64\n\n' + encode("<p>café</p>") + "--{0}--\n")
    pdf = 'Content-Type: application/pdf; name="{0}"\nContent-Disposition: attachment; filename="{0}"\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK\n'
    clean("plain text", TOP + "Content-Type: text/plain; charset=us-ascii\n\nhello\n")
    clean("a name as long as Windows has them", TOP + "Content-Type: multipart/mixed; boundary=b\n\n" + TEXT + "--b\nContent-Type: application/pdf\nContent-Disposition: attachment;\n filename*=utf-8''"
          + "%E6%8A%A5" * 251 + ".pdf\n\nx\n" + END, ["报" * 251 + ".pdf"])
    clean("no content fields", "From: a@b\nTo: c@d\nSubject: x\n\nhello\n")
    clean("no body", TOP)
    clean("format=flowed", TOP + "Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes\nContent-Transfer-Encoding: 8bit\n\nhello \nworld é\n-- \nme\n")
    clean("raw 8-bit text", TOP + "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n\udcc0\udcc1 caf\udce9\n")
    clean("8-bit text of no charset", TOP + "\n\udcc0\udcae\udcc1 caf\udce9\n")
    clean("text and HTML", TOP + alternative.format("000000000000a1b2c3"))
    clean("text, HTML, attachment", TOP + 'Content-Type: multipart/mixed; boundary="----=_NextPart_000_0012"\n\nThis is a multi-part message in MIME format.\n\n'
          '------=_NextPart_000_0012\n' + alternative.format("----=_NextPart_001_0013") + "\n------=_NextPart_000_0012\n" + pdf.format("Report v1.2.pdf") + "\n------=_NextPart_000_0012--\n\n",
          ["Report v1.2.pdf"])
    clean("pictures in HTML", TOP + 'Content-Type: multipart/related; type="text/html"; boundary="r.1"\n\n--r.1\n' + alternative.format("=_alt1") +
          '--r.1\nContent-Type: image/png; name="image001.png"\nContent-Disposition: inline; filename="image001.png"\nContent-ID: <image001.png@01D>\n'
          'Content-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--r.1--\n', ["image001.png"])
    clean("nested alternatives of Apple Mail", TOP + 'Content-Type: multipart/alternative; boundary="Apple-Mail=_11111111"\n\n--Apple-Mail=_11111111\nContent-Transfer-Encoding: 7bit\n'
          'Content-Type: text/plain;\n\tcharset=us-ascii\n\nhi\n\n--Apple-Mail=_11111111\nContent-Type: multipart/mixed;\n\tboundary="Apple-Mail=_22222222"\n\n\n'
          '--Apple-Mail=_22222222\nContent-Type: text/html;\n\tcharset=us-ascii\n\n<b>hi</b>\n--Apple-Mail=_22222222\nContent-Disposition: attachment;\n\tfilename*=utf-8\'\'caf%C3%A9%20menu.pdf\n'
          'Content-Type: application/pdf;\n\tx-unix-mode=0644;\n\tname="=?utf-8?Q?caf=C3=A9_menu=2Epdf?="\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK\n'
          '--Apple-Mail=_22222222--\n\n--Apple-Mail=_11111111--\n', ["café menu.pdf"])
    clean("long name in sections", TOP + 'Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: application/pdf;\n name="=?UTF-8?Q?Vertrag_=C3=BCber_eine?=\n =?UTF-8?Q?_Sache.pdf?="\n'
          "Content-Disposition: attachment;\n filename*0*=UTF-8''%56%65%72%74%72%61%67%20%C3%BC%62%65%72;\n filename*1*=%20%65%69%6E%65%20%53%61%63%68%65%2E%70%64%66\n\nx\n" + END,
          ["Vertrag über eine Sache.pdf"])
    clean("plain name for old readers", TOP + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/pdf\n"
          "Content-Disposition: attachment; filename=\"naive.pdf\"; filename*=UTF-8''na%C3%AFve.pdf\n\nx\n" + END, ["naive.pdf", "naïve.pdf"])
    clean("Japanese name", TOP + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/pdf; name=\"=?ISO-2022-JP?B?GyRCRnxLXBsoQi5wZGY=?=\"\n"
          "Content-Disposition: attachment; filename=\"=?ISO-2022-JP?B?GyRCRnxLXBsoQi5wZGY=?=\"\n\nx\n" + END, ["日本.pdf"])
    clean("Hebrew name with marks", disposition('attachment; filename="\u200fשלום\u200f.pdf"').replace("EVIL", "x"), ["\u200fשלום\u200f.pdf"])
    clean("Persian name with a joiner", disposition('attachment; filename="می\u200cخواهم.pdf"').replace("EVIL", "x"))
    clean("Emoji in a name", disposition('attachment; filename="👩\u200d💻.png"').replace("EVIL", "x"))
    clean("name with a dot and a blank", disposition('attachment; filename="Meeting 22. Nov. 2026.docx"').replace("EVIL", "x"), ["Meeting 22. Nov. 2026.docx"])
    clean("name with brackets", disposition('attachment; filename="report (1).pdf"').replace("EVIL", "x"), ["report (1).pdf"])
    clean("name with an apostrophe", disposition('attachment; filename="Ann\'s and Bob\'s plan.pdf"').replace("EVIL", "x"), ["Ann's and Bob's plan.pdf"])
    clean("name with a percent sign", disposition('attachment; filename="100% sure.pdf"').replace("EVIL", "x"), ["100% sure.pdf"])
    clean("name with an ampersand", disposition('attachment; filename="R&D; costs.pdf"').replace("EVIL", "x"), ["R&D; costs.pdf"])
    clean("name in the type only", part('Content-Type: application/pdf; name="a.pdf"').replace("EVIL", "x"), ["a.pdf"])
    clean("mailing list footer", MULTI + TEXT + "--b\nContent-Type: text/plain; charset=us-ascii\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\nContent-Disposition: inline\n\n"
          "_______________________________________________\nlist mailing list\nlist@example.org\nhttps://example.org/mailman/listinfo/list\n--b--\n")
    clean("footer behind the end", MULTI + TEXT + END + "\n-- \nThis list is run by example.org.\nContents are public.\n")
    clean("words before the start", MULTI + "This is a message with Multiple Parts in MIME format.\nIf you see this, your program is old:\n- get another\n-- a list\n\n" + TEXT + END)
    clean("epilogue of blank lines", MULTI + TEXT + END + "\n\n\n")
    clean("digest", TOP + 'Content-Type: multipart/mixed; boundary="===============111=="\n\n--===============111==\nContent-Description: list Digest, Vol 1\n\nToday\n--===============111==\n'
          'Content-Type: multipart/digest; boundary="===============222=="\n\n--===============222==\nContent-Type: message/rfc822\nMIME-Version: 1.0\n\nFrom: a@b\nSubject: one\n\none\n'
          '--===============222==--\n--===============111==--\n')
    clean("delivery status", TOP + 'Content-Type: multipart/report; report-type=delivery-status; boundary="A1/mx"\n\n--A1/mx\nContent-Description: Notification\nContent-Type: text/plain; charset=us-ascii\n\n'
          'failed\n\n--A1/mx\nContent-Description: Delivery report\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; b@example.net\n'
          'Action: failed\nStatus: 5.1.1\n\n--A1/mx\nContent-Description: Undelivered Message\nContent-Type: message/rfc822\n\nReturn-Path: <a@example.org>\n' + TOP + "\nhello\n--A1/mx--\n",
          types=["message/delivery-status"])
    clean("read receipt", TOP + 'Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nread\n--b\nContent-Type: message/disposition-notification\n\n'
          'Final-Recipient: rfc822;a@b\nDisposition: manual-action/MDN-sent-manually; displayed\n--b\nContent-Type: text/rfc822-headers\n\nSubject: x\nContent-Type: text/plain\n--b--\n')
    clean("forwarded message", part("Content-Type: message/rfc822; name=\"Re: a plan.eml\"\nContent-Disposition: attachment; filename=\"Re: a plan.eml\"", TOP + "\nhello\n"), ["Re: a plan.eml"])
    clean("invitation", TOP + 'Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\nx\n--b\nContent-Type: text/calendar; charset=utf-8; method=REQUEST\n'
          'Content-Transfer-Encoding: 7bit\n\nBEGIN:VCALENDAR\nEND:VCALENDAR\n--b--\n', types=["text/calendar"])
    clean("PGP/MIME signed", TOP + 'Content-Type: multipart/signed; micalg=pgp-sha256;\n protocol="application/pgp-signature";\n boundary="Sig_/abc=DEF"\n\n--Sig_/abc=DEF\nContent-Type: text/plain\n\nhi\n\n'
          '--Sig_/abc=DEF\nContent-Type: application/pgp-signature\nContent-Description: OpenPGP digital signature\n\n-----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n\n--Sig_/abc=DEF--\n')
    clean("PGP/MIME encrypted", TOP + 'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b\n\n--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n\n--b\n'
          'Content-Type: application/octet-stream; name="encrypted.asc"\nContent-Disposition: inline; filename="encrypted.asc"\n\n-----BEGIN PGP MESSAGE-----\n\nhQEM\n-----END PGP MESSAGE-----\n--b--\n')
    clean("S/MIME", TOP + 'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\nContent-Disposition: attachment; filename="smime.p7m"\nContent-Transfer-Encoding: base64\n\n' +
          encode(cms.enveloped()),
          ["smime.p7m"])
    clean("S/MIME signature", TOP + 'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary="----ABC"\n\nThis is an S/MIME signed message\n\n------ABC\n\nhi\n------ABC\n'
          'Content-Type: application/pkcs7-signature; name="smime.p7s"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename="smime.p7s"\n\nMIAGCSqG\n\n------ABC--\n\n')
    clean("winmail.dat", part('Content-Type: application/ms-tnef; name="winmail.dat"\nContent-Disposition: attachment; filename="winmail.dat"\nContent-Transfer-Encoding: base64', "eJ8+IgAA\n"), ["winmail.dat"])
    clean("inline PGP", TOP + "\n-----BEGIN PGP MESSAGE-----\nVersion: x\n\nhQEM\n=abcd\n-----END PGP MESSAGE-----\n")
    clean("text about mail", TOP + "\nPut this into the header:\n\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Disposition: attachment; filename=\"a.exe\"\n\nand be happy.\n")
    clean("text about MIME in a part", MULTI + "--b\nContent-Type: text/plain\n\nContent-Type: multipart/mixed; boundary=x\n--x\nContent-Disposition: attachment; filename=a.exe\n\n" + END)
    clean("bounce of old", TOP + "\nHi. This is the qmail-send program.\n\n--- Below this line is a copy of the message.\n\nReturn-Path: <a@b>\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\ny\n--x--\n")
    clean("lines of dashes", MULTI + "--b\n\n--\n---\n-- \n--------------\n--bye\n".replace("--bye", "-- bye") + END)
    clean("encoded subject", TOP.replace("Subject: s", "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\n =?UTF-8?B?IGF1cyBXaWVu?=") + "\nx\n", charsets=["utf-8"])
    clean("encoded sender", TOP.replace("From: a@", 'From: "=?iso-8859-1?Q?J=F6rg?=" <a@').replace(".org\n", ".org>\n", 1) + "\nx\n", charsets=["iso-8859-1"])
    clean("raw UTF-8 header", TOP.replace("Subject: s", "Subject: Grüße") + "\nx\n", source="RFC 6532 3.2")
    clean("folded fields", TOP + "Received: from a\n\tby b\n\tfor <c@d>;\n\tSun, 22 Nov 2026 10:00:00 +0000\nReferences: <a@b>\n <c@d>\n\nx\n")
    clean("empty fields", TOP + "X-Empty:\nX-Blank: \nReply-To:\n\nx\n")
    clean("old mbox line", "From a@b Sun Nov 22 10:00:00 2026\n" + TOP + "\nx\n")
    clean("no line end at the end", TOP + "\nx\nlast")
    clean("only LF", to_bytes(MULTI + TEXT + END).replace(b"\r\n", b"\n"))
    clean("dots", TOP + "\n.\n..\n.hidden\n")
    clean("empty parts", MULTI + "--b\n\n--b\n\n--b\nContent-Type: text/plain\n\n\n" + END)
    clean("attachment without text", TOP + pdf.format("scan.pdf"), ["scan.pdf"])
    clean("base64 text", TOP + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + encode("Grüße aus Wien\n" * 20))
    clean("base64 with a blank line at the end", TOP + "Content-Type: application/zip\nContent-Transfer-Encoding: base64\n\n" + encode("x" * 500) + "\n\n")
    clean("quoted-printable", TOP + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe=20\n=3D soft=\n break\n")
    clean("binary part", TOP + "Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n\nabc\x01\x02\x03\n")
    clean("boundary with all its letters", TOP + "Content-Type: multipart/mixed; boundary=\"a'()+_,-./:=?b\"\n\n--a'()+_,-./:=?b\n\nx\n--a'()+_,-./:=?b--\n", source="RFC 2046 5.1.1")
    clean("boundary with a blank behind the semicolon and a tab", TOP + 'Content-Type: multipart/mixed;\n\t boundary="b" ;\n\tcharset=utf-8\n\n' + TEXT + END)
    clean("boundary unquoted with equals signs", TOP + "Content-Type: multipart/mixed; boundary=--=_Part_1.2\n\n----=_Part_1.2\n\nx\n----=_Part_1.2--\n")
    clean("two boundaries of one length", TOP + "Content-Type: multipart/mixed; boundary=b1_a\n\n--b1_a\nContent-Type: multipart/alternative; boundary=b2_a\n\n--b2_a\n\nx\n--b2_a--\n--b1_a--\n")
    clean("yahoo boundary", TOP + 'Content-Type: multipart/alternative; \n\tboundary="----=_Part_1_2.3"\n\n------=_Part_1_2.3\n\nx\n------=_Part_1_2.3--\n')
    clean("form data", TOP + "Content-Type: multipart/form-data; boundary=b\n\n--b\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\n\nx\n" + END, ["a.txt"], source="RFC 7578 4.2")
    clean("content fields nobody knows", part("Content-Type: text/plain\nContent-Language: en\nContent-Location: a.html\nContent-MD5: x==\nContent-Features: y\nContent-Duration: 3").replace("EVIL", "x"))
    clean("vCard", part('Content-Type: text/vcard; name="a.vcf"; charset=utf-8\nContent-Disposition: attachment; filename="a.vcf"', "BEGIN:VCARD\nEND:VCARD\n"), ["a.vcf"])
    clean("feedback report", TOP + "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nx\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nVersion: 1\n"
          "--b\nContent-Type: message/rfc822\nContent-Disposition: inline\n\n" + TOP + "\nspam\n" + END, types=["message/feedback-report"])
    clean("HTML with a meta tag", TOP + 'Content-Type: text/html; charset="utf-8"\n\n<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"></head><body>x</body></html>\n', charsets=["utf-8"])
