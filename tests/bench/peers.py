"""The peers: Postern, the bare filter that is the limit, and others' filters, unpacked from Debian's packages and never installed."""

import os
import pwd
import re
import time

from peer import CACHE, HERE, RELEASE, Peer

ALL_KINDS = {kind: kind for kind in ("parts", "header", "hooks", "content")}
UNPACKED = os.path.join(CACHE, "peers")


def unpacked(name, *programs):
    """Why a package's programs are not there; None when they are."""
    for program in programs:
        if not os.path.exists(os.path.join(UNPACKED, name, program)):
            try:
                with open(os.path.join(UNPACKED, name + ".why"), encoding="utf-8", errors="replace") as file:
                    return "; ".join(file.read().split("\n")[-3:-1])[-300:] or f"{program} was not unpacked"
            except OSError:
                return f"{program} is not in {UNPACKED}; tests/bench/run fetches it"
    return None


class Bare(Peer):
    name, title = "bare", "bare libmilter filter in C"
    kinds = ALL_KINDS
    options = {"parts": ("-g",), "header": (), "hooks": ("-g", "-e"), "content": ("-g", "-d")}

    def start(self):
        self.spawn(os.path.join(RELEASE, "tests", "postern-bare"), *self.options[self.kind], "-p", "unix:" + self.socket)


class Postern(Peer):
    name, title = "postern", "Postern"
    kinds = ALL_KINDS
    is_ours = True
    roles = (("postern-milterd", "front end"), ("postern-multipl", "multiplexor"), ("postern-worker", "nursery"), (r"postern-w\d+", "worker"))

    def __init__(self, folder, kind="parts", workers=2, label="", options=None):
        super().__init__(folder, kind, workers, label)
        self.options = {"milterd.socket": "unix:" + self.socket, "milterd.spool": self.path("spool"),
                        "multiplexor.socket": self.path("multiplexor.sock"), "multiplexor.control_socket": self.path("control.sock"),
                        "multiplexor.min_workers": workers, "multiplexor.max_workers": workers, "multiplexor.recycle_requests": 500,
                        "worker.filter": self.filter(kind + ".lua"), "log.target": "stderr", **(options or {})}

    def start(self):
        os.makedirs(self.path("spool"), exist_ok=True)
        sections = {}
        for key, value in self.options.items():
            section, name = key.split(".")
            sections.setdefault(section, []).append(f"{name} = {value}\n")
        conf = self.write("postern.conf", "".join(f"[{section}]\n{''.join(lines)}" for section, lines in sections.items()))
        self.spawn(os.path.join(RELEASE, "bin", "postern-multiplexor"), "-c", conf)
        self.spawn(os.path.join(RELEASE, "bin", "postern-milterd"), "-c", conf)

    def role(self, comm):
        return next((role for pattern, role in self.roles if re.fullmatch(pattern, comm)), comm)


class Mimedefang(Peer):
    """With embedded Perl: workers are forked from a parent that has loaded the filter."""
    name, title = "mimedefang", "MIMEDefang 3.3, embedded Perl"
    kinds = {**ALL_KINDS, "content": "parts"}
    stop_secs = 2            # left alone its multiplexor takes nine seconds
    multiplexor_options = ("-E",)
    front_end_options = {"hooks": ("-r", "-H", "-s", "-t")}
    files = {"parts": "mimedefang-filter", "hooks": "mimedefang-filter", "header": "mimedefang-header"}

    @classmethod
    def missing(cls):
        if os.geteuid() != 0:
            return "it must be started by root"
        return unpacked("mimedefang", "usr/bin/mimedefang", "usr/bin/mimedefang-multiplexor", "usr/bin/mimedefang.pl")

    def program(self, root):
        """Its Perl program looks for files in /etc/mail, where nothing of the benchmark's may stand."""
        with open(os.path.join(root, "usr/bin/mimedefang.pl"), encoding="utf-8") as source:
            program = self.write("mimedefang.pl", source.read().replace("/etc/mail/", os.path.join(root, "etc/mail/")))
        os.chmod(program, 0o755)
        return program

    def start(self):
        root = os.path.join(UNPACKED, "mimedefang")
        user = pwd.getpwnam("nobody")
        spool, control = self.path("spool"), self.path("multiplexor.sock")
        os.makedirs(spool, mode=0o700)
        for path in (spool, self.folder):
            os.chown(path, user.pw_uid, user.pw_gid)
        env = {"PERL5LIB": os.path.join(root, "usr", "share", "perl5")}
        self.spawn(os.path.join(root, "usr/bin/mimedefang-multiplexor"), "-D", *self.multiplexor_options, "-U", "nobody", "-z", spool, "-s", control,
                   "-f", self.program(root), "-F", self.filter(self.files[self.kind]), "-m", str(self.workers), "-x", str(self.workers),
                   "-r", "500", "-V", "0", "-b", "600", "-c", "600", "-i", "86400", "-w", "0", "-W", "0", "-q", "128", "-Q", "300", "-I", "200", env=env)
        deadline = time.monotonic() + 30
        while not os.path.exists(control) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.spawn(os.path.join(root, "usr/bin/mimedefang"), "-D", "-U", "nobody", "-X", "-q", *self.front_end_options.get(self.kind, ()),
                   "-z", spool, "-m", control, "-b", "200", "-p", self.socket, env=env)


