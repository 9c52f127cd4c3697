"""The ready filters that refuse by who somebody is, and a real mail server: what the client is told, and what arrives.

dmarc-enforce.lua, helo-checks.lua, open-relay-tempfail.lua, refuse-in-recipient.lua; with Postfix, which takes our word for who has
logged in, ratelimit-auth.lua too. Usage: test_recipe_policy.py sendmail|postfix
"""

import json
import re
import sys
import unittest

import dkim

import recipes
from common import lua
from harness.dns_server import Nsd
from harness.mail import message
from oracles import keys
from recipes import MTAS, STRANGER, Recipes, recipe

MTA = sys.argv.pop(1)
NAME = {"sendmail": "mx.postern.test", "postfix": "mxp.postern.test"}[MTA]
OURS, FORGER = "127.0.0.1", "203.0.113.66"
RECORD = keys().records["rsa"]


def domain(policy):
    """A domain whose mail comes from the stranger, or is signed."""
    return (f'@ TXT "v=spf1 ip4:{STRANGER} -all"\n@ A 192.0.2.1\n_dmarc TXT "v=DMARC1; p={policy}; rua=mailto:reports@{policy}.example"\n'
            f"rsa._domainkey TXT {' '.join(lua(RECORD[i:i + 200]) for i in range(0, len(RECORD), 200))}\n")


ZONES = {"example": "", **{f"{policy}.example": domain(policy) for policy in ("reject", "quarantine", "none")}, "silent.example": "@ A 192.0.2.1\n",
         "relays.example": "66.113.0.203 A 127.0.0.2\n"}


