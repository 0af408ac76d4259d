# SPDX-License-Identifier: Apache-2.0
"""Where a record of calls is written to, as a URI without a secret in it."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import urllib.parse

from sparkmodel.errors import InvalidOptionError

KINDS = ("parquet", "postgresql", "kafka")
_EXTRAS = {"postgresql": ("psycopg", "postgres"), "kafka": ("confluent_kafka", "kafka")}
_KEEP = re.compile(r"(\d{1,5})([hd])")
_SECRET = re.compile(r"password|secret|token|passfile|\bkey\b|\.key|\.pem", re.IGNORECASE)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_USER_INFO = re.compile(r"//.*@")
_VALUES = re.compile(r"([?&][^=&]*)=[^&]*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """Where to write.

    Attributes:
        kind: `parquet`, `postgresql` or `kafka`.
        place: A directory, a URI of libpq, or `host:port,host:port`.
        topic: Of Kafka.
        settings: Of the Kafka client.
        keep_s: Seconds after which what was written is deleted; None keeps it for ever.
    """

    kind: str
    place: str
    topic: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    keep_s: float | None = None


def shown(uri: str) -> str:
    """The URI without what may be a secret: who, and the values of its settings."""
    return _VALUES.sub(r"\1=...", _USER_INFO.sub("//...@", uri))


def parse(uri: str) -> Target:
    """What a URI says.

    Raises:
        InvalidOptionError: it is none that a record can be written to, or has a password in it. The error shows none.
    """
    what = "Cannot use option 'record'"
    hint = "write parquet:/directory, postgresql://user@host/database or kafka://host:9092/topic"
    try:
        parts = urllib.parse.urlsplit(uri)
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        has_password = parts.password is not None
    except ValueError as error:
        raise InvalidOptionError(what, f"'{shown(uri)}' is no URI", hint) from error
    if parts.scheme not in KINDS:
        raise InvalidOptionError(what, f"'{shown(uri)}' begins with none of {', '.join(KINDS)}", hint)
    # a password with a slash that is not encoded looks like a path
    if has_password or "@" in parts.path or any(_SECRET.search(key) for key, _ in pairs):
        raise InvalidOptionError(
            what,
            f"'{shown(uri)}' has a secret in it, and options are shown to many",
            "leave it out: PostgreSQL's is read from PGPASSWORD or ~/.pgpass of the workers, Kafka's from the file"
            " that SPARKMODEL_KAFKA_CONFIG names",
        )
    keep = [value for key, value in pairs if key == "keep"]
    others = tuple((key, value) for key, value in pairs if key != "keep")
    keep_s = _seconds(what, keep[0]) if keep else None
    if parts.scheme == "parquet":
        path = urllib.parse.unquote(parts.path)
        if parts.netloc or not path.startswith("/") or others:
            raise InvalidOptionError(what, f"'{shown(uri)}' does not name a directory by its whole path", hint)
        return Target(kind="parquet", place=path, keep_s=keep_s)
    if parts.scheme == "postgresql":
        rest = urllib.parse.urlencode(others, quote_via=urllib.parse.quote)
        return Target(kind="postgresql", place=urllib.parse.urlunsplit(parts._replace(query=rest)), keep_s=keep_s)
    topic = parts.path.strip("/")
    if not parts.netloc or not _TOPIC.fullmatch(topic):
        raise InvalidOptionError(what, f"'{shown(uri)}' does not name a broker and a topic", hint)
    if keep:
        raise InvalidOptionError(
            what, "Kafka deletes by a topic's own retention", "leave keep out and set retention.ms of the topic"
        )
    return Target(kind="kafka", place=parts.netloc, topic=topic, settings=others)


def check(uri: str) -> Target:
    """What a URI says, if what writes to there is installed here.

    Raises:
        InvalidOptionError: it is none, or a library is missing.
    """
    target = parse(uri)
    module, extra = _EXTRAS.get(target.kind, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise InvalidOptionError(
            "Cannot use option 'record'",
            f"{target.kind} needs {module}, which is not installed",
            f"pip install 'sparkmodel[{extra}]', here and where the workers are",
        )
    return target


def _seconds(what: str, keep: str) -> float:
    match = _KEEP.fullmatch(keep)
    if match is None or int(match[1]) == 0:
        raise InvalidOptionError(what, f"keep={keep} is no number of hours or days", "write keep=12h or keep=30d")
    return int(match[1]) * (3600.0 if match[2] == "h" else 86400.0)
