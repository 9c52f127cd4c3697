"""Code, editor stubs and reference name the same things, and a running filter finds them."""

import json
import os
import re
import shutil
import subprocess
import unittest

from common import MODULES, SOURCE, Folder, ctl, items, page, read, rows, section

CLASSES = {"conn": "lapi_conn.c", "msg": "lapi_msg.c", "rcpt": "lapi_rcpt.c", "part": "lapi_part.c",
           "counter": "lapi_metrics.c"}
SUBJECTS = {"SUBJECT_NONE": "nothing", "SUBJECT_CONNECTION": "the connection", "SUBJECT_MESSAGE": "the message",
            "SUBJECT_RECIPIENT": "this recipient", "SUBJECT_COMMAND": "the command"}


def registered(file, table):
    """The names of a luaL_Reg table of the worker."""
    match = re.search(rf"static const luaL_Reg {table}\[\] = \{{(.*?)\}};", read("worker", file), flags=re.S)
    assert match, (file, table)
    return re.findall(r'\{"(\w+)",', match.group(1))


def modules_of_code():
    """Modules in the program and those in Lua beside it: name to functions."""
    found = set(re.findall(r'"postern\.(log|async|\w+)"', read("worker", "script_require.c") + read("worker", "lapi_log.c")))
    folder = os.path.join(SOURCE, "scripts", "lib", "postern")
    if os.path.isdir(folder):
        found |= {name[:-4] for name in os.listdir(folder) if name.endswith(".lua")}
    return found


class Stubs:
    """scripts/types/postern.lua: members in order, by class; functions and hooks."""

    def __init__(self):
        self.fields, self.methods, self.functions, self.hooks = {}, {}, {}, {}
        name, params = None, 0
        for line in read("scripts", "types", "postern.lua").splitlines():
            if match := re.match(r"---@class postern\.(\w+)", line):
                name = match.group(1)
                self.fields[name] = []
            elif match := re.match(r"---@field (\w+)", line):
                self.fields[name].append(match.group(1))
            elif re.match(r"---@param ", line):
                params += 1
            elif match := re.match(r"function (\w+)[:.](\w+)\((.*)\) end$", line):
                given = [word for word in match.group(3).split(", ") if word]
                assert len(given) == params, f"{match.group(0)}: {params} @param lines"
                self.methods.setdefault(match.group(1), {})[match.group(2)] = given
                params = 0
            elif match := re.match(r"function (\w+)\((.*)\) end$", line):
                self.functions[match.group(1)] = [word for word in match.group(2).split(", ") if word]
                params = 0
            elif match := re.match(r"---@type fun\((.*?)\)", line):
                signature = re.findall(r"(\w+): ", match.group(1))
            elif match := re.match(r"(filter_\w+) = nil$", line):
                self.hooks[match.group(1)] = signature


def described(text, found, names):
    """Adds what a page says of the classes and modules that it is the place for."""
    for line in items(text, "Va"):
        match = re.match(r"(\w+)\.(\w+) : Vt ", line)
        if match and match.group(1) in names:
            found.setdefault(match.group(1), ([], {}))[0].append(match.group(2))
    for line in items(text, "Fn"):
        match = re.match(r"(\w+)[:.](\w+)(.*?)(?: : Vt .*)?$", line)
        if match and match.group(1) in names:
            found.setdefault(match.group(1), ([], {}))[1][match.group(2)] = len(re.findall(r'"[^"]*"|\S+', match.group(3)))


def reference():
    """Fields and methods of postern-filter(5) and of the pages of the modules: {"conn": ([fields], {method: number of arguments})}."""
    found = {}
    described(page("postern-filter.5"), found, CLASSES)
    for name in MODULES:
        described(page(f"postern-{name}.3"), found, {name, *CLASSES})
    return found


