"""Mail that programs on servers write: lists, bounces, mailings."""

import base64

from pieces import b64, png


def mailman():
    """A discussion list that adds a footer as a part of its own and the List fields of RFC 2369 and 2919."""
    return """Return-Path: <gardeners-bounces@lists.example.org>
Received: from lists.example.org (lists.example.org [192.0.2.25])
\tby mx.example.net (Postfix) with ESMTPS id 4dL1zW0fJXz9sT
\tfor <bob@example.net>; Mon,  5 Jan 2026 10:02:11 +0000 (UTC)
From: Ann Gardener via Gardeners <gardeners@lists.example.org>
To: gardeners@lists.example.org
Date: Mon, 5 Jan 2026 11:01:52 +0100
Message-ID: <695b8c10.2050903@example.com>
In-Reply-To: <CAF00bar@mail.example.com>
References: <CAF00bar@mail.example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="===============7264512345678901234=="
Subject: [Gardeners] Re: When to sow tomatoes
X-BeenThere: gardeners@lists.example.org
X-Mailman-Version: 2.1.39
Precedence: list
List-Id: All about gardens <gardeners.lists.example.org>
List-Unsubscribe: <https://lists.example.org/mailman/options/gardeners>,
 <mailto:gardeners-request@lists.example.org?subject=unsubscribe>
List-Archive: <https://lists.example.org/pipermail/gardeners/>
List-Post: <mailto:gardeners@lists.example.org>
List-Help: <mailto:gardeners-request@lists.example.org?subject=help>
Reply-To: Ann Gardener <ann@example.com>
Errors-To: gardeners-bounces@lists.example.org
Sender: "Gardeners" <gardeners-bounces@lists.example.org>

--===============7264512345678901234==
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
Content-Disposition: inline

On Sun, Jan 4, 2026 Bob wrote:
> When do you sow yours?

End of February, on the window sill. Für Gurken ist das zu früh.
See https://garden.example.com/tomatoes for a table.

--===============7264512345678901234==
Content-Type: text/plain; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Disposition: inline

_______________________________________________
Gardeners mailing list
Gardeners@lists.example.org
https://lists.example.org/mailman/listinfo/gardeners

--===============7264512345678901234==--
"""


def mailman_digest():
    """A digest: a masthead, the messages as parts of multipart/digest, whose default type is message/rfc822, and a footer."""
    return """Return-Path: <gardeners-bounces@lists.example.org>
From: gardeners-request@lists.example.org
Subject: Gardeners Digest, Vol 12, Issue 1
To: gardeners@lists.example.org
Date: Mon, 05 Jan 2026 12:00:01 +0000
Message-ID: <mailman.1.1767614401.12345.gardeners@lists.example.org>
Reply-To: gardeners@lists.example.org
X-Mailman-Version: 2.1.39
Precedence: list
List-Id: All about gardens <gardeners.lists.example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="===============1111111111111111111=="

--===============1111111111111111111==
Content-Type: text/plain; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Description: Gardeners Digest, Vol 12, Issue 1

Send Gardeners mailing list submissions to
\tgardeners@lists.example.org

Today's Topics:

   1. When to sow tomatoes (Bob)
   2. A picture of mine (Carol)

--===============1111111111111111111==
Content-Type: multipart/digest; boundary="===============2222222222222222222=="
MIME-Version: 1.0

--===============2222222222222222222==

From: Bob <bob@example.net>
To: gardeners@lists.example.org
Subject: When to sow tomatoes
Date: Sun, 4 Jan 2026 18:00:00 +0000
Message-ID: <CAF00bar@mail.example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: quoted-printable
Message: 1

When do you sow yours? Mine are Gr=C3=BCne Zebra.

--===============2222222222222222222==

From: Carol <carol@example.net>
To: gardeners@lists.example.org
Subject: A picture of mine
Date: Mon, 5 Jan 2026 08:00:00 +0000
Message-ID: <20260105.carol@example.net>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="inner"
Message: 2

--inner
Content-Type: text/plain; charset=us-ascii

Look at https://garden.example.com/carol

--inner
Content-Type: image/png; name="tomato.png"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="tomato.png"

@PNG@
--inner--

--===============2222222222222222222==--

--===============1111111111111111111==
Content-Type: text/plain; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Description: Digest Footer

_______________________________________________
Gardeners mailing list

--===============1111111111111111111==--
""".replace("@PNG@\n", b64(png(4, 4, (200, 30, 20))))


