"""posternctl doctor about our own side and the machine: for each check a situation in which it speaks up and one in which it is content."""

import ctypes
import json
import os
import re
import shutil
import struct
import unittest

from common import SOURCE, ctl
from doctor_case import FILTER, Case
from harness.lines import lines_of
from harness.mta import Postfix

SAMPLE_UNITS = ("postern-milterd.service", "postern-milterd.socket", "postern-multiplexor.service")


def forbid(*numbers):
    """For a child: these system calls get ENOSYS from now on, as if the kernel had none of them."""
    load, jump, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0)]
    for number in numbers:
        code += [(jump, 0, 1, number), (give, 0, 0, 0x00050000 | 38)]
    code.append((give, 0, 0, 0x7FFF0000))
    program = b"".join(struct.pack("HBBI", *line) for line in code)
    data = ctypes.create_string_buffer(program)
    whole = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(data)))
    libc = ctypes.CDLL(None, use_errno=True)

    def apply(_kept=data):
        if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, whole, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    return apply


class Report(Case):
    def test_every_check_of_the_table_is_listed_and_run(self):
        code, out, _ = ctl("doctor", "--list", "--json")
        listed = [row["check"] for row in lines_of(out)]
        self.assertEqual(code, 0)
        with open(os.path.join(SOURCE, "ctl", "doctor_checks.def"), encoding="utf-8") as file:
            self.assertEqual(listed, re.findall(r'^CHECK\("([^"]+)"', file.read(), flags=re.M))
        postern = self.make(start=True)
        mta = Postfix(postern.spec, name="doctor.pf").configure()
        self.addCleanup(mta.folder.remove)
        _, findings = self.look(postern, "--postfix", mta.folder("etc"))
        self.assertEqual(sorted(set(listed)), sorted({finding["check"] for finding in findings}))

    def test_as_text(self):
        postern = self.make(milterd__spool="/nonexistent/spool")
        code, out, _ = ctl("-c", postern.conf, "doctor", "--sendmail", "/nonexistent/sendmail.cf")
        self.assertEqual(code, 1)
        self.assertRegex(out, r"(?m)^problem  spool  +milterd\.spool = /nonexistent/spool: No such file or directory\n +-> install -d ")
        self.assertRegex(out, r"(?m)^problem  sendmail mail server +/nonexistent/sendmail\.cf: no such file$")
        self.assertRegex(out, r"\n\n\d+ ok, \d+ notes?, \d+ warnings?, 2 problems\n$")

    def test_wrong_use(self):
        for words in (("more",), ("--postfix",), ("--socket", "x")):
            self.assertEqual(ctl("doctor", *words)[0], 2)


