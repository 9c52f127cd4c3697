"""filter_map as a socketmap server: raw netstrings, good and bad; and look-ups by the real mail servers.

Usage: test_map.py raw|sendmail|postfix
"""

import os
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mta import Postfix, Sendmail
from harness.postern import Postern
from harness.process import PATIENCE, Folder, wait_until

KIND = sys.argv.pop(1)

FILTER = """
local async = require "postern.async"
local table = { ["ann@example.org"] = "ann", ["grün"] = "green", ["long"] = ("x"):rep(8000) }
function filter_map(map, key)
    if map ~= "users" then return nil, "there is no map " .. map, "perm" end
    if key == "later" then return nil, "the table is away" end
    if key == "broken" then error("oops") end
    if key == "wrong" then return 7 end
    if key == "too long" then return ("x"):rep(9000) end
    if key == "slow" then async.sleep(30) end
    if key:sub(1, 5) == "echo " then return key:sub(6) end
    return table[key]
end
"""


def netstring(text):
    data = text.encode() if isinstance(text, str) else text
    return b"%d:%s," % (len(data), data)


class Peer:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30 * PATIENCE)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")

    def answer(self):
        """The next answer; None when the connection ends."""
        digits = b""
        while (byte := self.file.read(1)) != b":":
            if not byte:
                return None
            digits += byte
        data = self.file.read(int(digits))
        assert self.file.read(1) == b","
        return data.decode()

    def ask(self, text):
        self.sock.sendall(netstring(text))
        return self.answer()

    def close(self):
        self.file.close()
        self.sock.close()


def map_options(path, **more):
    return {"multiplexor.map_socket": path, "multiplexor.map_socket_mode": "0666", **more}


class Raw(unittest.TestCase):
    def start(self, text=FILTER, **more):
        folder = Folder("map")
        self.path = folder("map.sock")
        postern = Postern(text, folder=folder, options=map_options(self.path, **more))

        def end():
            postern.stop()
            folder.remove()
        self.addCleanup(end)
        return postern

    def peer(self):
        peer = Peer(self.path)
        self.addCleanup(peer.close)
        return peer

    def test_answers(self):
        postern = self.start()
        peer = self.peer()
        for question, answer in (("users ann@example.org", "OK ann"), ("users bob@example.org", "NOTFOUND "), ("users grün", "OK green"),
                                 ("users later", "TEMP the table is away"), ("other x", "PERM there is no map other"),
                                 ("users broken", "TEMP the look-up failed"), ("users wrong", "TEMP the look-up failed"),
                                 ("users too long", "TEMP the look-up failed"), ("users long", "OK " + "x" * 8000), ("users ", "NOTFOUND "),
                                 ("users echo a b  c", "OK a b  c"), ("users echo " + "k" * 6000, "OK " + "k" * 6000)):
            self.assertEqual(peer.ask(question), answer, question[:40])
        self.assertEqual(postern.status()["requests"]["by_hook"]["filter_map"], 12)

    def test_several_at_once_are_answered_in_order(self):
        self.start()
        peer = self.peer()
        peer.sock.sendall(b"".join(netstring(f"users echo {i}") for i in range(50)))
        self.assertEqual([peer.answer() for _ in range(50)], [f"OK {i}" for i in range(50)])
        for byte in netstring("users echo slowly"):
            peer.sock.sendall(bytes([byte]))
        self.assertEqual(peer.answer(), "OK slowly")
        peer.sock.sendall(netstring("users echo last"))
        peer.sock.shutdown(socket.SHUT_WR)
        self.assertEqual((peer.answer(), peer.answer()), ("OK last", None))

    def test_what_is_no_socketmap_is_dropped(self):
        postern = self.start()
        for data in (b"GET / HTTP/1.0\r\n\r\n", b":,", b"x:users a,", b"7:users a;", b"5:users,", b"6: users,", b"999999:", b"10241:", b"0:,", b"-1:,",
                     b"7:a\0bcd e,", b"8:" + b"users \0a,"):
            peer = self.peer()
            peer.sock.sendall(data)
            self.assertIsNone(peer.answer(), data)
        self.assertEqual(self.peer().ask("users ann@example.org"), "OK ann")
        self.assertTrue(postern.status())

    def test_limits(self):
        self.start(**{"multiplexor.map_connections": 3, "multiplexor.map_time": "400ms", "multiplexor.kill_grace": "100ms"})
        peers = [self.peer() for _ in range(3)]
        for peer in peers:
            self.assertEqual(peer.ask("users ann@example.org"), "OK ann")
        self.assertIsNone(self.peer().answer())
        self.assertEqual(peers[0].ask("users slow"), "TEMP the look-up failed")
        peers[1].sock.sendall(netstring("users slow"))
        peers[1].close()  # gone before the answer

        def has_room():
            peer = Peer(self.path)
            try:
                return peer.ask("users ann@example.org") == "OK ann"
            except OSError:
                return False
            finally:
                peer.close()
        wait_until(has_room, "room for one more")

    def test_a_filter_without_maps(self):
        self.start("function filter_message(msg) end\n")
        self.assertEqual(self.peer().ask("users x"), "PERM the filter defines no filter_map")


