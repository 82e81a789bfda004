"""The background thread: takes records from a bounded queue and has them acknowledged."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Deque, List, Optional, Set, Tuple

from .backlog import Backlog
from .transport import Collector, Outcome


@dataclass
class Counts:
    """Records since the process began."""

    taken: int = 0
    """Acknowledged: on the collector's stable storage."""
    dropped: int = 0
    """Lost: queue and backlog were full."""
    refused: int = 0
    """Not wanted by the collector; kept in `.refused` files."""


class Worker:
    """Sends lines in batches, in their order.

    `put` never waits for the network. A line is in memory first; it is in a file when the collector did not take it, when the
    queue is full, within a second while the collector is away, and at the end of the process.
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
        file_delay: float = 1.0,
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
        self._file_delay = file_delay
        self._retry_first = retry_first
        self._retry_longest = retry_longest
        self._retry = retry_first
        self._next_try = 0.0
        self._next_file = 0.0
        self._queue: Deque[bytes] = deque()
        # Batches are numbered when they are taken from the queue: that is their order, in files too.
        self._number = 0
        # Keys of the parts of a batch that are settled, until all of it is.
        self._settled: Set[str] = set()
        self._changed = threading.Condition()
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
                while not self._is_closing:
                    wait = self._wait_time(time.monotonic())
                    if wait is not None and wait <= 0:
                        break
                    self._changed.wait(wait)
                if self._is_closing:
                    return
                self._is_idle = False
                is_small = 0 < len(self._queue) < self._batch_records
            if is_small and self._delay > 0:
                # A burst becomes one request.
                time.sleep(self._delay)
            if time.monotonic() >= self._next_try:
                self._send_backlog()
                self._send_queue()
            else:
                self._spill()
                self._next_file = time.monotonic() + self._file_delay

    def _wait_time(self, now: float) -> Optional[float]:
        """How long nothing is to be done; `None`: until something changes."""
        if self._queue:
            return min(self._next_try, self._next_file) - now
        return None if self._backlog.is_empty() else self._next_try - now

    def _send_backlog(self) -> None:
        self._backlog.take_over()
        while time.monotonic() >= self._next_try:
            request = self._backlog.next()
            if request is None:
                return
            try:
                body = request.body()
            except OSError:
                # Somebody has removed the file.
                self._backlog.done(request)
                continue
            if not self._deliver(body.splitlines(keepends=True), request.key):
                return
            self._settled.clear()
            self._backlog.done(request)

    def _send_queue(self) -> None:
        while time.monotonic() >= self._next_try and self._backlog.is_empty():
            number, lines = self._take()
            if not lines:
                return
            key = uuid.uuid4().hex
            if self._deliver(lines, key):
                self._settled.clear()
            else:
                self._keep(number, lines, key)

    def _deliver(self, lines: List[bytes], key: str) -> bool:
        """Posts lines, and if they are not wanted as a whole, each half. Whether all of them are settled: taken, or refused alone.

        Equal halves have equal keys. So a file stays whole until all of it is settled, and nothing comes twice.
        """
        if key in self._settled:
            return True
        outcome = self._post(b"".join(lines), key)
        if outcome is Outcome.LATER:
            return False
        if outcome is Outcome.TAKEN:
            self.counts.taken += len(lines)
        elif len(lines) > 1:
            middle = len(lines) // 2
            if not self._deliver(lines[:middle], f"{key}a") or not self._deliver(lines[middle:], f"{key}b"):
                return False
        elif self._backlog.refuse(b"".join(lines)):
            self.counts.refused += len(lines)
        else:
            self.counts.dropped += len(lines)
        self._settled.add(key)
        return True

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

    def _take(self) -> Tuple[int, List[bytes]]:
        lines: List[bytes] = []
        size = 0
        with self._changed:
            self._number += 1
            while self._queue and len(lines) < self._batch_records:
                size += len(self._queue[0])
                if lines and size > self._batch_bytes:
                    break
                lines.append(self._queue.popleft())
            return self._number, lines

    def _spill(self) -> None:
        """Puts the whole queue into files."""
        while True:
            number, lines = self._take()
            if not lines:
                return
            self._keep(number, lines, uuid.uuid4().hex)

    def _keep(self, number: int, lines: List[bytes], key: str) -> None:
        if not self._backlog.add(b"".join(lines), key, number):
            self.counts.dropped += len(lines)