class Policy(Recipes):
    mta_class = MTAS[MTA]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.nsd = Nsd(cls.mta.folder, ZONES).start()
        cls.addClassCleanup(cls.nsd.stop)

    def put(self, name, **settings):
        return self.use(recipe(name), {"dns.servers": self.nsd.server, **{f"filter.{key}": value for key, value in settings.items()}})

    # dmarc-enforce

    def send_from(self, author, source, headers=(), change=lambda data: data):
        return self.send(change(message("hello", sender=author, headers=headers)), source, sender=re.sub(r".*<|>.*", "", author))

    def reports(self, postern):
        """What the store counts for the reports: {domain: sorted rows of how many, SPF, DKIM, disposition}."""
        _, out, _ = postern.ctl("store", "export", "dmarc/", check=True)
        found = {}
        for line in out.splitlines():
            value = json.loads(line)["value"]
            row = value["row"]
            self.assertEqual(row["source_ip"] in (STRANGER, FORGER), True)
            found.setdefault(row["policy_domain"], []).append((value["n"], row["source_ip"], row["spf_aligned"], row["dkim_aligned"], row["disposition"]))
        return {name: sorted(rows) for name, rows in found.items()}

    def test_dmarc_policies_and_reports(self):
        postern = self.put("dmarc-enforce")
        for author in ("ann@reject.example", "Ann <ann@sub.reject.example>"):
            stage, code, text = self.send_from(author, FORGER)
            self.assertEqual((stage, code), ("end", 550))
            self.assertIn("5.7.1 the policy of ", text)
            self.assertIn("reject.example (DMARC) refuses this mail", text)
        for policy, result, mark in (("quarantine", "fail", "quarantine"), ("none", "fail", None), ("silent", "none", None)):
            with self.subTest(policy):
                self.assertEqual(self.send_from(f"ann@{policy}.example", FORGER, ["X-DMARC: none"])[:2], ("end", 250))
                one = self.mta.one()
                self.assertEqual((one["X-DMARC"], len(one.get_all("X-DMARC") or [])), (mark, 1 if mark else 0))
                self.assertRegex(one["Authentication-Results"], rf"^{re.escape(NAME)};[\s\S]*\bdmarc={result}\b[\s\S]*header\.from={policy}\.example")
        for _ in range(2):
            self.assertEqual(self.send_from("ann@reject.example", STRANGER)[:2], ("end", 250))
            self.assertRegex(self.mta.one()["Authentication-Results"], r"spf=pass[\s\S]*dmarc=pass")
        signed = dkim.sign(message("hello", sender="ann@reject.example"), b"rsa", b"reject.example", keys().pem("rsa"))
        self.assertEqual(self.send_from("ann@reject.example", FORGER, change=lambda data: signed + data)[:2], ("end", 250))
        self.assertRegex(self.mta.one()["Authentication-Results"], r"spf=fail[\s\S]*dkim=pass[\s\S]*header\.d=reject\.example[\s\S]*dmarc=pass")
        self.assertEqual(self.reports(postern), {
            "reject.example": [(1, FORGER, "fail", "fail", "reject"), (1, FORGER, "fail", "fail", "reject"), (1, FORGER, "fail", "pass", "none"),
                               (2, STRANGER, "pass", "fail", "none")],
            "quarantine.example": [(1, FORGER, "fail", "fail", "quarantine")], "none.example": [(1, FORGER, "fail", "fail", "none")]})

    def test_forged_from(self):
        self.put("dmarc-enforce")
        for author in ("ann@silent.example, boss@reject.example", '"boss@silent.example" <boss@reject.example>', "ann@silent.example\r\nFrom: boss@reject.example",
                       "boss@reject.example (x@silent.example)", "=?utf-8?Q?ann=40silent.example?= <boss@REJECT.example.>"):
            with self.subTest(author):
                answer = self.send(message("hello", sender=author), FORGER, sender="ann@silent.example")
                self.assertEqual(answer[:2], ("end", 550), answer)
        # Whose mail it is by the envelope does not matter: SPF passes for another domain.
        self.assertEqual(self.send(message("hello", sender="boss@reject.example"), STRANGER, sender="ann@none.example")[:2], ("end", 550))

    def test_results_in_our_name_go(self):
        self.put("dmarc-enforce")
        foreign = [f"{NAME}; dmarc=pass", f"{NAME.upper()}\r\n ; spf=pass", f"(x) {NAME} (y) 1; spf=pass", f'"{NAME}"; spf=pass', f"{NAME}.;spf=pass", f"\r\n\t{NAME}; none"]
        kept = ["other.example; dkim=pass", f"not-{NAME}; spf=pass"]
        headers = [f"Authentication-Results: {value}" for value in (foreign[0], kept[0], *foreign[1:], kept[1])]
        self.assertEqual(self.send_from("ann@reject.example", STRANGER, headers)[:2], ("end", 250))
        first, *others = [re.sub(r"\s+", " ", value).strip() for value in self.mta.one().get_all("Authentication-Results")]
        self.assertEqual(others, kept)
        self.assertRegex(first, rf"^{re.escape(NAME)}; spf=pass .*dkim=none; dmarc=pass ")

    def test_held_and_our_own_users(self):
        self.put("dmarc-enforce", dmarc_quarantine="hold")
        self.assertEqual(self.send_from("ann@quarantine.example", FORGER)[:2], ("end", 250))
        (_, reason), = self.mta.held()
        self.assertEqual(reason, {"sendmail": "DMARC: not from quarantine.example", "postfix": ""}[MTA])
        self.assertEqual(self.send_from("ann@reject.example", OURS)[:2], ("end", 250))
        self.assertIsNone(self.mta.one()["Authentication-Results"])

    def test_who_cannot_be_judged_comes_later(self):
        self.put("dmarc-enforce", dmarc_temperror="tempfail")
        self.nsd.stop()
        try:
            answer = self.send_from("ann@reject.example", STRANGER)
        finally:
            self.nsd.start()
        self.assertEqual(answer[:2], ("end", 451), answer)
        self.assertIn("4.7.5 the sender of this mail cannot be checked now", answer[2])

    # helo-checks

    def test_who_claims_to_be_us(self):
        self.put("helo-checks", helo_names="example.net, relay.example.net", helo_addresses="192.0.2.25")
        for helo, said in ((NAME, NAME), (NAME.upper() + ".", NAME), (f"[{self.mta.address}]", self.mta.address), (self.mta.address, self.mta.address),
                           ("example.net", "example.net"), ("[192.0.2.25]", "192.0.2.25")):
            with self.subTest(helo):
                code, text = self.client(helo=helo).sender("ann@example.org")
                self.assertEqual((code, text.split(" ", 1)[0]), (550, "5.7.1"))
                self.assertIn(f"you are not {said}", text)
        for helo, source in (("mail.example.org", STRANGER), ("sub.example.net", STRANGER), (NAME, OURS), (f"[{STRANGER}]", STRANGER)):
            with self.subTest(helo, source=source):
                self.assertEqual(self.client(source, helo).sender("ann@example.org")[0], 250)

    # open-relay-tempfail

    def test_an_open_relay_is_put_off(self):
        self.put("open-relay-tempfail", open_relay_zones="relays.example=127.0.0.2")
        code, text = self.client(FORGER).sender("ann@example.org")
        self.assertEqual((code, text.split(" ", 1)[0]), (451, "4.7.1"))
        self.assertIn("Listed by relays.example", text)
        self.assertEqual(self.deliver(message("hello"))["Subject"], "hello")

    # refuse-in-recipient

    def test_a_refused_client_reads_why(self):
        self.put("refuse-in-recipient")
        client = self.client()
        self.assertEqual(client.sender("ann@example.org")[0], 250)
        code, text = client.recipient("bob@example.net")
        self.assertEqual(code, 554)
        self.assertIn(f"mail from {STRANGER} is not taken here", text)
        self.assertIn("If you think that this is wrong, write to postmaster.", text)
        self.assertEqual(client.recipient("postmaster@example.net")[0], 250)
        client.begin_data()
        self.assertEqual(client.content(message("why?"))[0], 250)
        one = self.mta.one()
        self.assertEqual((one["Subject"], one.recipients), ("why?", ["postmaster@example.net"]))
        self.assertEqual(self.deliver(message("hello"), FORGER)["Subject"], "hello")

    # ratelimit-auth

    @unittest.skipUnless(MTA == "postfix", "sendmail believes nobody's word for who has logged in")
    def test_a_user_sends_too_much(self):
        self.put("ratelimit-auth", rate_limit=10, rate_period=3600, rate_burst=3)
        names = [f"bob{i}@example.net" for i in range(5)]
        client = self.client(LOGIN="ann")
        client.sender("ann@example.org")
        answers = [client.recipient(name) for name in names]
        self.assertEqual([code for code, _ in answers], [250, 250, 250, 452, 452])
        self.assertRegex(answers[-1][1], r"^4\.7\.1 .*you have sent to too many recipients: please go on in 3\d\d seconds")
        client.begin_data()
        self.assertEqual(client.content(message("hello"))[0], 250)
        self.assertEqual(sorted(self.mta.one().recipients), names[:3])
        # In another connection, and in other letters, it is the same user; others have rooms of their own.
        for words, expected in (({"LOGIN": "ANN", "source": FORGER}, 452), ({"LOGIN": "eve"}, 250), ({}, 250)):
            client = self.client(**words)
            client.sender("ann@example.org")
            self.assertEqual(client.recipient("bob@example.net")[0], expected, words)


if __name__ == "__main__":
    recipes.enter_network()
    unittest.main()
