"""The manual pages: mdoc without warnings, and every row of every table in them."""

import os
import re
import subprocess
import unittest

from common import BUILD, MODULES, PAGES, SOURCE, Folder, ctl, items, page, read, rows, section, without_comments

TYPES = {"U8": "u8", "U16": "u16", "U32": "u32", "U64": "u64", "TEXT": "text", "SPILL": "spill"}

GUIDES = ("getting-started.md", "filter-guide.md", "operations.md", "coming-from-mimedefang.md", "coming-from-milter-greylist.md", "sendmail.md", "postfix.md")


class Lint(unittest.TestCase):
    def test_mandoc_has_no_warning(self):
        with_pages = Folder("docs-lint")
        self.addCleanup(with_pages.remove)
        for name in PAGES:
            with self.subTest(name):
                done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", with_pages.write(name, page(name))],
                                      capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_each_page_names_itself(self):
        for name in PAGES:
            title, number = name.rsplit(".", 1)
            self.assertIn(f".Dt {title.upper()} {number}\n", page(name))
            self.assertIn(f".Nm {title}\n", page(name))

    def test_references_lead_to_pages(self):
        foreign = {("mdoc", "7")}
        for name in PAGES:
            for match in re.finditer(r"(?:^\.|^\.It .*)Xr (\S+|\( \S+) (\d)", page(name), flags=re.M):
                target = (match.group(1).removeprefix("( "), match.group(2))
                self.assertTrue(".".join(target) in PAGES or target in foreign, (name, target))

    def test_the_built_page_is_this_one(self):
        built = os.path.join(BUILD, "docs", "man", "postern.conf.5")
        if not os.path.exists(built):
            self.skipTest("postern.conf.5 has not been built")
        with open(built, encoding="utf-8") as file:
            self.assertEqual(file.read(), page("postern.conf.5"))


class Modules(unittest.TestCase):
    def test_each_page_has_its_sections(self):
        for name in MODULES:
            found = re.findall(r"^\.Sh (.*)$", page(f"postern-{name}.3"), flags=re.M)
            for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "FUNCTIONS", "EXAMPLES", "ERRORS", "SEE ALSO"):
                self.assertIn(title, found, name)

    def test_each_page_names_the_options_of_its_section(self):
        n = 0
        for row in rows(read("common", "options.def"), "OPTION"):
            if row[0] in MODULES:
                n += 1
                self.assertRegex(section(page(f"postern-{row[0]}.3"), "CONFIGURATION"), rf"\b{row[0]}\.{row[1]}\b", f"postern-{row[0]}(3): {row[1]}")
        self.assertGreater(n, 50)

    def test_back_ends_say_what_becomes_of_failures(self):
        for row in rows(read("common", "options.def"), "OPTION"):
            if row[1] == "on_failure" and row[0] in MODULES:
                text = page(f"postern-{row[0]}.3")
                for option in ("failures", "retry_time", "unscanned_header", "unscanned_keep"):
                    self.assertIn(f"backend.{option}", section(text, "CONFIGURATION"), row[0])
                self.assertIn("BACK ENDS", section(text, "ERRORS"), row[0])


