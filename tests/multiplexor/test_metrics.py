"""Metrics: valid OpenMetrics, true numbers, over the control socket and HTTP; dashboard and alerts name only what is there."""

import json
import os
import re
import socket
import sys
import unittest

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import MultiplexorTest
from fakes import postern_wire as wire
from harness.process import SOURCE, wait_until
from openmetrics import parse, value


def read(name):
    with open(os.path.join(SOURCE, "conf", name), encoding="utf-8") as file:
        return file.read()


class MetricsTest(MultiplexorTest):
    def families(self, mux):
        return parse(mux.call("metrics")["data"]["text"])


class Numbers(MetricsTest):
    def test_they_are_those_of_status(self):
        mux = self.start()
        client = self.client(mux)
        for i in range(7):
            client.ask(uid=f"ok.{i}")
        families, status = self.families(mux), mux.status()
        self.assertEqual(value(families, "postern_requests_total"), 7)
        self.assertEqual(value(families, "postern_hook_requests_total", hook="filter_message"), 7)
        self.assertEqual(value(families, "postern_hook_seconds_count", hook="filter_message"), 7)
        self.assertEqual(value(families, "postern_queue_seconds_count"), 7)
        self.assertEqual(value(families, "postern_generation"), 1)
        self.assertEqual(value(families, "postern_workers", state="idle"), 2)
        for verdict, n in status["messages"].items():
            self.assertEqual(value(families, "postern_messages_total", verdict=verdict), n)
        for cause, n in status["recycles"].items():
            self.assertEqual(value(families, "postern_recycles_total", cause=cause), n)
        self.assertEqual(value(families, "postern_build_info", version=status["version"]), 1)

    def counters(self, watcher, **numbers):
        zero = {"connections": 0, "turned_away": 0, "messages": 0, "failures": 0, "bad_changes": 0, "not_applied": 0}
        wire.send(watcher.sock, "COUNTERS", {**zero, **numbers})

    def test_front_ends_are_summed(self):
        mux = self.start()
        first = self.watcher(mux)
        self.counters(first, connections=5, messages=3)
        mux.wait_for_counter("front", "messages", value=3)
        self.counters(first, connections=6, messages=4)
        mux.wait_for_counter("front", "messages", value=4)
        again = self.watcher(mux)  # the same process over a new connection: nothing counts twice
        self.counters(again, connections=6, messages=9)
        mux.wait_for_counter("front", "messages", value=9)
        self.counters(again, connections=1, messages=1)  # a process that began anew
        mux.wait_for_counter("front", "messages", value=10)
        self.assertEqual(mux.status()["front"], {"connections": 7, "turned_away": 0, "messages": 10, "failures": 0, "bad_changes": 0, "not_applied": 0})
        self.assertEqual(value(self.families(mux), "postern_front_messages_total"), 10)

    def test_dashboard_and_alerts_name_what_is_there(self):
        mux = self.start()
        self.client(mux).ask(uid="ok.1")
        families = self.families(mux)
        known = {name for family in families.values() for name, _ in family["samples"]}
        with open(os.path.join(SOURCE, "scripts", "lib", "postern", "internal", "backends.lua"), encoding="utf-8") as file:
            known |= {f"postern_user_{name}_total" for name in re.findall(r'metrics\.counter\("(\w+)"', file.read())}  # once one has failed
        dashboard = json.loads(read("grafana-dashboard.json"))
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        self.assertEqual(len({panel["id"] for panel in dashboard["panels"]}), len(dashboard["panels"]))
        alerts = read("prometheus-alerts.yml")
        rules = re.findall(r"^      - alert: \w+\n        expr: (.+)$", alerts, flags=re.M)
        self.assertEqual(len(rules), alerts.count("- alert:"))
        for expression in expressions + rules:
            for name in re.findall(r"\bpostern_\w+", expression):
                self.assertIn(name, known, expression)
            self.assertEqual(expression.count("("), expression.count(")"))
            for label in re.findall(r"(?:by \(|, )(hook|verdict|state|outcome|cause)\b", expression):
                self.assertTrue(any(label in dict(pairs) for family in families.values() for _, pairs in family["samples"]), expression)

    def test_alerts_are_yaml(self):
        groups = yaml.safe_load(read("prometheus-alerts.yml"))["groups"]
        for rule in groups[0]["rules"]:
            self.assertLessEqual(set(rule), {"alert", "expr", "for", "labels", "annotations"})
            self.assertTrue(rule["expr"] and rule["annotations"]["summary"] and rule["labels"]["severity"])


