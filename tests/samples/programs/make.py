#!/usr/bin/python3
"""Writes the messages of this folder: each in the style of a program that people use, with its habits in headers, boundaries and encodings.

They were made once and are kept, since keys and signatures come out differently each time. Needs gpg and openssl. All addresses are of
domains that nobody has; every text is ours.

Usage: make.py [NAME …]
"""

import os
import sys

import clients
import servers
import signed

HERE = os.path.dirname(os.path.abspath(__file__))
MAKERS = (servers.mailman, servers.mailman_digest, servers.dsn_postfix, servers.dsn_exim, servers.newsletter,
          clients.outlook_winmail, clients.apple_mail, clients.thunderbird_flowed, clients.japanese, clients.exchange_related,
          clients.calendar_exchange, clients.calendar_google, clients.forwarded,
          signed.pgp_signed, signed.pgp_encrypted, signed.smime_signed, signed.smime_opaque, signed.smime_pieces, signed.smime_encrypted)


def main():
    chosen = sys.argv[1:]
    for maker in MAKERS:
        name = maker.__name__.replace("_", "-")
        if not chosen or name in chosen:
            with open(os.path.join(HERE, name + ".eml"), "w", encoding="utf-8", newline="") as file:
                file.write(maker())


if __name__ == "__main__":
    main()
