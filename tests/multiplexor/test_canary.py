"""A reload that is tried first: who tells whom of the candidate, what promotes it and what rolls it back."""

import os
import signal
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import HOOKS, MultiplexorTest
from fakes.record_client import outcome

# Judged soon: by the hundredth run, a tenth of a second after the load.
SOON = {"multiplexor.canary": 20, "multiplexor.canary_time": "100ms", "multiplexor.canary_requests": 100, "multiplexor.canary_latency": 0}
BY_HAND = {"multiplexor.canary": 20, "multiplexor.canary_time": 0, "multiplexor.canary_latency": 0}


class Canary(MultiplexorTest):
    def begin(self, options, **kwargs):
        """A multiplexor with generation 1 current and 2 as candidate."""
        mux = self.start(options)
        answer = mux.call("reload", **kwargs)
        self.assertEqual(answer["data"]["generation"], 2)
        return mux

    def states(self, mux):
        return {row["generation"]: row["state"] for row in mux.status()["generations"]}

    def run_hooks(self, client, n, uid="ok", generation=2, hook="MESSAGE"):
        return [client.ask(hook, uid=f"{uid}.{i}", generation=generation) for i in range(n)]

    def wait_for_last(self, mux, result):
        mux.wait(lambda: (mux.status()["canary_last"] or {}).get("result") == result, f"the candidate to be {result}")
        return mux.status()["canary_last"]