class Http(MetricsTest):
    def start_listening(self, spec="inet:0@127.0.0.1", **options):
        mux = self.start({"metrics.listen": spec, **options})
        self.port = re.findall(r"metrics on inet:(\d+)@", mux.log())
        return mux

    def connect_inet(self):
        conn = socket.create_connection(("127.0.0.1", int(self.port[0])), timeout=30)
        self.addCleanup(conn.close)
        return conn

    def ask(self, data):
        conn = self.connect_inet()
        try:
            conn.sendall(data)
        except OSError:
            pass
        return self.rest(conn)

    def rest(self, conn):
        got = b""
        try:
            while more := conn.recv(65536):
                got += more
        except ConnectionError:
            pass
        return got

    def test_metrics_and_health(self):
        mux = self.start_listening()
        head, _, body = self.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(b"Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8", head)
        self.assertIn(b"Content-Length: %d\r\n" % len(body), head)
        self.assertEqual(value(parse(body.decode()), "postern_requests_total"), 0)
        head, _, body = self.ask(b"HEAD /metrics?x=y HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertEqual(body, b"")
        self.assertTrue(self.ask(b"GET /healthz HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\nok\n"))
        self.assertTrue(mux.call("ping")["ok"])

    def test_what_is_refused(self):
        mux = self.start_listening()
        for question, code in ((b"GET / HTTP/1.1\r\n\r\n", 404), (b"GET /metrics/../x HTTP/1.1\r\n\r\n", 404), (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
                               (b"DELETE /healthz HTTP/1.1\r\n\r\n", 405), (b"\r\n\r\n", 400), (b"GET\r\n\r\n", 400), (b"GET /metrics\r\n\r\n", 400),
                               (b"GET /metrics SMTP/1.1\r\n\r\n", 400), (b"\0\xff\r\n\r\n", 400), (b" " * 100 + b"\r\n\r\n", 400)):
            answer = self.ask(question)
            self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % code), (question, answer[:60]))
        self.assertIn(self.ask(b"GET /metrics HTTP/1.1\r\n" + b"x" * 20000)[:13], (b"HTTP/1.1 431 ", b""))
        self.assertTrue(mux.call("ping")["ok"])

    def test_connections_are_bounded(self):
        mux = self.start_listening()
        held = [self.connect_inet() for _ in range(16)]
        for conn in held:
            conn.sendall(b"GET /met")
        extra = self.connect_inet()
        self.assertEqual(self.rest(extra), b"")
        self.assertTrue(mux.call("ping")["ok"])
        held[0].sendall(b"rics HTTP/1.1\r\n\r\n")
        self.assertTrue(self.rest(held[0]).startswith(b"HTTP/1.1 200 "))
        held[1].close()
        wait_until(lambda: self.ask(b"GET /healthz HTTP/1.1\r\n\r\n"), "room for one more")
        self.assertEqual(self.rest(held[2]), b"")  # the silent are hung up on

    def test_who_may_ask(self):
        self.start_listening(**{"metrics.allow": "192.0.2.1"})
        self.assertEqual(self.ask(b"GET /healthz HTTP/1.1\r\n\r\n"), b"")

    def test_a_path_and_an_unloaded_filter(self):
        folder = os.path.join(os.environ["POSTERN_BUILD"], "tests-tmp")
        path = os.path.join(folder, f"metrics.{os.getpid()}.sock")
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        mux = self.start({"metrics.listen": path}, filter_text="load fail\n", wait=False)
        def answer():
            with socket.socket(socket.AF_UNIX) as conn:
                conn.settimeout(30)
                conn.connect(path)
                conn.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
                return self.rest(conn)
        self.assertTrue(answer().startswith(b"HTTP/1.1 503 "))
        self.assertEqual(value(self.families(mux), "postern_generation"), 0)


if __name__ == "__main__":
    unittest.main()
