"""The real sendmail and the real Postfix, unpacked and not installed, each with its own folder, queue and mailbox on a loopback address of its own.

Both run in a mount namespace of their own: their queue is memory (each accepted mail is synced to disk otherwise), and sendmail sees its folder as
/mnt, since it refuses a milter socket below a world-writable folder, wherever the checkout may be.
"""

import os
import re
import shutil
import socket
import subprocess

from .lines import lines_of
from .mail import Smtp, parse
from .mta_files import DELIVER, POSTFIX_MAIN, POSTFIX_MASTER, SENDMAIL_MC
from .process import CACHE, Folder, Process, loopback_address, wait_until


def _need(path, what):
    if not os.path.exists(path):
        raise AssertionError(f"{what} is not unpacked ({path}); tools/test does that")
    if os.geteuid() != 0:
        raise AssertionError(f"{what} needs root: it changes users and mounts")


class Mta:
    """What both have in common."""

    def __init__(self, name):
        self.folder = Folder(name)
        self.address = loopback_address()
        self.process = None

    def wait_listening(self, port):
        def answers():
            if not self.process.is_alive():
                raise AssertionError(f"{self.process.argv} ended:\n{self.process.output()}\n{self.log()}")
            try:
                with socket.create_connection((self.address, port), 2) as conn:
                    return conn.recv(4)[:3] in (b"220", b"421", b"554", b"451", b"550")
            except OSError:
                return False
        wait_until(answers, lambda: "the mail server to answer:\n" + self.process.output() + self.log(), 30)

    def smtp(self, source=None):
        return Smtp(self.address, self.port, source=source)

    def inside(self, *names):
        """A path in the server's own view of the file system."""
        return os.path.join(f"/proc/{self.process.pid}/root", self.folder.path.lstrip("/"), *names)

    def delivered(self, count=1, seconds=20):
        """Waits for at least count messages, each delivered to all of its recipients, and returns all there are: parsed, with .sender and .recipients."""
        def whole():
            mails = self.mailbox()
            # Read again: it may have grown since, before the server was done.
            return self.mailbox() if len(mails) >= count and self.are_over(mails) else None
        return wait_until(whole, lambda: f"{count} delivered messages, got {len(self.mailbox())}:\n{self.log()}", seconds)

    def are_over(self, mails):
        """Whether the server is done with these messages of its mailbox: a message may come in one piece for all recipients."""
        del mails
        return True

    def one(self, seconds=20):
        """The one delivered message, parsed, with .sender and .recipients; the mailbox is emptied."""
        found = self.delivered(1, seconds)
        assert len(found) == 1, f"{len(found)} messages delivered"
        self.empty()
        return found[0]

    def stop(self):
        if self.process and self.process.is_alive():
            self.end()
        self.folder.remove()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.log()[-6000:])
        self.stop()


