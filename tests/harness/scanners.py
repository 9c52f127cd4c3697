"""Scanners on private ports: the real clamd with a signature of the test, the real spamd and the real rspamd with rules of the test, the
real c-icap before clamd."""

import os
import shutil
import signal
import socket
import urllib.request

from harness.process import CACHE, PATIENCE, Process, loopback_address, wait_until

ROOT = os.path.join(CACHE, "scan")
CLAMD, SPAMD = os.path.join(ROOT, "usr", "sbin", "clamd"), os.path.join(ROOT, "usr", "sbin", "spamd")
ICAP_ROOT = os.path.join(CACHE, "icap")
CICAP = os.path.join(ICAP_ROOT, "usr", "bin", "c-icap")
VIRUS = b"POSTERN-VIRUS-51a7c0de"  # what clamd of the test calls Postern.Test
SPAM = b"POSTERN-SPAM-51a7c0de"  # what spamd of the test gives 12 points for

RULES = r"""
body POSTERN_SPAM /POSTERN-SPAM-51a7c0de/
describe POSTERN_SPAM the marker of the test
score POSTERN_SPAM 12
header POSTERN_RELAY X-Spam-Relays-Untrusted =~ /^\[ ip=198\.51\.100\.7 rdns=mail\.example\.org helo=helo\.example\.org by=\S+ ident= envfrom=\S* intl=0 id=QID1 auth= /
score POSTERN_RELAY 0.1
header POSTERN_USER X-Spam-Relays-Trusted =~ /^\[ ip=198\.51\.100\.7 .* auth=ESMTPSA /
score POSTERN_USER 0.1
header POSTERN_SIX X-Spam-Relays-Untrusted =~ /^\[ ip=2001:db8::7 /
score POSTERN_SIX 0.1
header POSTERN_FROM EnvelopeFrom =~ /^ann\@example\.org$/
score POSTERN_FROM 0.1
header POSTERN_FORGED EnvelopeFrom =~ /forged/
score POSTERN_FORGED 0.1
"""


def free_port(address):
    with socket.create_server((address, 0)) as server:
        return server.getsockname()[1]


def says(family, where, question, answer):
    """Whether a server answers a question with a text that begins like this."""
    try:
        with socket.socket(family) as connection:
            connection.settimeout(5 * PATIENCE)
            connection.connect(where)
            connection.sendall(question)
            return connection.recv(100).startswith(answer)
    except OSError:
        return False


class Scanner:
    """start() waits until it answers; kill() and start() again keep its addresses."""

    def __init__(self, folder, program):
        if not os.path.exists(program):
            raise AssertionError(f"{program} is not unpacked; tools/test does that")
        self.folder, self.address, self.port, self.process, self.n_starts = folder, loopback_address(), None, None, 0

    def start(self):
        for _ in range(10):
            self.port = self.port or free_port(self.address)
            self.n_starts += 1
            self.process = self.run(self.folder(f"{type(self).__name__}.{self.n_starts}.log"))
            wait_until(lambda: not self.process.is_alive() or self.answers(),
                       lambda: "it to answer or to end:\n" + self.process.output()[-2000:], 60)
            if self.process.is_alive():
                return self
            self.port = None
        raise AssertionError(f"{type(self).__name__} does not start: " + self.process.output()[-2000:])

    def stop(self):
        if self.process is not None:
            self.process.stop()

    def kill(self):
        """With the children that it has: each start is a group of its own."""
        self.process.signal_group(signal.SIGKILL)
        self.process.popen.wait()

    @property
    def tcp(self):
        return f"inet:{self.port}@{self.address}"


class Clamd(Scanner):
    """path is its UNIX socket; more: further lines of its configuration."""

    def __init__(self, folder, more=""):
        super().__init__(folder, CLAMD)
        self.path, self.more = folder("clamd.sock"), more
        folder.write("db/test.ndb", f"Postern.Test:0:*:{VIRUS.hex()}\n")

    def run(self, log):
        conf = self.folder.write("clamd.conf", f"""DatabaseDirectory {self.folder("db")}
LocalSocket {self.path}
TCPSocket {self.port}
TCPAddr {self.address}
PidFile {self.folder("clamd.pid")}
TemporaryDirectory {self.folder()}
Foreground yes
ConcurrentDatabaseReload no
DisableCache yes
{self.more}
""" + ("User root\n" if os.getuid() == 0 else ""))
        if os.path.exists(self.path):
            os.unlink(self.path)
        return Process([CLAMD, "-c", conf], log, env={"LD_LIBRARY_PATH": os.path.join(ROOT, "usr", "lib", "x86_64-linux-gnu")},
                       start_new_session=True)

    def answers(self):
        return (says(socket.AF_UNIX, self.path, b"nPING\n", b"PONG")
                and says(socket.AF_INET, (self.address, self.port), b"nPING\n", b"PONG"))


class Spamd(Scanner):
    def __init__(self, folder):
        super().__init__(folder, SPAMD)
        folder.write("site/init.pre", "loadplugin Mail::SpamAssassin::Plugin::Check\n")
        folder.write("site/local.cf", "use_bayes 0\ndns_available no\nrequired_score 5\n" + RULES)
        os.makedirs(folder("rules"))
        shutil.copy(os.path.join(ROOT, "usr", "share", "spamassassin", "10_default_prefs.cf"), folder("rules"))

    def run(self, log):
        perl = ["perl", "-T"]  # which heeds no PERL5LIB
        for path in (("usr", "share", "perl5"), ("usr", "lib", "x86_64-linux-gnu", "perl5", "5.36")):
            perl += ["-I", os.path.join(ROOT, *path)]
        words = [*perl, SPAMD, "-L", "-x", f"--siteconfigpath={self.folder('site')}", f"--configpath={self.folder('rules')}", "-i", self.address,
                 "-p", str(self.port), "--min-children=1", "--max-children=2", "-s", "stderr", "-r", self.folder("spamd.pid")]
        return Process(words + (["-u", "nobody"] if os.getuid() == 0 else []), log, start_new_session=True)

    def answers(self):
        return says(socket.AF_INET, (self.address, self.port), b"PING SPAMC/1.2\r\n\r\n", b"SPAMD/")


