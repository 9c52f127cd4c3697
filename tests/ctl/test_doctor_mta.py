"""posternctl doctor about the mail server's side: the configurations are those of the real ones as the other tests start them, whole, changed,
and garbled; for each check a situation in which it speaks up and one in which it is content."""

import json
import os
import random
import unittest

from common import ctl
from doctor_case import FILTER, Case
from harness.mta import Postfix, Sendmail
from harness.postern import Postern


class OfPostfix(Case):
    def setUp(self):
        self.postern = self.make(milterd__socket_mode="0660", milterd__socket_group="uucp")

    def postfix(self, settings="", chroot=False, spec=None, master="", postern=None, words=()):
        """Doctor's findings with Postfix's configuration changed so."""
        mta = Postfix(spec if spec is not None else self.postern.spec, settings=settings, chroot=chroot, name="doctor.pf").configure()
        self.addCleanup(mta.folder.remove)
        with open(mta.folder("etc/master.cf"), "a", encoding="utf-8") as file:
            file.write(master)
        return self.look(postern or self.postern, "--postfix", mta.folder("etc"), *words)[1]

    def test_as_the_tests_run_it(self):
        mta = Postfix(name="doctor.pf")
        postern = Postern(FILTER, {"milterd.socket_mode": "0666"}, folder=mta.folder)
        mta.spec = postern.spec
        with mta.start(), postern:
            code, findings = self.look(postern, "--postfix", mta.folder("etc"))
        self.assertEqual(code, 0, json.dumps(findings, indent=1))
        for check in ("milters", "when down", "time-outs", "socket access", "protocol", "macros", "sizes"):
            self.content(findings, check)
        self.finds(findings, "milters", "ok", "smtpd at")
        self.finds(findings, "socket access", "ok", "user uucp may connect")
        # Its end-of-message patience is below our longest budget, which is said, and no trouble.
        self.finds(findings, "time-outs", "note", "milter_content_timeout is 2m")

    def test_our_socket_is_not_named(self):
        self.finds(self.postfix(spec=""), "milters", "problem", "mail passes by Postern")
        self.finds(self.postfix(spec="unix:/run/other.sock"), "milters", "problem", "mail passes by Postern")
        self.finds(self.postfix(spec="nonsense"), "milters", "problem", '"nonsense" is no socket')

    def test_each_way_in(self):
        spec = self.postern.spec
        findings = self.postfix(settings="non_smtpd_milters = $smtpd_milters", master="submission inet n - n - - smtpd\n  -o smtpd_milters=\n")
        self.finds(findings, "milters", "ok", "non_smtpd_milters: filtered")
        self.finds(findings, "milters", "warning", "smtpd at submission: not filtered")
        self.finds(self.postfix(master="smtps inet n - n - - smtpd -o { receive_override_options = no_milters }\n"), "milters", "warning", "smtpd at smtps")
        self.finds(self.postfix(), "milters", "note", "non_smtpd_milters does not name")
        self.finds(self.postfix(spec=f"{spec}, {spec}"), "milters", "warning", "2 times")
        self.content(self.postfix(spec="unix:/run/signer.sock, " + spec), "milters")
        findings = self.postfix(spec="${ours?{x}:$ours}", settings=f"ours =\n  {spec}\nsmtpd_milters = ${{ours:none}} ${{nothing:$(ours)}}")
        self.content(findings, "milters")

    def test_when_down(self):
        self.finds(self.postfix(), "when down", "ok", "milter_default_action = tempfail")
        self.finds(self.postfix("milter_default_action = accept"), "when down", "problem", "mail passes unfiltered")
        self.finds(self.postfix("milter_default_action = reject"), "when down", "warning", "bounces")
        self.finds(self.postfix(spec="{ %s, default_action=accept }" % self.postern.spec), "when down", "problem", "default_action = accept")
        self.finds(self.postfix(master="smtps inet n - n - - smtpd -o milter_default_action=accept\n"), "when down", "problem", "passes unfiltered")

    def test_times(self):
        longer = "milter_content_timeout = 300s\n"
        self.finds(self.postfix(longer), "time-outs", "ok", "waits longer")
        self.finds(self.postfix(longer + "milter_command_timeout = 8s"), "time-outs", "problem", "milter_command_timeout is 8s, milterd.stage_time is 8s")
        self.finds(self.postfix("milter_content_timeout = 10"), "time-outs", "problem", "milterd.progress_interval")
        self.finds(self.postfix(longer + "milter_connect_timeout = 1s"), "time-outs", "warning", "milter_connect_timeout")
        self.finds(self.postfix(longer + "milter_command_timeout = soon"), "time-outs", "warning", "is no time")
        self.finds(self.postfix(spec="{ %s, command_timeout=2s }" % self.postern.spec), "time-outs", "problem", "milter_command_timeout is 2s")
        self.finds(self.postfix(longer, words=("-o", "milterd.message_time=20m")), "time-outs", "warning", "10 minutes")

    def test_socket_access(self):
        self.finds(self.postfix(), "socket access", "ok", "user uucp may connect")
        self.finds(self.postfix(words=("-o", "milterd.socket_group=tape")), "socket access", "problem", "user uucp may not connect")
        self.finds(self.postfix("mail_owner = nobody-here"), "socket access", "warning", "no such user")
        os.chmod(self.postern.folder.path, 0o700)
        self.finds(self.postfix(), "socket access", "problem", "does not get past " + self.postern.folder.path)

    def test_chroot(self):
        self.finds(self.postfix(chroot=True), "socket access", "problem", "is chrooted and looks for")
        mta = Postfix("unix:postern/milter.sock", name="doctor.pf", chroot=True).configure()
        self.addCleanup(mta.folder.remove)
        os.makedirs(mta.folder("queue/postern"))
        words = ("--postfix", mta.folder("etc"), "-o", "milterd.socket=unix:" + mta.folder("queue/postern/milter.sock"))
        findings = self.look(self.postern, *words)[1]
        self.finds(findings, "milters", "ok", "filtered")
        self.finds(findings, "socket access", "ok", "may connect")

    def test_chroot_by_default(self):
        """A dash in master.cf: chrooted only for a Postfix told to be as before 3.0."""
        dash = "smtps inet n - - - - smtpd\n"
        self.content(self.postfix(master=dash), "socket access")
        self.finds(self.postfix("compatibility_level = 0", master=dash), "socket access", "problem", "is chrooted")

    def test_tcp(self):
        for spec, ours, is_ours in (("inet:127.0.0.1:8894", "inet:8894@127.0.0.1", True), ("inet:8894@localhost", "inet:8894@127.0.0.1", True),
                                    ("inet:[::1]:8894", "inet6:8894@::1", True), ("inet:127.0.0.1:8895", "inet:8894@127.0.0.1", False),
                                    ("inet:192.0.2.1:8894", "inet:8894@127.0.0.1", False)):
            with self.subTest(spec):
                findings = self.postfix(spec=spec, words=("-o", "milterd.socket=" + ours))
                self.finds(findings, "milters", "ok" if is_ours else "problem", "filtered" if is_ours else "passes by")

    def test_protocol_macros_sizes(self):
        findings = self.postfix("milter_protocol = 2\nmilter_connect_macros = j {daemon_name} {client_ptr} {greylist}\nmessage_size_limit = 268435456")
        self.finds(findings, "protocol", "problem", "milter_protocol is 2")
        self.assertIn("milterd.macros_connect", self.finds(findings, "macros", "note", "milter_connect_macros names {greylist};")["mend"])
        self.finds(findings, "sizes", "warning", "message_size_limit is 256M, milterd.max_message is 128M")
        self.finds(self.postfix("message_size_limit = 0"), "sizes", "note", "is not set")
        findings = self.postfix("milter_connect_macros = {greylist}", words=("-o", "milterd.macros_connect=greylist"))
        self.finds(findings, "macros", "ok", "nothing that Postern does not ask for")


