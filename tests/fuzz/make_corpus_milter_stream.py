"""Makes corpus/milter_stream: dialogues of a milter client, each behind the bytes that script the answers (fuzz_milter_stream.c)."""

import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
GO_ON, ADD, BAD, REJECT, TEMPFAIL, DISCARD, ACCEPT = 0x07, 0x0E, 0x15, 0x0B, 0x03, 0x04, 0x01


def frame(command, data=b""):
    return struct.pack(">I", len(data) + 1) + command + data


def negotiate(version=6, actions=0x1FF, steps=0x1FFFFF):
    return frame(b"O", struct.pack(">III", version, actions, steps))


CONNECT = frame(b"D", b"Cj\0mx.test\0{daemon_name}\0d\0") + frame(b"C", b"host\0" + b"4" + struct.pack(">H", 25) + b"192.0.2.1\0")
HELO = frame(b"H", b"client\0")
MAIL = frame(b"D", b"Mi\0Q1\0") + frame(b"M", b"<a@b>\0SIZE=10\0")
RCPT = frame(b"R", b"<c@d>\0")
MESSAGE = frame(b"T") + frame(b"L", b"Subject\0 s\0") + frame(b"L", b"X\0 a\n b\0") + frame(b"N") + frame(b"B", b"text\r\n") + \
    frame(b"E")
START = negotiate() + CONNECT + HELO
WHOLE = START + MAIL + RCPT + MESSAGE

DIALOGUES = {
    "whole": WHOLE + frame(b"Q"),
    "two_messages": WHOLE + MAIL + RCPT + RCPT + MESSAGE,
    "abort": START + MAIL + RCPT + frame(b"A") + MAIL + RCPT + MESSAGE + frame(b"Q"),
    "new_connection": WHOLE + frame(b"K") + CONNECT + HELO + MAIL + RCPT + MESSAGE,
    "unknown": START + frame(b"U", b"FOO\0") + MAIL + frame(b"U", b"BAR\0") + frame(b"Q"),
    "end_with_body": START + MAIL + RCPT + frame(b"N") + frame(b"E", b"rest\r\n"),
    "old_mta": negotiate(2, 0x3F, 0x7F) + CONNECT + HELO + MAIL + RCPT + frame(b"L", b"A\0b\0") + frame(b"N") + frame(b"E"),
    "no_negotiation": CONNECT + MAIL + MESSAGE,
    "out_of_order": START + frame(b"E") + frame(b"N") + RCPT + frame(b"T") + frame(b"B", b"x"),
    "large_body": START + MAIL + RCPT + frame(b"N") + frame(b"B", b"x" * 40000) + frame(b"E"),
    "large_header": START + MAIL + RCPT + frame(b"L", b"X\0" + b"y" * 9000 + b"\0") + frame(b"N") + frame(b"E"),
    "many_recipients": START + MAIL + RCPT * 25 + MESSAGE,
    "long_address": START + frame(b"M", b"<" + b"a" * 20000 + b"@b>\0") + RCPT + MESSAGE,
    "unix_client": negotiate() + frame(b"C", b"localhost\0L\0\0/path\0") + HELO + MAIL,
    "cut": WHOLE[:-3],
    "odd_macros": START + frame(b"D", b"Mi\0") + frame(b"M", b"<a@b>\0"),
    "unended_command": START + frame(b"U", b"FOO"),
    "huge_length": b"\xff\xff\xff\xff",
}
SCRIPTS = {"go_on": [GO_ON], "add": [ADD], "bad": [BAD], "reject": [GO_ON] * 3 + [REJECT], "tempfail": [GO_ON, TEMPFAIL],
           "discard": [GO_ON] * 4 + [DISCARD], "accept": [GO_ON, GO_ON, ACCEPT], "nobody": [GO_ON, 245], "late": [251]}


def main():
    folder = os.path.join(HERE, "corpus", "milter_stream")
    os.makedirs(folder, exist_ok=True)
    for name, dialogue in DIALOGUES.items():
        for script_name, script in SCRIPTS.items():
            if script_name != "go_on" and name not in ("whole", "two_messages"):
                continue
            head = bytes((script * 12)[:12] + [0, 0, 0, 0])
            with open(os.path.join(folder, f"{name}-{script_name}"), "wb") as file:
                file.write(head + dialogue)
    for stages in range(0, 256, 17):
        with open(os.path.join(folder, f"stages-{stages}"), "wb") as file:
            file.write(bytes([GO_ON] * 12 + [0, stages, stages ^ 0x5A, stages & 1]) + WHOLE)


if __name__ == "__main__":
    main()