class Ours(Case):
    def test_configuration(self):
        postern = self.make()
        self.content(self.look(postern)[1], "configuration")
        os.chmod(postern.conf, 0o666)
        self.finds(self.look(postern)[1], "configuration", "problem", "everybody may write")
        os.chmod(postern.conf, 0o644)
        postern.folder.write("postern.conf", "[milterd]\nsokcet = unix:/x\n")
        code, findings = self.look(postern)
        self.assertEqual(code, 1)
        self.finds(findings, "configuration", "problem", "postern.conf:2: ")
        self.assertNotIn("spool", [finding["check"] for finding in findings])
        self.content(findings, "kernel")

    def test_filter(self):
        postern = self.make()
        self.finds(self.look(postern)[1], "filter", "ok", "1 hook")
        postern.save_filter(FILTER + "function filter_helo(conn) retrun_it() end\n")
        self.finds(self.look(postern)[1], "filter", "warning", "retrun_it (line 2)")
        postern.save_filter('require "postern.spf"\n' + FILTER)
        self.finds(self.look(postern)[1], "filter", "warning", "postern.spf asks over the network, which worker.allow_network = no forbids")
        postern.save_filter("function filter_message(msg\n")
        self.finds(self.look(postern)[1], "filter", "problem", "does not load: ")
        postern.save_filter(FILTER)
        os.chmod(postern.folder.path, 0o777)
        self.finds(self.look(postern)[1], "filter", "problem", "everybody may replace")
        os.chmod(postern.folder.path, 0o755)
        os.unlink(postern.filter)
        self.finds(self.look(postern)[1], "filter", "problem", "No such file")

    def test_macros_of_the_filter(self):
        text = 'function filter_message(msg) msg:log("x", msg.conn.macros.daemon_name, msg.macros["{msg_id}"], msg.macros["{load_avg}"]) end'
        postern = self.make(text)
        self.finds(self.look(postern)[1], "filter's macros", "warning", "{load_avg}")
        self.assertEqual(len([f for f in self.look(postern)[1] if f["check"] == "filter's macros"]), 1)
        self.content(self.look(self.make(text, milterd__macros_eom="{load_avg}"))[1], "filter's macros")

    def test_server(self):
        postern = self.make(start=True)
        self.finds(self.look(postern)[1], "server", "ok", "generation 1 in service")
        self.content(self.look(postern)[1], "running options")
        os.utime(postern.filter, (4e9, 4e9))
        self.finds(self.look(postern)[1], "server", "note", "saved after it was loaded")
        postern.ctl("drain", check=True)
        self.finds(self.look(postern)[1], "server", "warning", "draining")
        postern.ctl("resume", check=True)
        postern.save_filter("nonsense")
        self.assertEqual(postern.ctl("reload")[0], 1)
        self.finds(self.look(postern)[1], "server", "warning", "the last reload failed")
        postern.save_filter(FILTER)
        with open(postern.conf, encoding="utf-8") as file:
            text = file.read()
        postern.folder.write("postern.conf", text.replace("max_workers = 4", "max_workers = 5"))
        self.finds(self.look(postern)[1], "running options", "warning", 'multiplexor.max_workers is "4" in the server, "5"')

    def test_no_filter_in_service(self):
        postern = self.make("nonsense")
        postern.start_multiplexor()
        self.addCleanup(postern.multiplexor.stop)
        postern.multiplexor.wait_for_line("filter.lua")
        findings = self.look(postern)[1]
        self.finds(findings, "server", "problem", "no filter is in service")
        # The multiplexor runs, so that the front end should, too.
        self.finds(findings, "milter socket", "problem", "does not run")

    def test_no_server(self):
        self.finds(self.look(self.make())[1], "server", "note", "no server answers")

    def test_users(self):
        self.content(self.look(self.make(milterd__user="nobody", multiplexor__user="nobody"))[1], "users")
        self.finds(self.look(self.make())[1], "users", "warning", "run as root")
        self.finds(self.look(self.make(milterd__user="nobody-here"))[1], "users", "problem", "milterd.user = nobody-here")
        self.finds(self.look(self.make(multiplexor__control_group="nobody-here"))[1], "users", "problem", "no such group")
        self.finds(self.look(self.make(milterd__user="nobody", multiplexor__user="uucp"))[1], "users", "problem", "postern-multiplexor as uucp")

    def test_sockets(self):
        postern = self.make(start=True)
        findings = self.look(postern)[1]
        self.finds(findings, "milter socket", "ok", "postern-milterd answers")
        self.finds(findings, "inner sockets", "ok", "postern-multiplexor answers")
        postern.milterd.kill()
        postern.milterd.popen.wait()
        self.finds(self.look(postern)[1], "milter socket", "problem", "nobody listens")

    def test_what_stands_in_a_sockets_place(self):
        postern = self.make()
        self.finds(self.look(postern)[1], "milter socket", "note", "does not run")
        postern.folder.write("milter.sock", "")
        self.finds(self.look(postern)[1], "milter socket", "problem", "is no socket but a file")
        self.finds(self.look(self.make(milterd__socket="unix:/nonexistent/milter.sock"))[1], "milter socket", "problem", "the folder /nonexistent is not there")
        nobodys = self.make(milterd__user="nobody", multiplexor__user="nobody")
        self.finds(self.look(nobodys)[1], "milter socket", "problem", "user nobody may not write the folder")

    def test_tcp(self):
        self.finds(self.look(self.make(milterd__socket="inet:0@127.0.0.1"))[1], "milter socket", "note", "the kernel chooses the port")
        self.finds(self.look(self.make(milterd__socket="inet:1@127.0.0.1"))[1], "milter socket", "note", "nobody answers")

    def test_spool(self):
        postern = self.make()
        # The checkout may lie in memory, or on a disk with little room.
        mine = [f for f in self.look(postern, "-o", "milterd.max_message=64K")[1] if f["check"] == "spool"]
        self.assertTrue(mine[0]["grade"] == "ok" or "is memory" in mine[0]["text"], mine)
        self.finds(self.look(self.make(milterd__spool="/nonexistent"))[1], "spool", "problem", "No such file")
        self.finds(self.look(self.make(milterd__user="nobody"))[1], "spool", "problem", "user nobody may not write there")
        self.finds(self.look(postern, prepare=f"mount -t tmpfs -o size=8m,mode=0700 tmpfs {postern.folder('spool')}")[1], "spool", "warning", "8M free")
        self.finds(self.look(postern, "-o", "milterd.max_message=64K", prepare=f"mount -t tmpfs -o size=8m,mode=0700 tmpfs {postern.folder('spool')}")[1],
                   "spool", "warning", "is memory (tmpfs)")
        self.finds(self.look(postern, "-o", "milterd.max_message=64K", prepare=f"mount -t tmpfs -o nr_inodes=5,mode=0700 tmpfs {postern.folder('spool')}")[1],
                   "spool", "warning", "more files fit")
        os.chmod(postern.folder("spool"), 0o1777)
        self.finds(self.look(postern)[1], "spool", "warning", "everybody may write")

    def test_state_folder(self):
        postern = self.make()
        os.mkdir(postern.folder("state"))
        state = ("-o", "worker.state_dir=" + postern.folder("state"))
        self.finds(self.look(postern, *state)[1], "state folder", "ok", "has room")
        self.finds(self.look(postern, *state, "-o", "multiplexor.user=nobody")[1], "state folder", "problem", "user nobody may not write")
        self.finds(self.look(postern, "-o", "worker.state_dir=/nonexistent")[1], "state folder", "note", "is not there")
        links = ("-o", "urls.directory=" + postern.folder("state"))
        self.finds(self.look(postern, *state, *links)[1], "state folder", "ok", "urls.directory = ")
        self.finds(self.look(postern, *state, *links, "-o", "multiplexor.user=nobody")[1], "state folder", "problem", "urls.directory = ")
        self.finds(self.look(postern, *state, "-o", "urls.directory=files")[1], "state folder", "problem", "urls.directory = files is no absolute path")
        trap = ("-o", "trap.directory=" + postern.folder("state"))
        self.finds(self.look(postern, *state, *trap)[1], "state folder", "ok", "trap.directory = ")
        self.finds(self.look(postern, *state, "-o", "trap.directory=/nonexistent/trap")[1], "state folder", "problem", "trap.directory = ")


    def test_trace_file(self):
        postern = self.make()
        tmpfs = postern.folder("memory")
        os.mkdir(tmpfs)
        ring = ("-o", f"trace.file={tmpfs}/trace")
        self.finds(self.look(postern, *ring, prepare=f"mount -t tmpfs tmpfs {tmpfs}")[1], "trace file", "ok", "is in memory")
        self.finds(self.look(postern, *ring, "-o", "milterd.user=nobody")[1], "trace file", "warning", "user nobody may not write the folder")
        self.finds(self.look(postern, "-o", "trace.file=/nonexistent/trace")[1], "trace file", "warning", "the folder /nonexistent is not there")
        self.finds(self.look(postern, "-o", "trace.size=0")[1], "trace file", "note", "know nothing")


