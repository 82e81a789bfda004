"""The handler for `logging`, and the one logger of a process."""

from __future__ import annotations

import atexit
import datetime
import json
import logging
import math
import os
import socket
import tempfile
import threading
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Union

from .backlog import Backlog
from .transport import Collector
from .worker import Counts, Worker

# What every LogRecord has; anything else was given as `extra`.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OWN = frozenset({"time", "level", "source", "id", "message"})
# A collector reads JSON of at most 127 levels, and numbers of at most 64 bits of floating point.
_DEPTH = 100
_LARGEST = 2**1023


class CollectorHandler(logging.Handler):
    """Sends records to a collector, from a thread of its own."""

    def __init__(
        self,
        url: str,
        source: str,
        *,
        level: int = logging.NOTSET,
        key: Optional[str] = None,
        ca_file: Optional[str] = None,
        folder: Optional[Union[str, "os.PathLike[str]"]] = None,
        folder_bytes: int = 100 * 1024 * 1024,
        queue_size: int = 10_000,
    ) -> None:
        """`url`: of an HTTP source, such as http://collector.example.com:5000/lines. `source`: the name of this program.
        `key`: one of the collector's keys. `folder`: where records wait while the collector is away, at most `folder_bytes`
        of them; it should outlive a restart of the host. `queue_size`: records in memory; what is more goes to the folder.
        """
        super().__init__(level)
        self._source = source
        self._host = socket.gethostname()
        self._make: Callable[[], Worker] = lambda: Worker(
            Collector(url, key=key, ca_file=ca_file),
            Backlog(Path(folder) if folder is not None else default_folder(source), folder_bytes),
            queue_size=queue_size,
        )
        self._worker: Optional[Worker] = self._make()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)
        atexit.register(self.close)

    @property
    def counts(self) -> Counts:
        """What became of the records."""
        return self._worker.counts if self._worker is not None else Counts()

    @property
    def problem(self) -> Optional[str]:
        """Why the collector did not take the last request, for people."""
        return self._worker.problem if self._worker is not None else None

    def emit(self, record: logging.LogRecord) -> None:
        """Queues a record. Never waits for the network, and never raises."""
        try:
            line = self.line(record)
            if self._worker is not None:
                self._worker.put(line)
        except Exception:  # noqa: BLE001 - logging must not stop the program
            self.handleError(record)

    def line(self, record: logging.LogRecord) -> bytes:
        """The record as a line of JSON."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        values: Dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "source": _readable(getattr(record, "source", None)) or self._source,
            "id": str(uuid.uuid4()),
            "message": record.getMessage(),
            "logger": record.name,
            "host": self._host,
            "pid": record.process,
            "thread": record.threadName,
            "file": f"{record.filename}:{record.lineno}",
        }
        if record.exc_info:
            formatter = self.formatter or logging.Formatter()
            values["exception"] = formatter.formatException(record.exc_info)
        for name, value in vars(record).items():
            if name not in _PLAIN and name != "source":
                values[f"{name}_" if name in _OWN else name] = _readable(value)
        text = json.dumps(values, default=_text, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode("utf-8", "replace")

    def flush(self) -> None:
        """Waits at most five seconds until everything is acknowledged. `logging.shutdown` calls it."""
        if self._worker is not None:
            self._worker.flush()

    def close(self) -> None:
        """Sends what it can; the rest waits in the folder for the next process."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()
        super().close()

    def _after_fork(self) -> None:
        # The thread and the lock of the folder are the parent's, and the parent sends what is queued.
        self.lock = threading.RLock()
        if self._worker is not None:
            self._worker = self._make()


def _readable(value: Any) -> Any:
    """The value, or its text if a collector could not read its JSON: it would refuse the record."""
    try:
        is_readable = _is_readable(value, _DEPTH)
    except Exception:  # noqa: BLE001 - any class may be among the values
        is_readable = False
    return value if is_readable else _text(value)


def _is_readable(value: Any, depth: int) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -_LARGEST < value < _LARGEST
    if isinstance(value, dict):
        names = all(isinstance(name, (str, int, float, type(None))) and _is_readable(name, 0) for name in value)
        return names and depth > 0 and all(_is_readable(item, depth - 1) for item in value.values())
    if isinstance(value, (list, tuple)):
        return depth > 0 and all(_is_readable(item, depth - 1) for item in value)
    return True


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a number of too many digits, or a class that cannot be shown
        return f"<{type(value).__name__}>"


class Logger(logging.Logger):
    """The standard logger, which also takes `log("INFO", "text", "MyService")`."""

    def log(self, level: Union[int, str], msg: object, *args: object, **kwargs: Any) -> None:
        """With the name of a level, the last argument is the source."""
        if isinstance(level, str):
            number = logging.getLevelName(level.upper())
            source = args[0] if args else None
            extra = dict(kwargs.pop("extra", None) or {})
            if source is not None:
                extra["source"] = source
            kwargs.setdefault("stacklevel", 2)
            super().log(number if isinstance(number, int) else logging.INFO, "%s", msg, extra=extra, **kwargs)
        else:
            kwargs.setdefault("stacklevel", 2)
            super().log(level, msg, *args, **kwargs)


_one = threading.Lock()
_handler: Optional[CollectorHandler] = None
_logger: Optional[Logger] = None


def setup(url: str, source: str, **options: Any) -> CollectorHandler:
    """Gives the process its one handler, and adds it to the root logger, which then takes every level from INFO on. The
    options are those of `CollectorHandler`. A second call gives the first handler.
    """
    global _handler
    with _one:
        if _handler is None:
            _handler = CollectorHandler(url, source, **options)
            root = logging.getLogger()
            root.addHandler(_handler)
            if root.level > logging.INFO or root.level == logging.NOTSET:
                root.setLevel(logging.INFO)
        return _handler


def logger() -> Logger:
    """The process's one logger, for programs that want no names: `logger().log("INFO", "text", "MyService")`."""
    global _logger
    with _one:
        if _logger is None:
            _logger = Logger("logferry")
            _logger.parent = logging.getLogger()
        return _logger


def default_folder(source: str) -> Path:
    """Where records wait if nobody says where: below `XDG_STATE_HOME`, else the home, else the folder for temporary files."""
    safe = "".join(character if character.isalnum() or character in "-._" else "_" for character in source)
    state = os.environ.get("XDG_STATE_HOME")
    home = os.path.expanduser("~")
    if state:
        base = Path(state)
    elif home and home != "~" and os.access(home, os.W_OK):
        base = Path(home) / ".local" / "state"
    else:
        base = Path(tempfile.gettempdir()) / f"state-{os.getuid() if hasattr(os, 'getuid') else 0}"
    return base / "logferry" / (safe or "program")
