"""Sends what a program logs to a logferry collector.

    import logging
    import logferry

    logferry.setup("http://collector.example.com:5000/lines", source="shop")
    logging.getLogger(__name__).info("order placed", extra={"order": 45231})

A record is sent once: a request that is repeated has the `Idempotency-Key` that it had before. While the collector is away,
records are kept in files, which the next process sends if this one is gone.
"""

from .backlog import Backlog
from .handler import CollectorHandler, logger, setup
from .transport import Collector, Outcome
from .worker import Counts, Worker

__all__ = ["Backlog", "Collector", "CollectorHandler", "Counts", "Outcome", "Worker", "logger", "setup"]
__version__ = "0.1.0"