class Sendmail(Mta):
    """sendmail with INPUT_MAIL_FILTER lines. In its view the folder is /mnt.

    filters: text of the lines; "@SOCKET@" stands for the socket, which must lie in folder (seen as /mnt/…) or be an inet spec.
    """

    port = 2525
    ROOT = os.path.join(CACHE, "mta", "sendmail")

    def __init__(self, spec=None, filter_equates="F=T, T=C:30s;S:30s;R:30s;E:2m", filters=None, name="sendmail", extra=""):
        super().__init__(name)
        _need(self.ROOT, "sendmail")
        self.spec = spec
        self.filters = filters
        self.equates = filter_equates
        self.extra = extra

    def configure(self):
        """Writes the configuration; start does it too."""
        folder, root = self.folder, self.ROOT
        for sub in ("etc", "box", "run", "queue"):
            os.makedirs(folder(sub), exist_ok=True)
        os.chmod(folder("queue"), 0o700)
        spec = self.spec.replace(folder.path, "/mnt") if self.spec else None
        lines = self.filters or (f"INPUT_MAIL_FILTER(`postern', `S={spec}, {self.equates}')dnl" if spec else "dnl")
        folder.write("etc/hosts", f"127.0.0.1 localhost\n{self.address} mx.postern.test mx\n")
        folder.write("etc/service.switch", "hosts files\n")
        folder.write("etc/local-host-names", "")
        folder.write("etc/trusted-users", "root\n")
        folder.write("deliver.sh", DELIVER, 0o755)
        folder.write("etc/sendmail.mc", SENDMAIL_MC.replace("@CF@", os.path.join(self.ROOT, "usr/share/sendmail/cf/m4/cf.m4"))
                     .replace("@ADDRESS@", self.address).replace("@PORT@", str(self.port))
                     .replace("@FILTERS@", lines.replace(folder.path, "/mnt")).replace("@EXTRA@", self.extra))
        m4 = subprocess.run(["m4", f"-D_CF_DIR_={root}/usr/share/sendmail/cf/", folder("etc/sendmail.mc")], capture_output=True, check=False)
        if m4.returncode != 0:
            raise AssertionError("m4: " + m4.stderr.decode())
        self.filter_line = next((line for line in m4.stdout.decode().splitlines() if line.startswith("Xpostern")), None)
        folder.write("etc/sendmail.cf", m4.stdout)
        return self

    def start(self):
        self.configure()
        folder, root = self.folder, self.ROOT
        script = ("hostname mx.postern.test && mount --bind \"$1\" /mnt && mount --bind /mnt/etc/hosts /etc/hosts && "
                  "mount -t tmpfs -o mode=0700 tmpfs /mnt/queue && mount -t tmpfs -o mode=0755 tmpfs /mnt/box && "
                  "cd /mnt && exec \"$2/usr/libexec/sendmail/sendmail\" -bD -C/mnt/etc/sendmail.cf -X /mnt/transcript")
        self.process = Process(["unshare", "--uts", "--mount", "bash", "-c", script, "sendmail", folder.path, root],
                               folder("sendmail.log"), env={"LD_LIBRARY_PATH": f"{root}/usr/lib/x86_64-linux-gnu"})
        self.wait_listening(self.port)
        return self

    def inside(self, *names):
        return os.path.join(f"/proc/{self.process.pid}/root/mnt", *names)

    def mailbox(self):
        found = []
        for name in sorted(os.listdir(self.inside("box"))):
            if name.endswith(".eml"):
                with open(self.inside("box", name), "rb") as file:
                    data = file.read()
                envelope, data = data.split(b"\n\n", 1)
                lines = envelope.decode("utf-8", "replace").splitlines()
                mail = parse(data)
                mail.sender = lines[0].removeprefix("F:")
                mail.recipients = [line.removeprefix("T:") for line in lines[1:]]
                found.append(mail)
        return found

    def empty(self):
        # Others are being written, or were a moment ago.
        for name in os.listdir(self.inside("box")):
            if name.endswith(".eml"):
                os.unlink(self.inside("box", name))

    def held(self):
        """Quarantined messages: (queue id, reason)."""
        found = []
        for name in os.listdir(self.inside("queue")):
            if name.startswith("hf"):
                with open(self.inside("queue", name), encoding="utf-8", errors="replace") as file:
                    reason = next((line[1:].strip() for line in file if line.startswith("q")), "")
                found.append((name[2:], reason))
        return found

    def log(self):
        out = self.process.output() if self.process else ""
        try:
            with open(self.folder("transcript"), encoding="utf-8", errors="replace") as file:
                out += file.read()
        except OSError:
            pass
        return out

    def end(self):
        self.process.stop()