class RealPostfix(unittest.TestCase):
    def test_lookups(self):
        mta = Postfix(name="postfix.map")
        path = mta.folder("map.sock")
        postern = Postern(FILTER, folder=mta.folder, options=map_options(path))
        mta.spec = postern.spec
        try:
            mta.start()

            def postmap(key, name="users"):
                argv = ["nsenter", "-t", str(mta.process.pid), "-m", os.path.join(mta.ROOT, "usr/sbin/postmap"), "-c", mta.folder("etc"),
                        "-q", key, f"socketmap:unix:{path}:{name}"]
                done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **mta.env()}, check=False, timeout=60)
                return done.returncode, done.stdout.strip(), done.stderr
            self.assertEqual(postmap("ann@example.org")[:2], (0, "ann"))
            self.assertEqual(postmap("bob@example.org")[:2], (1, ""))
            self.assertEqual(postmap("long")[:2], (0, "x" * 8000))
            for key, name in (("later", "users"), ("x", "other")):
                code, out, err = postmap(key, name)
                self.assertEqual(out, "")
                self.assertNotEqual(code, 0, err)
        finally:
            if mta.process:
                mta.process.stop()
            postern.stop()
            mta.folder.remove()


class RealSendmail(unittest.TestCase):
    def test_lookups(self):
        mta = Sendmail(name="sm.map", extra="LOCAL_CONFIG\nKusers socket local:/mnt/map.sock\n")
        path = mta.folder("map.sock")
        postern = Postern(FILTER, folder=mta.folder, options=map_options(path))
        mta.spec = postern.spec
        try:
            mta.start()
            argv = ["nsenter", "-t", str(mta.process.pid), "-m", "-u", os.path.join(mta.ROOT, "usr/libexec/sendmail/sendmail"), "-bt", "-C/mnt/etc/sendmail.cf"]
            keys = ["ann@example.org", "bob@example.org", "later"]
            done = subprocess.run(argv, input="".join(f"/map users {key}\n" for key in keys), capture_output=True, text=True, check=False, timeout=60,
                                  cwd="/", env={**os.environ, "LD_LIBRARY_PATH": f"{mta.ROOT}/usr/lib/x86_64-linux-gnu"})
            self.assertIn("map_lookup: users (ann@example.org) returns ann (0)", done.stdout, done.stderr)
            self.assertIn("map_lookup: users (bob@example.org) no match", done.stdout)
            self.assertRegex(done.stdout, r"map_lookup: users \(later\) no match \(75\)")
        finally:
            if mta.process:
                mta.process.stop()
            postern.stop()
            mta.folder.remove()


if __name__ == "__main__":
    unittest.main(defaultTest={"raw": "Raw", "sendmail": "RealSendmail", "postfix": "RealPostfix"}[KIND])
