"""conf/nginx-urls.conf with the real nginx, unpacked and not installed: what the store made is served to be saved, and nothing else is."""

import os
import subprocess
import unittest
import urllib.error
import urllib.request

from links import SOURCE, URL, Links, attachment, mixed, wait_until
from harness.process import CACHE, Process, loopback_address

NGINX = os.path.join(CACHE, "web", "usr", "sbin", "nginx")
FILTER = """
function filter_message(msg)
    for part in msg:parts() do
        if part.disposition == "attachment" then part:replace_with_url() end
    end
end
"""
CONF = """
daemon off;
master_process off;
pid @FOLDER@/nginx.pid;
error_log @FOLDER@/error.log;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path @FOLDER@/temp;
    proxy_temp_path @FOLDER@/temp;
    fastcgi_temp_path @FOLDER@/temp;
    uwsgi_temp_path @FOLDER@/temp;
    scgi_temp_path @FOLDER@/temp;
    types { text/html html; }
    server {
        listen @ADDRESS@:8080;
        include @FOLDER@/nginx-urls.conf;
    }
}
"""
SAFE = {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox", "Referrer-Policy": "no-referrer", "Cache-Control": "private, no-store",
        "X-Robots-Tag": "noindex, nofollow"}


class Web(Links):
    filter = FILTER

    def setUp(self):
        if not os.path.exists(NGINX):
            raise AssertionError(f"nginx is not unpacked ({NGINX}); tools/test does that")
        super().setUp()
        self.address = loopback_address()
        with open(os.path.join(SOURCE, "conf", "nginx-urls.conf"), encoding="utf-8") as file:
            sample = file.read()
        self.assertIn("/srv/postern-files/", sample)
        self.folder.write("nginx-urls.conf", sample.replace("/srv/postern-files", self.folder("files")))
        self.conf = self.folder.write("nginx.conf", CONF.replace("@FOLDER@", self.folder.path).replace("@ADDRESS@", self.address))
        self.argv = [NGINX, "-p", self.folder.path, "-e", self.folder("error.log"), "-c", self.conf]
        self.nginx = Process(self.argv, self.folder("nginx.log"))
        self.addCleanup(self.nginx.stop)
        wait_until(lambda: self.fetch("/")[0], lambda: "nginx to answer:\n" + self.nginx.output())

    def fetch(self, path, method="GET"):
        """(status, headers, body); status None: nobody answers."""
        request = urllib.request.Request(f"http://{self.address}:8080{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, b""
        except (urllib.error.URLError, ConnectionError):
            return None, {}, b""

    def test_the_sample_is_sound(self):
        done = subprocess.run([*self.argv, "-t"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("warn", done.stderr)

    def test_what_was_stored_is_served_to_be_saved(self):
        content = b"<script>alert(1)</script>"
        (path,) = (path.decode() for path in URL.findall(self.body_of(self.send("", mixed(attachment(content, "page.html"))))))
        status, headers, body = self.fetch(f"/mail/{path}")
        self.assertEqual((status, body), (200, content), self.nginx.output())
        self.assertEqual({name: headers[name] for name in SAFE}, SAFE)
        self.assertEqual(self.fetch(f"/mail/{path}", "HEAD")[0], 200)
        for method in ("POST", "PUT", "DELETE"):
            self.assertIn(self.fetch(f"/mail/{path}", method)[0], (403, 405), method)

    def test_nothing_else_is_served(self):
        (path,) = (path.decode() for path in URL.findall(self.body_of(self.send("", mixed(attachment(b"x"))))))
        shard, name = path.split("/")
        temporary = "0123456789abcdef01234567"
        self.folder.write(f"files/{shard}/.new-{temporary}", "half")
        self.folder.write(f"files/{shard}/page.html", "no")
        self.folder.write("files/page.html", "no")
        linked = "ab" + "0" * 38 + ".bin"
        os.symlink("/etc/passwd", self.folder("files", shard, linked))
        for wrong in ("/mail/", "/mail", f"/mail/{shard}/", f"/mail/{shard}/.new-{temporary}", f"/mail/{shard}/page.html", "/mail/page.html",
                      f"/mail/{shard}/{linked}", f"/mail/{name}", f"/mail/{shard}/../{path}x", f"/mail/{shard}/%2e%2e/{shard}/{name}.html",
                      f"/mail/{path.upper()}", f"/mail/{path}/index.php", "/mail/../state/urls/key"):
            self.assertIn(self.fetch(wrong)[0], (400, 403, 404, 405), wrong)
        self.assertEqual(self.fetch(f"/mail/{path}")[0], 200)

    def test_a_deleted_one_is_gone(self):
        (path,) = (path.decode() for path in URL.findall(self.body_of(self.send("", mixed(attachment(b"x"))))))
        self.urls("delete", f"https://files.example.org/mail/{path}")
        self.assertEqual(self.fetch(f"/mail/{path}")[0], 404)


if __name__ == "__main__":
    unittest.main()
