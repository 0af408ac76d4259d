# SPDX-License-Identifier: Apache-2.0
"""The options of a pool, with the names that Ray, MLflow and Triton users know."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from sparkmodel.errors import InvalidNameError, InvalidOptionError, suggest

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def check_name(name: object) -> str:
    """Return `name` if SQL can call a function of that name.

    Raises:
        InvalidNameError: it is not a string of letters, digits and underscores that starts with a letter.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidNameError(
            f"Cannot use model name '{name}'",
            "a name is called as a SQL function and has 1 to 128 letters, digits and underscores, no digit first",
            "take a name such as 'model_predict'",
        )
    return name


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """How many workers, with what each, and how their work is bounded.

    Attributes:
        workers: Number of worker actors; each holds the model once.
        num_cpus: CPUs reserved for each worker (Ray); fractions are allowed.
        num_gpus: GPUs reserved for each worker (Ray); fractions are allowed.
        memory: Bytes of memory reserved for each worker (Ray); None reserves none.
        resources: Custom Ray resources for each worker.
        runtime_env: Ray runtime environment of the workers.
        max_concurrency: Model calls that one worker may run at the same time.
        max_in_flight: Batches that one caller may have sent and not yet received back.
        max_queued: Batches that may wait in one worker; a caller beyond that waits outside.
        timeout_s: Longest time the model may take for one batch; also the deadline of `Model.predict`.
        ready_timeout_s: Longest time from the call until all workers are placed, loaded and probed.
        max_retries: How often a batch may lose its worker and be sent to another before it fails.
        detached: Keep the pool after the driver's end (needs a Ray cluster that outlives the driver).
        trust_pickle: Allow a loose pickle, cloudpickle or joblib file to be loaded.
    """

    workers: int = 1
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int | None = None
    resources: Mapping[str, float] | None = None
    runtime_env: Mapping[str, Any] | None = None
    max_concurrency: int = 1
    max_in_flight: int = 2
    max_queued: int = 100
    timeout_s: float = 60.0
    ready_timeout_s: float = 300.0
    max_retries: int = 3
    detached: bool = False
    trust_pickle: bool = False

    def __post_init__(self) -> None:
        for key, (claim, holds) in _RULES.items():
            value = getattr(self, key)
            if not holds(value):
                raise InvalidOptionError(f"Cannot use option '{key}'", f"{value!r} is not {claim}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> PoolOptions:
        """Options from keyword arguments.

        Raises:
            InvalidOptionError: an unknown key, or a value that is out of range.
        """
        known = [f.name for f in dataclasses.fields(cls)]
        for key in given:
            if key not in known:
                raise InvalidOptionError(f"Cannot use option '{key}'", "no such pool option", suggest(key, known))
        return cls(**given)

    @property
    def bundle(self) -> dict[str, float]:
        """The Ray resources reserved for one worker."""
        asked = {
            "CPU": float(self.num_cpus),
            "GPU": float(self.num_gpus),
            "memory": float(self.memory or 0),
            **{key: float(value) for key, value in (self.resources or {}).items()},
        }
        return {key: value for key, value in asked.items() if value > 0}


def _is_int(value: object, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _at_least_one(value: Any) -> bool:
    return _is_int(value, 1)


def _not_negative(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_mapping(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _is_resources(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return value is None
    return not {"CPU", "GPU", "memory"} & set(value) and all(map(_not_negative, value.values()))


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "workers": ("a whole number of at least 1", _at_least_one),
    "num_cpus": ("a number of at least 0", _not_negative),
    "num_gpus": ("a number of at least 0", _not_negative),
    "memory": ("a whole number of bytes or None", lambda value: value is None or _is_int(value, 1)),
    "resources": ("a mapping of custom resource names (not CPU, GPU, memory) to numbers of at least 0", _is_resources),
    "runtime_env": ("a mapping or None", _is_mapping),
    "max_concurrency": ("a whole number of at least 1", _at_least_one),
    "max_in_flight": ("a whole number of at least 1", _at_least_one),
    "max_queued": ("a whole number of at least 1", _at_least_one),
    "timeout_s": ("a number of seconds above 0", _positive),
    "ready_timeout_s": ("a number of seconds above 0", _positive),
    "max_retries": ("a whole number of at least 0", lambda value: _is_int(value, 0)),
    "detached": ("True or False", lambda value: isinstance(value, bool)),
    "trust_pickle": ("True or False", lambda value: isinstance(value, bool)),
}
