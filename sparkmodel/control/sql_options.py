# SPDX-License-Identifier: Apache-2.0
"""What `OPTIONS (...)` says, in SQL's strings, numbers and booleans, as the options of a pool."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sparkmodel.errors import InvalidOptionError, suggest
from sparkmodel.options import WHOLE, PoolOptions, parse_workers, workers_text
from sparkmodel.registration.rollout import Rollout
from sparkmodel.spec import ModelSpec

_FIELDS = {field.name: str(field.type) for field in dataclasses.fields(PoolOptions)}
_OF_CALLS = ("method", "result_type", "params", "model_config")
# keys that take a key of their own behind a dot
_MAPPINGS = ("params", "model_config", *(name for name, kind in _FIELDS.items() if "Mapping" in kind))
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[A-Za-z]+)")
_SECONDS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}
_BOOLEANS = {"true": True, "false": False}

KNOWN = (*_FIELDS, *_OF_CALLS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All that options can say about one model.

    Attributes:
        pool: Workers, resources, limits.
        params, model_config, method: As in `sparkmodel.register`.
        result_type: DDL of one prediction.
    """

    pool: PoolOptions = dataclasses.field(default_factory=PoolOptions)
    params: Mapping[str, Any] | None = None
    model_config: Mapping[str, Any] | None = None
    method: str | None = None
    result_type: str | None = None

    def with_options(self, options: Mapping[str, Any]) -> Settings:
        """These settings, with options over them; a dotted key sets one entry of a mapping.

        Raises:
            InvalidOptionError: an unknown key, the same one twice, or a value that does not fit.
        """
        values = self._values()
        seen: set[tuple[str, str]] = set()
        for given, value in options.items():
            key, entry = _parse_key(given)
            if (key, entry) in seen:
                raise InvalidOptionError(f"Cannot use option '{given}'", f"'{key}' is given twice", "give it once")
            seen.add((key, entry))
            if entry:
                text = json.dumps(value) if isinstance(value, bool) else str(value)
                values[key] = {**(values[key] or {}), entry: _entry(key, value, text)}
            else:
                values[key] = _coerce(key, value)
        return _settings(values)

    def without(self, keys: Iterable[str]) -> Settings:
        """These settings, with the defaults for some keys.

        Raises:
            InvalidOptionError: an unknown key.
        """
        values, defaults = self._values(), Settings()._values()
        for given in keys:
            key, entry = _parse_key(given)
            if entry:
                values[key] = {k: v for k, v in (values[key] or {}).items() if k != entry} or None
            else:
                values[key] = defaults[key]
        return _settings(values)

    def non_default(self) -> dict[str, Any]:
        """The options that are not at their defaults; those of a mapping as mappings, a range of workers as a text."""
        defaults = Settings()._values()
        found = {key: value for key, value in self._values().items() if value != defaults[key]}
        if isinstance(found.get("workers"), tuple):
            found["workers"] = workers_text(found["workers"])
        return found

    def _values(self) -> dict[str, Any]:
        own = {key: getattr(self, key) for key in _OF_CALLS}
        return {**{key: getattr(self.pool, key) for key in _FIELDS}, **own}


def settings_of(spec: ModelSpec) -> Settings:
    """The options of what is served."""
    return Settings(pool=spec.options, params=spec.params, model_config=spec.model_config, method=spec.method)


def said(keys: Iterable[str]) -> dict[str, bool]:
    """The options that keys name, and of each whether only an entry of it is named.

    Raises:
        InvalidOptionError: an unknown key.
    """
    found: dict[str, bool] = {}
    for key, entry in map(_parse_key, keys):
        found[key] = found.get(key, False) or bool(entry)
    return found


def rollout_of(options: Mapping[str, Any]) -> Rollout:
    """How a pool goes to another location, in SQL's strings, numbers and booleans.

    Raises:
        InvalidOptionError: an unknown option, or a value that does not fit.
    """
    values: dict[str, Any] = {}
    for given, value in options.items():
        key = given.lower()
        text = value.strip() if isinstance(value, str) else ""
        if not isinstance(value, str):
            values[key] = value
        elif key in ("allow_new_inputs", "stop_first"):
            values[key] = _BOOLEANS.get(text.lower(), value)
        else:
            values[key] = _number(text, text.lower(), is_duration=key == "keep_old")
    return Rollout.of(values)


def _settings(values: Mapping[str, Any]) -> Settings:
    return Settings(
        pool=PoolOptions.of({key: values[key] for key in _FIELDS}), **{key: values[key] for key in _OF_CALLS}
    )


def _parse_key(given: str) -> tuple[str, str]:
    """The option's name, and what is behind the dot. Names are SQL's: their case does not matter."""
    head, _, entry = given.partition(".")
    key = head.lower()
    if f"{key}_s" in _FIELDS:  # timeout = '30s' reads better than timeout_s = '30s'
        key = f"{key}_s"
    if key not in KNOWN:
        raise InvalidOptionError(f"Cannot use option '{given}'", "there is no such option", suggest(key, KNOWN))
    if entry and key not in _MAPPINGS:
        raise InvalidOptionError(f"Cannot use option '{given}'", f"'{key}' has no entries", f"write {key} = ...")
    return key, entry


def _coerce(key: str, value: Any) -> Any:
    """The value in the type of its option; one that cannot be is left as it is, for the option's own check."""
    if key in _MAPPINGS:
        return _mapping(key, value)
    kind = _FIELDS.get(key, "str | None")
    if not isinstance(value, str):
        if kind.startswith("str") and value is not None:
            raise InvalidOptionError(f"Cannot use option '{key}'", f"{value!r} is not a text", "put it into quotes")
        return value
    text = value.strip()
    if key == "workers":
        workers = parse_workers(text)
        return value if workers is None else workers
    if text.lower() in ("", "none", "null") and kind.endswith("| None"):
        return None
    if kind.startswith("bool"):
        return _BOOLEANS.get(text.lower(), value)
    if kind.startswith("int"):
        return int(text) if WHOLE.fullmatch(text) else value
    if kind.startswith("float"):
        return _number(text, value, is_duration=key.endswith("_s"))
    return value


def _number(text: str, value: str, *, is_duration: bool) -> Any:
    match = _DURATION.fullmatch(text) if is_duration else None
    if match and match["unit"].lower() in _SECONDS:
        return float(match["number"]) * _SECONDS[match["unit"].lower()]
    try:
        return float(text)
    except ValueError:
        return value


def _mapping(key: str, value: Any) -> Any:
    """A whole mapping, as JSON."""
    if value is None or isinstance(value, Mapping):
        return value
    what = f"Cannot use option '{key}'"
    hint = f"write its entries one by one, {key}.name = 'value', or all as a JSON object"
    try:
        parsed = json.loads(value)
    except (TypeError, ValueError) as error:
        raise InvalidOptionError(what, f"{value!r} is not a mapping", hint) from error
    if not isinstance(parsed, dict):
        raise InvalidOptionError(what, f"{value!r} is not a mapping", hint)
    return parsed


def _entry(key: str, value: Any, text: str) -> Any:
    if key == "extra_env":  # variables are texts
        return text
    if key == "resources":
        return _number(text, text, is_duration=False)
    return value
