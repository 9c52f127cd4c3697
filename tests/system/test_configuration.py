"""Starting and stopping: wrong configuration, sockets in use, strangers at the sockets, order of start, a stop under load."""

import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

from fixture import PATIENCE, MilterClient, SystemTest, wait_until
from harness.process import BIN, Folder, processes_of
from milter_client import MilterClosed

PASS = "function filter_message(msg) end"
PROGRAMS = (("postern-milterd",), ("postern-multiplexor",), ("postern-worker",), ("posternctl", "status"))

# Run as another user: connects, tries to speak, says what came back.
STRANGER = r'''
import os, socket, sys
kind, path, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setgid(uid); os.setuid(uid)
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if kind == "record" else socket.SOCK_STREAM)
sock.settimeout(20)
try:
    sock.connect(path)
    sock.sendall(b'{"v":1,"command":"reload"}\n')
    answer = sock.recv(65536)
    print("closed" if not answer else "answer " + answer.decode("utf-8", "replace"))
except (PermissionError, ConnectionError) as error:
    print("closed", error)
'''


class Options(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("options")
        self.addCleanup(self.folder.remove)

    def run_program(self, words, conf, *more):
        path = self.folder.write("postern.conf", conf)
        return subprocess.run([os.path.join(BIN, words[0]), "-c", path, *more, *words[1:]], capture_output=True, text=True,
                              timeout=30 * PATIENCE, check=False, stdin=subprocess.DEVNULL)

    def test_mistakes_exit_2_and_name_the_line(self):
        rows = [("[milterd]\n# comment\nsokcet = unix:/x\n", "postern.conf:3: ", "did you mean"),
                ("[milter]\nsocket = unix:/x\n", "postern.conf:1: ", "did you mean"),
                ("[multiplexor]\nmin_workers = 3\nmin_workers = 4\n", "postern.conf:3: ", ""),
                ("[multiplexor]\nmin_workers = 0\n", "postern.conf:2: ", ""),
                ("[multiplexor]\nmin_workers = many\n", "postern.conf:2: ", ""),
                ("[multiplexor]\nmin_workers = 20\nmax_workers = 10\n", "", "min_workers"),
                ("[worker]\n\nlua_memory = 64Q\n", "postern.conf:3: ", ""),
                ("[log]\nlevel = loud\n", "postern.conf:2: ", ""),
                ("[log]\n" + "x" * 20000 + " = 1\n", "postern.conf:2: ", ""),
                ("socket = 1\n", "postern.conf:1: ", "")]
        for words in PROGRAMS:
            for conf, *texts in rows:
                with self.subTest(program=words[0], conf=conf[:40]):
                    done = self.run_program(words, conf)
                    self.assertEqual(done.returncode, 2, done)
                    for text in texts:
                        self.assertIn(text, done.stderr)

    def test_overrides_and_usage(self):
        for words in PROGRAMS:
            with self.subTest(program=words[0]):
                self.assertEqual(self.run_program(words, "", "-o", "milterd.sokcet=x").returncode, 2)
                self.assertEqual(self.run_program(words, "", "-o", "nonsense").returncode, 2)
                self.assertEqual(self.run_program(words, "", "-Z").returncode, 2)
        for words in PROGRAMS[:3]:
            with self.subTest(program=words[0]):
                self.assertEqual(self.run_program(words, "[milterd]\n", "-t").returncode, 0)
                self.assertEqual(self.run_program(words, "[milterd]\nx = 1\n", "-t").returncode, 2)

    def test_a_file_that_is_not_there(self):
        for words in PROGRAMS:
            with self.subTest(program=words[0]):
                done = subprocess.run([os.path.join(BIN, words[0]), "-c", self.folder("absent.conf"), *words[1:]], capture_output=True,
                                      text=True, timeout=30 * PATIENCE, check=False, stdin=subprocess.DEVNULL)
                self.assertEqual(done.returncode, 2, done)
                self.assertIn("absent.conf", done.stderr)


class Sockets(SystemTest):
    def run_again(self, program):
        return subprocess.run([os.path.join(BIN, program), "-c", self.postern.conf], capture_output=True, text=True, timeout=30 * PATIENCE,
                              check=False, stdin=subprocess.DEVNULL)

    def test_a_second_instance_is_refused(self):
        self.start(PASS)
        for program, path in (("postern-milterd", "milter.sock"), ("postern-multiplexor", "multiplexor.sock")):
            with self.subTest(program=program):
                done = self.run_again(program)
                self.assertNotEqual(done.returncode, 0)
                self.assertGreater(done.returncode, 0, done)
                self.assertIn(self.postern.folder(path), done.stderr)
                self.assertRegex(done.stderr, "in use|already|answers")
        self.good_mail_passes()
        self.assertIsNotNone(self.postern.status())

    def test_sockets_of_others_in_use(self):
        """A live process of any kind behind the path: refused, and left alone."""
        for key, name, kind, program in (("milterd.socket", "milter.sock", socket.SOCK_STREAM, "postern-milterd"),
                                         ("multiplexor.socket", "multiplexor.sock", socket.SOCK_SEQPACKET, "postern-multiplexor"),
                                         ("multiplexor.control_socket", "control.sock", socket.SOCK_STREAM, "postern-multiplexor")):
            with self.subTest(key=key):
                postern = self.prepare(PASS)
                with socket.socket(socket.AF_UNIX, kind) as live:
                    live.bind(postern.folder(name))
                    live.listen(5)
                    inode = os.stat(postern.folder(name)).st_ino
                    done = self.run_again(program)
                    self.assertGreater(done.returncode, 0, done)
                    self.assertIn(name, done.stderr)
                    self.assertEqual(os.stat(postern.folder(name)).st_ino, inode)

    def test_what_is_no_socket_is_left_alone(self):
        for name, program in (("milter.sock", "postern-milterd"), ("multiplexor.sock", "postern-multiplexor"),
                              ("control.sock", "postern-multiplexor")):
            with self.subTest(name=name):
                postern = self.prepare(PASS)
                postern.folder.write(name, "precious")
                self.assertGreater(self.run_again(program).returncode, 0)
                with open(postern.folder(name), encoding="utf-8") as file:
                    self.assertEqual(file.read(), "precious")

    def test_tcp_port_in_use(self):
        postern = self.prepare(PASS)
        with socket.socket() as live:
            live.bind(("127.0.0.1", 0))
            live.listen()
            done = subprocess.run([os.path.join(BIN, "postern-milterd"), "-c", postern.conf, "-o",
                                   f"milterd.socket=inet:{live.getsockname()[1]}@127.0.0.1"], capture_output=True, text=True,
                                  timeout=30 * PATIENCE, check=False, stdin=subprocess.DEVNULL)
        self.assertGreater(done.returncode, 0, done)

    def test_stale_ones_are_replaced(self):
        postern = self.prepare(PASS)
        for name, kind in (("milter.sock", socket.SOCK_STREAM), ("multiplexor.sock", socket.SOCK_SEQPACKET), ("control.sock", socket.SOCK_STREAM)):
            with socket.socket(socket.AF_UNIX, kind) as stale:
                stale.bind(postern.folder(name))
        postern.start_multiplexor()
        postern.start_milterd()
        postern.wait_ready()
        self.good_mail_passes()

    def test_sockets_after_a_kill(self):
        postern = self.start(PASS)
        for process in (postern.milterd, postern.multiplexor):
            process.kill()
            process.popen.wait()
        wait_until(lambda: not processes_of(postern.folder.path), "workers to end with their multiplexor")
        postern.start_multiplexor()
        postern.start_milterd()
        wait_until(lambda: postern.milterd.output().count("listening on ") == 2, lambda: "milterd to listen again:\n" + postern.logs())
        postern.wait_ready()
        self.good_mail_passes()

    @unittest.skipIf(os.geteuid() != 0, "needs root to become somebody else")
    def test_strangers_are_refused(self):
        """Even where the mode of the file lets them in."""
        postern = self.start(PASS)
        for name, kind in (("multiplexor.sock", "record"), ("control.sock", "control")):
            with self.subTest(name=name):
                os.chmod(postern.folder(name), 0o666)
                done = subprocess.run(["/usr/bin/python3", "-c", STRANGER, kind, postern.folder(name), "65534"], capture_output=True, text=True,
                                      timeout=60 * PATIENCE, check=False, stdin=subprocess.DEVNULL)
                self.assertEqual(done.returncode, 0, done)
                refused = done.stdout.startswith("closed") or '"ok":false' in done.stdout.replace(" ", "")
                self.assertTrue(refused, done.stdout)
        self.assertEqual(postern.status()["generation"], 1)
        self.good_mail_passes()

    def test_record_socket_with_garbage(self):
        """Clients of ours that talk nonsense are dropped; nobody else notices."""
        postern = self.start(PASS)
        header = struct.pack(">BBHIQ", 1, 0, 20, 0, 1)
        for data in (b"", b"x", b"\0" * 16, b"\xff" * 60000, header, header * 4000, os.urandom(1000), b'{"v":1}\n'):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
                sock.settimeout(10 * PATIENCE)
                sock.connect(postern.folder("multiplexor.sock"))
                try:
                    sock.send(data or b"\0")
                    while sock.recv(65536):
                        pass
                except ConnectionError:
                    pass
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(postern.folder("multiplexor.sock"))
            files = [open("/dev/null", "rb") for _ in range(20)]
            socket.send_fds(sock, [b"x"], [file.fileno() for file in files])
            for file in files:
                file.close()
        self.good_mail_passes()

    def test_control_socket_with_garbage(self):
        postern = self.start(PASS)
        for data in (b"\n", b"{}\n", b"[" * 60000 + b"\n", b"\xff\xfe\n", b'{"v":1}\n', b'{"v":2,"command":"status"}\n', b'{"v":1,"command":"no"}\n',
                     b'{"v":1,"command":"scale","args":{"min":"x"}}\n', b'{"v":1,"command":"scale","args":{"min":9,"max":3}}\n',
                     b'{"v":1,"command":"recycle","args":{"pid":1}}\n', b'{"v":1,"command":null}\n', b"\0" * 100 + b"\n"):
            with self.subTest(data=data[:40]), socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10 * PATIENCE)
                sock.connect(postern.folder("control.sock"))
                sock.sendall(data)
                answer = sock.recv(65536)
                self.assertFalse(json.loads(answer)["ok"] if answer else False, answer)
        with socket.socket(socket.AF_UNIX) as sock:  # a line without end
            sock.settimeout(10 * PATIENCE)
            sock.connect(postern.folder("control.sock"))
            try:
                for _ in range(100):
                    sock.sendall(b"x" * 65536)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except ConnectionError:
                pass
        self.assertEqual(postern.status()["generation"], 1)


