# SPDX-License-Identifier: Apache-2.0
"""The record as messages of a Kafka topic: JSON, with the model's name as the key."""

from __future__ import annotations

import datetime
import importlib
import os
import pathlib
from typing import Any

import orjson

from sparkmodel.records.events import COLUMNS, Event
from sparkmodel.records.recorder import NotWrittenError

CONFIG = "SPARKMODEL_KAFKA_CONFIG"
_MOST_S = 20.0


class KafkaSink:
    """Sends messages and waits until the brokers have them.

    Args:
        brokers: `host:port,host:port`.
        topic: Where to.
        settings: Of librdkafka, over the defaults; those of the file that `SPARKMODEL_KAFKA_CONFIG` names, in lines
            `key=value`, are over these, for what must not be in a URI.
    """

    def __init__(self, brokers: str, topic: str, settings: dict[str, str]) -> None:
        library: Any = importlib.import_module("confluent_kafka")
        self._topic = topic
        self._producer = library.Producer(
            {
                "bootstrap.servers": brokers,
                "client.id": "sparkmodel",
                "enable.idempotence": True,
                "linger.ms": 50,
                "message.timeout.ms": int(_MOST_S * 1000 / 2),
                "logger": _silent(),
                **settings,
                **_secrets(),
            }
        )

    def write(self, events: list[Event]) -> None:
        """Send all and wait for the answers.

        Raises:
            NotWrittenError: the brokers have not answered for some, or refused them.
        """
        left = dict(enumerate(events))
        reasons: list[str] = []

        def answered(number: int, error: Any) -> None:
            if error is None:
                left.pop(number)
            else:
                reasons.append(str(error))

        for number, event in enumerate(events):
            try:
                self._producer.produce(
                    self._topic,
                    key=event.model,
                    value=message_of(event),
                    timestamp=int(event.at * 1000),
                    on_delivery=lambda error, _, number=number: answered(number, error),
                )
            except BufferError:  # the client's own queue is full: the rest comes with the next attempt
                reasons.append("the client's queue is full")
                break
        self._producer.flush(_MOST_S)
        if left:
            self._producer.purge()  # or they would be sent after all, beside the next attempt's
            self._producer.flush(1.0)
            raise NotWrittenError(f"Kafka: {reasons[0] if reasons else 'no answer in time'}", list(left.values()))

    def close(self) -> None:
        """Forget the producer; it has nothing to send."""
        self._producer.purge()


def message_of(event: Event) -> bytes:
    """An event as JSON; the time in UTC to the microsecond, as Spark's `from_json` reads it."""
    values = dict(zip(COLUMNS, event.row(), strict=True))
    moment = datetime.datetime.fromtimestamp(0, datetime.timezone.utc) + datetime.timedelta(microseconds=values["time"])
    values["time"] = moment.isoformat(timespec="microseconds")
    return orjson.dumps(values)


def _secrets() -> dict[str, str]:
    path = os.environ.get(CONFIG)
    if path is None:
        return {}
    lines = (line.strip() for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _silent() -> Any:
    """librdkafka writes to stderr whenever a broker is away; the recorder says what there is to say."""
    logging = importlib.import_module("logging")
    logger = logging.getLogger(f"{__name__}.client")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger
