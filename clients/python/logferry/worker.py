"""The background thread: takes records from a bounded queue and has them acknowledged."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Deque, List, NamedTuple, Optional, Set

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


class Batch(NamedTuple):
    """Lines that are sent as one request."""

    number: int
    key: str
    lines: List[bytes]


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
        # What was taken from the queue and is neither settled nor in a file. `_filing` is held while lines go into files, so that
        # `close` waits for a file that is being written.
        self._in_flight: Optional[Batch] = None
        self._filing = threading.Lock()
        self._error: Optional[str] = None
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
        """Why the collector did not take the last request, or why records cannot be put into files."""
        return self._collector.problem or self._backlog.problem or self._error

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
            while self._queue or self._in_flight or not self._is_idle or not self._backlog.is_empty():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.05))
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Ends the thread. What is not acknowledged then is in the backlog, for the next process."""
        end = time.monotonic() + timeout
        self.flush(timeout)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        # It may wait for an answer longer than the program can. What it waits for is kept, with the key that was sent.
        self._thread.join(max(end - time.monotonic(), 0.1))
        self._keep_in_flight()
        self._spill()
        self._backlog.close()
        if not self._thread.is_alive():
            self._collector.close()

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._work()
                self._error = None
            except Exception as error:  # noqa: BLE001 - without this thread nothing is sent any more
                self._error = f"{type(error).__name__}: {error}"
                self._put_off()

    def _wait_for_work(self) -> bool:
        """`False` if there will be none any more."""
        with self._changed:
            self._is_idle = True
            self._changed.notify_all()
            while not self._is_closing:
                wait = self._wait_time(time.monotonic())
                if wait is not None and wait <= 0:
                    break
                self._changed.wait(wait)
            self._is_idle = False
            return not self._is_closing

    def _work(self) -> None:
        if 0 < len(self._queue) < self._batch_records and self._delay > 0:
            # A burst becomes one request.
            time.sleep(self._delay)
        if time.monotonic() >= self._next_try:
            self._send_backlog()
            self._send_queue()
        else:
            self._next_file = time.monotonic() + self._file_delay
            self._keep_in_flight()
            self._spill()

    def _wait_time(self, now: float) -> Optional[float]:
        """How long nothing is to be done; `None`: until something changes."""
        if self._queue or self._in_flight:
            return min(self._next_try, self._next_file) - now
        return None if self._backlog.is_empty() else self._next_try - now

    def _send_backlog(self) -> None:
        self._backlog.take_over()
        while time.monotonic() >= self._next_try and not self._is_closing:
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
            with self._changed:
                if self._is_closing:
                    return
                batch = self._in_flight = self._in_flight or self._take()
            if batch is None:
                return
            if not self._deliver(batch.lines, batch.key):
                self._keep_in_flight()
                return
            self._settled.clear()
            with self._changed:
                self._in_flight = None

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
            self._put_off(self._collector.retry_after)
        else:
            self._retry = self._retry_first
            self._next_try = 0.0
        return outcome

    def _put_off(self, pause: Optional[float] = None) -> None:
        self._next_try = time.monotonic() + (self._retry if pause is None else pause)
        self._retry = min(self._retry * 2, self._retry_longest)

    def _take(self) -> Optional[Batch]:
        """The first lines of the queue. The caller holds `_changed`."""
        lines: List[bytes] = []
        size = 0
        while self._queue and len(lines) < self._batch_records:
            size += len(self._queue[0])
            if lines and size > self._batch_bytes:
                break
            lines.append(self._queue.popleft())
        if not lines:
            return None
        self._number += 1
        return Batch(self._number, uuid.uuid4().hex, lines)

    def _keep_in_flight(self) -> None:
        """Puts the batch in flight into a file. If that fails, it stays in flight until the end."""
        with self._filing:
            batch = self._in_flight
            if batch is None:
                return
            is_kept = self._add(batch)
            if not is_kept and self._is_closing:
                self.counts.dropped += len(batch.lines)
            with self._changed:
                # It may have been settled meanwhile; then the file is sent again with its key.
                if is_kept or self._is_closing:
                    self._in_flight = None

    def _spill(self) -> None:
        """Puts the whole queue into files. What finds no room there stays in the queue as long as it has room."""
        with self._filing:
            while True:
                with self._changed:
                    batch = self._take()
                if batch is None:
                    return
                if self._add(batch):
                    continue
                with self._changed:
                    if self._is_closing or len(self._queue) + len(batch.lines) > self._queue_size:
                        self.counts.dropped += len(batch.lines)
                    else:
                        self._queue.extendleft(reversed(batch.lines))
                    if not self._is_closing:
                        return

    def _add(self, batch: Batch) -> bool:
        return self._backlog.add(b"".join(batch.lines), batch.key, batch.number)
