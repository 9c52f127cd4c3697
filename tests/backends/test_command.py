"""postern.command: the dialogues that are there and one of the filter's own, with fakes that hang, lie, close early or answer too much."""

import socket
import unittest

from asking import Asking, hang, slowly

MAIL = b"Subject: x\r\n\r\nhello\r\n"


def savdi(*answer, write=socket.socket.sendall, hold=False):
    """Speaks SSSP/1.0; what follows the content is the answer. hold: and then says nothing more."""
    def handle(connection):
        write(connection, b"OK SSSP/1.0\r\n")
        with connection.makefile("rb") as file:
            assert file.readline() == b"SSSP/1.0\n"
            write(connection, b"ACC 1\r\n")
            words = file.readline().split()
            assert words[0] == b"SCANDATA"
            write(connection, b"ACC 2\r\n")
            assert file.read(int(words[1])) == MAIL
        for line in answer:
            write(connection, line)
        if hold:
            hang(connection)
    return handle


def fprot(answer):
    def handle(connection):
        with connection.makefile("rb") as file:
            words = file.readline().split()
            assert words[:4] == [b"SCAN", b"STREAM", b"mail", b"SIZE"], words
            assert file.read(int(words[4])) == MAIL
        connection.sendall(answer)
    return handle


class Fakes(Asking):
    def scan(self, handle, dialogue, *options):
        server = self.server(handle)
        return self.notes(f"""
            local scanner = require "postern.command".server{{ name = "fake", dialogue = {dialogue}, sockets = "inet:{server.port}@127.0.0.1",
                                                              on_failure = "return" }}
            function filter_message(msg) note(msg, scanner:scan(msg)) end""", *options, mail=MAIL)[0]

    def test_savdi(self):
        clean, found = b"DONE OK 0000 The function call succeeded\r\n\r\n", b"DONE OK 0203 Virus found\r\n\r\n"
        self.assertEqual(self.scan(savdi(clean), '"savdi"'), {"status": "clean"})
        self.assertEqual(self.scan(savdi(clean, write=slowly), '"savdi"'), {"status": "clean"})
        self.assertEqual(self.scan(savdi(b"EVENT x\r\n", b"VIRUS EICAR-AV-Test mail\r\n", found), '"savdi"'),
                         {"status": "infected", "name": "EICAR-AV-Test"})
        self.assertEqual(self.scan(savdi(b"VIRUS EICAR-AV-Test mail\r\n", clean), '"savdi"')["status"], "infected", "a name outweighs the last line")

    def test_fprot(self):
        self.assertEqual(self.scan(fprot(b"0 <clean> mail\n"), '"fprot"'), {"status": "clean"})
        self.assertEqual(self.scan(fprot(b"1 <infected: EICAR_Test_File> mail\n"), '"fprot"'), {"status": "infected", "name": "EICAR_Test_File"})
        self.assertIn("it says", self.scan(fprot(b"10 <not scanned (unknown)> mail\n"), '"fprot"')["none"])

    def test_one_of_the_filters_own(self):
        def handle(connection):
            with connection.makefile("rb") as file:
                assert file.readline() == b"CHECK 21\n"
                assert file.read(21) == MAIL
            connection.sendall(b"NOTE x\nBAD a\xffb\nEND\n")
        dialogue = """{ steps = { { send = "CHECK {size}\\n", content = true } }, infected = "^BAD (.*)", last = "^END$", clean = "^END$" }"""
        self.assertEqual(self.scan(handle, dialogue), {"status": "infected", "name": "a?b"})

    def test_lies(self):
        for answer in ((), (b"DONE OK 0000",), (b"DONE FAIL 0212\r\n",), (b"\r\n",), (b"VIRUS x\r\n",), (b"OK\r\n",), (b"x" * 5000,), (b"x\n" * 2000,)):
            noted = self.scan(savdi(*answer), '"savdi"')
            self.assertEqual(list(noted), ["none"], (answer, noted))
        for greeting in (b"", b"OK SSSP/2.0\r\n", b"220 hello\r\n", b"OK SSSP/1.0\r\nREJ 1\r\n"):
            noted = self.scan(lambda connection, greeting=greeting: (connection.sendall(greeting), connection.recv(100)), '"savdi"', "command.timeout=1s")
            self.assertEqual(list(noted), ["none"], (greeting, noted))

    def test_hanging(self):
        for handle in (hang, lambda connection: hang(connection, b"OK SSSP/1.0\r\n"), savdi(b"DONE OK 0000 x", hold=True)):
            self.assertRegex(self.scan(handle, '"savdi"', "command.timeout=200ms")["none"], ": timeout$")

    def test_too_large(self):
        noted = self.scan(hang, '"savdi"', "command.max_size=20")
        self.assertEqual(noted["status"], "skipped")

    def test_misuse(self):
        for given in ("nil", "{}", '{ name = "a b", sockets = "/x", dialogue = "savdi" }', '{ name = "x", sockets = "", dialogue = "savdi" }',
                      '{ name = "x", sockets = "/x", dialogue = "other" }', '{ name = "x", sockets = "/x" }',
                      '{ name = "x", sockets = "/x", dialogue = "savdi", on_failure = "accept" }', '{ name = "x", sockets = "/x", dialogue = "savdi", y = 1 }',
                      '{ name = "x", sockets = "/x", dialogue = { steps = {}, infected = "", last = "", clean = "" } }',
                      '{ name = "x", sockets = "/x", dialogue = { steps = { { send = "x" } }, infected = "", last = "", clean = "" } }',
                      '{ name = "x", sockets = "/x", dialogue = { steps = { { content = true } }, infected = "(", last = "", clean = "" } }'):
            result = self.play(f"local scanner = require 'postern.command'.server({given}) function filter_message() end")
            self.assertRegex(str(result["error"]), r"command\.server|x\.sockets", given)


if __name__ == "__main__":
    unittest.main()