class OfSendmail(Case):
    def setUp(self):
        self.postern = self.make()

    def sendmail(self, file="sendmail.cf", change=None, words=(), **how):
        """Doctor's findings with sendmail's configuration; the folder is /mnt, as in the other tests."""
        mta = Sendmail("unix:/mnt/postern/milter.sock", name="doctor.sm", **how).configure()
        self.addCleanup(mta.folder.remove)
        os.makedirs(mta.folder("postern"))
        if change:
            with open(mta.folder("etc", file), encoding="utf-8") as old:
                text = old.read()
            mta.folder.write("etc/" + file, change(text))
        return self.look(self.postern, "--sendmail", "/mnt/etc/" + file, "-o", "milterd.socket=unix:/mnt/postern/milter.sock", *words,
                         prepare=f"mount --bind {mta.folder.path} /mnt")[1]

    def test_as_the_tests_run_it(self):
        mta = Sendmail(name="doctor.sm")
        postern = Postern(FILTER, folder=mta.folder)
        mta.spec = postern.spec
        with mta.start(), postern:
            code, findings = self.look(postern, "--sendmail", "/mnt/etc/sendmail.cf", prepare=f"mount --bind {mta.folder.path} /mnt")
        self.assertEqual(code, 0, json.dumps(findings, indent=1))
        for check in ("milters", "when down", "time-outs", "socket access", "protocol", "macros", "sizes"):
            self.content(findings, check)
        self.finds(findings, "milters", "ok", "daemon MTA: filtered")

    def test_both_kinds_of_file_say_the_same(self):
        def told(file):
            return [(f["check"], f["grade"], f["text"].replace(file, "")) for f in self.sendmail(file) if f["mta"] and f["check"] != "mail server"]
        self.assertEqual(told("sendmail.mc"), told("sendmail.cf"))

    def test_our_socket_is_not_named(self):
        self.finds(self.sendmail(filters="dnl"), "milters", "problem", "mail passes by Postern")
        unused = "MAIL_FILTER(`postern', `S=unix:/mnt/postern/milter.sock, F=T')dnl"
        self.finds(self.sendmail(filters=unused), "milters", "problem", "mail passes by Postern")
        self.content(self.sendmail(filters=unused + "\ndefine(`confINPUT_MAIL_FILTERS', `postern')dnl"), "milters")
        self.finds(self.sendmail(filters="INPUT_MAIL_FILTER(`postern', `S=unix, F=T')dnl"), "milters", "problem", '"unix" is no socket')

    def test_each_daemon(self):
        more = "DAEMON_OPTIONS(`Name=MSA, Port=5587, InputMailFilters=other')dnl"
        for file in ("sendmail.cf", "sendmail.mc"):
            findings = self.sendmail(file, extra=more)
            self.finds(findings, "milters", "ok", "daemon MTA: filtered")
            self.finds(findings, "milters", "warning", "daemon MSA: not filtered")
        twice = "".join(f"INPUT_MAIL_FILTER(`p{i}', `S=unix:/mnt/postern/milter.sock, F=T')\n" for i in (1, 2))
        self.finds(self.sendmail(filters=twice), "milters", "warning", "2 times")

    def test_when_down(self):
        self.finds(self.sendmail(), "when down", "ok", "F=T of Xpostern")
        self.finds(self.sendmail(filter_equates="T=R:30s;E:5m"), "when down", "problem", "no F= in Xpostern")
        self.finds(self.sendmail(filter_equates="F=R, T=R:30s"), "when down", "warning", "mail bounces")
        self.finds(self.sendmail(filter_equates="F=4"), "when down", "ok", "F=4")

    def test_times(self):
        self.finds(self.sendmail(filter_equates="F=T, T=C:30s;S:30s;R:30s;E:5m"), "time-outs", "ok", "waits longer")
        # sendmail's own 10 seconds are above our 8.
        self.finds(self.sendmail(filter_equates="F=T"), "time-outs", "ok", "waits longer")
        self.finds(self.sendmail(filter_equates="F=T", words=("-o", "milterd.stage_time=10s")), "time-outs", "problem", "R in T= is 10s")
        self.finds(self.sendmail(filter_equates="F=T, T=E:10s"), "time-outs", "problem", "E in T= is 10s")

    def test_unsafe_folders(self):
        for mode, extra, grade, part in ((0o755, "", "ok", "user root may connect"), (0o1777, "", "problem", "everybody may write the folder"),
                                         (0o775, "define(`confDONT_BLAME_SENDMAIL', `safe')dnl", "problem", "a group may write the folder"),
                                         (0o775, "", "ok", "user root may connect")):
            with self.subTest(oct(mode), extra=extra):
                mta = Sendmail("unix:/mnt/postern/milter.sock", name="doctor.sm", extra=extra).configure()
                self.addCleanup(mta.folder.remove)
                os.makedirs(mta.folder("postern"))
                os.chmod(mta.folder("postern"), mode)
                findings = self.look(self.postern, "--sendmail", "/mnt/etc/sendmail.cf", "-o", "milterd.socket=unix:/mnt/postern/milter.sock",
                                     prepare=f"mount --bind {mta.folder.path} /mnt")[1]
                self.finds(findings, "socket access", grade, part)

    def test_a_user_of_its_own(self):
        findings = self.sendmail(extra="define(`confRUN_AS_USER', `nobody:nogroup')dnl", words=("-o", "milterd.socket_mode=0660"))
        self.finds(findings, "socket access", "problem", "user nobody may not connect")

    def test_macros_and_sizes(self):
        findings = self.sendmail(extra="define(`confMILTER_MACROS_ENVRCPT', `{rcpt_addr}, {greylist}')dnl\ndefine(`confMAX_MESSAGE_SIZE', `1000000000')dnl")
        self.finds(findings, "macros", "note", "Milter.macros.envrcpt names {greylist};")
        self.finds(findings, "sizes", "warning", "MaxMessageSize is 954M")
        self.finds(self.sendmail(), "macros", "ok", "nothing")
        self.finds(self.sendmail(), "sizes", "note", "is not set")

    def test_an_old_cf(self):
        mta = Sendmail("unix:/mnt/postern/milter.sock", name="doctor.sm").configure()
        self.addCleanup(mta.folder.remove)
        path = mta.folder("etc/sendmail.cf")
        self.finds(self.look(self.postern, "--sendmail", path)[1], "mail server", "ok", path)
        os.utime(path, (1, 1))
        self.finds(self.look(self.postern, "--sendmail", path)[1], "mail server", "warning", "is older than the .mc")


