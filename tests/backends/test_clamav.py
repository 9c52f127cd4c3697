"""postern.clamav: the real clamd, and fakes that hang, lie, close early, answer in single bytes or too much. Never clean by mistake."""

import array
import base64
import os
import socket
import struct
import threading
import unittest

from asking import Asking, hang, slowly
from test_frame import SANDBOX, SystemTest
from harness.process import SOURCE, Folder, wait_until
from harness.scanners import VIRUS, Clamd

HEAD = "local clamav = require 'postern.clamav'\n"
SCAN = HEAD + "function filter_message(msg) note(msg, clamav.scan(msg)) end"
CLEAN_MAIL = b"Subject: x\r\n\r\nhello\r\n"
BAD_MAIL = b"Subject: x\r\n\r\n" + VIRUS + b"\r\n"


def attachment(content):
    return (b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n"
            b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(content) + b"--b--\r\n")


def read_stream(connection):
    """What INSTREAM brings; fails when it is malformed."""
    with connection.makefile("rb") as file:
        line = file.readline()
        assert line == b"nINSTREAM\n", line
        pieces = []
        while n := struct.unpack(">I", file.read(4))[0]:
            pieces.append(file.read(n))
            assert len(pieces[-1]) == n
        return b"".join(pieces)


def answering(answer, write=socket.socket.sendall):
    def handle(connection):
        read_stream(connection)
        write(connection, answer)
    return handle