class Postfix(Mta):
    """Postfix with smtpd_milters.

    settings: further main.cf lines; services: further master.cf lines, in which @ADDRESS@ is filled in; chroot: smtpd and cleanup run chrooted in the queue folder (which then stays on disk).
    """

    port = 2526
    ROOT = os.path.join(CACHE, "mta", "postfix")

    def __init__(self, spec=None, settings="", chroot=False, name="postfix", services=""):
        super().__init__(name)
        _need(self.ROOT, "Postfix")
        self.spec = spec
        self.settings = settings
        self.services = services
        self.chroot = chroot

    def configure(self):
        """Writes the configuration; start does it too."""
        folder, root = self.folder, self.ROOT
        for sub in ("etc", "box", "run", "queue", "data"):
            os.makedirs(folder(sub), exist_ok=True)
        shutil.chown(folder("data"), "uucp")
        shutil.chown(folder("box"), "nobody")
        for source in ("usr/share/postfix/dynamicmaps.cf", "etc/postfix/postfix-files"):
            shutil.copy(os.path.join(root, source), folder("etc"))
        os.makedirs(folder("etc/dynamicmaps.cf.d"), exist_ok=True)
        fill = {"@SERVICES@": self.services, "@B@": folder.path, "@R@": root, "@ADDRESS@": self.address, "@PORT@": str(self.port),
                "@MILTERS@": self.spec or "", "@CHROOT@": "y" if self.chroot else "n", "@SETTINGS@": self.settings}

        def filled(text):
            for key, value in fill.items():
                text = text.replace(key, value)
            return text
        folder.write("etc/main.cf", filled(POSTFIX_MAIN))
        folder.write("etc/master.cf", filled(POSTFIX_MASTER))
        return self

    def start(self):
        self.configure()
        folder, root = self.folder, self.ROOT
        tmpfs = "" if self.chroot else "mount -t tmpfs -o mode=0755 tmpfs \"$1/queue\" && "
        script = (tmpfs + "mount -t tmpfs -o mode=0755,uid=65534 tmpfs \"$1/box\" && \"$2/usr/sbin/postfix\" -c \"$1/etc\" check && "
                  "exec \"$2/usr/lib/postfix/sbin/master\" -c \"$1/etc\" -d")
        self.process = Process(["unshare", "--mount", "bash", "-c", script, "postfix", folder.path, root], folder("postfix.log"), env=self.env())
        self.wait_listening(self.port)
        return self

    def env(self):
        return {"LD_LIBRARY_PATH": f"{self.ROOT}/usr/lib/postfix", "MAIL_CONFIG": self.folder("etc")}

    def run(self, program, *words):
        """One of Postfix's own commands, in the server's namespace; returns its output."""
        argv = ["nsenter", "-t", str(self.process.pid), "-m", os.path.join(self.ROOT, "usr/sbin", program), "-c", self.folder("etc"), *words]
        return subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **self.env()}, check=False, timeout=60).stdout

    def mailbox(self):
        base = self.inside("box", "all", "new")
        found = {}
        if not os.path.isdir(base):
            return []
        for name in sorted(os.listdir(base)):
            with open(os.path.join(base, name), "rb") as file:
                data = file.read()
            mail = parse(data)
            mail.sender = str(mail["Return-Path"] or "").strip().strip("<>")
            recipient = mail["X-Original-To"] or mail["Delivered-To"]
            # One file for each recipient: they belong together by queue id.
            received = (mail["Received"] or name).split(" id ")[-1].split()[0].rstrip(";")
            if received in found:
                found[received].recipients.append(recipient)
            else:
                mail.recipients = [recipient]
                mail.queue_id = received
                found[received] = mail
        return list(found.values())

    def are_over(self, mails):
        """One recipient after the other is delivered to; then the message leaves the queue."""
        removed = set(re.findall(r": (\w+): removed", self.log()))
        return all(mail.queue_id in removed for mail in mails)

    def empty(self):
        base = self.inside("box", "all", "new")
        for name in os.listdir(base) if os.path.isdir(base) else ():
            os.unlink(os.path.join(base, name))

    def queue(self):
        return lines_of(self.run("postqueue", "-j"))

    def held(self):
        return [(item["queue_id"], "") for item in self.queue() if item["queue_name"] == "hold"]

    def log(self):
        out = self.process.output() if self.process else ""
        try:
            with open(self.folder("run/maillog"), encoding="utf-8", errors="replace") as file:
                out += file.read()
        except OSError:
            pass
        return out

    def end(self):
        self.process.stop()