class Hostile(Case):
    """The mail server's files are another program's; whatever is in them, doctor ends in good order and says something."""

    def setUp(self):
        self.postern = self.make()
        self.postfix, self.sendmail = (kind(self.postern.spec, name="doctor.ho").configure() for kind in (Postfix, Sendmail))
        self.addCleanup(self.postfix.folder.remove)
        self.addCleanup(self.sendmail.folder.remove)

    def both(self):
        return self.look(self.postern, "--postfix", self.postfix.folder("etc"), "--sendmail", self.sendmail.folder("etc/sendmail.cf"))

    def garble(self, data, rng):
        for _ in range(rng.randint(1, 12)):
            at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
            piece = rng.choice([b"", b"{", b"}" * 5, b"$", b"${", b"\n ", b"\0", b"`", b"=", b",", bytes(rng.randrange(256) for _ in range(9)), data[at:end]])
            data = data[:at] + piece + data[at + rng.randint(0, 30):]
        return data[:200000]

    def test_garbled(self):
        places = [(self.postfix.folder, "etc/main.cf"), (self.postfix.folder, "etc/master.cf"), (self.sendmail.folder, "etc/sendmail.cf")]
        whole = []
        for folder, name in places:
            with open(folder(name), "rb") as file:
                whole.append(file.read())
        rng = random.Random(7)
        for _ in range(25):
            for (folder, name), data in zip(places, whole):
                folder.write(name, self.garble(data, rng))
            _, findings = self.both()
            self.assertTrue([f for f in findings if f["mta"] == "Postfix"] and [f for f in findings if f["mta"] == "sendmail"])

    def test_loops_and_sizes(self):
        names = [f"a{i} = " + f"$a{i + 1}" * 200 for i in range(30)]
        folder = self.postfix.folder
        for text in ("smtpd_milters = $a\na = $b\nb = ${a} $(b)", "smtpd_milters = $a0\n" + "\n".join(names), "smtpd_milters = " + "{" * 200000,
                     "smtpd_milters = ${a?" * 5000, "smtpd_milters = " + "unix:/x " * 5000, "", "=" * 1000, "x" * 1000000, "\n ".join(["a"] * 100000)):
            folder.write("etc/main.cf", text)
            self.both()
        folder.write("etc/main.cf", "x" * 2000000)
        self.finds(self.both()[1], "mail server", "problem", "main.cf")
        os.unlink(folder("etc/main.cf"))
        os.mkfifo(folder("etc/main.cf"))
        self.finds(self.both()[1], "mail server", "problem", "main.cf")
        os.unlink(folder("etc/main.cf"))
        self.finds(self.both()[1], "mail server", "problem", "main.cf: no such file")

    def test_nothing_of_theirs_reaches_the_terminal_raw(self):
        self.postfix.folder.write("etc/main.cf", "smtpd_milters = no\x1b[31mred\n")
        _, out, _ = ctl("-c", self.postern.conf, "doctor", "--postfix", self.postfix.folder("etc"))
        self.assertIn("is no socket", out)
        self.assertNotIn("\x1b", out)


if __name__ == "__main__":
    unittest.main()
