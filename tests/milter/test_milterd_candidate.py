"""A generation that is tried on a share of the clients: who gets it, and that one client sees one filter."""

import unittest

from milterd_fixture import MilterdTest, wait_until

CLIENTS = [f"192.0.{n // 200}.{n % 200 + 1}" for n in range(400)]


class Candidate(MilterdTest):
    hooks = ("RELAY", "SENDER", "MESSAGE")

    def try_out(self, number, share, hooks=None):
        """The candidate (0: none any more), once milterd knows of it."""
        self.mux.set_candidate(number, share, hooks)
        line = f"candidate {number}, {share} %"
        wait_until(lambda: any(line in text for text in self.milterd.lines("candidate ")[-1:]), lambda: f"{line!r}: {self.milterd.lines('candidate')}")

    def generations(self, ips):
        """Each client's generation, in all hooks of two messages on a connection of its own."""
        found = {}
        for ip in ips:
            before = len(self.mux.requests)
            with self.milterd.client() as client:
                client.negotiate()
                client.connect(ip=ip)
                client.helo()
                for _ in range(2):
                    self.assertEqual(client.message().code, "continue")
            seen = {asked["generation"] for asked in self.mux.requests[before:]}
            self.assertEqual(len(self.mux.requests) - before, 5)
            self.assertEqual(len(seen), 1, f"{ip} saw {seen}")
            found[ip] = seen.pop()
        return found

    options = {"log.level": "debug"}

    def test_share_of_the_clients(self):
        self.try_out(2, 20)
        first = self.generations(CLIENTS)
        n = sum(1 for generation in first.values() if generation == 2)
        self.assertEqual(set(first.values()), {1, 2})
        self.assertTrue(50 <= n <= 110, f"{n} of {len(CLIENTS)}, 80 are to be expected")
        # The same ones in another process, and for each share those of a smaller one.
        self.start()
        self.try_out(2, 20)
        some = CLIENTS[:60]
        self.assertEqual(self.generations(some), {ip: first[ip] for ip in some})
        self.try_out(2, 60)
        more = self.generations(some)
        self.assertTrue(all(more[ip] == 2 for ip in some if first[ip] == 2))
        self.assertGreater(sum(more.values()), sum(first[ip] for ip in some))
        # Other ones for another candidate.
        self.try_out(3, 20)
        self.assertNotEqual({ip for ip, number in self.generations(some).items() if number == 3}, {ip for ip in some if first[ip] == 2})

    def test_all_and_none(self):
        self.try_out(2, 100)
        self.assertEqual(set(self.generations(CLIENTS[:20]).values()), {2})
        self.try_out(0, 0)
        self.assertEqual(set(self.generations(CLIENTS[:20]).values()), {1})
        wait_until(lambda: 2 in self.mux.released, "the release of generation 2")

    def test_messages_under_way_stay(self):
        """With the candidate when it goes, and with the current one when a candidate comes."""
        client = self.client().start()
        client.mail()
        self.try_out(2, 100)
        client.rcpt()
        client.data()
        client.eoh()
        client.eom()
        self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["generation"], 1)
        client.mail()
        self.assertEqual(self.mux.of_hook("SENDER")[-1]["generation"], 2, "the next one is the candidate's")
        self.try_out(0, 0)
        client.rcpt()
        client.data()
        client.eoh()
        self.assertNotIn(2, self.mux.released)
        client.eom()
        self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["generation"], 2)
        wait_until(lambda: 2 in self.mux.released, "the release of generation 2")
        client.mail()
        self.assertEqual(self.mux.of_hook("SENDER")[-1]["generation"], 1)

    def test_promotion(self):
        self.try_out(2, 100)
        client = self.client().start()
        client.mail()
        self.mux.change(candidate=None, generation=2)
        wait_until(lambda: 1 in self.mux.released, "the release of generation 1")
        client.rcpt()
        client.data()
        client.eoh()
        client.eom()
        self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["generation"], 2)
        self.assertNotIn(2, self.mux.released)

    def test_connections_that_did_not_negotiate_it(self):
        """They have the current one until they negotiate anew."""
        old = self.client().start()
        self.try_out(2, 100, [*self.hooks, "HEADER"])
        new = self.client().start()
        self.assertEqual(old.message().code, "continue")
        self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["generation"], 1)
        self.assertEqual(self.mux.of_hook("HEADER"), [])
        self.assertEqual(new.message().code, "continue")
        self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["generation"], 2)
        self.assertEqual(len(self.mux.of_hook("HEADER")), 1)
        # The candidate gone, what was negotiated for it is not asked any more.
        self.try_out(0, 0)
        self.assertEqual(new.message().code, "continue")
        self.assertEqual(len(self.mux.of_hook("HEADER")), 1)

    def test_the_next_client_of_a_connection(self):
        """A mail server may use one connection for many clients: each has its own draw."""
        self.try_out(2, 50)
        wanted = self.generations(CLIENTS[:12])
        self.assertEqual(set(wanted.values()), {1, 2})
        client = self.client()
        for n, (ip, generation) in enumerate(wanted.items()):
            if n:
                client.quit_new_connection()
            else:
                client.negotiate()
            client.connect(ip=ip)
            client.helo()
            client.message()
            self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["generation"], generation, ip)

    def test_clients_without_an_address(self):
        """Programs of this host are drawn by connection."""
        self.try_out(2, 50)
        seen = set()
        for _ in range(40):
            with self.milterd.client() as client:
                client.negotiate()
                client.connect(hostname="localhost", ip=None, family=b"U")
                client.helo()
                client.message()
                asked = [record for record in self.mux.requests if record["conn_id"] == self.mux.requests[-1]["conn_id"]]
                self.assertEqual(len({record["generation"] for record in asked}), 1)
                seen.add(asked[0]["generation"])
        self.assertEqual(seen, {1, 2})


if __name__ == "__main__":
    unittest.main()
