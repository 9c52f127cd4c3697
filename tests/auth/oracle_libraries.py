"""libopendmarc and libspf2 as oracles, in a process of their own: reads one JSON object from stdin, prints one answer a line.

oracle_libraries.py opendmarc ROOT: { suffixes, jobs: [ { from, spf, dkim, zone } ] }, answers { result, disposition, spf, dkim }, or { error }.
oracle_libraries.py spf2 ROOT: { zones, jobs: [ { zone, ip, sender, helo } ] }, answers are results.
Each job has a process: what one leaves behind, or a crash, is not the next one's."""

import ctypes
import glob
import json
import os
import sys

ANSWERS = {15: ("pass", "none"), 16: ("fail", "reject"), 17: ("fail", "quarantine"), 18: ("fail", "none"), 14: ("none", "none")}
SPF_OUTCOMES = {"none": 0, "pass": 1, "fail": 2, "temperror": 3}
SPF_RESULTS = ["invalid", "neutral", "pass", "fail", "softfail", "none", "temperror", "permerror"]
TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
TRY_AGAIN = 2


def load(root, name):
    return ctypes.CDLL(sorted(glob.glob(os.path.join(root, "usr", "lib", "**", name), recursive=True))[0], mode=ctypes.RTLD_GLOBAL)


def pointers(library, *names):
    for name in names:
        getattr(library, name).restype = ctypes.c_void_p


def open_dmarc(root, given):
    load(root, "libspf2.so.2")
    library = load(root, "libopendmarc.so.2")
    pointers(library, "opendmarc_policy_connect_init")
    assert library.opendmarc_tld_read_file(given["suffixes"].encode(), b"//", b"*.", b"!") == 0
    return library


def judge_dmarc(library, _, job):
    context = ctypes.c_void_p(library.opendmarc_policy_connect_init(b"192.0.2.1", 4))
    library.opendmarc_dns_fake_record(b"no.such.record.invalid", b"")
    for name, texts in job["zone"].items():
        library.opendmarc_dns_fake_record(name.encode(), texts[0].encode())
    library.opendmarc_policy_store_from_domain(context, job["from"].encode())
    found = library.opendmarc_policy_query_dmarc(context, job["from"].encode())
    if found != 0:
        return {"result": "none", "disposition": "none", "spf": "fail", "dkim": "fail"}
    if job["spf"]["domain"]:
        library.opendmarc_policy_store_spf(context, job["spf"]["domain"].encode(), SPF_OUTCOMES[job["spf"]["result"]], 1, None)
    for one in job["dkim"]:
        library.opendmarc_policy_store_dkim(context, one["domain"].encode(), b"s", SPF_OUTCOMES[one["result"]], None)
    result, disposition = ANSWERS[library.opendmarc_get_policy_to_enforce(context)]
    dkim, spf = ctypes.c_int(0), ctypes.c_int(0)
    library.opendmarc_policy_fetch_alignment(context, ctypes.byref(dkim), ctypes.byref(spf))
    return {"result": result, "disposition": disposition, "spf": "pass" if spf.value == 4 else "fail", "dkim": "pass" if dkim.value == 4 else "fail"}


def open_spf(root, _):
    library = load(root, "libspf2.so.2")
    pointers(library, "SPF_dns_zone_new", "SPF_server_new_dns", "SPF_request_new")
    return library


def judge_spf(library, given, job):
    dns = ctypes.c_void_p(library.SPF_dns_zone_new(None, b"test", 0))
    for name, kinds in given["zones"][job["zone"]].items():
        for kind, values in kinds.items():
            for value in values if kind != "FAILS" else ():
                text = f"{value[0]} {value[1]}" if kind == "MX" else value
                library.SPF_dns_zone_add_str(dns, name.encode(), TYPES[kind], 0, text.encode("latin-1"))
        for kind in TYPES if "FAILS" in kinds else ():
            if kind not in kinds:
                library.SPF_dns_zone_add_str(dns, name.encode(), TYPES[kind], TRY_AGAIN, None)
    server = ctypes.c_void_p(library.SPF_server_new_dns(dns, 0))
    request = ctypes.c_void_p(library.SPF_request_new(server))
    (library.SPF_request_set_ipv6_str if ":" in job["ip"] else library.SPF_request_set_ipv4_str)(request, job["ip"].encode())
    library.SPF_request_set_helo_dom(request, job["helo"].encode())
    library.SPF_request_set_env_from(request, job["sender"].encode())
    response = ctypes.c_void_p()
    library.SPF_request_query_mailfrom(request, ctypes.byref(response))
    return SPF_RESULTS[library.SPF_response_result(response)]


def in_a_process(judge, *arguments):
    """What judge gives, or { error } when the library did not live to tell."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.write(writing, json.dumps(judge(*arguments)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        text = file.read()
    status = os.waitpid(pid, 0)[1]
    return json.loads(text) if status == 0 and text else {"error": f"ended with {status}"}


def main():
    which, root = sys.argv[1:]
    start, judge = {"opendmarc": (open_dmarc, judge_dmarc), "spf2": (open_spf, judge_spf)}[which]
    given = json.load(sys.stdin)
    library = start(root, given)
    sys.stdout.flush()
    for job in given["jobs"]:
        print(json.dumps(in_a_process(judge, library, given, job)), flush=True)


if __name__ == "__main__":
    main()
