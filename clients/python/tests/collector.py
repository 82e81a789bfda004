"""A collector for tests: keeps records in memory, once for each key, and can be made to fail."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Optional, Tuple


class FakeCollector:
    """Listens on a free port. `answer` decides about each request: a status, or `None` to store and cut the line."""

    def __init__(self, port: int = 0) -> None:
        self.records: List[Dict[str, Any]] = []
        self.requests: List[Tuple[str, Dict[str, str]]] = []
        self.answer: Callable[[int], Optional[int]] = lambda _number: 201
        self._known: Dict[str, bytes] = {}
        self._lock = threading.Lock()
        outer = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status = outer.take(body, {name.lower(): value for name, value in self.headers.items()})
                if status is None:
                    self.close_connection = True
                    return
                text = b"reason\n"
                self.send_response(status)
                if status == 503:
                    self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Door)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/lines"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def take(self, body: bytes, headers: Dict[str, str]) -> Optional[int]:
        with self._lock:
            key = headers["idempotency-key"]
            self.requests.append((key, headers))
            status = self.answer(len(self.requests))
            if status is None or status < 300:
                if key not in self._known:
                    self._known[key] = body
                    self.records.extend(json.loads(line) for line in body.splitlines())
                elif self._known[key] != body:
                    raise AssertionError("another body with the same key")
            return status

    def messages(self) -> List[str]:
        with self._lock:
            return [record["message"] for record in self.records]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
