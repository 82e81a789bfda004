"""Posts bodies to a collector."""

from __future__ import annotations

import enum
import gzip
import http.client
import ssl
import urllib.parse
from typing import Optional

# Whatever an answer says, in seconds: what is between may be wrong, or not be a collector at all.
LONGEST_PAUSE = 600.0


class Outcome(enum.Enum):
    """What became of a request."""

    TAKEN = "taken"
    """The records are on stable storage."""
    LATER = "later"
    """Nobody knows, or the collector asks to wait. The same body is to be posted again with the same key."""
    REFUSED = "refused"
    """The collector does not want the body as a whole; posting it again changes nothing."""


class Collector:
    """An address of a collector's HTTP source. Used by one thread at a time; it keeps one connection open."""

    def __init__(
        self,
        url: str,
        *,
        key: Optional[str] = None,
        ca_file: Optional[str] = None,
        timeout: float = 10.0,
        compress_from: int = 1024,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a collector; write it like http://collector.example.com:5000/lines")
        self._host = parts.hostname
        self._port = parts.port
        self._path = parts.path if parts.path not in ("", "/") else "/lines"
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._key = key
        self._timeout = timeout
        self._compress_from = compress_from
        self._connection: Optional[http.client.HTTPConnection] = None
        self.problem: Optional[str] = None
        """Why the last request was not taken, for people."""
        self.retry_after: Optional[float] = None
        """How many seconds the collector asked to wait."""

    def post(self, body: bytes, idempotency_key: str) -> Outcome:
        """Posts records, one JSON object a line. Never raises because of the network."""
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": idempotency_key}
        if self._key is not None:
            headers["X-API-Key"] = self._key
        if len(body) >= self._compress_from:
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        self.retry_after = None
        try:
            connection = self._open()
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            text = response.read(64 * 1024).decode("utf-8", "replace")
            if response.isclosed() is False:
                self.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self.problem = f"{self._host}: {error or type(error).__name__}"
            return Outcome.LATER
        status = response.status
        if 200 <= status < 300:
            self.problem = None
            return Outcome.TAKEN
        self.problem = f"{self._host} answered {status}: {text.strip()[:200]}"
        self.retry_after = _seconds(response.getheader("Retry-After"))
        # Any other answer is about the address, the key or the collector. That is mended there or here; the records wait for it.
        return Outcome.REFUSED if status in (400, 413, 422) else Outcome.LATER

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> http.client.HTTPConnection:
        if self._connection is None:
            if self._tls is not None:
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout, context=self._tls
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return self._connection


def _seconds(text: Optional[str]) -> Optional[float]:
    try:
        return None if text is None else min(max(0.0, float(text)), LONGEST_PAUSE)
    except ValueError:
        return None