class Options(unittest.TestCase):
    def test_every_option_with_its_default(self):
        text = page("postern.conf.5")
        table = re.findall(r'^OPTION\((\w+), (\w+), \w+, "([^"]*)", [^,]+, [^,]+, (RELOAD|RESTART), "', read("common", "options.def"), flags=re.M)
        self.assertEqual(len(table), len(rows(read("common", "options.def"), "OPTION")))
        for name, option, default, when in table:
            part = section(text, f"[{name}]", "Ss")
            entry = re.search(rf"^\.It Cm {option} No = Ar .*?(?=^\.It |^\.El)", part, flags=re.M | re.S)
            self.assertTrue(entry, f"{name}.{option}")
            shown = f'.Ql "\\&{default}" .' if default else "Default: empty."
            self.assertIn(shown, entry.group(0), f"{name}.{option}")
            self.assertIn("posternctl reload" if when == "RELOAD" else "the next start", entry.group(0), f"{name}.{option}")

    def test_every_option_is_used(self):
        folders = ("milterd", "multiplexor", "worker", "ctl")
        names = [os.path.join(folder, name) for folder in folders for name in os.listdir(os.path.join(SOURCE, folder))]
        names.append(os.path.join("common", "macros.c"))  # which the front end and doctor share
        code = "".join(read(name) for name in names if name.endswith((".c", ".h")))
        for folder in ((), ("internal",)):  # a module in Lua asks for the options of a section
            for name in os.listdir(os.path.join(SOURCE, "scripts", "lib", "postern", *folder)):
                text = read("scripts", "lib", "postern", *folder, name) if name.endswith(".lua") else ""
                if asked := re.search(r'\boptions\("(\w+)"\)', text):
                    code += re.sub(r'\boptions(\("\w+"\))?\.', asked.group(1) + ".", text)
        code += re.sub(r'internal\.option\(name, "(\w+)"\)', r"backend.\1", read("scripts", "lib", "postern", "internal", "backends.lua"))
        named = set(re.findall(r"(?=\b([a-z0-9_]+\.[a-z0-9_]+)\b)", code))
        for row in rows(read("common", "options.def"), "OPTION"):
            self.assertIn(f"{row[0]}.{row[1]}", named, f"{row[0]}.{row[1]} has no effect")

    def test_sections_are_those_of_the_table(self):
        names = [row[0] for row in rows(read("common", "options.def"), "SECTION")]
        found = re.findall(r"^\.Ss \[(\w+)\]", page("postern.conf.5"), flags=re.M)
        self.assertEqual(found, names + ["filter"])

    def test_options_named_anywhere_exist(self):
        known = {f"{row[0]}.{row[1]}" for row in rows(read("common", "options.def"), "OPTION")}
        sections = {name.split(".")[0] for name in known}
        known |= set(re.findall(r"^function (\w+\.\w+)\(", read("scripts", "types", "postern.lua"), flags=re.M))
        texts = {name: page(name) for name in PAGES}
        for name in GUIDES:
            texts[name] = read("docs", name)
        for name, text in texts.items():
            for match in re.finditer(rf"\b({'|'.join(sections)})\.([a-z_]+)\b", text):
                after = text[match.end():match.end() + 1]
                is_file = match.group(2) in ("sock", "def", "conf", "timer", "md", "db") or (match.group(1) == "log" and after in ("(", " "))
                self.assertTrue(is_file or match.group(0) in known, f"{name}: {match.group(0)}")


class Protocol(unittest.TestCase):
    def setUp(self):
        self.text = page("postern-protocol.7")

    def test_every_record_field_by_field(self):
        described = re.findall(r"^\.Ss ([A-Z_]+) \((\d+)\)\n(.*?)(?=^\.S[hs] |\Z)", section(self.text, "RECORDS"), flags=re.M | re.S)
        table = without_comments(read("common", "records.def"))
        records = re.findall(r"^RECORD\((\w+), \w+, (\d+), [^\n]*\)\n(.*?)^RECORD_END", table, flags=re.M | re.S)
        self.assertEqual([(name, number) for name, number, _ in described], [(name, number) for name, number, _ in records])
        for (name, _, shown), (_, _, body) in zip(described, records):
            fields = [f"{field} : Vt {TYPES[kind]}" if not size else f'{field} : Vt "{TYPES[kind]} ({size})"'
                      for kind, field, size in re.findall(r"^(U8|U16|U32|U64|TEXT|SPILL)\((\w+)(?:, (\d+))?\)", body, flags=re.M)]
            self.assertEqual(items(shown, "Va"), fields, name)

    def test_senders_and_descriptors(self):
        for name, _, _, senders, _, descriptors in rows(without_comments(read("common", "records.def")), "RECORD"):
            number = re.search(rf"^RECORD\({name}, \w+, (\d+)", read("common", "records.def"), flags=re.M).group(1)
            shown = section(self.text, f"{name} ({number})", "Ss")
            who = "anybody" if senders == "ROLE_ANY" else ", ".join(word.strip()[5:].lower() for word in senders.split("|"))
            self.assertIn(f"Sent by: {who}.", shown)
            what = ", ".join(word.strip()[5:].lower() for word in descriptors.split("|")) if descriptors != "0" else None
            if what:
                self.assertIn(f"May carry: {what}.", shown)
            else:
                self.assertNotIn("May carry", shown)

    def test_every_action(self):
        found = items(section(self.text, "ACTIONS"), "Cm")
        self.assertEqual(found, [f"{row[2]} ({row[1]})" for row in rows(read("common", "actions.def"), "ACTION")])

    def test_every_control_command(self):
        table = re.findall(r'^COMMAND\((\w+), "([^"]*)", CTL_(\w+), ', read("multiplexor", "ctl_cmds.def"), flags=re.M)
        shown = section(self.text, "CONTROL PROTOCOL")
        entries = re.findall(r"^\.It Cm (\w+)([^\n]*)\n(.*?)(?=^\.It |^\.El)", shown, flags=re.M | re.S)
        self.assertEqual([entry[0] for entry in entries], [row[0] for row in table])
        for (word, rest, text), (_, arguments, access) in zip(entries, table):
            names = "".join(f" Op Ar {name[:-1]}" if name.endswith("?") else f" Ar {name}" for name in arguments.replace("$", "").split())
            self.assertEqual(rest, names, word)
            self.assertIn(f"Access: {access.lower()}.", text, word)


