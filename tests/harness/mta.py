"""The real sendmail and the real Postfix, unpacked and not installed, each with its own folder, queue and mailbox on a loopback address of its own.

Both run in a mount namespace of their own: their queue is memory (each accepted mail is synced to disk otherwise), and sendmail sees its folder as
/mnt, since it refuses a milter socket below a world-writable folder, wherever the checkout may be.
"""

import json
import os
import re
import shutil
import socket
import subprocess

from .mail import Smtp, parse
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

    def smtp(self):
        return Smtp(self.address, self.port)

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
        folder.write("etc/sendmail.mc", SENDMAIL_MC.replace("@ADDRESS@", self.address).replace("@PORT@", str(self.port))
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

    settings: further main.cf lines; chroot: smtpd and cleanup run chrooted in the queue folder (which then stays on disk).
    """

    port = 2526
    ROOT = os.path.join(CACHE, "mta", "postfix")

    def __init__(self, spec=None, settings="", chroot=False, name="postfix"):
        super().__init__(name)
        _need(self.ROOT, "Postfix")
        self.spec = spec
        self.settings = settings
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
        fill = {"@B@": folder.path, "@R@": root, "@ADDRESS@": self.address, "@PORT@": str(self.port),
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
        return [json.loads(line) for line in self.run("postqueue", "-j").splitlines()]

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


# First line: sender; then recipients; an empty line; the message.
DELIVER = """#!/bin/sh
f=$(mktemp /mnt/box/msg.XXXXXX) || exit 75
sender=$1
shift
{ printf 'F:%s\\n' "$sender"; printf 'T:%s\\n' "$@"; echo; cat; } >"$f.tmp" && mv "$f.tmp" "$f.eml" && rm -f "$f"
"""

SENDMAIL_MC = """divert(0)dnl
include(`CF_DIR_PLACE')dnl
OSTYPE(`linux')dnl
define(`MAIL_SETTINGS_DIR', `/mnt/etc/')dnl
define(`QUEUE_DIR', `/mnt/queue')dnl
define(`STATUS_FILE', `/mnt/run/statistics')dnl
define(`ALIAS_FILE', `')dnl
define(`HELP_FILE', `')dnl
define(`confPID_FILE', `/mnt/run/sendmail.pid')dnl
define(`confDEAD_LETTER_DROP', `/mnt/run/dead.letter')dnl
define(`confHOST_STATUS_DIRECTORY', `')dnl
define(`confCW_FILE', `-o /mnt/etc/local-host-names')dnl
define(`confCT_FILE', `-o /mnt/etc/trusted-users')dnl
define(`confDOMAIN_NAME', `mx.postern.test')dnl
define(`confDONT_BLAME_SENDMAIL', `AssumeSafeChown,GroupWritableDirPathSafe,RunProgramInUnsafeDirPath,RunWritableProgram')dnl
define(`confTO_IDENT', `0')dnl
define(`confDELIVERY_MODE', `background')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confSERVICE_SWITCH_FILE', `/mnt/etc/service.switch')dnl
define(`confMILTER_LOG_LEVEL', `14')dnl
define(`confDEF_USER_ID', `0:0')dnl
define(`confBAD_RCPT_THROTTLE', `0')dnl
define(`confCONNECTION_RATE_THROTTLE', `0')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`accept_unqualified_senders')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`nocanonify')dnl
FEATURE(`promiscuous_relay')dnl
DAEMON_OPTIONS(`Name=MTA, Addr=@ADDRESS@, Port=@PORT@, Family=inet')dnl
@FILTERS@
@EXTRA@
MAILER_DEFINITIONS
MAILER(`smtp')dnl
Mfilebox, P=/mnt/deliver.sh, F=lsDFMPpmn9SuhE, T=DNS/RFC822/X-Unix, A=deliver.sh $g $u
LOCAL_RULE_0
R$+ < @ $+ . > $*\t$#filebox $@ $2 $: $1@$2
R$+ < @ $+ > $*\t$#filebox $@ $2 $: $1@$2
R$+\t$#filebox $@ localhost $: $1
""".replace("CF_DIR_PLACE", os.path.join(Sendmail.ROOT, "usr/share/sendmail/cf/m4/cf.m4"))

POSTFIX_MAIN = """compatibility_level = 3.6
queue_directory = @B@/queue
data_directory = @B@/data
daemon_directory = @R@/usr/lib/postfix/sbin
command_directory = @R@/usr/sbin
meta_directory = @B@/etc
shlib_directory = @R@/usr/lib/postfix
sendmail_path = @R@/usr/sbin/sendmail
mailq_path = @R@/usr/bin/mailq
newaliases_path = @R@/usr/bin/newaliases
manpage_directory = @R@/usr/share/man
mail_owner = uucp
setgid_group = tape
default_privs = nobody
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH=@R@/usr/lib/postfix
myhostname = mxp.postern.test
mydestination =
local_recipient_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
virtual_mailbox_domains = static:all
virtual_mailbox_base = @B@/box
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
virtual_mailbox_limit = 0
virtual_transport = virtual
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_milters = @MILTERS@
non_smtpd_milters =
milter_protocol = 6
milter_default_action = tempfail
milter_connect_timeout = 30s
milter_command_timeout = 30s
milter_content_timeout = 120s
maillog_file = @B@/run/maillog
maillog_file_prefixes = @B@
in_flow_delay = 0
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_soft_error_limit = 1000
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
disable_dns_lookups = yes
notify_classes =
message_size_limit = 67108864
@SETTINGS@
"""

POSTFIX_MASTER = """@ADDRESS@:@PORT@ inet n - @CHROOT@ - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - @CHROOT@ - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