class Life(SystemTest):
    def passes(self):
        with MilterClient(self.postern.spec, 30 * PATIENCE) as client:
            client.negotiate()
            for step in (client.connect, client.helo, client.message):
                answer = step()
                if answer and answer.code != "continue":
                    return False
            return True

    def test_order_of_start_is_free(self):
        postern = self.prepare(PASS, {"milterd.reconnect_time": "500ms"})
        postern.start_milterd()
        postern.milterd.wait_for_line("listening on ")
        with MilterClient(postern.spec, 30 * PATIENCE) as early:
            early.negotiate()
            answer = early.connect()
            for step in (early.helo, early.message):
                if answer is None or answer.code == "continue":
                    answer = step()
            self.assertEqual(answer.verdict, "tempfail")
        postern.start_multiplexor()
        postern.wait_ready()
        wait_until(self.passes, lambda: "mail to pass:\n" + postern.logs(), 20)

    def test_the_multiplexor_goes_and_comes_back(self):
        postern = self.start('function filter_message(msg) msg:add_header("X", "1") end', {"milterd.reconnect_time": "15s"})
        client = self.client().start()
        self.assertEqual(len(client.message().actions), 1)
        self.assertEqual(postern.multiplexor.stop(), 0)
        threading.Timer(0.5, postern.start_multiplexor).start()
        self.assertEqual(len(client.message().actions), 1, postern.logs())

    def test_term_under_load(self):
        """Both end with 0 and leave no process; what was answered was filtered or refused for a time."""
        postern = self.start('local async = require "postern.async"\n'
                             'function filter_message(msg) async.sleep(0.01) msg:add_header("X-Seen", "1") end')
        stop, answers, problems = threading.Event(), [], []

        def load():
            while not stop.is_set():
                try:
                    with MilterClient(postern.spec, 60 * PATIENCE) as client:
                        client.negotiate()
                        for step in (client.connect, client.helo, client.message):
                            answer = step()
                            if answer and answer.code != "continue":
                                break
                        answers.append(answer)
                except (MilterClosed, ConnectionError, FileNotFoundError):
                    answers.append(None)
                    time.sleep(0.001)
                except Exception as error:  # noqa: BLE001 the thread's own report
                    problems.append(error)
                    return
        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answers) > 50, "messages to flow")
        self.assertEqual(postern.milterd.stop(signal.SIGTERM, 45), 0)
        self.assertEqual(postern.multiplexor.stop(signal.SIGTERM, 30), 0)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.assertEqual(processes_of(postern.folder.path), [])
        for answer in answers:
            if answer is not None and answer.code in ("continue", "accept"):
                self.assertEqual(answer.actions, [("add_header", "X-Seen", " 1")])
        self.assertFalse(os.path.exists(postern.folder("milter.sock")), "the milter's socket is left")

    def test_term_while_a_hook_runs(self):
        """The multiplexor alone: running requests are ended in time, and it leaves no worker."""
        postern = self.start("function filter_message(msg) while true do end end", {"multiplexor.drain_time": "300ms", "multiplexor.exit_time": "300ms",
                                                                                    "milterd.reconnect_time": "100ms"})
        client = self.client().start()
        client.mail(), client.rcpt(), client.data(), client.header("Subject", " x"), client.eoh(), client.body(b"x\r\n")
        client.send(b"E")
        wait_until(lambda: any(worker["state"] == "busy" for worker in postern.workers()), "a busy worker")
        self.assertEqual(postern.multiplexor.stop(signal.SIGTERM, 20), 0)
        self.assertReply(client.answer(), "451 4.3.")
        wait_until(lambda: len(processes_of(postern.folder.path)) == 1, "only milterd to be left")

    def test_int_ends_them_too(self):
        postern = self.start(PASS)
        for process in (postern.milterd, postern.multiplexor):
            self.assertEqual(process.stop(signal.SIGINT), 0)
        self.assertEqual(processes_of(postern.folder.path), [])

    def test_hup_is_reload_for_the_multiplexor(self):
        postern = self.start(PASS)
        postern.save_filter('function filter_message(msg) msg:add_header("X-New", "1") end')
        postern.multiplexor.kill(signal.SIGHUP)
        wait_until(lambda: postern.status()["generation"] == 2, lambda: "the second generation:\n" + postern.logs())
        wait_until(lambda: self.good_mail_passes().actions, "the new filter to serve")
        self.assertTrue(postern.multiplexor.is_alive())


if __name__ == "__main__":
    unittest.main()
