"""The background thread: takes records from a bounded queue and has them acknowledged."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Deque, List, Optional

from .backlog import Backlog, Waiting
from .transport import Collector, Outcome


@dataclass
class Counts:
    """Records since the process began."""

    taken: int = 0
    """Acknowledged: on the collector's stable storage."""
    dropped: int = 0
    """Lost: queue and backlog were full."""
    refused: int = 0
    """Not wanted by the collector; kept as `.refused` files."""


class Worker:
    """Sends lines in batches, in their order.

    `put` never waits for the network. A line is in memory first; it is in a file when the collector did not take it, when the
    queue is full, and at the end of the process.
    """

    def __init__(
        self,
        collector: Collector,
        backlog: Backlog,
        *,
        queue_size: int = 10_000,
        batch_records: int = 500,
        batch_bytes: int = 512 * 1024,
        delay: float = 0.2,
        retry_first: float = 0.5,
        retry_longest: float = 30.0,
    ) -> None:
        self.counts = Counts()
        self._collector = collector
        self._backlog = backlog
        self._queue_size = queue_size
        self._batch_records = batch_records
        self._batch_bytes = batch_bytes
        self._delay = delay
        self._retry_first = retry_first
        self._retry_longest = retry_longest
        self._retry = retry_first
        self._next_try = 0.0
        self._queue: Deque[bytes] = deque()
        self._changed = threading.Condition()
        # Held while lines are between queue and file or collector, so that their order stays.
        self._order = threading.Lock()
        self._is_idle = True
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="logferry", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> Optional[str]:
        """Why the collector did not take the last request."""
        return self._collector.problem

    def put(self, line: bytes) -> None:
        """Takes a line of JSON that ends in a newline."""
        with self._changed:
            self._queue.append(line)
            is_full = len(self._queue) > self._queue_size
            self._changed.notify_all()
        if is_full:
            self._spill()

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits until every line is acknowledged; `False` if it takes longer."""
        end = time.monotonic() + timeout
        with self._changed:
            self._next_try = 0.0
            self._changed.notify_all()
            while self._queue or not self._is_idle or not self._backlog.is_empty():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.05))
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Ends the thread. What is not acknowledged then is in the backlog, for the next process."""
        self.flush(timeout)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        self._spill()
        self._backlog.close()
        self._collector.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_idle = True
                self._changed.notify_all()
                while not self._is_closing and not self._is_due():
                    self._changed.wait(self._wait_time())
                if self._is_closing:
                    return
                self._is_idle = False
            if not self._queue_is_ready():
                # A burst becomes one request.
                time.sleep(self._delay)
            with self._order:
                self._send_backlog()
                self._send_queue()

    def _is_due(self) -> bool:
        is_waiting = bool(self._queue) or not self._backlog.is_empty()
        return is_waiting and time.monotonic() >= self._next_try

    def _wait_time(self) -> Optional[float]:
        if not self._queue and self._backlog.is_empty():
            return None
        return max(0.01, self._next_try - time.monotonic())

    def _queue_is_ready(self) -> bool:
        with self._changed:
            return len(self._queue) >= self._batch_records or not self._queue

    def _send_backlog(self) -> None:
        self._backlog.take_over()
        for request in self._backlog.waiting():
            if time.monotonic() < self._next_try:
                return
            body = request.body()
            outcome = self._post(body, request.key)
            if outcome is Outcome.LATER:
                return
            self._settle(request, body, outcome)

    def _settle(self, request: Waiting, body: bytes, outcome: Outcome) -> None:
        lines = body.splitlines(keepends=True)
        if outcome is Outcome.TAKEN:
            self.counts.taken += len(lines)
            self._backlog.done(request)
        elif outcome is Outcome.TOO_LARGE and len(lines) > 1:
            # The same halves have the same keys, should this process end between them.
            middle = len(lines) // 2
            for part, half in (("a", lines[:middle]), ("b", lines[middle:])):
                self._keep(half, f"{request.key}{part}")
            self._backlog.done(request)
        else:
            self.counts.refused += len(lines)
            self._backlog.refuse(request)

    def _send_queue(self) -> None:
        while time.monotonic() >= self._next_try and self._backlog.is_empty():
            lines = self._take()
            if not lines:
                return
            key = uuid.uuid4().hex
            body = b"".join(lines)
            outcome = self._post(body, key)
            if outcome is Outcome.TAKEN:
                self.counts.taken += len(lines)
                continue
            request = self._keep(lines, key)
            if request is not None and outcome is not Outcome.LATER:
                self._settle(request, body, outcome)

    def _post(self, body: bytes, key: str) -> Outcome:
        outcome = self._collector.post(body, key)
        if outcome is Outcome.LATER:
            pause = self._collector.retry_after
            self._next_try = time.monotonic() + (self._retry if pause is None else pause)
            self._retry = min(self._retry * 2, self._retry_longest)
        else:
            self._retry = self._retry_first
            self._next_try = 0.0
        return outcome

    def _take(self) -> List[bytes]:
        lines: List[bytes] = []
        size = 0
        with self._changed:
            while self._queue and len(lines) < self._batch_records:
                size += len(self._queue[0])
                if lines and size > self._batch_bytes:
                    break
                lines.append(self._queue.popleft())
        return lines

    def _spill(self) -> None:
        """Puts the whole queue into files."""
        with self._order:
            while True:
                lines = self._take()
                if not lines:
                    return
                self._keep(lines, uuid.uuid4().hex)

    def _keep(self, lines: List[bytes], key: str) -> Optional[Waiting]:
        request = self._backlog.add(b"".join(lines), key)
        if request is None:
            self.counts.dropped += len(lines)
        return request
