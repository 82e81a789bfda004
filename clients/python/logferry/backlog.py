"""Records that wait in files: requests that were not answered, each with its key.

A process has a folder of its own below the backlog's folder, and holds a lock in it for as long as it lives. The folder of a
process that is gone is taken over by another one. The name of a file is `NUMBER-KEY.ndjson`; its content is the body. Records that
the collector does not want are in `.refused` files beside the folders, one a process.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import shutil
import threading
import uuid
from pathlib import Path
from typing import IO, Iterator, List, NamedTuple, Optional, Tuple

LOCK_NAME = "lock"
# The part of the room that refused records may take: they must not keep others out.
REFUSED_SHARE = 2
# Another process may take the lock of a new folder before its own does.
FOLDER_TRIES = 5


class Waiting(NamedTuple):
    """A request that waits. They are ordered as they are to be sent: those of processes that are gone come first."""

    order: Tuple[int, str, int]
    key: str
    path: Path
    size: int

    def body(self) -> bytes:
        """Its records."""
        return self.path.read_bytes()


class Backlog:
    """The waiting requests of this process, and of those before it that are gone. Any thread may use it."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self.problem: Optional[str] = None
        """Why the last request could not be kept, for people."""
        self._own, lock = _new_folder(folder)
        self._locks: List[IO[bytes]] = [lock]
        self._folders: List[Path] = [self._own]
        self._waiting: List[Waiting] = []
        self._bytes = 0
        self._refused_bytes = _size_of_refused(folder)
        self._changing = threading.Lock()
        self.take_over()

    def take_over(self) -> None:
        """Takes the folders of processes that are gone. What cannot be read now is looked at again the next time."""
        try:
            folders = sorted(path for path in self.folder.iterdir() if path.is_dir())
        except OSError:
            return
        for folder in folders:
            if folder in self._folders:
                continue
            lock = _lock(folder / LOCK_NAME)
            if lock is None:
                continue
            try:
                requests = list(_requests_in(folder))
            except OSError:
                lock.close()
                continue
            self._folders.append(folder)
            self._locks.append(lock)
            for request in requests:
                self._insert(request)

    def add(self, body: bytes, key: str, number: int) -> bool:
        """Keeps a request; whether there was room. When it returns, the file is on stable storage."""
        if not self._has_room(len(body)):
            self.problem = f"{self.folder} is full: at most {self.max_bytes} bytes may wait there"
            return False
        if not self._own.is_dir():
            # Somebody has removed it.
            with contextlib.suppress(OSError):
                self._own, lock = _new_folder(self.folder)
                self._folders.append(self._own)
                self._locks.append(lock)
        path = self._own / f"{number:012}-{key}.ndjson"
        temporary = path.with_suffix(".tmp")
        try:
            with open(temporary, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(self._own)
        except OSError as error:
            self.problem = f"cannot keep records in {path}: {error}"
            with contextlib.suppress(OSError):
                temporary.unlink()
            return False
        self.problem = None
        self._insert(Waiting((1, "", number), key, path, len(body)))
        return True

    def next(self) -> Optional[Waiting]:
        """The request that is to be sent next."""
        with self._changing:
            return self._waiting[0] if self._waiting else None

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.next() is None

    def done(self, request: Waiting) -> None:
        """The request was taken."""
        with contextlib.suppress(OSError):
            request.path.unlink()
        self._remove(request)

    def refuse(self, line: bytes) -> bool:
        """The collector does not want the record: it is kept in a file for people; whether there was room."""
        if len(line) + self._refused_bytes > self.max_bytes // REFUSED_SHARE:
            # Somebody may have removed files.
            self._refused_bytes = _size_of_refused(self.folder)
            if len(line) + self._refused_bytes > self.max_bytes // REFUSED_SHARE:
                return False
        try:
            with open(self.folder / f"{self._own.name}.refused", "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return False
        self._refused_bytes += len(line)
        return True

    def close(self) -> None:
        """Gives up the folders; empty ones go."""
        for folder in self._folders:
            if not any(folder.glob("*.ndjson")):
                shutil.rmtree(folder, ignore_errors=True)
        for lock in self._locks:
            lock.close()
        self._locks.clear()

    def _has_room(self, size: int) -> bool:
        if self._bytes + self._refused_bytes + size > self.max_bytes:
            # Somebody may have removed files.
            self._refused_bytes = _size_of_refused(self.folder)
        return self._bytes + self._refused_bytes + size <= self.max_bytes

    def _insert(self, request: Waiting) -> None:
        with self._changing:
            bisect.insort(self._waiting, request)
            self._bytes += request.size

    def _remove(self, request: Waiting) -> None:
        with self._changing:
            if request in self._waiting:
                self._waiting.remove(request)
                self._bytes -= request.size


def _new_folder(parent: Path) -> Tuple[Path, IO[bytes]]:
    """A folder of this process, and its lock."""
    for _ in range(FOLDER_TRIES):
        folder = parent / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        folder.mkdir(parents=True)
        lock = _lock(folder / LOCK_NAME)
        if lock is not None:
            return folder, lock
    raise OSError(f"cannot lock a file in {parent}; let this user write there, or give another `folder`")


def _requests_in(folder: Path) -> Iterator[Waiting]:
    for path in folder.glob("*.ndjson"):
        number, _, key = path.stem.partition("-")
        # Any other file is none of ours.
        if number.isdecimal() and key:
            yield Waiting((0, folder.name, int(number)), key, path, path.stat().st_size)


def _size_of_refused(folder: Path) -> int:
    size = 0
    with contextlib.suppress(OSError):
        for path in folder.glob("*.refused"):
            size += path.stat().st_size
    return size


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
