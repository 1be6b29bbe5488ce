# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""A store that answers as etcd does, and lies: hostile_store.py PORT FILE. FILE says how, and may change: the first line is the way,
what follows is a value's revision and contents.
"""

import base64
import http.server
import json
import sys
import time
from pathlib import Path

PLAN = Path(sys.argv[2])


class Store(http.server.BaseHTTPRequestHandler):
    """Asks the plan at each request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        way, revision, contents = PLAN.read_text().split("\n", 2)
        if way == "hang":
            time.sleep(600)
        self.send_response(200)
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        if way == "endless":
            while True:
                self.wfile.write(b" " * 65536)
        if way == "html":
            self.wfile.write(b"<html>log in first</html>\n")
        if way == "value" and self.path.endswith("range"):
            value = base64.b64encode(contents.encode()).decode()
            pairs = [{"key": "aw==", "mod_revision": revision, "value": value}]
            answer = {"header": {"cluster_id": "7", "revision": revision}, "kvs": pairs}
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Store).serve_forever()
