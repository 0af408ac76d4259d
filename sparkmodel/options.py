# SPDX-License-Identifier: Apache-2.0
"""The options of a pool, with the names that Ray, MLflow and Triton users know, and which can be changed how."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from sparkmodel import targets
from sparkmodel.errors import InvalidNameError, InvalidOptionError, suggest

MOST_S = 1e8
"""Longest time that an option takes: three years, which the system's timers and the wire can count."""
MOST = 2**31 - 1
"""Largest number of anything: what the JVM counts too."""
_MOST_BYTES = 2**63 - 1
_MOST_WORKERS = 100_000
_SHOWN_CHARS = 200

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
WHOLE = re.compile(r"[+-]?\d{1,40}")  # Python reads no text of thousands of digits
_RANGE = re.compile(r"(\d{1,40})\s*\.\.\s*(\d{1,40})")

Workers = int | tuple[int, int]

# What can be changed while the model stays loaded: its workers are told. All else is a new version, with workers of its
# own; but for what a pool has for life.
LIVE = frozenset(
    {
        "workers",
        "idle_s",
        "batch_size",
        "batch_wait_s",
        "max_concurrency",
        "max_in_flight",
        "max_queued",
        "max_queued_bytes",
        "bisect_calls",
        "bisect_s",
        "timeout_s",
        "ready_timeout_s",
        "max_retries",
        "on_error",
        "error_threshold",
        "refresh_s",
        "record",
        "record_sample",
    }
)
FOR_LIFE = frozenset({"tls", "detached"})


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
        workers: Number of worker processes, each of which holds the model once; or the least and the most of them, as
            `(min, max)`: then there are as many as the calls keep busy, none at all with a least of 0.
        num_cpus: CPUs reserved for each worker (Ray); fractions are allowed.
        num_gpus: GPUs reserved for each worker (Ray); fractions are allowed.
        memory: Bytes of memory reserved for each worker (Ray); None reserves none.
        resources: Custom Ray resources for each worker.
        runtime_env: Ray runtime environment of the workers.
        env_manager: Where the model's libraries come from: `local` (the workers' own, with a warning for those of other
            versions than the model's), `virtualenv` or `uv` (the model's requirements, installed once for each node).
        extra_env: Environment variables of the workers.
        batch_format: What a model gets for a batch: `pandas` (a DataFrame; an ndarray for tensors) or `pyarrow` (a
            RecordBatch).
        batch_size: Rows that the model is given at most at once; larger batches are cut, small ones of concurrent
            callers are joined up to it. None leaves batches as they come.
        batch_wait_s: Longest time that a small batch waits for others to join it; needs `batch_size`.
        max_concurrency: Model calls that one worker may run at the same time.
        max_in_flight: Batches that one caller may have sent and not yet received back.
        max_queued: Batches that may wait in one worker; a caller beyond that waits outside.
        max_queued_bytes: Bytes of batches that may wait or be scored in one worker; callers send no more before others
            are answered. A batch that is longer is sent when there is no other.
        timeout_s: Longest time the model may take for one call of it; also the deadline of `Model.predict`.
        ready_timeout_s: Longest time from the call until all workers are placed, loaded and probed.
        max_retries: How often a batch may lose its worker and be sent to another before it fails.
        null_input: Whether the model is called for rows with a NULL among its inputs: `call`, SQL's CALLED ON NULL
            INPUT, or `null`, SQL's RETURNS NULL ON NULL INPUT: such rows are NULL, and the model never sees them.
        on_error: What happens to rows that the model raises for or gives no fitting result for: `fail` fails the query,
            `null` gives them NULL, `struct` gives every row a struct of prediction, error and version.
        bisect_calls: Calls of the model that the search for such rows may take in one batch.
        bisect_s: Seconds that it may take.
        error_threshold: Largest share of such rows, of the last 10,000 of a caller, before the query fails after all.
        refresh_s: Seconds between looks at the registry for where the source's alias or `latest` points to; the pool
            follows it. None looks only at `Model.update`.
        record: Where each batch is recorded: `parquet:/directory`, `postgresql://user@host/database` or
            `kafka://host:9092/topic`; None records none.
        record_sample: Share of the batches whose first rows are recorded with their predictions, from 0 to 1.
        idle_s: Seconds without a call after which workers beyond the least end; a call to a pool that has none starts
            one, and waits for it.
        detached: Keep the pool after the driver's end (needs a Ray cluster that outlives the driver).
        tls: Encrypt what callers and the pool send each other; fixed when the pool is made.
        trust_pickle: Allow a loose pickle, cloudpickle or joblib file to be loaded.
    """

    workers: Workers = 1
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int | None = None
    resources: Mapping[str, float] | None = None
    runtime_env: Mapping[str, Any] | None = None
    env_manager: str = "local"
    extra_env: Mapping[str, str] | None = None
    batch_format: str = "pandas"
    batch_size: int | None = None
    batch_wait_s: float = 0.0
    max_concurrency: int = 1
    max_in_flight: int = 2
    max_queued: int = 100
    max_queued_bytes: int = 1 << 28
    timeout_s: float = 60.0
    ready_timeout_s: float = 300.0
    max_retries: int = 3
    null_input: str = "call"
    on_error: str = "fail"
    bisect_calls: int = 10_000
    bisect_s: float = 600.0
    error_threshold: float = 1.0
    refresh_s: float | None = None
    record: str | None = None
    record_sample: float = 0.0
    idle_s: float = 60.0
    detached: bool = False
    tls: bool = False
    trust_pickle: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.workers, list):  # as JSON has it
            object.__setattr__(self, "workers", tuple(self.workers))
        for key, (claim, holds) in _RULES.items():
            value = getattr(self, key)
            if not holds(value):
                raise InvalidOptionError(f"Cannot use option '{key}'", f"{_shown(value)} is not {claim}")
        if self.record is not None:
            targets.parse(self.record)
        if self.batch_wait_s and self.batch_size is None:
            raise InvalidOptionError(
                "Cannot use option 'batch_wait_s'", "there is no batch_size to wait for", "give batch_size too"
            )

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
    def min_workers(self) -> int:
        """The fewest workers that the pool has."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def max_workers(self) -> int:
        """The most workers that the pool has."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]

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


def parse_workers(text: str) -> Workers | None:
    """The number or range of workers that a text such as `3` or `0..3` says; None if it says none."""
    text = text.strip()
    match = _RANGE.fullmatch(text)
    if match:
        return int(match[1]), int(match[2])
    return int(text) if WHOLE.fullmatch(text) else None


def workers_text(workers: Workers) -> str:
    """The number or range of workers as SQL has it."""
    return str(workers) if isinstance(workers, int) else f"{workers[0]}..{workers[1]}"


def check_workers(what: str, workers: object) -> Workers:
    """Return `workers` if a pool can have so many.

    Raises:
        InvalidOptionError: it is neither a number of at least 1 nor a least and a most.
    """
    if isinstance(workers, list):
        workers = tuple(workers)
    claim, holds = _RULES["workers"]
    if not holds(workers):
        hint = "a least of 0, as in (0, 1), lets it end its workers while nobody calls it" if workers == 0 else ""
        raise InvalidOptionError(what, f"{_shown(workers)} is not {claim}", hint)
    taken: Workers = workers  # type: ignore[assignment]  # as the rule has seen
    return taken


def check_timeout(timeout_s: object, most_s: float = MOST_S, key: str = "timeout_s") -> float:
    """Return the seconds that a call may take, or something may be valid, if they can be.

    Raises:
        InvalidOptionError: it is no number above 0, or more than `most_s`.
    """
    # a number of NumPy's too: what a call is given goes nowhere as it is
    is_real, number = isinstance(timeout_s, numbers.Real), cast(Any, timeout_s)
    if is_real and not isinstance(timeout_s, bool) and 0 < number <= most_s:
        return float(number)
    raise InvalidOptionError(
        f"Cannot use option '{key}'",
        f"{_shown(timeout_s)} is not a number of seconds above 0, at most {most_s:,.0f}",
        f"write {key}=30 for half a minute, or leave it out for the default",
    )


def is_number(value: object, low: float, high: float = math.inf) -> bool:
    """Whether it is a number from `low` to `high`, and no infinity."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return low <= value <= high and value < math.inf  # a whole number may be too long to be a float