class Fakes(Asking):
    def scan(self, *servers, options=(), **more):
        sockets = " ".join(f"inet:{server.port}@127.0.0.1" for server in servers)
        return self.notes(SCAN, "clamav.on_failure=return", f"clamav.sockets={sockets}", *options, **more)[0]

    def test_true_answers(self):
        self.assertEqual(self.scan(self.server(answering(b"stream: OK\n"))), {"status": "clean"})
        self.assertEqual(self.scan(self.server(answering(b"stream: Eicar (md5:1) FOUND\n"))), {"status": "infected", "name": "Eicar (md5:1)"})
        self.assertEqual(self.scan(self.server(answering(b"stream: OK FOUND\n"))), {"status": "infected", "name": "OK"})
        self.assertEqual(self.scan(self.server(answering(b"stream: a\xff\0b FOUND\n"))), {"status": "infected", "name": "a??b"})
        self.assertEqual(self.scan(self.server(answering(b"stream: " + b"x" * 500 + b" FOUND\n")))["name"], "x" * 200)

    def test_in_single_bytes(self):
        self.assertEqual(self.scan(self.server(answering(b"stream: OK\n", slowly))), {"status": "clean"})

    def test_it_gets_the_whole_message(self):
        got = []
        mail = b"Subject: x\r\n\r\n" + os.urandom(300000).replace(b"\n", b".").replace(b"\r", b".") + b"\r\n"
        server = self.server(lambda connection: (got.append(read_stream(connection)), connection.sendall(b"stream: OK\n")))
        self.assertEqual(self.scan(server, mail=mail), {"status": "clean"})
        self.assertEqual(got, [mail])

    def test_lies(self):
        for answer in (b"", b"\n", b"OK\n", b"stream: OK", b"stream: OK\n\n", b"stream: OK\nstream: Eicar FOUND\n", b"stream: OK\0", b"stream: OK\r\n",
                       b"stream: ok\n", b"stream:  OK\n", b"stream: OK \n", b" stream: OK\n", b"1: stream: OK\n", b"fd[10]: OK\n", b"stream: O",
                       b"stream:  FOUND\n", b"stream: FOUND\n", b"stream: Can't create temporary file ERROR\n", b"OKstream: OK\n", b"\xff\xfe\xfd",
                       b"INSTREAM size limit exceeded. ERROR\n", b"UNKNOWN COMMAND\n", b"stream: OK ERROR\n", b"HTTP/1.1 200 OK\r\n\r\nstream: OK\n"):
            with self.subTest(answer=answer):
                noted = self.scan(self.server(answering(answer)))
                self.assertEqual(list(noted), ["none"], noted)
                self.assertRegex(noted["none"], r"^inet:\d+@127\.0\.0\.1: clamd says ")

    def test_too_much(self):
        for answer in (b"stream: OK\n" * 1000, b"x" * (1 << 20), b"stream: " + b"x" * 3000 + b" FOUND\n"):
            self.assertIn("too long", self.scan(self.server(answering(answer)))["none"])

    def test_hanging_at_each_step(self):
        def in_the_middle(connection):
            connection.recv(5)
            hang(connection)
        large = b"Subject: x\r\n\r\n" + b"x" * (12 << 20) + b"\r\n"
        gone = threading.Event()
        self.addCleanup(gone.set)
        for handle, mail in ((hang, CLEAN_MAIL), (lambda connection: gone.wait(60), large), (in_the_middle, CLEAN_MAIL),
                             (lambda connection: (read_stream(connection), hang(connection, b"stream: OK")), CLEAN_MAIL),
                             (lambda connection: (read_stream(connection), hang(connection, b"stream: OK\n")), CLEAN_MAIL)):
            noted = self.scan(self.server(handle), options=["clamav.timeout=300ms"], mail=mail)
            self.assertRegex(noted["none"], ": timeout$")

    def test_closing_early(self):
        def reset(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        large = b"Subject: x\r\n\r\n" + b"x" * (2 << 20) + b"\r\n"
        for handle in (lambda connection: None, reset, lambda connection: connection.recv(5),
                       lambda connection: (connection.recv(100), connection.sendall(b"stream: OK\n"), reset(connection))):
            noted = self.scan(self.server(handle), mail=large)
            self.assertEqual(list(noted), ["none"], noted)

    def test_nobody_there(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            spec = f"inet:{closed.getsockname()[1]}@127.0.0.1"
            noted = self.notes(SCAN, "clamav.on_failure=return", f"clamav.sockets=unix:/nonexistent/clamd, {spec}")[0]
        self.assertEqual(noted["none"], f"unix:/nonexistent/clamd: No such file or directory; {spec}: refused")

    def test_the_next_one_is_asked(self):
        bad, good = self.server(answering(b"stream: ok\n")), self.server(answering(b"stream: OK\n"))
        code = HEAD + """function filter_message(msg)
            for _ = 1, 3 do note(msg, clamav.scan(msg)) end
            async.sleep(0.3)
            note(msg, clamav.scan(msg))
        end"""
        notes = self.notes(code, f"clamav.sockets=inet:{bad.port}@127.0.0.1 inet:{good.port}@127.0.0.1", "backend.retry_time=250ms")
        self.assertEqual(notes, [{"status": "clean"}] * 4)
        self.assertEqual((bad.n, good.n), (2, 4), "one that failed is left alone for a while, and then asked first again")

    def test_at_the_same_time(self):
        barrier = threading.Barrier(3)

        def handle(connection):
            read_stream(connection)
            barrier.wait(30)
            connection.sendall(b"stream: OK\n")
        server = self.server(handle)
        code = HEAD + """function filter_message(msg)
            local function scan() return clamav.scan(msg) end
            local r = async.all{ scan, scan, scan }
            for i = 1, 3 do note(msg, r[i]) end
        end"""
        self.assertEqual(self.notes(code, f"clamav.sockets=inet:{server.port}@127.0.0.1"), [{"status": "clean"}] * 3)

    def test_cancelled(self):
        bad, good = self.server(hang), self.server(answering(b"stream: OK\n"))
        code = HEAD + """function filter_message(msg)
            note(msg, async.timeout(0.2, clamav.scan, msg))
            note(msg, clamav.scan(msg))
        end"""
        notes = self.notes(code, f"clamav.sockets=inet:{bad.port}@127.0.0.1 inet:{good.port}@127.0.0.1")
        self.assertRegex(notes[0]["none"], rf"^timeout: clamav at inet:{bad.port}@127\.0\.0\.1 ")
        self.assertEqual(notes[1], {"status": "clean"})
        self.assertEqual((bad.n, good.n), (1, 1), "one that hung is asked last")

    def test_declared_answers(self):
        server = self.server(answering(b"nonsense\n"))
        where = f"clamav.sockets=inet:{server.port}@127.0.0.1"
        code = HEAD + "function filter_message(msg) local _, r = pcall(clamav.scan, msg) note(msg, r) return accept() end"
        result = self.play(code, where)
        self.assertEqual((result["verdict"], result["reply"]["code"]), ("tempfail", 451), result)
        self.assertEqual(result["notes"], [])
        result = self.play(code, where, "clamav.on_failure=continue")
        self.assertEqual(result["verdict"], "accept")
        self.assertEqual(result["notes"][0]["status"], "unscanned")
        self.assertIn("X-Postern-Unscanned", str(result["actions"]))

    def test_too_large(self):
        server = self.server(answering(b"stream: OK\n"))
        where = f"clamav.sockets=inet:{server.port}@127.0.0.1"
        result = self.play(SCAN, where, "clamav.max_size=20")
        self.assertEqual(result["notes"], [{"status": "skipped", "error": "21 bytes are more than clamav.max_size"}])
        self.assertIn("X-Postern-Unscanned", str(result["actions"]))
        self.assertEqual(server.n, 0)
        self.assertEqual(self.notes(SCAN, where, "clamav.max_size=21"), [{"status": "clean"}])

    def test_misuse(self):
        code = HEAD + """
            function filter_message(msg)
                for _, what in ipairs{ "text", 7, {}, msg.conn, msg.recipients[1], false } do
                    local ok, why = pcall(clamav.scan, what)
                    note(msg, nil, tostring(ok) .. " " .. why)
                end
                note(msg, nil, select(2, pcall(clamav.scan)))
            end
            function filter_headers(msg) note(msg, nil, select(2, pcall(clamav.scan, msg))) end"""
        early, *notes = self.notes(code)
        self.assertRegex(early["none"], r"clamav\.scan: the whole message is known from filter_message on")
        self.assertEqual(len(notes), 7)
        for noted in notes:
            self.assertRegex(noted["none"], r"clamav\.scan: .*msg or part expected")

    def test_sockets_are_checked_when_the_filter_loads(self):
        for sockets in ("inet:99999@127.0.0.1", "inet:0@127.0.0.1", "inet:3310@localhost", "inet:3310", "clamd.ctl", "unix:" + "x" * 108, ","):
            result = self.play(SCAN, f"clamav.sockets={sockets}")
            self.assertIn("clamav.sockets", str(result["error"]), sockets)

    def test_part_that_was_cut(self):
        code = HEAD + "function filter_message(msg) for part in msg:parts() do note(msg, clamav.scan(part)) end end"
        notes = self.notes(code, "clamav.on_failure=return", "worker.max_decoded=64K", "clamav.sockets=/nonexistent/s",
                           mail=attachment(b"x" * 100000))
        self.assertIn("worker.max_decoded", notes[-1]["none"])

    def test_descriptor(self):
        got, path = [], self.folder("s")

        def handle(connection):
            with connection.makefile("rb", buffering=0) as file:
                got.append(b"".join(iter(lambda: file.read(1), b"\n")))
            fds = array.array("i")
            _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_LEN(4))
            fds.frombytes(ancillary[0][2])
            with os.fdopen(fds[0], "rb") as file:
                got.append(file.read())
            connection.sendall(answers.pop(0))
        answers = [b"fd[9]: OK\n", b"stream: OK\n", b"fd[9]: Eicar FOUND\n"]
        self.server(handle, path=path)
        code = HEAD + "function filter_message(msg) for _ = 1, 3 do note(msg, clamav.scan(msg)) end end"
        notes = self.notes(code, "clamav.on_failure=return", "clamav.descriptors=yes", f"clamav.sockets={path}")
        self.assertEqual(got, [b"nFILDES", CLEAN_MAIL] * 3)
        self.assertEqual(notes[0], {"status": "clean"})
        self.assertIn("clamd says", notes[1]["none"])
        self.assertEqual(notes[2], {"status": "infected", "name": "Eicar"})


class Real(Asking):
    @classmethod
    def setUpClass(cls):
        cls.home = Folder("clamd")
        cls.addClassCleanup(cls.home.remove)
        cls.clamd = Clamd(cls.home).start()
        cls.addClassCleanup(cls.clamd.stop)

    def ways(self):
        for options in ((f"clamav.sockets={self.clamd.path}",), (f"clamav.sockets=unix:{self.clamd.path}", "clamav.descriptors=yes"),
                        (f"clamav.sockets={self.clamd.tcp}", "clamav.descriptors=yes")):
            with self.subTest(options):
                yield options

    def test_messages(self):
        for options in self.ways():
            self.assertEqual(self.notes(SCAN, *options, mail=CLEAN_MAIL), [{"status": "clean"}])
            self.assertEqual(self.notes(SCAN, *options, mail=BAD_MAIL), [{"status": "infected", "name": "Postern.Test.UNOFFICIAL"}])
            self.assertEqual(self.notes(SCAN, *options, mail=attachment(b"a" + VIRUS))[0]["status"], "infected")

    def test_parts(self):
        code = HEAD + "function filter_message(msg) for part in msg:parts() do note(msg, clamav.scan(part)) end end"
        for options in self.ways():
            notes = self.notes(code, *options, mail=attachment(b"\0" * 70000 + VIRUS))
            self.assertEqual([noted["status"] for noted in notes], ["clean", "infected"])
        self.assertEqual(self.notes(code, *options, mail=attachment(b"")), [{"status": "clean"}] * 2)

    def test_ready_filter(self):
        with open(os.path.join(SOURCE, "scripts", "filters", "virus-refuse.lua"), encoding="utf-8") as file:
            code = file.read()

        def play(mail, *options):
            return self.play(code, f"clamav.sockets={self.clamd.path}", *options, mail=mail)
        self.assertEqual(play(CLEAN_MAIL)["verdict"], "continue")
        result = play(BAD_MAIL)
        self.assertEqual((result["verdict"], result["reply"]["code"]), ("reject", 554), result)
        self.assertIn("Postern.Test", result["reply"]["text"])
        result = play(BAD_MAIL, "filter.virus_action=trap")
        self.assertEqual(result["verdict"], "discard")
        self.assertIn("trap=store: virus: Postern.Test.UNOFFICIAL", result["log"])
        self.assertEqual(play(CLEAN_MAIL, "filter.virus_action=trap")["verdict"], "continue")

    def test_larger_than_the_heap(self):
        mail = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (10 << 20 >> 6) + VIRUS + b"\r\n"
        for options in self.ways():
            self.assertEqual(self.notes(SCAN, *options, "worker.lua_memory=4M", mail=mail)[0]["status"], "infected")


class Daemons(SystemTest):
    FILTER = """
        local clamav = require "postern.clamav"
        function filter_message(msg)
            local scanned = clamav.scan(msg)
            if scanned.status == "infected" then return reject("this mail carries " .. scanned.name) end
        end"""

    def setUp(self):
        self.folder = Folder("clamd")
        self.addCleanup(self.folder.remove)
        self.clamd = Clamd(self.folder).start()
        self.addCleanup(lambda: self.clamd.stop())

    def send(self, body):
        return self.client().start().message(body=body)

    def test_in_the_sandbox(self):
        self.start(self.FILTER, {"worker.sandbox": SANDBOX, "clamav.sockets": "unix:" + self.clamd.path, "clamav.descriptors": "yes"})
        self.assertReply(self.send(b"hello " + VIRUS + b"\r\n"), "550 5.7.1 this mail carries Postern.Test")
        self.good_mail_passes()

    def test_killed_and_back(self):
        self.start(self.FILTER, {"worker.sandbox": SANDBOX, "worker.allow_network": "yes", "backend.retry_time": "100ms",
                                 "clamav.sockets": self.clamd.tcp})
        self.assertReply(self.send(VIRUS), "550 5.7.1")
        self.clamd.kill()
        for _ in range(8):
            self.assertReply(self.send(VIRUS), "451 4.7.1")
        self.clamd.start()
        wait_until(lambda: self.send(VIRUS).text.startswith("550"), "clamd to be asked again", 20)


if __name__ == "__main__":
    unittest.main()
