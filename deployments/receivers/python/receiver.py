"""A complete receiver of Popsee webhooks for Python, with nothing but its
standard library. Run it:  WEBHOOK_SECRET=... PORT=8000 python3 receiver.py
"""
import hashlib
import hmac
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["WEBHOOK_SECRET"].encode()
MAX_BODY = 8 * 1024 * 1024  # more than any event

# Deliveries already handled. Keep this where it survives a restart: in the same
# database, and the same transaction, as what you do with the event.
seen = set()
lock = threading.Lock()


def genuine(body: bytes, header: str) -> bool:
    """The signature covers the raw bytes. Verify before parsing: JSON that is
    parsed and written again is not the same bytes."""
    expected = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(header.encode(), expected.encode())


def first_time(delivery: str) -> bool:
    with lock:
        if delivery in seen:
            return False
        seen.add(delivery)
        return True


def handle(event: dict) -> None:
    """Your work goes here, after the answer: the sender waits five seconds at most."""


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the sender's connection open

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        if size > MAX_BODY:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(size)
        if not genuine(body, self.headers.get("X-Popsee-Signature", "")):
            return self.answer(401)
        try:
            event = json.loads(body)
        except ValueError:
            return self.answer(400)
        delivery = self.headers.get("X-Popsee-Delivery", "")
        if not first_time(delivery):
            print(f"duplicate {delivery}", flush=True)
            return self.answer(200)  # it was accepted before: say so again
        self.answer(200)
        print(f"accepted {delivery}", flush=True)
        threading.Thread(target=handle, args=(event,)).start()

    def do_GET(self):
        self.answer(405)

    do_PUT = do_DELETE = do_PATCH = do_GET

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8000))), Receiver)
server.daemon_threads = True
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