def _shown(value: object) -> str:
    """A value that is refused, for an error; neither Python nor a reader wants thousands of digits."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a whole number of more than 30 digits"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."


def _is_int(value: object, low: int, high: int = MOST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _at_least_one(value: Any) -> bool:
    return _is_int(value, 1)


def _are_bytes(value: Any) -> bool:
    return _is_int(value, 1, _MOST_BYTES)


def _not_negative(value: Any) -> bool:
    return is_number(value, 0, _MOST_BYTES)


def _seconds(value: Any) -> bool:
    return is_number(value, 0, MOST_S) and value > 0


def _are_workers(value: Any) -> bool:
    if not isinstance(value, tuple):
        return _is_int(value, 1, _MOST_WORKERS)
    return len(value) == 2 and _is_int(value[0], 0) and _is_int(value[1], 1, _MOST_WORKERS) and value[0] <= value[1]


def _is_mapping(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _is_resources(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return value is None
    return not {"CPU", "GPU", "memory"} & set(value) and all(map(_not_negative, value.values()))


def _is_environment(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return value is None
    return all(isinstance(text, str) for pair in value.items() for text in pair)


def _one_of(*words: str) -> tuple[str, Callable[[Any], bool]]:
    return "one of " + ", ".join(f"'{word}'" for word in words), lambda value: value in words


ENV_MANAGERS = ("local", "virtualenv", "uv")
ON_ERROR = ("fail", "null", "struct")
_COUNT = f"a whole number of at least 1, at most {MOST:,}"
_RANGE_S = f"above 0, at most {MOST_S:,.0f}"

_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "workers": (
        f"a whole number of at least 1, or a least of at least 0 and a most; at most {_MOST_WORKERS:,}",
        _are_workers,
    ),
    "num_cpus": (f"a number of at least 0, at most {MOST:,}", lambda value: is_number(value, 0, MOST)),
    "num_gpus": (f"a number of at least 0, at most {MOST:,}", lambda value: is_number(value, 0, MOST)),
    "memory": ("a whole number of bytes or None", lambda value: value is None or _are_bytes(value)),
    "resources": ("a mapping of custom resource names (not CPU, GPU, memory) to numbers of at least 0", _is_resources),
    "runtime_env": ("a mapping or None", _is_mapping),
    "env_manager": _one_of(*ENV_MANAGERS),
    "extra_env": ("a mapping of strings to strings or None", _is_environment),
    "batch_format": _one_of("pandas", "pyarrow"),
    "batch_size": (f"{_COUNT}, or None", lambda value: value is None or _at_least_one(value)),
    "batch_wait_s": (
        f"a number of seconds of at least 0, at most {MOST_S:,.0f}",
        lambda value: is_number(value, 0, MOST_S),
    ),
    "max_concurrency": (_COUNT, _at_least_one),
    "max_in_flight": (_COUNT, _at_least_one),
    "max_queued": (_COUNT, _at_least_one),
    "max_queued_bytes": ("a whole number of bytes of at least 1", _are_bytes),
    "timeout_s": (f"a number of seconds {_RANGE_S}", _seconds),
    "ready_timeout_s": (f"a number of seconds {_RANGE_S}", _seconds),
    "max_retries": (f"a whole number of at least 0, at most {MOST:,}", lambda value: _is_int(value, 0)),
    "null_input": _one_of("call", "null"),
    "on_error": _one_of(*ON_ERROR),
    "bisect_calls": (_COUNT, _at_least_one),
    "bisect_s": (f"a number of seconds {_RANGE_S}", _seconds),
    "error_threshold": ("a number from 0 to 1", lambda value: is_number(value, 0, 1)),
    "refresh_s": (f"a number of seconds {_RANGE_S}, or None", lambda value: value is None or _seconds(value)),
    "record": ("a URI or None", lambda value: value is None or isinstance(value, str)),
    "record_sample": ("a number from 0 to 1", lambda value: is_number(value, 0, 1)),
    "idle_s": (f"a number of seconds {_RANGE_S}", _seconds),
    "detached": ("True or False", lambda value: isinstance(value, bool)),
    "tls": ("True or False", lambda value: isinstance(value, bool)),
    "trust_pickle": ("True or False", lambda value: isinstance(value, bool)),
}
