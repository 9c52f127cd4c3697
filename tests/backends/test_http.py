"""postern.http against servers that hang, lie, stream for ever, close early, lead in circles, or have certificates that nobody should trust."""

import os
import socket
import sys
import threading
import unittest
from unittest import mock

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.environ["POSTERN_SOURCE"], "tests")]

from http_fakes import Web, answer, certificate  # noqa: E402
from test_frame import SANDBOX, Base  # noqa: E402

from fixture import SystemTest  # noqa: E402
from harness.dns_server import FakeDns, record  # noqa: E402
from harness.process import Folder, loopback_address  # noqa: E402


class HttpBase(Base):
    def web(self, handle, **kwargs):
        web = Web(handle, **kwargs)
        self.addCleanup(web.stop)
        return web

    def http(self, code, *options):
        """What the filter notes: ask(…) notes status and body, or nil and why."""
        return self.notes("""local http = require "postern.http"
            local function ask(f, ...)
                local r, err = f(...)
                note(r and r.status or nil, r and r.body or err)
                return r
            end
            """ + code, *options)


def echo(request, _):
    return answer(b"" if request.method == "HEAD" else f"{request.method} {request.target} ".encode() + request.body)


class Requests(HttpBase):
    def test_methods(self):
        web = self.web(echo)
        notes = self.http(f"""local u = "{web.url}/a?b=c"
            ask(http.get, u) ask(http.head, u) ask(http.post, u, "one\\0two") ask(http.put, u, "") ask(http.delete, u)
            ask(http.request, "DELETE", u, {{ body = "x" }}) ask(http.post, u, ("z"):rep(3000000))""", "http.max_body=5M")
        self.assertEqual(notes[:6], ["200, GET /a?b=c ", "200, ", "200, POST /a?b=c one\0two", "200, PUT /a?b=c ", "200, DELETE /a?b=c ",
                                     "200, DELETE /a?b=c x"])
        self.assertEqual(len(web.requests[6].body), 3000000)
        self.assertEqual(web.n, 1)

    def test_header_fields(self):
        web = self.web(lambda request, _: answer(b"x", "404 Not Found", ("X-A: 1", "x-a:  2 ", "Empty:")))
        notes = self.http(f"""local r = ask(http.get, "{web.url}", {{ headers = {{ ["X-One"] = "1", ["X-Two"] = {{ "a", "b" }}, ["X-None"] = "" }},
                user = "me", password = "secret" }})
            note(r.headers["x-a"], r.headers.empty) note(r.url, r.redirects)""")
        self.assertEqual(notes, ["404, x", "1, 2, ", web.url + "/, 0"])
        request = web.requests[0]
        self.assertEqual((request.field("X-One"), request.all("X-Two"), request.field("X-None"), request.field("User-Agent")),
                         ("1", ["a", "b"], "", "Postern"))
        self.assertEqual(request.field("Authorization"), "Basic bWU6c2VjcmV0")
        self.assertIsNone(request.field("Expect"))

    def test_connections_are_used_again(self):
        code = "for _ = 1, 5 do ask(http.get, '%s') end"
        for options, n in (((), 1), (("http.keep_alive=0s",), 5)):
            web = self.web(echo)
            self.assertEqual(self.http(code % web.url, *options), ["200, GET / "] * 5)
            self.assertEqual(web.n, n, options)

    def test_an_answer_that_nobody_asked_for(self):
        """More than one answer to a question, at once or later: it is none to the next one."""
        def at_once(request, _):
            return echo(request, _) + (answer(b"forged") if request.target == "/first" else b"")

        def later(request, connection):
            connection.sendall(echo(request, connection))
            if request.target == "/first":
                threading.Timer(0.05, lambda: (connection.sendall(answer(b"forged")), has_forged.set())).start()
            return b""

        def interim(request, _):
            return b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + echo(request, _)
        has_forged = threading.Event()
        other = self.web(lambda request, connection: (has_forged.wait(30), answer())[1])
        for handle in (later, at_once, interim):
            web = self.web(handle)
            self.assertEqual(self.http(f"""ask(http.get, "{web.url}/first") http.get("{other.url}") ask(http.get, "{web.url}/second")
                ask(http.get, "{web.url}/third")"""), ["200, GET /first ", "200, GET /second ", "200, GET /third "], handle.__name__)

    def test_a_connection_that_was_closed_meanwhile(self):
        def handle(request, connection):
            connection.sendall(echo(request, connection))
            return None  # though it said nothing of that
        web = self.web(handle)
        self.assertEqual(self.http(f"for _ = 1, 4 do ask(http.post, '{web.url}', 'x') async.sleep(0.05) end"), ["200, POST / x"] * 4)

    def test_at_the_same_time(self):
        together = threading.Barrier(6)

        def handle(request, connection):
            together.wait(30)
            return echo(request, connection)
        web = self.web(handle)
        notes = self.http(f"""local t = {{}}
            for i = 1, 6 do t[i] = function() return http.get("{web.url}/" .. i).body end end
            local r = async.all(t) note(table.concat(r, " "))""")
        self.assertEqual(notes, ["GET /1  GET /2  GET /3  GET /4  GET /5  GET /6 , nil"])

    def test_no_proxy_from_the_environment(self):
        web = self.web(echo)
        with mock.patch.dict(os.environ, {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}):
            self.assertEqual(self.http(f"ask(http.get, '{web.url}')"), ["200, GET / "])

    def test_misuse(self):
        rows = (("http.get()", "the address is a string"), ("http.get('http://x', 1)", "options is a table"),
                ("http.get('http://x', { tiemout = 1 })", "there is no option 'tiemout'"), ("http.get('http://x', { timeout = '1' })", "timeout is a number"),
                ("http.get('http://x', { timeout = 0/0 })", "timeout is a number from"), ("http.get('http://x', { redirects = 21 })", "from 0 to 20"),
                ("http.get('http://x', { body = 'x' })", "has no body"), ("http.post('http://x')", "the body is a string"),
                ("http.request('TRACE', 'http://x')", "the method is"), ("http.get('http://x', { headers = { Host = 'y' } })", "not for the caller"),
                ("http.get('http://x', { headers = { ['A:'] = 'y' } })", "has a name"),
                ("http.get('http://x', { headers = { A = 'x\\r\\nB: c' } })", "without control characters"))
        notes = self.http("\n".join(f"note(pcall(function() local r = {call} end))" for call, _ in rows))
        for (call, text), note in zip(rows, notes, strict=True):
            self.assertTrue(note.startswith("false, filter.lua:"), (call, note))
            self.assertIn(text, note)

    def test_bad_addresses(self):
        for url in ("", "x", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "http://a b/", "http://u:p@127.0.0.1/", "http://\\u{fc}.test/",
                    "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "gopher://127.0.0.1/", "http://[fe80::1%25lo]/", "http://x/" + "y" * 9000):
            note, = self.http(f'ask(http.get, "{url}")')
            self.assertTrue(note.startswith("nil, bad address"), (url[:40], note))


class Lies(HttpBase):
    def one(self, reply, options="", *more):
        """The note of one request that is answered with these bytes and the end, or by a function of the connection."""
        def handle(_, connection):
            if callable(reply):
                reply(connection)
            else:
                connection.sendall(reply)
        web = self.web(handle)
        note, = self.http(f'ask(http.get, "{web.url}", {{ {options} }})', *more)
        return note

    def test_answers(self):
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        rows = ((b"", "nil, closed"), (b"HTTP/1.1 200 OK\r\nContent-Len", "nil, closed"), (answer(b"abc", length=10), "nil, closed"),
                (answer(b"abcdef", length=3), "200, abc"), (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "200, until the end"),
                (b"hello\r\n", "nil, malformed answer"), (b"\x16\x03\x01garbage\r\n\r\n", "nil, malformed answer"),
                (chunked + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "200, abcde"), (chunked + b"3\r\nabc\r\n", "nil, closed"),
                (chunked + b"zz\r\nabc\r\n0\r\n\r\n", "nil, closed"), (answer(b"x", length="-5"), "nil, "), (answer(b"x", length="99999999999999999999"), "nil, "),
                (b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + answer(b"x"), "200, x"), (answer(b"\x1f\x8b\x08", fields=("Content-Encoding: gzip",)), "200, "))
        for reply, wanted in rows:
            with self.subTest(reply):
                note = self.one(reply)
                self.assertTrue(note.startswith(wanted), note)

    def test_limits(self):
        def stream(piece):
            def send(connection):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    connection.sendall(piece)
            return send

        def body(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                connection.sendall(b"x" * 65536)

        def interim(connection):
            while True:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        for reply in (stream(b"X: " + b"y" * 500 + b"\r\n"), body, interim, answer(b"x", length=10 << 20)):
            self.assertEqual(self.one(reply), "nil, too long")
        self.assertEqual(self.one(answer(b"x" * 100), "max_body = 99"), "nil, too long")
        self.assertEqual(self.one(answer(b"x" * 100), "max_body = 100"), "200, " + "x" * 100)
        self.assertEqual(self.one(answer(b"x", fields=("A: " + "y" * 300,)), "max_header = 300"), "nil, too long")
        self.assertEqual(self.one(answer(b"xy"), "", "http.max_body=1"), "nil, too long")
        self.assertEqual(self.one(stream(b"y" * 65536), "max_header = 1000000"), "nil, too long")  # one line that does not end

    def test_single_bytes(self):
        def send(connection):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in answer(b"abc", fields=("X: y",)):
                connection.sendall(bytes([byte]))
        self.assertEqual(self.one(send), "200, abc")

    def test_silence(self):
        over = threading.Event()
        self.addCleanup(over.set)
        for begin in (b"", b"HTTP/1.1 200 OK\r\n", answer(b"abc", length=9)):
            def hang(connection, begin=begin):
                connection.sendall(begin)
                over.wait(60)
            self.assertEqual(self.one(hang, "timeout = 0.3"), "nil, timeout")
        self.assertEqual(self.one(hang, "", "http.timeout=300ms"), "nil, timeout")

    def test_nobody_there(self):
        closed = socket.socket()
        self.addCleanup(closed.close)
        closed.bind(("127.0.0.1", 0))
        self.assertEqual(self.http(f'ask(http.get, "http://127.0.0.1:{closed.getsockname()[1]}/")'), ["nil, refused"])

    def test_cancelled(self):
        gone = threading.Event()

        def handle(request, connection):
            if request.target == "/gone":
                return answer(str(gone.is_set()).encode())
            connection.recv(1)  # its end
            gone.set()
            return None
        web = self.web(handle)
        notes = self.http(f"""
            note(async.any{{ function() return http.post("{web.url}/hang", ("x"):rep(100000)) end, function() async.sleep(0.2) return "first" end }})
            note(async.timeout(0.2, http.get, "{web.url}/hang"))
            for _ = 1, 500 do
                if http.get("{web.url}/gone").body == "True" then note("gone") break end
                async.sleep(0.01)
            end""")
        self.assertEqual(notes[0], "first, 2")
        self.assertRegex(notes[1], r"^nil, timeout: http GET 127.0.0.1 ")
        self.assertEqual(notes[2], "gone, nil")


class Redirects(HttpBase):
    def moved(self, to, status="302 Found"):
        return answer(b"moved", status, (f"Location: {to}",))

    def test_off_by_default(self):
        web = self.web(lambda request, _: self.moved("/there"))
        self.assertEqual(self.http(f'local r = ask(http.get, "{web.url}") note(r.headers.location)'), ["302, moved", "/there, nil"])

    def test_followed(self):
        def handle(request, connection):
            if request.target.startswith("/a/go/"):
                return self.moved("../there?x#y", request.target[6:].replace("-", " "))
            return echo(request, connection)
        web = self.web(handle)
        rows = (("get", "", "301-Moved", "GET /a/there?x "), ("post", ', "body"', "302-Found", "GET /a/there?x "),
                ("post", ', "body"', "303-See", "GET /a/there?x "), ("put", ', "body"', "302-Found", "PUT /a/there?x body"),
                ("post", ', "body"', "307-Temporary", "POST /a/there?x body"), ("delete", "", "308-Permanent", "DELETE /a/there?x "))
        notes = self.http("\n".join(f'local r = ask(http.{call}, "{web.url}/a/go/{status}"{body}, {{ redirects = 3 }}) note(r.url, r.redirects)'
                                    for call, body, status, _ in rows))
        for i, row in enumerate(rows):
            self.assertEqual(notes[2 * i:2 * i + 2], ["200, " + row[3], f"{web.url}/a/there?x, 1"], row)

    def test_bounded(self):
        web = self.web(lambda request, _: self.moved("/loop" + request.target))
        self.assertEqual(self.http(f'ask(http.get, "{web.url}/", {{ redirects = 4 }})'), ["nil, too many redirects"])
        self.assertEqual(len(web.requests), 5)

    def test_where_not(self):
        for to, wanted in (("file:///etc/passwd", "bad redirect"), ("ftp://127.0.0.1/", "bad redirect"), ("http://\x01/", "bad redirect"),
                           ("http://u:p@127.0.0.1/", "bad redirect")):
            web = self.web(lambda request, _, to=to: self.moved(to))
            self.assertEqual(self.http(f'ask(http.get, "{web.url}", {{ redirects = 1 }})'), ["nil, " + wanted], to)
        plain = self.web(echo)
        context, file = certificate(self.folder, "tls", "IP:127.0.0.1")
        secure = self.web(lambda request, _: self.moved(plain.url), context=context)
        self.assertEqual(self.http(f'ask(http.get, "{secure.url}", {{ redirects = 1, ca_file = "{file}" }})'), ["nil, redirect from https to http"])
        self.assertEqual(plain.requests, [])

    def test_another_server_learns_no_secret(self):
        other = self.web(echo)
        web = self.web(lambda request, _: self.moved(other.url + "/x") if request.target != "/" else self.moved("/self"))
        self.http(f"""ask(http.get, "{web.url}/", {{ redirects = 5, user = "u", password = "p",
            headers = {{ ["X-Key"] = "k", Cookie = "c", Accept = "text/x" }} }})""")
        self.assertEqual([request.field("X-Key") for request in web.requests], ["k", "k"])
        self.assertTrue(all(request.field("Authorization") for request in web.requests))
        seen = other.requests[0]
        self.assertEqual((seen.field("X-Key"), seen.field("Cookie"), seen.field("Authorization"), seen.field("Accept")), (None, None, None, "text/x"))


class Tls(HttpBase):
    def test_who_is_trusted(self):
        context, file = certificate(self.folder, "good", "IP:127.0.0.1,DNS:web.test")
        _, other = certificate(self.folder, "other", "IP:127.0.0.1")
        expired, expired_file = certificate(self.folder, "expired", "IP:127.0.0.1", "2020-01-01 00:00:00")
        web, old, = self.web(echo, context=context), self.web(echo, context=expired)
        plain = self.server(lambda connection: (connection.recv(1000), connection.sendall(b"220 hello\r\n")))
        self.assertEqual(self.http(f"""ask(http.get, "{web.url}", {{ ca_file = "{file}" }}) ask(http.get, "{web.url}", {{ verify = false }})
            ask(http.get, "{web.url}", {{ ca_file = "{file}" }}) ask(http.get, "{old.url}", {{ verify = false }})"""), ["200, GET / "] * 4)
        for url, options in ((web.url, ""), (web.url, f'ca_file = "{other}"'), (old.url, f'ca_file = "{expired_file}"'), (web.url, 'ca_file = "/nonexistent"'),
                             (f"https://127.0.0.1:{plain.port}", "verify = false")):
            note, = self.http(f'ask(http.get, "{url}", {{ {options} }})')
            self.assertTrue(note.startswith("nil, tls: "), (url, options, note))
        self.assertEqual(self.http(f'ask(http.get, "{web.url}")', f"http.ca_file={file}"), ["200, GET / "])
        self.assertEqual(self.http(f'ask(http.get, "{web.url}", {{ verify = false }}) note(http.get("{web.url}"))')[1][:9], "nil, tls:")

    def test_a_handshake_that_hangs(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        self.assertEqual(self.http(f'ask(http.get, "{url}", {{ connect_timeout = 0.3 }})'), ["nil, timeout"])

    def test_an_end_without_notice(self):
        context, file = certificate(self.folder, "cut", "IP:127.0.0.1")

        def handle(_, connection):
            connection.sendall(answer(b"half of", length=14))
            os.close(connection.detach())  # no close_notify
            raise OSError
        web = self.web(handle, context=context)
        self.assertEqual(self.http(f'ask(http.get, "{web.url}", {{ ca_file = "{file}" }})'), ["nil, closed"])


class Names(HttpBase):
    def dns(self, handle):
        server = FakeDns(handle)
        self.addCleanup(server.stop)
        return f"dns.servers={server.server}"

    def test_addresses_are_tried_in_turn(self):
        good, bad = loopback_address(), loopback_address()
        context, file = certificate(self.folder, "named", "DNS:web.test")
        web = self.web(echo, address=good, context=context)
        dns = self.dns(lambda q: q.answer([record(q.name, "A", bad), record(q.name, "A", good)] if q.kind == "A" else []))
        self.assertEqual(self.http(f"""ask(http.get, "https://web.test:{web.port}/a", {{ ca_file = "{file}" }})
            ask(http.get, "https://WEB.test:{web.port}/b", {{ ca_file = "{file}" }})""", dns), ["200, GET /a ", "200, GET /b "])
        self.assertEqual((web.requests[0].field("Host"), web.n), (f"web.test:{web.port}", 1))

    def test_names_without_addresses(self):
        dns = self.dns(lambda q: None if q.name == "hang.test" else q.answer(rcode=2 if q.name == "fail.test" else 3))
        notes = self.http("""ask(http.get, "http://none.test/") ask(http.get, "http://fail.test/") ask(http.get, "http://hang.test/", { timeout = 0.3 })""",
                          dns, "dns.timeout=20s")
        self.assertEqual(notes[0], "nil, dns: the name has no address")
        self.assertTrue(notes[1].startswith("nil, dns: servfail"), notes)
        self.assertEqual(notes[2], "nil, timeout")

    def test_localhost(self):
        web = self.web(echo)
        self.assertEqual(self.http(f'ask(http.get, "http://localhost:{web.port}/")'), ["200, GET / "])


class Daemons(SystemTest):
    FILTER = """local http = require "postern.http"
        function filter_message(msg)
            local r, err = http.get(config.url)
            return reject(r and r.status .. " " .. r.body or err)
        end"""

    def setUp(self):
        super().setUp()
        self.folder = Folder("http")
        self.addCleanup(self.folder.remove)
        context, self.ca_file = certificate(self.folder, "ca", "IP:127.0.0.1")
        self.web = Web(lambda request, _: answer(b"hello"), context=context)
        self.addCleanup(self.web.stop)

    def test_within_the_sandbox(self):
        self.start(self.FILTER, {"worker.sandbox": SANDBOX, "worker.allow_network": "yes", "http.ca_file": self.ca_file, "filter.url": self.web.url,
                                 "multiplexor.min_workers": "1", "multiplexor.max_workers": "1"})
        for _ in range(3):
            self.assertReply(self.client().start().message(), "550 5.7.1 200 hello")
        self.assertEqual(self.web.n, 1)  # kept from one mail to the next

    def test_without_leave(self):
        self.start(self.FILTER, {"worker.sandbox": SANDBOX, "http.ca_file": self.ca_file, "filter.url": self.web.url})
        self.assertReply(self.client().start().message(), "550 5.7.1 network: the sandbox: worker.allow_network")
        self.assertEqual(self.web.n, 0)


if __name__ == "__main__":
    unittest.main()