class Machine(Case):
    def test_memory(self):
        small = self.make(multiplexor__max_workers=2, worker__lua_memory="1M", multiplexor__recycle_memory="1M", milterd__parcel_memory="64K")
        self.content(self.look(small)[1], "memory")
        self.finds(self.look(self.make(worker__lua_memory="16384M", worker__address_space="20G", multiplexor__min_workers=900, multiplexor__max_workers=900))[1],
                   "memory", "problem", "min_workers x lua_memory")
        self.finds(self.look(self.make(multiplexor__recycle_memory="65536M", multiplexor__max_workers=900))[1], "memory", "warning", "workers of recycle_memory each")
        self.finds(self.look(self.make(milterd__parcel_memory="1024M", milterd__max_connections=20000))[1], "memory", "note", "messages may take")

    def units(self, postern, **service):
        """The sample units as installed, with further settings of the services in a drop-in."""
        for name in SAMPLE_UNITS:
            shutil.copy(os.path.join(SOURCE, "conf", name), postern.folder.write("units/" + name, ""))
        text = "[Service]\nUser=nobody\n" + "".join(f"{key}={value}\n" for key, value in service.items())
        for name in SAMPLE_UNITS:
            if name.endswith(".service"):
                postern.folder.write(f"units/{name}.d/more.conf", text)
        return "--units", postern.folder("units")

    def test_limits(self):
        postern = self.make()
        findings = self.look(postern, *self.units(postern, LimitNOFILE=64, TasksMax=9))[1]
        self.finds(findings, "descriptors", "warning", "postern-milterd may have 64 descriptors, and needs up to 4128")
        self.finds(findings, "processes", "warning", "postern-multiplexor may have 9 processes")
        findings = self.look(postern, *self.units(postern, LimitNOFILE="infinity", TasksMax="infinity"))[1]
        self.content(findings, "descriptors")
        self.finds(findings, "descriptors", "ok", "any number")
        self.finds(findings, "processes", "ok", "postern-multiplexor may have any number")

    def test_units(self):
        installed = self.make(milterd__socket="unix:/run/postern/milter.sock", milterd__spool="/var/spool/postern",
                              multiplexor__socket="/run/postern/multiplexor.sock", multiplexor__control_socket="/run/postern/control.sock")
        self.finds(self.look(installed, *self.units(installed))[1], "service units", "ok", "fit")
        self.finds(self.look(installed)[1], "service units", "ok", "nothing to compare")
        for words, part in (
                (("milterd.spool=/srv/spool",), "milterd.spool = /srv/spool is read-only"),
                (("worker.state_dir=/srv/state",), "worker.state_dir = /srv/state is read-only"),
                (("worker.write_paths=/var/lib/postern/x:/srv/y",), "worker.write_paths = /srv/y is read-only"),
                (("urls.directory=/srv/files",), "urls.directory = /srv/files is read-only"),
                (("trap.directory=/srv/trap",), "trap.directory = /srv/trap is read-only"),
                (("milterd.user=uucp",), "starts as nobody and cannot become milterd.user = uucp"),
                (("worker.filter=/home/ann/filter.lua",), "is hidden from postern-multiplexor.service"),
                (("milterd.socket=unix:/tmp/milter.sock",), "is in a /tmp that only postern-milterd.service sees"),
                (("milterd.socket_group=uucp",), "user nobody is not a member")):
            with self.subTest(part):
                options = [word for option in words for word in ("-o", option)]
                check = "users" if "member" in part else "service units"
                self.finds(self.look(installed, *options, *self.units(installed))[1], check, "problem", part)
        self.content(self.look(installed, "-o", "milterd.spool=/srv/spool", *self.units(installed, ReadWritePaths="-/srv/spool"))[1], "service units")
        self.finds(self.look(installed, "-o", "milterd.drain_time=60s", *self.units(installed))[1], "service units", "warning", "TimeoutStopSec=60")

    def test_the_socket_unit(self):
        postern = self.make(milterd__socket="unix:/run/postern/other.sock")
        units = self.units(postern)
        other = "ListenStream"
        self.assertNotIn(other, json.dumps([f for f in self.look(postern, *units)[1] if f["check"] == "service units"]))
        os.makedirs(postern.folder("units/sockets.target.wants"))
        os.symlink("../postern-milterd.socket", postern.folder("units/sockets.target.wants/postern-milterd.socket"))
        self.finds(self.look(postern, *units)[1], "service units", "problem", "listens at /run/postern/milter.sock, milterd.socket says")
        self.finds(self.look(postern, *units, "-o", "milterd.socket_group=uucp")[1], "service units", "warning", "has no effect")

    @unittest.skipUnless(os.uname().machine == "x86_64", "numbers of system calls")
    def test_a_poorer_kernel(self):
        landlock, memfd, seccomp = 444, 319, 317
        postern = self.make()
        findings = self.look(postern)[1]
        self.content(findings, "kernel")
        # As good as here: which of them this kernel has is not the test's to say.
        self.assertEqual(len([f for f in findings if f["check"] == "sandbox" and "Landlock (ABI " in f["text"]]), 1)
        findings = self.look(postern, before=forbid(landlock, seccomp))[1]
        self.finds(findings, "sandbox", "warning", "Landlock (ABI 0): not in this kernel")
        self.finds(findings, "sandbox", "warning", "seccomp: ")
        required = self.make(worker__sandbox="required")
        self.finds(self.look(required, before=forbid(landlock))[1], "sandbox", "problem", "worker.sandbox = required: Landlock")
        self.finds(self.look(postern, before=forbid(memfd))[1], "kernel", "problem", "memory files")
        self.finds(self.look(self.make(worker__sandbox="off"))[1], "sandbox", "warning", "worker.sandbox = off")

    def test_overcommit(self):
        postern = self.make()
        two = postern.folder.write("two", "2\n")
        self.finds(self.look(postern, prepare=f"mount --bind {two} /proc/sys/vm/overcommit_memory")[1], "kernel", "warning", "overcommit")


if __name__ == "__main__":
    unittest.main()
