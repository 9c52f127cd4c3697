"""Each hostile message through `posternctl run`: a definite answer within 2 s and 256 MB."""

import json
import os
import resource
import subprocess
import sys
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

from harness.process import BIN, PATIENCE, SANITIZE, Folder  # noqa: E402
from messages import READS_EVERYTHING, ROWS  # noqa: E402

# Processor time, so that other work on the machine does not count. Sanitizers take more of both.
SECONDS = 30 if SANITIZE else 2
MEGABYTES = 2048 if SANITIZE else 256


def run_measured(argv):
    """The process ended, its processor time in seconds and its largest resident size in MB, those of its children too."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=120 * PATIENCE)
    return process.returncode, out, err


class Hostile(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("hostile")
        self.addCleanup(self.folder.remove)
        self.filter = self.folder.write("filter.lua", READS_EVERYTHING)

    def run_one(self, path):
        """In a process of its own, whose usage is then known."""
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(read_end)
                code, out, err = run_measured([os.path.join(BIN, "posternctl"), "run", "--json", self.filter, path])
                usage = resource.getrusage(resource.RUSAGE_CHILDREN)
                with os.fdopen(write_end, "wb") as pipe:
                    pipe.write(json.dumps({"code": code, "out": out.decode("utf-8"), "err": err.decode("utf-8", "replace"),
                                           "seconds": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1024}).encode())
            finally:
                os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            data = pipe.read()
        os.waitpid(pid, 0)
        return json.loads(data)

    def test_each(self):
        for name, make in ROWS.items():
            with self.subTest(name=name):
                path = self.folder.write("message.eml", make())
                ran = self.run_one(path)
                self.assertEqual(ran["out"].count("\n"), 1, ran)
                answer = json.loads(ran["out"])
                print(f"{name:45} {os.path.getsize(path) >> 10:6} KB {ran['seconds']:6.2f} s {ran['megabytes']:5.0f} MB {answer['verdict']:8} "
                      f"{(answer['error'] or ', '.join(sorted({d['kind'] for d in answer['defects']})))[:90]}")
                if os.path.getsize(path) > 4 << 20 and answer["verdict"] == "reject":
                    self.assertEqual(answer["reply"]["dsn"], "5.3.4", answer)  # its header is over max_header_bytes
                else:
                    self.assertEqual((answer["verdict"], answer["error"]), ("continue", None))
                self.assertLess(ran["seconds"], SECONDS)
                self.assertLess(ran["megabytes"], MEGABYTES)


if __name__ == "__main__":
    unittest.main()
