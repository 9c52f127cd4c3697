"""postern.icap: the real c-icap before the real clamd, and fakes that hang, lie, close early, answer in single bytes or too much. Never
clean by mistake."""

import base64
import os
import socket
import struct
import threading
import unittest

from asking import Asking, hang, slowly
from icap_fakes import GOOD, OFFER, PAGE, PLAIN_OFFER, UNCHANGED, Speaker, changed, chunked, found
from test_frame import SANDBOX, SystemTest
from harness.process import SOURCE, Folder, wait_until
from harness.scanners import VIRUS, CIcap, Clamd

HEAD = "local icap = require 'postern.icap'\n"
SCAN = HEAD + "function filter_message(msg) for _ = 1, %d do note(msg, icap.scan(msg, %s)) end end"
CLEAN_MAIL = b"Subject: x\r\n\r\nhello\r\n"
BAD_MAIL = b"Subject: x\r\n\r\n" + VIRUS + b"\r\n"
CLEAN = {"status": "clean"}
NAMED = b"X-Infection-Found: Type=0; Resolution=2; Threat=Eicar;\r\n"


def attachment(content, name="invoice 2.exe"):
    return (b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n"
            b"Content-Type: application/zip; name=\"%s\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" % name.encode()
            + base64.encodebytes(content) + b"--b--\r\n")