class Rspamd:
    """rules: Lua of the test; modules: those of its own in C, "dkim"; and nothing else. Refuses from 15 points, marks from 6, greylists from 4."""
    ROOT = os.path.join(CACHE, "peers", "rspamd")

    def __init__(self, folder, rules, modules=""):
        program = os.path.join(self.ROOT, "usr", "bin", "rspamd")
        if not os.path.exists(program):
            raise AssertionError(f"rspamd is not unpacked ({program}); tools/test does that")
        self.folder, self.program, self.process, self.n, self.modules = folder, program, None, 0, modules
        self.url = f"http://{loopback_address()}:21333"
        folder.write("tld.dat", "com\norg\ntest\n")
        folder.write("rules.lua", rules)

    def start(self):
        share = os.path.join(self.ROOT, "usr", "share", "rspamd")
        self.folder.write("rspamd.conf", f"""
options {{ pidfile = "{self.folder('rspamd.pid')}"; tempdir = "{self.folder()}"; filters = "{self.modules}"; url_tld = "{self.folder('tld.dat')}";
  cache_file = "{self.folder('symbols')}"; hs_cache_dir = "{self.folder()}/"; history_file = "{self.folder('history')}";
  stats_file = "{self.folder('stats')}"; control_socket = "{self.folder('control')} mode=0600"; disable_hyperscan = true;
  explicit_modules = []; local_addrs = []; disable_monitoring = true;
  dns {{ nameserver = ["127.0.0.1:1:1"]; timeout = 0.1s; retransmits = 1; sockets = 1; }} }}
lang_detection {{ languages = "{share}/languages"; }}
logging {{ type = "console"; level = "error"; }}
worker "normal" {{ bind_socket = "{self.url[7:]}"; count = 1; }}
lua = "{self.folder('rules.lua')}";
actions {{ reject = 15; "add header" = 6; greylist = 4; }}
""")
        libraries = (os.path.join(self.ROOT, "usr/lib/rspamd"), os.path.join(self.ROOT, "usr/lib", os.uname().machine + "-linux-gnu"))
        env = {"LD_LIBRARY_PATH": ":".join(libraries), "SHAREDIR": share, "LUALIBDIR": share + "/lualib", "RULESDIR": share + "/rules",
               "PLUGINSDIR": share + "/plugins", **{name: self.folder() for name in ("CONFDIR", "DBDIR", "RUNDIR", "LOGDIR")}}
        self.n += 1
        insecure = ("-i",) if os.geteuid() == 0 else ()
        self.process = Process([self.program, "-f", *insecure, "-c", self.folder("rspamd.conf")], self.folder(f"rspamd.{self.n}.log"), env=env,
                               start_new_session=True)
        wait_until(self.answers, lambda: f"rspamd to answer:\n{self.process.output()[-2000:]}", 60)
        return self

    def answers(self):
        if not self.process.is_alive():
            raise AssertionError("rspamd has ended: " + self.process.output()[-2000:])
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.url + "/ping", timeout=2) as page:
                return page.status == 200
        except OSError:
            return False

    def kill(self):
        """With its workers, which outlive it otherwise."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.popen.wait()

    def stop(self):
        if self.process is not None:
            self.process.stop()


class CIcap(Scanner):
    """Services avscan, which asks a clamd of the test, and echo, which gives back what it got."""

    def __init__(self, folder, clamd):
        super().__init__(folder, CICAP)
        self.clamd = clamd

    def run(self, log):
        modules = os.path.join(ICAP_ROOT, "usr", "lib", "x86_64-linux-gnu", "c_icap")
        conf = self.folder.write("c-icap.conf", f"""PidFile {self.folder("c-icap.pid")}
CommandsSocket {self.folder("c-icap.ctl")}
Port {self.address}:{self.port}
StartServers 1
MaxServers 1
MinSpareThreads 1
MaxSpareThreads 20
ThreadsPerChild 10
TmpDir {self.folder()}
ModulesDir {modules}
ServicesDir {modules}
TemplateDir {ICAP_ROOT}/usr/share/c_icap/templates/
LoadMagicFile {ICAP_ROOT}/etc/c-icap/c-icap.magic
ServerLog {self.folder("server.log")}
AccessLog {self.folder("access.log")}
Service echo srv_echo.so
Service antivirus_module virus_scan.so
ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE
virus_scan.MaxObjectSize 50M
Module common clamd_mod.so
clamd_mod.ClamdSocket {self.clamd.path}
virus_scan.DefaultEngine clamd
""")
        return Process([CICAP, "-N", "-D", "-f", conf], log, env={"LD_LIBRARY_PATH": os.path.join(ICAP_ROOT, "usr", "lib", "x86_64-linux-gnu")},
                       start_new_session=True)

    def stop(self):
        if self.process is not None and self.process.is_alive():
            self.kill()  # asked to end, it first waits for its connections

    def answers(self):
        return says(socket.AF_INET, (self.address, self.port), b"OPTIONS icap://localhost/avscan ICAP/1.0\r\nHost: localhost\r\n\r\n", b"ICAP/1.0 200")