class Names(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.stubs = Stubs()
        cls.reference = reference()

    def test_classes(self):
        for name, file in CLASSES.items():
            fields, methods = set(registered(file, "fields")), set(registered(file, "methods"))
            self.assertEqual(set(self.stubs.fields[name]), fields, f"stubs, fields of {name}")
            self.assertEqual(set(self.stubs.methods[name]), methods, f"stubs, methods of {name}")
            self.assertEqual(set(self.reference[name][0]), fields, f"postern-filter(5), fields of {name}")
            self.assertEqual(set(self.reference[name][1]), methods, f"postern-filter(5), methods of {name}")

    def test_nothing_is_named_twice(self):
        for name in CLASSES:
            self.assertEqual(len(self.stubs.fields[name]), len(set(self.stubs.fields[name])), name)
            self.assertEqual(len(self.reference[name][0]), len(set(self.reference[name][0])), name)

    def test_methods_take_the_same_arguments(self):
        for name in [*CLASSES, *modules_of_code()]:
            for method, arguments in self.stubs.methods[name].items():
                self.assertEqual(len(arguments), self.reference[name][1][method], f"{name}:{method}")

    def test_hooks(self):
        text = page("postern-filter.5")
        shown = {line.split()[0]: line.split()[1:] for line in items(section(text, "HOOKS"), "Fn") if " Ta" not in line}
        table = rows(read("common", "hooks.def"), "HOOK")
        self.assertEqual(list(shown), [row[1] for row in table])
        self.assertEqual(self.stubs.hooks, shown)
        for row in table:
            entry = re.search(rf"^\.It Fn {row[1]}\b[^\n]*\n(.*?)(?=^\.It |^\.El)", text, flags=re.M | re.S).group(1)
            stage = row[3].removeprefix("STAGE_").lower()
            words = entry.replace(".Ql ", "").replace("\n", " ").replace(" .", ".")
            self.assertIn(f"Stage: {stage}.", words, row[1])
            self.assertIn(f"Judges: {SUBJECTS[row[4]]}.", words, row[1])

    def test_verdicts(self):
        names = set(registered("lapi_verdict.c", "constructors"))
        text = section(page("postern-filter.5"), "VERDICTS")
        self.assertEqual({line.split()[0] for line in items(text, "Fn")}, names)
        self.assertEqual(set(self.stubs.functions) - {"require", "run", "advance_clock", "dns_answers", "fake_backend"}, names)

    def test_options_of_replies(self):
        keys = re.search(r"reply_keys\[\] = \{(.*?)\}", read("worker", "lapi_verdict.c"), flags=re.S).group(1)
        names = set(re.findall(r'"(\w+)"', keys))
        text = section(page("postern-filter.5"), "VERDICTS")
        self.assertEqual({line.split()[0] for line in items(text, "Va")}, names)
        self.assertEqual(set(self.stubs.fields["reply"]), names)

    def test_modules(self):
        names = modules_of_code()
        self.assertEqual(set(MODULES), names, "docs/man/postern-NAME.3")
        self.assertEqual({name for name in self.stubs.methods if name not in CLASSES}, names)

    def test_the_list_of_modules(self):
        found = re.findall(r"^\.It Ql postern\.(\w+) Ta Xr postern-(\w+) 3 Ta (.*)$", section(page("postern-filter.5"), "MODULES"), flags=re.M)
        titles = {name: re.search(r"^\.Nd (.*)$", page(f"postern-{name}.3"), flags=re.M).group(1) for name in MODULES}
        self.assertEqual(found, [(name, name, titles[name]) for name in MODULES])

    def test_each_module_has_its_functions(self):
        for name in MODULES:
            with self.subTest(name):
                self.assertEqual(set(self.reference[name][1]), set(self.stubs.methods[name]))

    def test_synopses(self):
        """How a module is loaded, and each of its calls, in order."""
        for name in MODULES:
            with self.subTest(name):
                synopsis = section(page(f"postern-{name}.3"), "SYNOPSIS").splitlines()
                self.assertIn(f'local {name} = require "postern.{name}"', synopsis)
                entries = [line.split()[0] for line in items(section(page(f"postern-{name}.3"), "FUNCTIONS"), "Fn")]
                self.assertEqual([line.split("(")[0] for line in synopsis if re.match(r"\w+[.:]\w+\(", line)], entries)

    def test_defects(self):
        table = re.findall(r'^DEFECT\(\w+, "([^"]+)", (\w+),', read("worker", "defects.def"), flags=re.M)
        found = items(section(page("postern-filter.5"), "DEFECTS"), "Cm")
        self.assertEqual(found, [kind + (" *" if which == "AMBIGUOUS" else "") for kind, which in table])


class Running(unittest.TestCase):
    """A filter that looks at every name: those of the reference are there, and nothing else is."""

    def setUp(self):
        self.folder = Folder("docs-names")
        self.addCleanup(self.folder.remove)

    def run_filter(self, text):
        path = self.folder.write("names.lua", text)
        code, out = ctl("run", "--json", path, os.path.join(SOURCE, "tests", "samples", "executable.eml"))
        self.assertEqual(code, 0, out)
        return json.loads(out)

    def test_members_of_objects(self):
        found = reference()
        lines = ["function filter_message(msg)", "local conn, rcpt, part = msg.conn, msg.recipients[1], msg.root",
                 'local counter = require("postern.metrics").counter("x")']
        for name in CLASSES:
            for field in found[name][0]:
                lines.append(f"local _ = {name}.{field}")
            for method in found[name][1]:
                lines.append(f"assert(type({name}.{method}) == 'function', '{name}.{method}')")
            lines.append(f"assert(not pcall(function() return {name}.no_such_name end))")
        lines.append("end")
        self.assertEqual(self.run_filter("\n".join(line if not line.startswith("local _") else f"do {line} end" for line in lines))["error"], None)

    def test_functions_of_modules(self):
        found = reference()
        code = ["function filter_message(msg)"]
        for name in sorted(modules_of_code()):
            code.append(f'for key in pairs(require "postern.{name}") do msg:log("{name}", key) end')
        result = self.run_filter("\n".join([*code, "end"]))
        there = {}
        for line in result["log"]:
            module, _, function = line.partition("=")
            there.setdefault(module, set()).add(function)
        for name in modules_of_code():
            self.assertEqual(there[name], set(found[name][1]), name)

    def test_globals_and_libraries(self):
        text = " ".join(section(page("postern-filter.5"), "Libraries", "Ss").replace(".Ql ", "").split())
        only = {name: set(re.findall(r"\w+", re.search(rf"\b{name} with ([\w ,]+?)(?: \(for reading only\)([\w ,]*))? ?[;.]", text).expand(r"\1 \2")))
                - {"and"} for name in ("os", "debug")}
        code = """
            function filter_message(msg)
                for name, value in pairs(_G) do msg:log("global", name) end
                for _, lib in ipairs{ "os", "debug", "io" } do
                    for name in pairs(_G[lib]) do msg:log(lib, name) end
                end
                assert(not dofile and not loadfile and not string.dump and not package.loadlib)
            end"""
        lines = [line.split("=", 1) for line in self.run_filter(code)["log"]]
        for library, names in only.items():
            self.assertEqual({name for key, name in lines if key == library}, names)
        self.assertEqual({name for key, name in lines if key == "io"}, {"open", "lines", "type", "close"})
        standard = set("assert collectgarbage error getmetatable ipairs next pairs pcall rawequal rawget rawlen rawset select setmetatable tonumber "
                       "tostring type warn xpcall _G _VERSION coroutine table string math utf8 os io debug package filter_message".split())
        ours = {line.split()[0] for line in items(section(page("postern-filter.5"), "GLOBALS"), "(?:Va|Fn)")}
        ours |= set(registered("lapi_verdict.c", "constructors"))
        self.assertEqual({name for key, name in lines if key == "global"} - standard, ours)

    def test_stubs_are_clean_lua(self):
        if shutil.which("luacheck") is None:
            self.skipTest("luacheck is not installed")
        stubs = Stubs()
        names = [*stubs.functions, *stubs.hooks, "config"]
        done = subprocess.run(["luacheck", "--std", "lua54", "--no-unused", "--no-color", "--globals", *names, "--",
                               os.path.join(SOURCE, "scripts", "types", "postern.lua")], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