class Candidate(Canary):
    def test_beside_the_current_one(self):
        mux = self.begin(BY_HAND)
        status = mux.status()
        self.assertEqual((status["generation"], self.states(mux)), (1, {1: "current", 2: "candidate"}))
        self.assertEqual((status["canary"]["share"], status["canary"]["candidate"]["generation"]), (20, 2))
        client = self.client(mux)
        self.assertEqual(client.ask(uid="ok.1", generation=0)["generation"], 1, "who names none gets the current one")
        self.assertEqual(client.ask(uid="ok.1", generation=2)["generation"], 2)

    def test_answer_tells_the_share(self):
        mux = self.start()
        self.assertEqual(mux.call("reload")["data"], {"generation": 2})
        self.assertEqual(mux.call("reload", canary=7)["data"], {"generation": 3, "canary": 7})
        self.assertEqual(mux.call("reload", canary=0)["data"], {"generation": 4})
        self.assertEqual(mux.status()["generation"], 4)
        for bad in (-1, 101):
            self.assertIn("percentage", mux.call("reload", canary=bad)["error"])

    def test_front_ends_are_told(self):
        mux = self.start({"multiplexor.canary": 20, "multiplexor.canary_time": 0}, filter_text="hooks filter_message\n")
        watcher = self.watcher(mux)
        self.assertEqual((watcher.needs["candidate"], watcher.needs["candidate_share"]), (0, 0))
        mux.set_filter("hooks filter_message filter_header\n")
        mux.call("reload")
        needs = watcher.next_needs()
        self.assertEqual((needs["generation"], needs["candidate"], needs["candidate_share"]), (1, 2, 20))
        self.assertNotEqual(needs["candidate_answers"], needs["current_answers"])
        self.assertEqual(needs["union_answers"], needs["current_answers"] | needs["candidate_answers"])
        self.assertEqual(needs["union_sees"], needs["current_sees"] | needs["candidate_sees"])
        self.assertEqual(mux.call("rollback")["data"], {"generation": 1})
        needs = watcher.next_needs()
        self.assertEqual((needs["generation"], needs["candidate"]), (1, 0))

    def test_never_where_it_was_not_negotiated(self):
        mux = self.start({"multiplexor.canary": 20, "multiplexor.canary_time": 0}, filter_text="hooks filter_message\n")
        watcher, client = self.watcher(mux), self.client(mux)
        had = {"negotiated_sees": watcher.needs["union_sees"], "negotiated_answers": watcher.needs["union_answers"]}
        mux.set_filter("hooks filter_message filter_header\n")
        mux.call("reload")
        self.assertEqual(outcome(client.ask(uid="ok.1", generation=2, **had)), "RENEGOTIATE")
        self.assertEqual(client.ask(uid="ok.1", generation=0, **had)["generation"], 1)

    def test_cannot_be_released(self):
        mux = self.begin(BY_HAND)
        watcher, client = self.watcher(mux), self.client(mux)
        watcher.release(2)
        self.assertEqual(client.ask(uid="ok.1", generation=2)["generation"], 2)
        self.assertEqual(self.states(mux), {1: "current", 2: "candidate"})

    def test_failed_load_leaves_it(self):
        mux = self.begin(BY_HAND)
        mux.set_filter(HOOKS + "load fail\n")
        self.assertFalse(mux.call("reload")["ok"])
        self.assertEqual((mux.status()["generation"], mux.status()["canary"]["candidate"]["generation"]), (1, 2))

    def test_newer_candidate_replaces_it(self):
        mux = self.begin(BY_HAND)
        client = self.client(mux)
        client.start(uid="sleep=400.1", generation=2)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        self.assertEqual(mux.call("reload")["data"], {"generation": 3, "canary": 20})
        self.assertEqual(mux.status()["canary"]["candidate"], {**mux.status()["canary"]["candidate"], "generation": 3, "runs": 0})
        self.assertEqual(mux.status()["canary_last"]["result"], "replaced")
        reply = client.wait()
        self.assertEqual((outcome(reply), reply["generation"]), ("OK", 2), "what runs is not cut off")
        self.assertEqual(mux.call("reload", canary=0)["data"], {"generation": 4})
        self.assertEqual((mux.status()["generation"], mux.status()["canary"]), (4, None))

    def test_it_does_not_wait_for_the_current_one_s_workers(self):
        mux = self.start({**BY_HAND, "multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        mux.call("reload")
        first, second = self.clients(mux, 2)
        first.start(uid="sleep=1500.1", generation=1)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        self.assertEqual(outcome(second.ask(uid="budget.1", generation=2, flags=8)), "OK", "max_workers is the current one's")
        self.assertEqual(outcome(first.wait()), "OK")

    def test_workers_are_replaced_as_the_current_one_s(self):
        mux = self.begin({**BY_HAND, "multiplexor.recycle_requests": 5, "multiplexor.recycle_spread": 0})
        client = self.client(mux)

        def replaced():
            """An old one serves on until the new one is there, so how soon is not known."""
            self.assertEqual({outcome(r) for r in self.run_hooks(client, 5)}, {"OK"})
            return mux.status()["recycles"]["requests"] >= 4
        mux.wait(replaced, "four replacements")


class Judgement(Canary):
    def test_good_one_is_promoted(self):
        mux = self.begin(SOON)
        client = self.client(mux)
        self.run_hooks(client, 30, generation=1)
        self.run_hooks(client, 99)
        self.assertEqual((mux.status()["generation"], mux.status()["canary"]["candidate"]["runs"]), (1, 99), "too few to judge")
        self.run_hooks(client, 1)
        mux.wait_for_generation(2)
        last = self.wait_for_last(mux, "promoted")
        self.assertEqual(last["generation"], 2)
        self.assertIn("errors 0.0 %, tempfails 0.0 %", last["why"])
        self.assertIn("in 100 runs", last["why"])
        self.assertIn("generation 2 is promoted: its time is over", mux.log())
        self.assertEqual(mux.status()["counters"]["promotions"], 1)

    def test_time_is_waited_for(self):
        mux = self.begin({**SOON, "multiplexor.canary_time": "1h", "multiplexor.canary_requests": 5})
        client = self.client(mux)
        self.run_hooks(client, 50)
        self.assertEqual(mux.status()["generation"], 1)
        self.assertEqual(mux.status()["canary"]["candidate"]["runs"], 50)

    def rolled_back(self, mux, why):
        last = self.wait_for_last(mux, "rolled back")
        self.assertIn(why, last["why"])
        self.assertIn(f"generation 2 is rolled back, generation 1 goes on: {why}", mux.log())
        self.assertEqual((mux.status()["generation"], mux.status()["canary"]), (1, None))
        return last

    def test_errors_roll_back_at_once(self):
        mux = self.begin(SOON)
        client = self.client(mux)
        replies = self.run_hooks(client, 2, uid="outcome=1")
        self.assertEqual(mux.status()["canary"]["candidate"]["errors"], 2, "2 of 100 is not above 2 points")
        replies += self.run_hooks(client, 1, uid="outcome=1")
        self.rolled_back(mux, "too many errors: errors 100.0 %")
        self.assertEqual({outcome(reply) for reply in replies}, {"ERROR"})

    def test_as_many_errors_as_the_current_one(self):
        mux = self.begin(SOON)
        client = self.client(mux)
        self.run_hooks(client, 10, uid="outcome=1", generation=1)
        self.run_hooks(client, 40, uid="outcome=1")
        self.run_hooks(client, 60)
        self.wait_for_last(mux, "promoted")

    def test_deaths_are_errors(self):
        mux = self.begin({**SOON, "multiplexor.respawn_min": "10ms"})
        client = self.client(mux)
        self.assertEqual(outcome(client.ask(uid="exit.1", generation=2)), "POISON")
        self.assertEqual(mux.status()["canary"]["candidate"], {**mux.status()["canary"]["candidate"], "runs": 2, "errors": 2})
        client.ask(uid="exit-once.2", generation=2)
        self.rolled_back(mux, "too many errors")

    def test_kills_at_the_deadline_are_errors(self):
        mux = self.begin({**SOON, "multiplexor.canary_errors": 0})
        self.assertEqual(outcome(self.client(mux).ask(uid="hang.1", generation=2, budget_ms=300)), "DEADLINE")
        self.rolled_back(mux, "too many errors")

    def test_a_client_that_left_hides_no_error(self):
        mux = self.begin({**SOON, "multiplexor.canary_errors": 0})
        client = self.client(mux)
        client.start(uid="hang.1", generation=2, budget_ms=500)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        client.close()
        self.rolled_back(mux, "too many errors")

    def test_tempfails_roll_back(self):
        mux = self.begin(SOON)
        client = self.client(mux)
        self.run_hooks(client, 10, uid="verdict=3")
        self.assertEqual(mux.status()["canary"]["candidate"]["tempfails"], 10, "10 of 100 is not above 10 points")
        self.run_hooks(client, 1, uid="verdict=3")
        last = self.rolled_back(mux, "too many tempfails")
        self.assertIn("errors 0.0 %, tempfails 100.0 %", last["why"])

    def test_slow_one_rolls_back(self):
        mux = self.begin({**SOON, "multiplexor.canary_requests": 5, "multiplexor.canary_time": "1h", "multiplexor.canary_latency": 300})
        client = self.client(mux)
        self.run_hooks(client, 5, generation=1)
        self.run_hooks(client, 5, uid="sleep=400")
        self.rolled_back(mux, "too slow")

    def test_slow_hook_that_only_it_runs_is_not_compared(self):
        mux = self.begin({**SOON, "multiplexor.canary_requests": 5, "multiplexor.canary_time": "1h", "multiplexor.canary_latency": 300})
        client = self.client(mux)
        self.run_hooks(client, 5, generation=1)
        self.run_hooks(client, 5, uid="sleep=60", hook="RECIPIENT")
        self.assertEqual(mux.status()["canary"]["candidate"]["runs"], 5)
        self.assertGreaterEqual(mux.status()["canary"]["candidate"]["mean_ms"], 60)

    def test_slow_as_the_current_one(self):
        mux = self.begin({**SOON, "multiplexor.canary_requests": 5, "multiplexor.canary_latency": 1000})
        client = self.client(mux)
        self.run_hooks(client, 5, uid="sleep=60", generation=1)
        self.run_hooks(client, 5, uid="sleep=60")
        self.wait_for_last(mux, "promoted")

    def test_workers_that_do_not_start(self):
        """Whoever waits for such a worker is served by the current generation."""
        mux = self.begin({**SOON, "multiplexor.canary_errors": 100})
        client = self.client(mux)
        mux.set_filter(HOOKS + "init die\n")  # each worker reads it when it is forked
        for row in mux.workers():
            if row["generation"] == 2:
                os.kill(row["pid"], signal.SIGKILL)
        reply = client.ask(uid="ok.1", generation=2)
        self.assertEqual((outcome(reply), reply["generation"]), ("OK", 1))
        self.rolled_back(mux, "its workers do not start")
        self.assertEqual(outcome(client.ask(uid="ok.2", generation=2)), "OK")


class ByHand(Canary):
    def test_promote_and_roll_back_again(self):
        mux = self.start({**BY_HAND, "multiplexor.queue_size": 5})
        watcher, client = self.watcher(mux), self.client(mux)
        mux.options["multiplexor.queue_size"] = 5
        mux.call("reload")
        self.assertEqual(mux.call("promote")["data"], {"generation": 2})
        watcher.wait_for_generation(2)
        watcher.release(1)
        self.assertEqual(client.ask(uid="ok.1")["generation"], 2)
        self.assertEqual(self.states(mux), {1: "lingering", 2: "current"}, "it is kept for the way back")
        self.assertIn("no candidate", mux.call("promote")["error"])
        self.assertEqual(mux.call("rollback")["data"], {"generation": 1})
        self.assertEqual(watcher.wait_for_generation(1)["candidate"], 0)
        self.assertEqual(client.ask(uid="ok.1")["generation"], 1)
        self.assertEqual(client.ask(uid="ok.1", generation=2)["generation"], 2, "messages stay where they began")
        watcher.release(2)
        mux.wait(lambda: self.states(mux) == {1: "current"}, "generation 2 to be gone")
        self.assertIn("is gone", mux.call("rollback")["error"])

    def test_settings_go_with_the_generation(self):
        mux = self.start(BY_HAND)
        mux.folder.write("postern.conf", "[multiplexor]\nqueue_size = 77\n")
        queue_size = lambda: mux.call("config")["data"]["options"]["multiplexor.queue_size"]  # noqa: E731
        mux.call("reload")
        self.assertEqual(queue_size(), "500")
        mux.call("promote")
        self.assertEqual(queue_size(), "77")
        mux.call("rollback")
        self.assertEqual(queue_size(), "500")

    def test_roll_back_the_candidate(self):
        mux = self.begin(BY_HAND)
        watcher, client = self.watcher(mux), self.client(mux)
        client.start(uid="sleep=300.1", generation=2)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        self.assertEqual(mux.call("rollback")["data"], {"generation": 1})
        self.assertEqual(mux.status()["canary_last"]["why"], "by hand")
        self.assertEqual(outcome(client.wait()), "OK")
        watcher.release(2)
        mux.wait(lambda: self.states(mux) == {1: "current"}, "generation 2 to be gone")
        self.assertEqual(client.ask(uid="ok.2", generation=2)["generation"], 1)

    def test_kept_no_longer_than_generation_linger(self):
        mux = self.begin({**BY_HAND, "multiplexor.generation_linger": "300ms"})
        mux.call("promote")
        mux.wait(lambda: self.states(mux) == {2: "current"}, "generation 1 to be gone")
        self.assertIn("gone", mux.call("rollback")["error"])

    def test_after_a_plain_reload(self):
        mux = self.start()
        self.watcher(mux)
        mux.call("reload")
        self.assertEqual(mux.call("rollback")["data"], {"generation": 1})
        self.assertEqual(mux.status()["generation"], 1)

    def test_nothing_to_go_back_to(self):
        mux = self.start()
        self.assertIn("gone", mux.call("rollback")["error"])
        self.assertIn("no candidate", mux.call("promote")["error"])

    def test_lost_nursery_of_the_current_one(self):
        """A new generation is needed then, and is not tried first."""
        mux = self.start({**BY_HAND, "multiplexor.respawn_min": "50ms"})
        mux.wait_for_idle(2)
        children = {int(pid) for pid in open(f"/proc/{mux.process.pid}/task/{mux.process.pid}/children", encoding="ascii").read().split()}
        (nursery,) = children - {row["pid"] for row in mux.workers()}
        os.kill(nursery, signal.SIGKILL)
        mux.wait_for_generation(2)


class UnderLoad(Canary):
    def test_nothing_is_lost_by_promotions_and_roll_backs(self):
        mux = self.start({"log.level": "info", **BY_HAND, "multiplexor.canary": 50})
        watcher = self.watcher(mux)
        stop, bad, asked = threading.Event(), [], []

        def load(number):
            client = self.client(mux)
            while not stop.is_set():
                generation = (watcher.needs["candidate"] or watcher.needs["generation"]) if number % 2 else watcher.needs["generation"]
                reply = client.ask(uid="sleep=1.1", generation=generation)
                asked.append(generation)
                if (outcome(reply), reply["attempt"]) != ("OK", 1):
                    bad.append(reply)
        threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for step in range(12):
                number = mux.call("reload")["data"]["generation"]
                while watcher.needs["candidate"] != number:
                    watcher.next_needs()
                before = len(asked)
                mux.wait(lambda: number in asked[before:], f"requests for {number}", 20)
                mux.call("promote" if step % 2 else "rollback")
                while watcher.needs["candidate"] != 0:
                    watcher.next_needs()
                for old in {row["generation"] for row in mux.status()["generations"]} - {watcher.needs["generation"]}:
                    watcher.release(old)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(bad, [])
        self.assertGreater(len(set(asked)), 8)
        self.assertEqual((mux.status()["counters"]["promotions"], mux.status()["counters"]["rollbacks"]), (6, 6))


if __name__ == "__main__":
    unittest.main()