class MimedefangExec(Mimedefang):
    """As Debian starts it: each worker is a Perl of its own."""
    name, title = "mimedefang-exec", "MIMEDefang 3.3, Debian's default"
    kinds = {"parts": "parts", "content": "parts"}
    multiplexor_options = ()


class Rspamd(Peer):
    name, title = "rspamd", "rspamd 3.4, self-scan, one Lua rule"
    kinds = {"parts": "parts", "content": "parts", "header": "header"}
    stop_secs = 5

    @classmethod
    def missing(cls):
        return unpacked("rspamd", "usr/bin/rspamd", "usr/share/rspamd/lualib")

    def start(self):
        root = os.path.join(UNPACKED, "rspamd")
        share = os.path.join(root, "usr/share/rspamd")
        compiled = os.path.join(UNPACKED, "rspamd-compiled")  # compiling its patterns takes half a minute, once
        os.makedirs(compiled, exist_ok=True)
        who = ()
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            who = ("-u", "nobody", "-g", "nogroup")
            for path in (self.folder, compiled):
                os.chown(path, user.pw_uid, user.pw_gid)
        with open(self.filter("rspamd.conf.in"), encoding="utf-8") as file:
            text = file.read()
        for name, value in (("RUN", self.folder), ("SHARE", share), ("COMPILED", compiled), ("RULE", self.filter(f"rspamd-{self.kind}.lua")),
                            ("WORKERS", str(self.workers))):
            text = text.replace(f"@{name}@", value)
        libraries = (os.path.join(root, "usr/lib/rspamd"), os.path.join(root, "usr/lib", os.uname().machine + "-linux-gnu"))
        env = {"LD_LIBRARY_PATH": ":".join(libraries), "SHAREDIR": share, "LUALIBDIR": share + "/lualib", "RULESDIR": share + "/rules",
               "PLUGINSDIR": share + "/plugins", **{name: self.folder for name in ("CONFDIR", "DBDIR", "RUNDIR", "LOGDIR")}}
        self.spawn(os.path.join(root, "usr/bin/rspamd"), "-f", *who, "-c", self.write("rspamd.conf", text), env=env)


class Pymilter(Peer):
    name, title = "pymilter", "pymilter 1.0.5, Python 3.11's email"
    kinds = {**ALL_KINDS, "content": "parts"}
    stop_secs = 5

    @classmethod
    def missing(cls):
        return unpacked("pymilter", "usr/lib/python3/dist-packages/Milter")

    def start(self):
        env = {"PYTHONPATH": os.path.join(UNPACKED, "pymilter", "usr/lib/python3/dist-packages")}
        self.spawn("/usr/bin/python3", os.path.join(HERE, "filters", "pymilter_filter.py"), self.kind, "unix:" + self.socket, env=env)


PEERS = {peer.name: peer for peer in (Bare, Postern, Mimedefang, MimedefangExec, Rspamd, Pymilter)}