class Fakes(Asking):
    def speak(self, *answers, **more):
        self.speaker = Speaker(*answers, **more)
        self.fake = self.server(self.speaker.handle)
        return self.where(self.fake)

    def where(self, *servers):
        return "icap.sockets=" + " ".join(f"inet:{server.port}@127.0.0.1" for server in servers)

    def ask(self, where, *options, n=1, code="nil", **more):
        return self.notes(SCAN % (n, code), "icap.on_failure=return", "backend.failures=1000", where, *options, **more)

    def scans(self, *answers, options=(), code="nil", mail=CLEAN_MAIL, **more):
        """What comes of each answer."""
        return self.ask(self.speak(*answers, **more), *options, n=len(answers), code=code, mail=mail)

    # ---- what is true ----

    def test_true_answers(self):
        infected = {"status": "infected", "modified": "false", "name": "Eicar", "threats": "[Eicar]"}
        blocked = infected | {"modified": "true", "reason": "HTTP/1.1 403 Forbidden"}
        unnamed = {"status": "infected", "modified": "true", "threats": "[]"}
        cases = [
            (UNCHANGED, CLEAN),
            (UNCHANGED.replace(b"\r\n\r\n", b"\r\nEncapsulated: null-body=0\r\n\r\n"), CLEAN),
            (changed(CLEAN_MAIL, GOOD), CLEAN),
            (changed(CLEAN_MAIL, b""), CLEAN),
            (changed(None, b"").replace(b"null-body=0", b"res-body=0") + chunked(*(bytes([byte]) for byte in CLEAN_MAIL)), CLEAN),
            (found(b"X-Virus-ID: no threats\r\nX-Violations-Found: 0\r\n"), CLEAN),
            (found(NAMED), infected),
            (found(b"X-INFECTION-FOUND: Type=0;Resolution=1;Threat=Eicar\r\n"), infected),
            (found(b"X-Virus-ID: Eicar\r\n"), infected),
            (found(b"X-Violations-Found: 1\r\n\t-\r\n\tEicar\r\n\t0\r\n\t0\r\n"), infected),
            (found(b"X-Violations-Found: 2\r\n a\r\n Eicar\r\n 1\r\n 2\r\n b\r\n\t\r\n 1\r\n 2\r\n"), infected | {"threats": "[Eicar,unnamed]"}),
            (found(b"X-Virus-ID: b\xff\r\n" + NAMED + NAMED), infected | {"threats": "[Eicar,b?]"}),
            (found(b"X-Virus-ID: " + b"x" * 500 + b"\r\n"), infected | {"name": "x" * 200, "threats": "[" + "x" * 200 + "]"}),
            (found(NAMED, b"403 Forbidden"), infected),
            (changed(CLEAN_MAIL, GOOD, NAMED), infected),
            (changed(b"a page", PAGE, NAMED), blocked),
            (changed(b"a page"), unnamed | {"reason": "HTTP/1.1 403 Forbidden", "name": "unnamed (HTTP/1.1 403 Forbidden)"}),
            (changed(None), unnamed | {"reason": "HTTP/1.1 403 Forbidden", "name": "unnamed (HTTP/1.1 403 Forbidden)"}),
            (changed(CLEAN_MAIL), unnamed | {"reason": "HTTP/1.1 403 Forbidden", "name": "unnamed (HTTP/1.1 403 Forbidden)"}),
        ]
        another = unnamed | {"reason": "another content came back", "name": "unnamed (another content came back)"}
        for body in (b"", None, CLEAN_MAIL[:-1], CLEAN_MAIL + b"x", CLEAN_MAIL.swapcase(), b"x" + CLEAN_MAIL[1:]):
            cases.append((changed(body, GOOD), another))
        for answer, noted in zip(cases, self.scans(*(answer for answer, _ in cases))):
            self.assertEqual(noted, answer[1], answer[0])
        self.assertLess(self.fake.n, len(cases), "connections are used again")

    def test_as_an_upload(self):
        head = b"POST http://postern.invalid/mail.eml HTTP/1.1\r\nHost: postern.invalid\r\n\r\n"
        notes = self.scans(UNCHANGED, changed(CLEAN_MAIL, head, kind=b"req"), changed(b"other", head, kind=b"req"), changed(CLEAN_MAIL, GOOD),
                           code="{ method = 'reqmod', service = '/upload?x=1' }")
        self.assertEqual([noted["status"] for noted in notes], ["clean", "clean", "infected", "infected"])
        question = self.speaker.questions[0]
        self.assertEqual((question.method, question.service), (b"REQMOD", b"upload?x=1"))
        self.assertTrue(question.http[0].startswith(b"POST http://postern.invalid/mail.eml HTTP/1.1\r\nHost: postern.invalid\r\nContent-Type: message/rfc822\r\n"))

    def test_in_single_bytes(self):
        notes = self.scans(UNCHANGED, changed(CLEAN_MAIL, GOOD), changed(b"a page", PAGE, NAMED), write=slowly)
        self.assertEqual([noted["status"] for noted in notes], ["clean", "clean", "infected"])

    # ---- what is asked ----

    def test_what_is_asked(self):
        self.assertEqual(self.scans(UNCHANGED), [CLEAN])
        question = self.speaker.questions[0]
        self.assertEqual((question.method, question.service, question.content, question.preview), (b"RESPMOD", b"avscan", CLEAN_MAIL, CLEAN_MAIL[:8]))
        self.assertEqual(question.fields[b"Allow"], b"204")
        self.assertEqual(question.fields[b"X-Client-IP"], b"192.0.2.1")
        self.assertEqual(question.http[0], b"GET http://postern.invalid/mail.eml HTTP/1.1\r\nHost: postern.invalid\r\n\r\n")
        self.assertEqual(question.http[1], b"HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\nContent-Length: %d\r\n\r\n" % len(CLEAN_MAIL))

    def test_parts(self):
        code = HEAD + """function filter_message(msg)
            for part in msg:parts() do note(msg, icap.scan(part)) end
            note(msg, icap.scan(msg, { name = "a/../b\\r\\n.txt" }))
        end"""
        content = os.urandom(300000)
        self.assertEqual(self.notes(code, self.speak(UNCHANGED), mail=attachment(content)), [CLEAN] * 3)
        asked = [(question.http[0].split()[1], question.content) for question in self.speaker.questions]
        self.assertEqual(asked[0], (b"http://postern.invalid/part-1.1", b"hello"))
        self.assertEqual(asked[1], (b"http://postern.invalid/invoice%202.exe", content))
        self.assertEqual(asked[2][0], b"http://postern.invalid/a%2F..%2Fb%0D%0A.txt")
        self.assertIn(b"Content-Type: application/zip\r\n", self.speaker.questions[1].http[1])

    def test_previews(self):
        n = len(CLEAN_MAIL)
        for field, preview in ((b"Preview: 0", b""), (b"Preview: 1", CLEAN_MAIL[:1]), (b"Preview: %d" % (n - 1), CLEAN_MAIL[:-1]), (b"Preview: %d" % n, CLEAN_MAIL),
                               (b"Preview: %d" % (n + 1), CLEAN_MAIL), (b"Preview: 99999999999999999999", CLEAN_MAIL), (b"Preview: x", None),
                               (b"Preview: 8\r\nTransfer-Complete: exe, EML", None), (b"Preview: 8\r\nTransfer-Complete: *", None),
                               (b"Preview: 8\r\nTransfer-Complete: exe", CLEAN_MAIL[:8])):
            with self.subTest(field):
                self.assertEqual(self.scans(UNCHANGED, offer=OFFER.replace(b"Preview: 8", field)), [CLEAN])
                question = self.speaker.questions[0]
                self.assertEqual((question.preview, question.content), (preview, CLEAN_MAIL))
        self.assertEqual(self.scans(UNCHANGED, options=["icap.preview=no"]), [CLEAN])
        self.assertIsNone(self.speaker.questions[0].preview)

    def test_an_answer_to_the_preview(self):
        def impatient(connection):
            speaker = Speaker(None)
            with connection.makefile("rb") as file:
                for answer in (OFFER, found(NAMED)):
                    head = b""
                    while not head.endswith(b"\r\n\r\n" if answer == OFFER else b"\r\n0\r\n\r\n"):
                        head += file.read(1)
                    speaker.write(connection, answer)
        self.assertEqual(self.ask(self.where(self.server(impatient)))[0]["name"], "Eicar")

    def test_empty_content(self):
        code = HEAD + "function filter_message(msg) for part in msg:parts() do note(msg, icap.scan(part)) end end"
        for offer in (OFFER, PLAIN_OFFER):
            notes = self.notes(code, self.speak(changed(None, GOOD), changed(b"", GOOD), offer=offer), mail=attachment(b""))
            self.assertEqual([noted["status"] for noted in notes], ["infected", "clean"])

    # ---- what is not true ----

    LIES = [
        b"", b"\r\n", b"ICAP/1.0\r\n\r\n", b"ICAP/1.0 204\r\n", b"ICAP/1.0 2044 x\r\n\r\n", b"ICAP/1.0 20\r\n\r\n", b"HTTP/1.1 204 x\r\n\r\n", b"\xff\xfe\r\n\r\n",
        b"ICAP/2.0 204 x\r\n\r\n", b" ICAP/1.0 204 x\r\n\r\n", UNCHANGED[:-2], UNCHANGED[:-1], UNCHANGED + b"x", UNCHANGED * 2, UNCHANGED + changed(b"x"),
        b"ICAP/1.0 100 Continue\r\n\r\n", b"ICAP/1.0 100 Continue\r\n\r\n" + UNCHANGED, b"ICAP/1.0 200 OK\r\n\r\n", b"ICAP/1.0 206 Partial\r\n\r\n",
        b"ICAP/1.0 404 Service not found\r\n\r\n", b"ICAP/1.0 500 Server error\r\n\r\n", b"ICAP/1.0 503 Overloaded\r\n\r\n", b"ICAP/1.0 301 x\r\n\r\n",
        found(b"no field\r\n"), found(b" folded\r\n"), found(b": x\r\n"), found(b"a b: x\r\n"), found(b"X: a\0b\r\n"), found(b"X: a\rb\r\n"),
        found(b"X-Infection-Found:\r\n"), found(b"X-Infection-Found: yes\r\n"), found(b"X-Infection-Found: Type=0; Resolution=2; Threat=;\r\n"),
        found(b"X-Infection-Found: Type=0; Resolution=2;\r\n"), found(b"X-Infection-Found: Threat=Eicar;\r\n"), found(b"X-Virus-ID:\r\n"),
        found(b"X-Violations-Found:\r\n"), found(b"X-Violations-Found: 1\r\n"), found(b"X-Violations-Found: 1\r\n\ta\r\n\tb\r\n\tc\r\n"),
        found(b"X-Violations-Found: 0\r\n\ta\r\n\tb\r\n\tc\r\n\td\r\n"), found(b"X-Violations-Found: -1\r\n"), found(b"X-Violations-Found: 9999\r\n"),
        found(b"Encapsulated: res-hdr=0, res-body=10\r\n"), found(b"Encapsulated: nonsense\r\n"), found(b"Encapsulated: null-body=0\r\nEncapsulated: null-body=0\r\n"),
    ]
    SECTIONS = [
        b"res-hdr=0, res-body=0", b"res-hdr=5, res-body=%d", b"res-body=0, res-hdr=%d", b"res-body=%d", b"res-hdr=%d, res-body=0", b"res-hdr=0",
        b"res-hdr=0, res-hdr=%d", b"res-hdr=0, req-body=%d", b"req-hdr=0, req-body=%d", b"req-hdr=0, res-hdr=1, res-body=%d", b"res-hdr=0, res-body=-1",
        b"res-hdr=0, res-body=+%d", b"res-hdr=0, res-body=0x%d", b"res-hdr=0, res-body=%d,", b",res-hdr=0, res-body=%d", b"res-hdr=0 res-body=%d", b"", b"=0",
        b"res-hdr=0, opt-body=%d", b"opt-body=0", b"res-hdr=0, res-body=99999", b"res-hdr=0, res-body=18446744073709551616", b"res-hdr=0, res-body=1",
        b"res-hdr=0, null-body=%d, res-body=%d", b"res-hdr=0, res-body=4294967296",
    ]
    CHUNKS = [
        b"", b"0", b"0\r\n", b"0\r\nX\r\n\r\n", b"0\r\n\r\nx", b"x\r\n\r\n", b"\r\n", b"-1\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5\r\nhell\r\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5 x\r\nhello\r\n0\r\n\r\n", b"fffffffff\r\n", b"ffffffffffffffff\r\nx\r\n0\r\n\r\n",
        b"10000000000000000\r\n0\r\n\r\n", b"ffffffff\r\n", b"7fffffff\r\nx\r\n0\r\n\r\n", b"000000000\r\n\r\n", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n",
        b"%x\r\n%s\r\n0\r\n\r\n0\r\n\r\n" % (len(CLEAN_MAIL), CLEAN_MAIL), b"%x\r\n%s\r\n0\r\nA: b\r\n" % (len(CLEAN_MAIL), CLEAN_MAIL),
    ]

    def assertFailures(self, answers, notes):
        self.assertEqual(len(answers), len(notes))
        for answer, noted in zip(answers, notes):
            self.assertEqual(list(noted), ["none"], (answer, noted))
            self.assertRegex(noted["none"], r"^inet:\d+@127\.0\.0\.1: .+", answer)

    def test_lies(self):
        head = b"ICAP/1.0 200 OK\r\nEncapsulated: "
        answers = list(self.LIES)
        for sections in self.SECTIONS:
            sections = sections.replace(b"%d", b"%d" % len(GOOD))
            answers.append(head + sections + b"\r\n\r\n" + GOOD + chunked(CLEAN_MAIL))
        for body in self.CHUNKS:
            answers.append(head + b"res-hdr=0, res-body=%d\r\n\r\n" % len(GOOD) + GOOD + body)
        for http in (GOOD[:-2], GOOD + b"\r\n", GOOD + GOOD, b"HTTP/1.1 200 OK\n\n"):
            answers.append(changed(CLEAN_MAIL, http))
        self.assertFailures(answers, self.scans(*answers, options=["icap.idle_connections=0"], closes=True))

    def test_what_follows_on_a_kept_connection(self):
        for answers in ([UNCHANGED + b"x", UNCHANGED], [UNCHANGED * 2, UNCHANGED]):
            notes = self.scans(*answers)
            self.assertIn("something follows the answer", notes[0]["none"])
            self.assertEqual(notes[1], CLEAN)

    def test_too_much(self):
        piece = b"%x\r\n" % 65536 + b"x" * 65536 + b"\r\n"
        answers = [b"x" * (1 << 20), found(b"X: " + b"x" * 9000 + b"\r\n"), found(b"X: y\r\n" * 300), found(b"X: " + b" y\r\n" * 300),
                   changed(CLEAN_MAIL, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n"), changed(b"").replace(b"0\r\n\r\n", piece * 17 + b"0\r\n\r\n"),
                   changed(b"")[:-2] + b"A: b\r\n" * 40 + b"\r\n", changed(b"").replace(b"0\r\n\r\n", b"0;" + b"x" * 2000 + b"\r\n\r\n")]
        notes = self.scans(*answers, options=["icap.idle_connections=0"], closes=True)
        self.assertFailures(answers, notes)
        for noted in notes:
            self.assertIn("too long", noted["none"])

    def test_offers_that_are_none(self):
        for offer, why in ((b"ICAP/1.0 404 Service not found\r\nConnection: close\r\n\r\n", "OPTIONS: ICAP status 404 Service not found"),
                           (b"ICAP/1.0 500 x\r\n\r\n", "ICAP status 500"), (UNCHANGED, "ICAP status 204"), (OFFER + b"x", "something follows"),
                           (OFFER.replace(b"RESPMOD, ", b""), "the service does no RESPMOD"), (b"HTTP/1.1 200 OK\r\n\r\n", "this is no answer of an ICAP server"),
                           (OFFER.replace(b"null-body=0", b"opt-body=0") + b"ffffffff\r\n", "too long")):
            self.assertIn(why, self.scans(UNCHANGED, offer=offer)[0]["none"])
        self.assertEqual(self.scans(UNCHANGED, offer=OFFER.replace(b"null-body=0", b"opt-body=0") + chunked(b"hello"))[0], CLEAN)
        self.assertEqual(self.scans(UNCHANGED, offer=OFFER.replace(b"Encapsulated: null-body=0\r\n", b"Connection: close\r\n"))[0], CLEAN)

    def test_hanging_at_each_step(self):
        large = b"Subject: x\r\n\r\n" + b"x" * (12 << 20) + b"\r\n"
        gone = threading.Event()
        self.addCleanup(gone.set)

        def deaf(connection):
            connection.recv(1000)
            connection.sendall(PLAIN_OFFER)
            gone.wait(60)
        answer = changed(CLEAN_MAIL, GOOD)
        cases = [(hang, CLEAN_MAIL), (deaf, CLEAN_MAIL), (deaf, large)]
        for end in (0, 5, answer.index(b"\r\n\r\n") + 2, answer.index(b"HTTP") + 3, answer.index(GOOD) + len(GOOD) + 2, len(answer) - 2):
            cases.append((Speaker(lambda question, connection, end=end: hang(connection, answer[:end])).handle, CLEAN_MAIL))
        for handle, mail in cases:
            noted = self.ask(self.where(self.server(handle)), "icap.timeout=300ms", mail=mail)[0]
            self.assertRegex(noted["none"], ": timeout$")

    def test_closing_early(self):
        def reset(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def in_the_middle(connection):
            if connection.recv(1000).startswith(b"OPTIONS"):
                connection.sendall(PLAIN_OFFER)
                connection.recv(100)
            reset(connection)
        large = b"Subject: x\r\n\r\n" + b"x" * (2 << 20) + b"\r\n"
        for handle in (lambda connection: None, reset, lambda connection: connection.recv(5), in_the_middle):
            noted = self.ask(self.where(self.server(handle)), mail=large)[0]
            self.assertEqual(list(noted), ["none"], noted)

    # ---- both ways at once ----

    def test_what_comes_back_while_it_goes_out(self):
        def echo(question, connection):
            raise AssertionError("not reached")

        def handle(connection):
            speaker = Speaker(echo, offer=PLAIN_OFFER)
            with connection.makefile("rb") as file:
                speaker.write(connection, PLAIN_OFFER if b"OPTIONS" in file.readline() else b"")
                while file.readline() != b"\r\n":
                    pass
                while file.readline() != b"\r\n" or file.readline() != b"HTTP/1.1 200 OK\r\n":
                    pass
                while file.readline() != b"\r\n":
                    pass
                size = int(file.readline(), 16)
                connection.sendall(changed(None, GOOD).replace(b"null-body", b"res-body"))
                while size:
                    piece = file.read1(min(size, 65536))
                    size -= len(piece)
                    connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                connection.sendall(b"0\r\n\r\n")
                file.read()
        mail = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 150000
        self.assertEqual(self.ask(self.where(self.server(handle)), mail=mail), [CLEAN])

    def test_an_answer_before_it_has_all(self):
        gone = threading.Event()
        self.addCleanup(gone.set)

        def handle(connection):
            connection.recv(1000)
            connection.sendall(PLAIN_OFFER)
            connection.recv(1000)
            connection.sendall(found(NAMED))
            gone.wait(60)
        mail = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 150000
        self.assertEqual(self.ask(self.where(self.server(handle)), mail=mail)[0]["name"], "Eicar")

    # ---- connections ----

    def test_connections_are_kept(self):
        where = self.speak(UNCHANGED)
        self.assertEqual(self.ask(where, n=5), [CLEAN] * 5)
        self.assertEqual((self.fake.n, self.speaker.n_offers), (1, 1))
        for option in ("icap.idle_connections=0", "icap.idle_time=0"):
            self.fake.n = self.speaker.n_offers = 0
            self.assertEqual(self.ask(where, option, n=3), [CLEAN] * 3)
            self.assertEqual((self.fake.n, self.speaker.n_offers), (4, 1))
        self.assertEqual(self.scans(*[UNCHANGED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")] * 3), [CLEAN] * 3)
        self.assertEqual(self.fake.n, 3)

    def test_one_that_the_server_ended_meanwhile(self):
        where = self.speak(UNCHANGED, closes=True)
        self.assertEqual(self.ask(where, n=4), [CLEAN] * 4)
        self.assertEqual((self.fake.n, self.speaker.n_offers), (4, 1))

    def test_bytes_that_come_between_questions_are_no_answer(self):
        late = threading.Event()

        def answer(question, connection):
            connection.sendall(UNCHANGED)
            late.wait(20)
            connection.sendall(found(NAMED))

        def speak(connection):
            with connection.makefile("rb"):
                connection.recv(10)
                late.set()
                connection.sendall(b"x")
        where = self.speak(answer, UNCHANGED)
        signal = self.server(speak)
        code = HEAD + f"""local net = require "postern.internal.net"
        function filter_message(msg)
            note(msg, icap.scan(msg))
            local s <close> = assert(net.connect{{ address = "127.0.0.1", port = {signal.port} }})
            s:write("x") s:read(1) async.sleep(0.2)
            note(msg, icap.scan(msg))
        end"""
        self.assertEqual(self.notes(code, where), [CLEAN] * 2)

    def test_what_a_service_offers_is_remembered(self):
        other = UNCHANGED.replace(b"one", b"two")
        self.assertEqual(self.scans(UNCHANGED, UNCHANGED, other, UNCHANGED, UNCHANGED), [CLEAN] * 5)
        self.assertEqual(self.speaker.n_offers, 2, "asked again when the ISTag is another one")
        self.assertEqual(self.scans(UNCHANGED, UNCHANGED, offer=OFFER.replace(b"TTL: 60", b"TTL: 0")), [CLEAN] * 2)
        self.assertEqual(self.speaker.n_offers, 2)
        code = HEAD + "function filter_message(msg) for i = 1, 4 do note(msg, icap.scan(msg, { service = i % 2 == 0 and 'a' or 'b' })) end end"
        self.assertEqual(self.notes(code, self.speak(UNCHANGED)), [CLEAN] * 4)
        self.assertEqual(self.speaker.n_offers, 2)

    def test_the_next_one_is_asked(self):
        bad, good = Speaker(b"ICAP/1.0 503 Overloaded\r\n\r\n"), Speaker(UNCHANGED)
        servers = [self.server(bad.handle), self.server(good.handle)]
        self.assertEqual(self.ask(self.where(*servers), n=3), [CLEAN] * 3)
        self.assertEqual((len(bad.questions), len(good.questions)), (1, 3), "one that failed is asked last for a while")
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            spec = f"inet:{closed.getsockname()[1]}@127.0.0.1"
            noted = self.ask(f"icap.sockets=unix:/nonexistent/icap, {spec}")[0]
        self.assertEqual(noted["none"], f"unix:/nonexistent/icap: No such file or directory; {spec}: refused")

    def test_over_a_unix_socket(self):
        speaker, path = Speaker(UNCHANGED), self.folder("s")
        self.server(speaker.handle, path=path)
        self.assertEqual(self.ask(f"icap.sockets=unix:{path}"), [CLEAN])
        self.assertEqual(speaker.questions[0].fields[b"Host"], b"localhost")

    def test_at_the_same_time(self):
        barrier = threading.Barrier(3)

        def answer(question, connection):
            barrier.wait(30)
            connection.sendall(UNCHANGED)
        code = HEAD + """function filter_message(msg)
            local function scan() return icap.scan(msg) end
            for _ = 1, 2 do
                local r = async.all{ scan, scan, scan }
                for i = 1, 3 do note(msg, r[i]) end
            end
        end"""
        self.assertEqual(self.notes(code, self.speak(answer)), [CLEAN] * 6)

    def test_cancelled(self):
        bad, good = Speaker(lambda question, connection: hang(connection)), Speaker(UNCHANGED)
        code = HEAD + """function filter_message(msg)
            note(msg, async.timeout(0.3, icap.scan, msg))
            note(msg, icap.scan(msg))
        end"""
        servers = [self.server(bad.handle), self.server(good.handle)]
        notes = self.notes(code, self.where(*servers))
        self.assertRegex(notes[0]["none"], rf"^timeout: icap at inet:{servers[0].port}@127\.0\.0\.1 ")
        self.assertEqual(notes[1], CLEAN)
        self.assertEqual(len(bad.questions), 1)

    # ---- what becomes of it ----

    def test_declared_answers(self):
        where = self.speak(b"nonsense\r\n")
        code = HEAD + "function filter_message(msg) local _, r = pcall(icap.scan, msg) note(msg, r) return accept() end"
        result = self.play(code, where)
        self.assertEqual((result["verdict"], result["reply"]["code"], result["notes"]), ("tempfail", 451, []), result)
        result = self.play(code, where, "icap.on_failure=continue")
        self.assertEqual((result["verdict"], result["notes"][0]["status"]), ("accept", "unscanned"))
        self.assertIn("X-Postern-Unscanned", str(result["actions"]))
        code = HEAD + "function filter_message(msg) note(msg, icap.scan(msg, { on_failure = 'return' })) end"
        self.assertIn("no answer of an ICAP server", self.notes(code, where)[0]["none"])

    def test_too_large(self):
        where = self.speak(UNCHANGED)
        result = self.play(SCAN % (1, "nil"), where, "icap.max_size=20")
        self.assertEqual(result["notes"], [{"status": "skipped", "error": "21 bytes are more than icap.max_size"}])
        self.assertIn("X-Postern-Unscanned", str(result["actions"]))
        self.assertEqual(self.fake.n, 0)
        self.assertEqual(self.notes(SCAN % (1, "nil"), where, "icap.max_size=21"), [CLEAN])

    def test_misuse(self):
        code = HEAD + """
            function filter_message(msg)
                for _, what in ipairs{ "text", 7, {}, msg.conn, false } do note(msg, nil, select(2, pcall(icap.scan, what))) end
                for _, given in ipairs{ 7, { nonsense = 1 }, { service = "a b" }, { service = 1 }, { service = ("x"):rep(201) }, { method = "POST" },
                                        { name = "" }, { on_failure = "accept" } } do
                    note(msg, nil, select(2, pcall(icap.scan, msg, given)))
                end
            end
            function filter_headers(msg) note(msg, nil, select(2, pcall(icap.scan, msg))) end"""
        early, *notes = self.notes(code)
        self.assertRegex(early["none"], r"icap\.scan: the whole message is known from filter_message on")
        for noted in notes[:5]:
            self.assertRegex(noted["none"], r"icap\.scan: .*msg or part expected")
        texts = ("options is a table", "there is no option 'nonsense'", "service is the path", "service is the path", "service is the path",
                 "method is respmod or reqmod", "name is the name of a file", "on_failure is tempfail, continue or return")
        self.assertEqual(len(notes), 5 + len(texts))
        for noted, text in zip(notes[5:], texts):
            self.assertIn("icap.scan: " + text, noted["none"])

    def test_options_are_checked_when_the_filter_loads(self):
        for option, text in (("icap.service=a b", "icap.service is the path"), ("icap.method=postmod", "icap.method"),
                             ("icap.sockets=localhost:1344", "none of unix:PATH")):
            self.assertIn(text, str(self.play(SCAN % (1, "nil"), option)))


class Real(Asking):
    @classmethod
    def setUpClass(cls):
        cls.home = Folder("icap")
        cls.addClassCleanup(cls.home.remove)
        cls.clamd = Clamd(cls.home).start()
        cls.addClassCleanup(cls.clamd.stop)
        cls.icap = CIcap(cls.home, cls.clamd).start()
        cls.addClassCleanup(cls.icap.stop)

    def scan(self, mail, *options, n=1, code="nil"):
        return self.notes(SCAN % (n, code), f"icap.sockets={self.icap.tcp}", *options, mail=mail)

    def test_messages(self):
        long = b"Subject: x\r\n\r\n" + b"hello\r\n" * 2000
        for options in ((), ("icap.preview=no",), ("icap.method=reqmod",), ("icap.idle_connections=0",)):
            with self.subTest(options):
                self.assertEqual(self.scan(CLEAN_MAIL, *options, n=2), [CLEAN] * 2)
                for mail in (BAD_MAIL, long + VIRUS + b"\r\n"):
                    noted = self.scan(mail, *options)[0]
                    self.assertEqual((noted["status"], noted["name"], noted["modified"]), ("infected", "Postern.Test.UNOFFICIAL", "true"))
                self.assertEqual(self.scan(long, *options), [CLEAN])

    def test_parts(self):
        code = HEAD + "function filter_message(msg) for part in msg:parts() do note(msg, icap.scan(part)) end end"
        notes = self.notes(code, f"icap.sockets={self.icap.tcp}", mail=attachment(b"\0" * 70000 + VIRUS))
        self.assertEqual([noted["status"] for noted in notes], ["clean", "infected"])
        self.assertEqual(self.notes(code, f"icap.sockets={self.icap.tcp}", mail=attachment(b"")), [CLEAN] * 2)

    def test_echo(self):
        large = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (10 << 20 >> 6)
        for mail in (CLEAN_MAIL, large):
            self.assertEqual(self.scan(mail, "icap.service=echo", "worker.lua_memory=4M", n=2), [CLEAN] * 2)

    def test_no_such_service(self):
        self.assertRegex(self.scan(CLEAN_MAIL, "icap.service=nope", "icap.on_failure=return")[0]["none"], "OPTIONS: ICAP status 404 Service not found$")

    def test_ready_filter(self):
        with open(os.path.join(SOURCE, "scripts", "filters", "virus-refuse.lua"), encoding="utf-8") as file:
            code = file.read()

        def play(mail):
            return self.play(code, f"icap.sockets={self.icap.tcp}", "filter.virus_scanner=icap", mail=mail)
        self.assertEqual(play(CLEAN_MAIL)["verdict"], "continue")
        result = play(BAD_MAIL)
        self.assertEqual((result["verdict"], result["reply"]["text"]), ("reject", "this mail carries a virus: Postern.Test.UNOFFICIAL"), result)


class Daemons(SystemTest):
    FILTER = """
        local icap = require "postern.icap"
        function filter_message(msg)
            local scanned = icap.scan(msg)
            if scanned.status == "infected" then return reject("this mail carries " .. scanned.name) end
        end"""

    def setUp(self):
        self.folder = Folder("icap")
        self.addCleanup(self.folder.remove)
        self.clamd = Clamd(self.folder).start()
        self.addCleanup(lambda: self.clamd.stop())
        self.icap = CIcap(self.folder, self.clamd).start()
        self.addCleanup(lambda: self.icap.stop())

    def send(self, body):
        return self.client().start().message(body=body)

    def test_killed_and_back(self):
        self.start(self.FILTER, {"worker.sandbox": SANDBOX, "worker.allow_network": "yes", "backend.retry_time": "100ms",
                                 "icap.sockets": self.icap.tcp})
        for _ in range(3):
            self.assertReply(self.send(VIRUS), "550 5.7.1 this mail carries Postern.Test")
        self.good_mail_passes()
        self.icap.kill()
        for _ in range(8):
            self.assertReply(self.send(VIRUS), "451 4.7.1")
        self.icap.start()
        wait_until(lambda: self.send(VIRUS).text.startswith("550"), "c-icap to be asked again", 20)


if __name__ == "__main__":
    unittest.main()
