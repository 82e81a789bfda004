"""Records that wait in files: requests that were not answered, each with its key.

A process has a folder of its own below the backlog's folder, and holds a lock in it for as long as it lives. The folder of a
process that is gone is taken over by another one. The name of a file is `NUMBER-KEY.ndjson`; its content is the body.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path
from typing import IO, Iterator, List, NamedTuple, Optional

LOCK_NAME = "lock"


class Waiting(NamedTuple):
    """A request that waits."""

    path: Path
    key: str

    def body(self) -> bytes:
        """Its records."""
        return self.path.read_bytes()


class Backlog:
    """The waiting requests of this process, and of those before it that are gone."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._own = folder / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._own.mkdir()
        lock = _lock(self._own / LOCK_NAME)
        if lock is None:
            raise OSError(f"cannot lock {self._own / LOCK_NAME}, which nobody else can know")
        self._locks: List[IO[bytes]] = [lock]
        self._folders: List[Path] = [self._own]
        self._number = 0
        self.take_over()

    def take_over(self) -> None:
        """Takes the folders of processes that are gone. Their requests come before our own."""
        for folder in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            if folder in self._folders:
                continue
            lock = _lock(folder / LOCK_NAME)
            if lock is not None:
                self._folders.insert(len(self._folders) - 1, folder)
                self._locks.append(lock)

    def add(self, body: bytes, key: str) -> Optional[Waiting]:
        """Keeps a request; `None` if there is no room. When it returns, the file is on stable storage."""
        if self.size() + len(body) > self.max_bytes:
            return None
        self._number += 1
        path = self._own / f"{self._number:012}-{key}.ndjson"
        temporary = path.with_suffix(".tmp")
        try:
            with open(temporary, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(self._own)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            return None
        return Waiting(path, key)

    def waiting(self) -> Iterator[Waiting]:
        """The requests, the oldest first."""
        for folder in self._folders:
            for path in sorted(folder.glob("*.ndjson")):
                yield Waiting(path, path.stem.split("-", 1)[1])

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return next(self.waiting(), None) is None

    def size(self) -> int:
        """Bytes of all that waits."""
        total = 0
        for request in self.waiting():
            with contextlib.suppress(OSError):
                total += request.path.stat().st_size
        return total

    def done(self, request: Waiting) -> None:
        """The request was taken."""
        with contextlib.suppress(OSError):
            request.path.unlink()

    def refuse(self, request: Waiting) -> None:
        """The collector does not want the request: it stays as a file for people, `NAME.refused`."""
        with contextlib.suppress(OSError):
            os.replace(request.path, self.folder / (request.path.stem + ".refused"))

    def close(self) -> None:
        """Gives up the folders; empty ones go."""
        for folder in self._folders:
            if not any(folder.glob("*.ndjson")):
                shutil.rmtree(folder, ignore_errors=True)
        for lock in self._locks:
            lock.close()
        self._locks.clear()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows has no handle of a folder to sync.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(path: Path) -> Optional[IO[bytes]]:
    """The locked file, or `None` if another process holds it. The lock goes with the process."""
    try:
        file = open(path, "ab")
    except OSError:
        return None
    try:
        if os.name == "nt":
            _lock_windows(file)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _lock_windows(file: IO[bytes]) -> None:
    import importlib

    msvcrt = importlib.import_module("msvcrt")
    file.seek(0)
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
