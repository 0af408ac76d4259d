# SPDX-License-Identifier: Apache-2.0
"""The fields of a command's JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparkmodel.control.waiting import Watch
from sparkmodel.errors import InvalidOptionError, ProtocolError
from sparkmodel.options import Workers, parse_workers


class Request:
    """Reads fields by name and type. A field that is null counts as absent.

    Args:
        command: For messages.
        fields: The object.
        watch: Raises AbandonedError once nobody waits for the answer.
    """

    def __init__(self, command: str, fields: Mapping[str, Any], watch: Watch) -> None:
        self._command, self._fields, self.watch = command, fields, watch

    def text(self, key: str) -> str:
        """A text that must be there."""
        return str(self._required(key, str))

    def maybe_text(self, key: str) -> str | None:
        """A text or None."""
        value: str | None = self._get(key, str)
        return value

    def flag(self, key: str) -> bool:
        """A boolean, False by default."""
        return bool(self._get(key, bool))

    def maybe_whole(self, key: str) -> int | None:
        """A whole number or None."""
        value: int | None = self._get(key, int)
        return value

    def workers(self, key: str) -> Workers:
        """A number of workers, or a range of them as a text, `0..3`, that must be there."""
        value = self._required(key, int | str)
        workers = parse_workers(value) if isinstance(value, str) else int(value)
        if workers is None:
            raise InvalidOptionError(
                "Cannot use that many workers", f"{value!r} is no number and no range", "write 3, or '0..3'"
            )
        return workers

    def number(self, key: str) -> float:
        """A number that must be there."""
        return float(self._required(key, int | float))

    def maybe_number(self, key: str) -> float | None:
        """A number or None."""
        value: float | None = self._get(key, int | float)
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """An object, empty by default."""
        return dict(self._get(key, dict) or {})

    def texts(self, key: str) -> list[str]:
        """A list of texts, empty by default."""
        values = self._get(key, list) or []
        if not all(isinstance(value, str) for value in values):
            raise self._error(key, f"is {values!r}, not a list of texts")
        return list(values)

    def _required(self, key: str, kind: Any) -> Any:
        value = self._get(key, kind)
        if value is None:
            raise self._error(key, "is missing")
        return value

    def _get(self, key: str, kind: Any) -> Any:
        value = self._fields.get(key)
        is_other = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if value is not None and is_other:
            raise self._error(key, f"is {value!r}, not {getattr(kind, '__name__', kind)}")
        return value

    def _error(self, key: str, fact: str) -> ProtocolError:
        return ProtocolError(f"Cannot run command '{self._command}'", f"its field '{key}' {fact}")