class LogLine(unittest.TestCase):
    def test_every_field(self):
        source = read("milterd", "record.c")
        keys = re.findall(r'\bput(?:_text|_number)?\(&?record, "(\w+)"', source)
        self.assertGreater(len(keys), 15)
        shown = section(page("postern-milterd.8"), "Log lines", "Ss")
        named = {word for line in items(shown, "Cm") for word in line.replace(",", " ").split()}
        self.assertEqual(set(keys) - named, set())
        self.assertEqual(named - set(keys), {"x-", "Ns", "Ar", "name"})


class Posternctl(unittest.TestCase):
    def setUp(self):
        self.text = page("posternctl.1")

    def commands(self):
        return re.findall(r'^COMMAND\("([^"]+)"', read("ctl", "commands.def"), flags=re.M)

    def test_every_command_and_its_options(self):
        self.assertEqual([line.split()[0] for line in items(self.text, "Ic")], self.commands())
        for word in self.commands():
            code, usage = ctl(word, "--help")
            self.assertEqual(code, 0)
            entry = re.search(rf"^\.It Ic {word}\b.*?(?=^\.It Ic|^\.Ss |^\.Sh )", self.text, flags=re.M | re.S).group(0)
            transaction = section(self.text, "Transaction", "Ss")
            for option in re.findall(r"--(\w+)", usage):
                shown = f"Fl -{option}"
                is_known = shown in entry or option in ("help", "version") or ("Ar transaction" in entry and shown in transaction)
                self.assertTrue(is_known, f"{word} --{option}")

    def test_commands_named_anywhere_exist(self):
        texts = {name: read("docs", name) for name in GUIDES} | {"README.md": read("README.md")}
        for name, text in texts.items():
            for word in re.findall(r"posternctl ([a-z]+)\b", re.sub(r"```.*?```", "", text, flags=re.S)):
                self.assertIn(word, self.commands(), name)

    def test_every_action_and_outcome(self):
        shown = section(self.text, "The JSON of run", "Ss")
        for row in rows(read("common", "actions.def"), "ACTION"):
            self.assertRegex(shown, rf"\.Ql {row[2]}\b")
        names = re.findall(r'\[OUTCOME_\w+\] = "(\w+)"', read("common", "wire.c"))
        for name in names:
            self.assertRegex(section(self.text, "The JSON of status", "Ss"), rf"\.Ql {name}\b")

    def test_members_of_status(self):
        members = re.findall(r'json_object_set_new\(\s*status, "(\w+)"', read("multiplexor", "report.c"))
        first = re.search(r"json_t \*status = json_pack\((.*?)\);", read("multiplexor", "report.c"), flags=re.S).group(1)
        members += re.findall(r'"([a-z_]+)",', first)
        named = {name.strip() for line in items(section(self.text, "The JSON of status", "Ss"), "Cm") for name in line.split(",")}
        self.assertTrue(len(members) > 15)
        self.assertEqual(named, set(members))


class Ring(unittest.TestCase):
    def test_every_member_and_kind(self):
        text = page("posternctl.1")
        shown = section(text, "The JSON of why", "Ss")
        table = without_comments(read("common", "trace.def"))
        members = {row[2] for row in rows(table, "TRACE_FIELD")}
        kinds = [row[2] for row in rows(table, "TRACE_KIND")]
        self.assertGreater(len(members), 30)
        named = {name.strip() for line in items(shown, "Cm") for name in line.split(",")}
        self.assertEqual(named - {"time", "kind", "cut", "connection", "stages", "actions"}, members)
        for kind in kinds:
            self.assertIn(f".Ql {kind}\n", shown)


if __name__ == "__main__":
    unittest.main()
