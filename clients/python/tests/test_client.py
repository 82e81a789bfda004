"""The client against a collector that fails in every way it can."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Callable, List
from unittest import mock

import logferry.backlog
import logferry.transport
from logferry import Backlog, Collector, CollectorHandler, Worker
from tests.collector import FakeCollector


def until(holds: Callable[[], bool]) -> None:
    """Waits for a condition."""
    while not holds():
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ClientTest(unittest.TestCase):
    """A folder of its own, and a collector."""

    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.folder = Path(self._folder.name) / "backlog"
        self.collector = FakeCollector()
        self.addCleanup(self.collector.close)

    def worker(self, url: str, **options: Any) -> Worker:
        options = {"delay": 0.0, "file_delay": 0.01, "retry_first": 0.02, "retry_longest": 0.05, **options}
        worker = Worker(Collector(url, timeout=5), Backlog(self.folder, 10_000_000), **options)
        self.addCleanup(worker.close, 0.1)
        return worker

    def handler(self, url: str, **options: Any) -> CollectorHandler:
        handler = CollectorHandler(url, "shop", folder=self.folder, **options)
        self.addCleanup(handler.close)
        return handler

    def put(self, worker: Worker, numbers: range) -> None:
        for number in numbers:
            worker.put(json.dumps({"message": str(number)}).encode() + b"\n")

    def files(self, pattern: str = "*/*.ndjson") -> List[Path]:
        return sorted(self.folder.glob(pattern))


class HandlerTest(ClientTest):
    def test_record_has_its_level_source_id_and_extra_fields(self) -> None:
        handler = self.handler(self.collector.url)
        log = logging.Logger("web.orders")
        log.addHandler(handler)
        log.warning("order %d", 7, extra={"order": 7, "time": "mine", "odd": object})
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("failed")
        handler.flush()
        first, second = self.collector.records
        self.assertEqual((first["level"], first["source"], first["message"]), ("WARNING", "shop", "order 7"))
        self.assertEqual((first["order"], first["time_"], first["logger"]), (7, "mine", "web.orders"))
        self.assertRegex(first["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertIn("ValueError: no", second["exception"])
        self.assertNotEqual(first["id"], second["id"])
        self.assertEqual(handler.counts.taken, 2)

    def test_values_that_no_collector_can_read_are_sent_as_text(self) -> None:
        deep: Any = []
        for _ in range(200):
            deep = [deep]
        endless: Any = {}
        endless["self"] = endless
        handler = self.handler(self.collector.url)
        extra = {
            "nan": float("nan"),
            "inside": {"a": [float("inf")]},
            "deep": deep,
            "endless": endless,
            "huge": 10**400,
            "digits": 10**5000,
            "odd": {(1, 2): 3},
            "good": {"a": [1, 2.5, None, True, "x"], "3": 4},
        }
        record = logging.makeLogRecord({"msg": "m", **extra})
        # As the collector reads it: no word for what is not a number.
        line = json.loads(handler.line(record), parse_constant=self.fail)
        self.assertEqual((line["nan"], line["inside"], line["odd"]), ("nan", "{'a': [inf]}", "{(1, 2): 3}"))
        self.assertEqual((line["endless"], line["huge"]), ("{'self': {...}}", str(10**400)))
        self.assertIsInstance(line["digits"], str)
        self.assertTrue(line["deep"].startswith("[[["))
        self.assertEqual(line["good"], extra["good"])

    def test_key_and_large_bodies_are_sent_as_the_collector_wants_them(self) -> None:
        handler = self.handler(self.collector.url, key="secret")
        log = logging.Logger("x")
        log.addHandler(handler)
        log.error("y" * 5000)
        handler.flush()
        _, headers = self.collector.requests[0]
        self.assertEqual((headers["x-api-key"], headers["content-encoding"]), ("secret", "gzip"))
        self.assertEqual(self.collector.messages(), ["y" * 5000])

    def test_pause_that_is_asked_for_has_a_bound(self) -> None:
        for text, seconds in [("3", 3), ("-1", 0), ("inf", 600), ("1e30", 600), ("tomorrow", None), (None, None)]:
            self.assertEqual(logferry.transport._seconds(text), seconds)

    def test_address_that_is_none_is_refused_with_an_example(self) -> None:
        with self.assertRaisesRegex(ValueError, "write it like http://"):
            CollectorHandler("collector:5000", "shop", folder=self.folder)


class TroubleTest(ClientTest):
    """What goes wrong on this host."""

    def test_end_keeps_the_batch_that_is_not_answered_with_the_key_that_was_sent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            worker = Worker(
                Collector(f"http://127.0.0.1:{server.getsockname()[1]}/lines", timeout=30),
                Backlog(self.folder, 10_000),
                delay=0.0,
            )
            self.put(worker, range(3))
            connection, _ = server.accept()
            with connection:
                sent = connection.recv(10_000)
                begun = time.monotonic()
                worker.close(0.2)
                self.assertLess(time.monotonic() - begun, 5)
                (file,) = self.files()
                self.assertIn(file.stem.split("-")[1].encode(), sent)
                self.assertTrue(file.read_bytes().startswith(b'{"message": "0"}\n'))
            worker._thread.join()
        self.assertEqual(sum(len(path.read_bytes().splitlines()) for path in self.files()), 3)
        self.assertEqual(worker.counts.dropped, 0)
        self.assertTrue(self.worker(self.collector.url).flush(30))
        self.assertEqual(self.collector.messages(), ["0", "1", "2"])

    def test_thread_outlives_any_error(self) -> None:
        backlog = Backlog(self.folder, 10_000)
        worker = Worker(Collector(self.collector.url), backlog, delay=0.0, retry_first=0.02)
        self.addCleanup(worker.close, 0.1)
        with mock.patch.object(backlog, "take_over", side_effect=RuntimeError("odd")):
            self.put(worker, range(1))
            until(lambda: worker.problem == "RuntimeError: odd")
        self.assertTrue(worker.flush(30))
        self.assertEqual(self.collector.messages(), ["0"])
        self.assertIsNone(worker.problem)

    def test_removed_folder_stops_nothing(self) -> None:
        port = free_port()
        worker = self.worker(f"http://127.0.0.1:{port}/lines")
        shutil.rmtree(self.folder)
        self.put(worker, range(1))
        until(lambda: bool(self.files()))
        collector = FakeCollector(port)
        self.addCleanup(collector.close)
        self.assertTrue(worker.flush(30))
        self.assertEqual(collector.messages(), ["0"])

    def test_files_beside_a_foreign_one_are_sent(self) -> None:
        (self.folder / "1-gone").mkdir(parents=True)
        (self.folder / "1-gone" / "foreign.ndjson").write_bytes(b"x")
        (self.folder / "1-gone" / "1-key.ndjson").write_bytes(b'{"message": "left"}\n')
        self.assertTrue(self.worker(self.collector.url).flush(30))
        self.assertEqual(self.collector.messages(), ["left"])

    def test_folder_whose_lock_another_process_has_taken_is_left_to_it(self) -> None:
        lock = logferry.backlog._lock
        taken = iter([True])
        with mock.patch.object(logferry.backlog, "_lock", lambda path: None if next(taken, False) else lock(path)):
            backlog = Backlog(self.folder, 10_000)
        self.assertTrue(backlog.add(b"{}\n", "key", 1))
        backlog.close()

    def test_folder_that_cannot_be_written_drops_nothing_that_fits_into_memory(self) -> None:
        port = free_port()
        worker = Worker(
            Collector(f"http://127.0.0.1:{port}/lines"),
            Backlog(self.folder, 1),
            delay=0.0,
            file_delay=0.01,
            retry_first=0.02,
            retry_longest=0.05,
        )
        self.addCleanup(worker.close, 0.1)
        self.put(worker, range(10))
        until(lambda: worker._backlog.problem is not None)
        self.put(worker, range(10, 20))
        time.sleep(0.1)
        collector = FakeCollector(port)
        self.addCleanup(collector.close)
        self.assertTrue(worker.flush(30))
        self.assertEqual(collector.messages(), [str(number) for number in range(20)])
        self.assertEqual(worker.counts.dropped, 0)


class DeliveryTest(ClientTest):
    def test_records_made_while_the_collector_is_away_come_once_and_in_order(self) -> None:
        port = free_port()
        worker = self.worker(f"http://127.0.0.1:{port}/lines", batch_records=7)
        self.put(worker, range(50))
        until(lambda: bool(self.files()) and worker.problem is not None)
        collector = FakeCollector(port)
        self.addCleanup(collector.close)
        self.put(worker, range(50, 60))
        self.assertTrue(worker.flush(30))
        self.assertEqual(collector.messages(), [str(number) for number in range(60)])
        self.assertEqual((worker.counts.taken, worker.counts.dropped), (60, 0))
        self.assertEqual(self.files(), [])

    def test_answer_that_is_lost_doubles_nothing(self) -> None:
        self.collector.answer = lambda number: None if number % 2 else 201
        worker = self.worker(self.collector.url, batch_records=5)
        self.put(worker, range(20))
        self.assertTrue(worker.flush(30))
        self.assertEqual(self.collector.messages(), [str(number) for number in range(20)])
        keys = [key for key, _ in self.collector.requests]
        self.assertGreater(len(keys), len(set(keys)))

    def test_collector_that_asks_to_wait_gets_the_same_request_again(self) -> None:
        self.collector.answer = lambda number: 503 if number < 4 else 201
        worker = self.worker(self.collector.url)
        self.put(worker, range(3))
        self.assertTrue(worker.flush(30))
        self.assertEqual(self.collector.messages(), ["0", "1", "2"])
        self.assertEqual(len({key for key, _ in self.collector.requests[:4]}), 1)

    def test_full_queue_goes_to_files_and_nothing_is_lost(self) -> None:
        port = free_port()
        worker = self.worker(f"http://127.0.0.1:{port}/lines", queue_size=10, retry_first=30, retry_longest=30)
        self.put(worker, range(1000))
        self.assertGreater(len(self.files()), 10)
        collector = FakeCollector(port)
        self.addCleanup(collector.close)
        self.assertTrue(worker.flush(30))
        self.assertEqual(collector.messages(), [str(number) for number in range(1000)])

    def test_full_folder_drops_and_counts(self) -> None:
        backlog = Backlog(self.folder, 100)
        worker = Worker(Collector(f"http://127.0.0.1:{free_port()}/lines"), backlog, queue_size=1)
        self.put(worker, range(100))
        worker.close(0.1)
        kept = sum(len(path.read_bytes().splitlines()) for path in self.files())
        self.assertEqual(kept + worker.counts.dropped, 100)
        self.assertGreater(worker.counts.dropped, 0)

    def test_body_that_is_too_large_is_sent_in_parts(self) -> None:
        self.collector.take = self._at_most(3)  # type: ignore
        worker = self.worker(self.collector.url)
        self.put(worker, range(20))
        self.assertTrue(worker.flush(30))
        self.assertEqual(self.collector.messages(), [str(number) for number in range(20)])

    def _at_most(self, lines: int) -> Callable[[bytes, Any], Any]:
        take = self.collector.take
        return lambda body, headers: 413 if len(body.splitlines()) > lines else take(body, headers)

    def test_record_that_is_refused_is_set_aside_alone(self) -> None:
        take = self.collector.take
        self.collector.take = lambda body, headers: 400 if b'"13"' in body else take(body, headers)  # type: ignore
        worker = self.worker(self.collector.url, delay=0.2)
        self.put(worker, range(20))
        self.assertTrue(worker.flush(30))
        self.assertEqual(self.collector.messages(), [str(number) for number in range(20) if number != 13])
        self.assertEqual((worker.counts.taken, worker.counts.refused, worker.counts.dropped), (19, 1, 0))
        self.assertEqual([json.loads(path.read_bytes())["message"] for path in self.files("*.refused")], ["13"])

    def test_body_that_is_sent_in_parts_is_in_its_file_until_the_last_part_is_settled(self) -> None:
        self.collector.take = self._at_most(3)  # type: ignore
        lines: List[int] = []

        def answer(number: int) -> int:
            if number > 3:
                lines.extend(len(path.read_bytes().splitlines()) for path in self.files())
            return 503 if number == 3 else 201

        self.collector.answer = answer
        worker = self.worker(self.collector.url, delay=0.2)
        self.put(worker, range(20))
        self.assertTrue(worker.flush(30))
        self.assertEqual(self.collector.messages(), [str(number) for number in range(20)])
        self.assertEqual(lines, [20] * 6)
        self.assertEqual((worker.counts.taken, self.files()), (20, []))
        # Only the part that was to wait came again.
        keys = [key for key, _ in self.collector.requests]
        self.assertEqual(len(keys), len(set(keys)) + 1)

    def test_refused_records_take_at_most_half_of_the_room(self) -> None:
        backlog = Backlog(self.folder, 1000)
        self.assertTrue(backlog.refuse(b"x" * 400))
        self.assertFalse(backlog.refuse(b"x" * 101))
        self.assertFalse(backlog.add(b"x" * 601, "key", 1))
        self.assertTrue(backlog.add(b"x" * 600, "key", 1))
        self.files("*.refused")[0].unlink()
        self.assertTrue(backlog.refuse(b"x" * 400))
        backlog.close()

    def test_answer_that_is_not_about_the_records_keeps_them(self) -> None:
        answers = {1: 301, 2: 404, 3: 405, 4: 411, 5: 415}
        self.collector.answer = lambda number: answers.get(number, 201)
        worker = self.worker(self.collector.url)
        self.put(worker, range(2))
        self.assertTrue(worker.flush(30))
        self.assertEqual(self.collector.messages(), ["0", "1"])
        self.assertEqual(worker.counts.refused, 0)

    def test_wrong_key_keeps_records_until_it_is_right(self) -> None:
        self.collector.answer = lambda number: 401 if number < 3 else 201
        worker = self.worker(self.collector.url)
        self.put(worker, range(2))
        self.assertTrue(worker.flush(30))
        self.assertEqual(self.collector.messages(), ["0", "1"])


PROGRAM = """
import logging, os, sys
sys.path.insert(0, {client!r})
import logferry
logferry.setup({url!r}, source="program", folder={folder!r})
log = logging.getLogger("program")
{body}
"""


class ProcessTest(ClientTest):
    def run_program(self, url: str, body: str) -> "subprocess.CompletedProcess[str]":
        client = str(Path(__file__).parent.parent)
        text = PROGRAM.format(client=client, url=url, folder=str(self.folder), body=body)
        return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120, check=False)

    def test_program_that_ends_has_sent_what_it_logged(self) -> None:
        ended = self.run_program(self.collector.url, "log.info('last words')")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertEqual(self.collector.messages(), ["last words"])
        self.assertEqual(self.files(), [])

    def test_next_process_sends_what_a_killed_one_left(self) -> None:
        away = f"http://127.0.0.1:{free_port()}/lines"
        body = (
            "import glob, time\n"
            "for number in range(5): log.info('%d', number)\n"
            f"while not glob.glob({str(self.folder)!r} + '/*/*.ndjson'): time.sleep(0.01)\n"
            "os.kill(os.getpid(), 9)"
        )
        self.assertEqual(self.run_program(away, body).returncode, -9)
        self.assertEqual(len(self.files()), 1)
        ended = self.run_program(self.collector.url, "log.info('after')")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertEqual(self.collector.messages(), ["0", "1", "2", "3", "4", "after"])
        self.assertEqual(self.files(), [])

    def test_files_of_a_process_that_lives_are_its_own(self) -> None:
        backlog = Backlog(self.folder, 1000)
        self.assertIsNotNone(backlog.add(b"{}\n", "key", 1))
        ended = self.run_program(self.collector.url, "log.info('x')")
        self.assertEqual(ended.returncode, 0)
        self.assertEqual(self.collector.messages(), ["x"])
        self.assertEqual(len(self.files()), 1)
        backlog.close()

    @unittest.skipUnless(hasattr(os, "fork"), "no fork on this system")
    def test_child_of_a_fork_sends_its_own_records_once(self) -> None:
        body = (
            "log.info('parent before')\n"
            "child = os.fork()\n"
            "log.info('child' if child == 0 else 'parent')\n"
            "if child: os.waitpid(child, 0)\n"
        )
        ended = self.run_program(self.collector.url, body)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertEqual(sorted(self.collector.messages()), ["child", "parent", "parent before"])

    def test_process_has_one_logger_which_takes_level_text_and_source(self) -> None:
        body = (
            "assert logferry.setup('http://127.0.0.1:1/lines', source='other') is logferry.setup('x', 'y')\n"
            "assert logferry.logger() is logferry.logger()\n"
            "logferry.logger().log('ERROR', '100% text', 'MyService')\n"
            "logferry.logger().log(logging.INFO, 'plain %d', 1)"
        )
        ended = self.run_program(self.collector.url, body)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        shown = [(record["level"], record["source"], record["message"]) for record in self.collector.records]
        self.assertEqual(shown, [("ERROR", "MyService", "100% text"), ("INFO", "program", "plain 1")])
        self.assertTrue(self.collector.records[0]["file"].startswith("<string>:"), self.collector.records[0]["file"])


if __name__ == "__main__":
    unittest.main()