def dsn_postfix():
    """A bounce of Postfix: what a person reads, what a program reads, and the mail that came back, with its attachment."""
    return """Return-Path: <>
Received: by mx.example.net (Postfix)
\tid 4dL1zX3Kz2z9sV; Mon,  5 Jan 2026 10:00:03 +0000 (UTC)
Date: Mon,  5 Jan 2026 10:00:03 +0000 (UTC)
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: ann@example.org
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4dL1zW0fJXz9sT.1767607203/mx.example.net"
Message-Id: <20260105100003.4dL1zX3Kz2z9sV@mx.example.net>

This is a MIME-encapsulated message.

--4dL1zW0fJXz9sT.1767607203/mx.example.net
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.net.

<nobody@example.com>: host mail.example.com[192.0.2.10] said: 550 5.1.1
    <nobody@example.com>: Recipient address rejected: User unknown (in reply to
    RCPT TO command)

--4dL1zW0fJXz9sT.1767607203/mx.example.net
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
X-Postfix-Queue-ID: 4dL1zW0fJXz9sT
X-Postfix-Sender: rfc822; ann@example.org
Arrival-Date: Mon,  5 Jan 2026 10:00:00 +0000 (UTC)

Final-Recipient: rfc822; nobody@example.com
Original-Recipient: rfc822;nobody@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.com
Diagnostic-Code: smtp; 550 5.1.1 <nobody@example.com>: Recipient address
    rejected: User unknown

--4dL1zW0fJXz9sT.1767607203/mx.example.net
Content-Description: Undelivered Message
Content-Type: message/rfc822

Return-Path: <ann@example.org>
From: Ann Sender <ann@example.org>
To: nobody@example.com
Subject: Are you there?
Date: Mon, 5 Jan 2026 10:00:00 +0000
Message-ID: <question@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="q"

--q
Content-Type: text/plain

Please look at the table.
--q
Content-Type: text/csv; name=table.csv
Content-Disposition: attachment; filename=table.csv

a;b
1;2
--q--

--4dL1zW0fJXz9sT.1767607203/mx.example.net--
"""


def dsn_exim():
    """A bounce of Exim's older kind: plain text with the mail that came back below it, nothing for programs."""
    return """Return-path: <>
From: Mail Delivery System <Mailer-Daemon@mail.example.com>
To: ann@example.org
Auto-Submitted: auto-replied
X-Failed-Recipients: nobody@example.com
Subject: Mail delivery failed: returning message to sender
Message-Id: <E1vcABC-0000Xy-01@mail.example.com>
Date: Mon, 05 Jan 2026 10:00:00 +0000

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  nobody@example.com
    Unrouteable address

------ This is a copy of your message, including all the headers. ------

Return-path: <ann@example.org>
From: Ann Sender <ann@example.org>
Subject: Are you there?

Hello?
"""


def newsletter():
    """A mailing of the usual kind: HTML first of all, long lines in base64, links with tracking, one-click unsubscribing."""
    html = ("<!DOCTYPE html><html><head><title>News</title><script>var tracked = 'https://never.example.com/';</script></head><body>"
            "<p>Hello&nbsp;Bob &amp; friends</p><p><a href='https://click.example.com/r?u=https%3A%2F%2Fshop.example.com%2F'>Sale</a></p>"
            '<img src="https://open.example.com/p.gif?id=1" width=1 height=1></body></html>')
    text = "Sale: https://click.example.com/r?u=1\n"
    return f"""Return-Path: <bounce-7-bob=example.net@news.example.com>
From: =?utf-8?q?News_=26_More?= <news@news.example.com>
To: bob@example.net
Subject: =?utf-8?b?{base64.b64encode("Winter sale ❄ 50 % off".encode()).decode()}?=
Date: Mon, 05 Jan 2026 06:00:00 +0000
Message-ID: <7.1767592800@news.example.com>
List-Unsubscribe: <https://news.example.com/u/7>, <mailto:u7@news.example.com>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
Precedence: bulk
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b1_0123456789abcdef

--b1_0123456789abcdef
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: base64

{b64(text.encode())}
--b1_0123456789abcdef
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

{b64(html.encode())}
--b1_0123456789abcdef--
"""
