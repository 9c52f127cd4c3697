"""Keys of our own, mails played in numbers, and what dkimpy and Mail::DKIM say of them."""

import atexit
import base64
import functools
import json
import logging
import os
import subprocess

import dkim

from common import CTL, FAKE_DNS, PATIENCE, Folder, lua, zone

logging.disable(logging.CRITICAL)


class Keys:
    """RSA keys and one of Ed25519, as files and as records; made once."""

    SIZES = {"rsa": 2048, "small": 1024}

    def __init__(self):
        self.folder = Folder("dkim-keys")
        self.paths, self.records = {}, {}
        commands = {name: ["genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"] for name, bits in self.SIZES.items()}
        for name, arguments in (commands | {"ed25519": ["genpkey", "-algorithm", "ED25519"]}).items():
            path = self.folder.write(name + ".pem", "")
            subprocess.run(["openssl", *arguments, "-out", path], check=True, capture_output=True)
            os.chmod(path, 0o600)
            public = subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
            self.paths[name] = path
            kind = "ed25519" if name == "ed25519" else "rsa"
            self.records[name] = f"v=DKIM1; k={kind}; p=" + base64.b64encode(public[-32:] if kind == "ed25519" else public).decode()

    def pem(self, name):
        with open(self.paths[name], "rb") as file:
            text = file.read()
        if name != "ed25519":
            done = subprocess.run(["openssl", "rsa", "-traditional"], input=text, check=True, capture_output=True)
            return done.stdout
        der = base64.b64decode(b"".join(text.split(b"\n")[1:-2]))
        return base64.b64encode(der[-32:])

    def zone(self):
        return {f"{name}._domainkey.example.com": [("TXT", record)] for name, record in self.records.items()}


@functools.lru_cache(None)
def keys():
    made = Keys()
    atexit.register(made.folder.remove)
    return made


def run_many(folder, code, mails, records, *options):
    """Plays many mails; a list of results in their order. records: None for the real resolver."""
    text = code if records is None else f"{FAKE_DNS}fake.zone = {lua(zone(records))}\n{code}"
    path = folder.write("filter.lua", text.encode())
    files = [folder.write(f"m{i:04d}.eml", mail) for i, mail in enumerate(mails)]
    done = subprocess.run([CTL, "run", "--json", "-o", f"worker.read_paths={keys().folder.path}:{folder.path}", *options, path, *files], capture_output=True, timeout=110 * PATIENCE, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(mails), done.stderr.decode()
    return results


def dkimpy_says(mail, records):
    def dnsfunc(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        rows = [row[1] for row in records.get(name.rstrip("."), []) if row[0] == "TXT"]
        return rows[0].encode() if rows else None
    try:
        return dkim.verify(mail, dnsfunc=dnsfunc)
    except dkim.DKIMException:
        return False


def perl(jobs, records):
    """What Mail::DKIM answers to the jobs of oracle.pl."""
    records = {name: rows[0][1] for name, rows in records.items()}
    for job in jobs:
        job["mail"] = base64.b64encode(job["mail"]).decode()
    done = subprocess.run(["perl", os.path.join(os.path.dirname(__file__), "oracle.pl")], input=json.dumps({"zone": records, "jobs": jobs}).encode(),
                          capture_output=True, check=True, timeout=110 * PATIENCE)
    return done.stdout.decode().splitlines()
