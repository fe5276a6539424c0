"""Stands in for a node: `/health/ready` is fine, everything else answers with what it was told.

With REWINDOW_STAND_IN=refuse it ends at once, the way a node does that can't start.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        told = {name: value for name, value in os.environ.items() if name.startswith("REWINDOW_")}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *_said: object) -> None:
        return


if __name__ == "__main__":
    if os.environ.get("REWINDOW_STAND_IN") == "refuse":
        sys.exit("the stand-in refuses to start")
    HTTPServer(
        (os.environ["REWINDOW_HOST"], int(os.environ["REWINDOW_PORT"])), Handler
    ).serve_forever()
