"""A pod's server on a worker's port for metrics, which says what it is told to.

GET /metrics   the texts it was given, one after the other, again and again
PUT /say       a JSON list of them
GET /asked     how many times /metrics was read since
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 9090


class Handler(BaseHTTPRequestHandler):
    """One server has one state."""

    texts, asked = ("",), 0

    def do_GET(self):
        if self.path == "/metrics":
            text = Handler.texts[Handler.asked % len(Handler.texts)]
            Handler.asked += 1
            self.answer(text)
        else:
            self.answer(str(Handler.asked))

    def do_PUT(self):
        Handler.texts = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Handler.asked = 0
        self.answer("")

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """What is said is nobody's log."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
