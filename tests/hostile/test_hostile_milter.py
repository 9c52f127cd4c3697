"""Each hostile message that the milter protocol can carry, through the real daemons with one worker: a definite answer within 2 s of processor
time and 256 MB, and the next ordinary mail passes through the same worker."""

import os
import re
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "milter"), os.path.join(os.path.dirname(HERE), "system")]

from fixture import SystemTest  # noqa: E402
from harness.process import SANITIZE, processes_of  # noqa: E402
from messages import READS_EVERYTHING, ROWS  # noqa: E402

SECONDS = 30 if SANITIZE else 2
MEGABYTES = 2048 if SANITIZE else 256
TICKS = os.sysconf("SC_CLK_TCK")


def split(raw):
    """The fields as an MTA would hand them over, and the body: a line that is no field ends the header."""
    fields, at = [], 0
    while at < len(raw):
        end = raw.find(b"\n", at)
        end = len(raw) if end < 0 else end
        line = raw[at:end].removesuffix(b"\r")
        if not line:
            return fields, raw[end + 1:]
        if line[:1] in b" \t" and fields:
            fields[-1][1].append(line)
        else:
            name, colon, value = line.partition(b":")
            if not colon or not name or b" " in name:
                return fields, raw[at:]
            fields.append((name, [value]))
        at = end + 1
    return fields, b""


def frame(command, data=b""):
    return struct.pack(">I", len(data) + 1) + command + data


def stream(raw):
    """Header, end of header and body as one run of frames; nothing of it has a reply. None: the protocol cannot carry it."""
    fields, body = split(raw)
    out = []
    for name, lines in fields:
        value = b"\n".join(lines)
        if b"\0" in name + value:
            return None
        out.append(frame(b"L", name + b"\0" + value + b"\0"))
    for at in range(0, len(body), 65535):
        out.append(frame(b"B", body[at:at + 65535]))
    return b"".join(out)


class Hostile(SystemTest):
    def usage(self):
        """Processor seconds of all of Postern's processes, and the largest that one of them ever was, in MB."""
        seconds = megabytes = 0
        for pid in processes_of(self.postern.folder.path):
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rsplit(")", 1)[1].split()
                seconds += (int(fields[11]) + int(fields[12])) / TICKS
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
                megabytes = max(megabytes, int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1024)
        return seconds, megabytes

    def test_each(self):
        self.start(READS_EVERYTHING, {"multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.recycle_memory": 0})
        worker = self.postern.workers()[0]["pid"]
        client = self.client(60).start()
        for name, make in ROWS.items():
            frames = stream(make())
            if frames is None:
                continue
            with self.subTest(name=name):
                before, _ = self.usage()
                client.mail(), client.rcpt(), client.data()
                client.sock.sendall(frames)
                answer = client.eom()
                after, megabytes = self.usage()
                print(f"{name:45} {len(frames) >> 10:6} KB {after - before:6.2f} s {megabytes:5.0f} MB {answer.text or answer.actions}")
                if len(frames) > 4 << 20 and answer.code == "reply":
                    self.assertReply(answer, "552 5.3.4 ")
                else:
                    self.assertEqual(answer.code, "continue", f"{answer}\n{self.postern.logs()}")
                self.assertLess(after - before, SECONDS)
                self.assertLess(megabytes, MEGABYTES)
                good = client.message()
                self.assertEqual(good.all("add_header"), [["X-Read", " 1 parts, 1 headers, 0 defects"]])
                self.assertEqual([found["pid"] for found in self.postern.workers()], [worker])
        self.assertEqual(self.postern.status()["outcomes"]["error"], 0)


if __name__ == "__main__":
    unittest.main()
