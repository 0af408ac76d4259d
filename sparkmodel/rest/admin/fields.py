# SPDX-License-Identifier: Apache-2.0
"""The fields of the body of a change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparkmodel.errors import InvalidOptionError, suggest

_ROLLOUT = ("traffic", "max_error_rate", "keep_old", "allow_new_inputs", "stop_first")
KNOWN = {
    "register": ("name", "source", "options", "params", "result_type", "method", "model_config"),
    "update": ("source", *_ROLLOUT),
    "scale": ("workers",),
    "rollback": ("to",),
    "promote": (),
    "drop": (),
    "logs": ("lines",),
}


class Fields:
    """Reads fields by name and type. A field that is null counts as absent.

    Args:
        action: For messages, and what fields there may be.
        body: The JSON value.

    Raises:
        InvalidOptionError: it is no object, or has another field.
    """

    def __init__(self, action: str, body: Any) -> None:
        self._what = f"Cannot {action}"
        if not isinstance(body, Mapping):
            raise InvalidOptionError(self._what, "the body is no JSON object", 'send one, such as {"name": "wine"}')
        known = KNOWN[action]
        for key in body:
            if key not in known:
                raise InvalidOptionError(self._what, f"it has no field '{key}'", suggest(key, known))
        self._body = body

    def text(self, key: str) -> str:
        """A text that must be there."""
        value = self.maybe_text(key)
        if not value:
            raise InvalidOptionError(self._what, f"its field '{key}' is missing")
        return value

    def maybe_text(self, key: str) -> str | None:
        """A text or None."""
        value = self._body.get(key)
        if value is not None and not isinstance(value, str):
            raise InvalidOptionError(self._what, f"its field '{key}' is {value!r}, not a text")
        return value

    def whole(self, key: str, otherwise: int) -> int:
        """A whole number of at least 1."""
        value = self._body.get(key)
        if value is None:
            return otherwise
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidOptionError(self._what, f"its field '{key}' is {value!r}, not a whole number of at least 1")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """An object, empty by default."""
        value = self._body.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise InvalidOptionError(self._what, f"its field '{key}' is {value!r}, not an object")
        return dict(value or {})

    def given(self, *keys: str) -> dict[str, Any]:
        """Those of some fields that are there."""
        return {key: self._body[key] for key in keys if self._body.get(key) is not None}

    def rollout(self) -> dict[str, Any]:
        """How an update goes to its source."""
        return self.given(*_ROLLOUT)
