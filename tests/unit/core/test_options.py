# SPDX-License-Identifier: Apache-2.0
"""Options of a pool and names of models."""

from __future__ import annotations

import dataclasses
import fractions
import math
import pickle
from typing import Any

import numpy as np
import pytest

from sparkmodel.errors import InvalidNameError, InvalidOptionError
from sparkmodel.options import (
    _RULES,
    FOR_LIFE,
    LIVE,
    PoolOptions,
    check_name,
    check_timeout,
    check_workers,
    parse_workers,
    workers_text,
)

REFUSED: dict[str, list[Any]] = {
    "workers": [0, -1, 1.5, 2.0, True, "2", None, (-1, 2), (3, 2), (0, 0), (1,), (1, 2, 3), (1, None), (0.0, 1)],
    "num_cpus": [-0.1, "1", None, True, math.nan],
    "num_gpus": [-1, "1", None, False, math.nan],
    "memory": [0, -1, 1e9, "1g", True],
    "resources": [{"tpu": -1}, {"tpu": "1"}, {"tpu": None}, ["tpu"], "tpu"],
    "runtime_env": [["pip"], "pip", 1],
    "env_manager": ["conda", None, "UV", True],
    "extra_env": [{"A": 1}, ["A=1"], "A=1", {1: "a"}],
    "batch_format": ["numpy", None, "Pandas"],
    "batch_size": [0, -1, 2.5, "8", True],
    "batch_wait_s": [-1, "1", None, math.nan],
    "max_concurrency": [0, 1.5, True, None],
    "max_in_flight": [0, -1, 2.5, None],
    "max_queued": [0, -5, "100", None],
    "max_queued_bytes": [0, -1, 1e9, "1g", None, True],
    "timeout_s": [0, -1, "60", None, True, math.nan],
    "ready_timeout_s": [0, -1, "60", None, math.nan],
    "max_retries": [-1, 1.5, None, True],
    "null_input": ["skip", None, "NULL", True],
    "on_error": ["raise", None, "NULL", True],
    "bisect_calls": [0, -1, 1.5, None, True],
    "bisect_s": [0, -1, "60", None, True, math.nan],
    "error_threshold": [-0.1, 1.1, None, "1%", math.nan],
    "refresh_s": [0, -1, "30", True, math.nan],
    "record": [1, True, b"parquet:/calls"],
    "record_sample": [-0.1, 1.1, None, "1%", math.nan],
    "idle_s": [0, -1, None, "60", True, math.nan],
    "detached": [0, 1, "yes", None],
    "tls": [0, 1, "yes", None],
    "trust_pickle": [0, 1, "true", None],
}

ACCEPTED: dict[str, list[Any]] = {
    "workers": [1, 64, (0, 1), (2, 2), (1, 8)],
    "num_cpus": [0, 0.25, 4],
    "num_gpus": [0, 0.5, 2],
    "memory": [None, 1, 2**33],
    "resources": [None, {}, {"tpu": 0.5}],
    "runtime_env": [None, {}, {"pip": ["x"]}],
    "env_manager": ["local", "virtualenv", "uv"],
    "extra_env": [None, {}, {"A": "1"}],
    "batch_format": ["pandas", "pyarrow"],
    "batch_size": [None, 1, 4096],
    "batch_wait_s": [0, 0.0],
    "max_concurrency": [1, 8],
    "max_in_flight": [1, 32],
    "max_queued": [1, 10_000],
    "max_queued_bytes": [1, 2**33],
    "timeout_s": [0.1, 1, 3600],
    "ready_timeout_s": [0.1, 1, 3600],
    "max_retries": [0, 10],
    "null_input": ["call", "null"],
    "on_error": ["fail", "null", "struct"],
    "bisect_calls": [1, 100_000],
    "bisect_s": [0.5, 3600],
    "error_threshold": [0, 0.01, 1],
    "refresh_s": [None, 0.5, 3600],
    "record": [None, "parquet:/calls", "postgresql://me@host/db?keep=30d", "kafka://a:1,b:2/calls"],
    "record_sample": [0, 0.01, 1],
    "idle_s": [0.5, 600],
    "detached": [True, False],
    "tls": [True, False],
    "trust_pickle": [True, False],
}


def cases(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(key, value) for key, values in table.items() for value in values]


@pytest.mark.parametrize(("key", "value"), cases(REFUSED))
def test_a_wrong_value_is_refused_with_the_name_of_its_option(key: str, value: Any) -> None:
    with pytest.raises(
        InvalidOptionError, match=rf"^\[INVALID_OPTION\] Cannot use option '{key}': .*is not "
    ) as caught:
        PoolOptions.of({key: value})
    assert repr(value) in caught.value.fact


@pytest.mark.parametrize(("key", "value"), cases(ACCEPTED))
def test_a_right_value_is_kept(key: str, value: Any) -> None:
    assert getattr(PoolOptions.of({key: value}), key) == value


@pytest.mark.parametrize(("given", "least", "most"), [(3, 3, 3), ((0, 3), 0, 3), ([1, 4], 1, 4)])
def test_workers_are_a_number_or_a_range(given: Any, least: int, most: int) -> None:
    options = PoolOptions.of({"workers": given})
    assert (options.min_workers, options.max_workers) == (least, most)
    assert check_workers("Cannot scale", given) == options.workers
    assert parse_workers(workers_text(options.workers)) == options.workers
    assert hash(options) == hash(PoolOptions.of({"workers": options.workers}))


@pytest.mark.parametrize(
    "text", ["", "two", "1.5", "1..", "..3", "1...3", "0..3..4", "-1..3", "9" * 5000, "0.." + "9" * 5000]
)
def test_a_text_that_says_no_number_of_workers(text: str) -> None:
    assert parse_workers(text) is None


def test_no_workers_for_good_is_refused_with_a_way() -> None:
    with pytest.raises(InvalidOptionError, match=r"^\[INVALID_OPTION\] Cannot scale: 0 is not .*Hint: .*\(0, 1\)"):
        check_workers("Cannot scale", 0)
    with pytest.raises(InvalidOptionError, match=r"'3' is not a whole number"):
        check_workers("Cannot scale", "3")


def test_each_option_takes_effect_in_one_way() -> None:
    fields = {field.name for field in dataclasses.fields(PoolOptions)}
    assert fields >= LIVE | FOR_LIFE
    assert not LIVE & FOR_LIFE
    assert LIVE & {"num_cpus", "memory", "extra_env", "env_manager", "null_input"} == set()


def name_of(value: Any) -> str | None:
    return "huge" if isinstance(value, int) and value > 10**30 else None


NUMBERS = [key for key, (claim, _) in _RULES.items() if "number" in claim and key != "resources"]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 10**20, -(10**20), 10**5000, 1e300], ids=name_of)
def test_no_number_is_so_large_that_something_else_breaks(key: str, value: float) -> None:
    with pytest.raises(InvalidOptionError, match=rf"Cannot use option '{key}': .*is not ") as caught:
        PoolOptions.of({key: value})
    assert len(str(caught.value)) < 300
    assert ("more than 30 digits" in caught.value.fact) == (value == 10**5000)


def test_there_are_numbers_to_be_refused() -> None:
    assert len(NUMBERS) >= 18


REFUSED_TIMES = [0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf, "5", b"5", True, [5], {}, 1e9, 10**5000, 5j]


@pytest.mark.parametrize("value", [*REFUSED_TIMES, None], ids=name_of)
def test_a_time_of_a_call_that_is_none(value: Any) -> None:
    with pytest.raises(
        InvalidOptionError,
        match=r"^\[INVALID_OPTION\] Cannot use option 'valid_s': .* of seconds above 0, at most 500\. ",
    ):
        check_timeout(value, 500.0, "valid_s")


@pytest.mark.parametrize("value", [5, 0.25, np.float32(0.25), np.int64(5), fractions.Fraction(1, 4)])
def test_a_time_of_a_call(value: Any) -> None:
    assert check_timeout(value) == float(value)
    assert type(check_timeout(value)) is float


def test_every_option_has_a_rule_and_cases_here() -> None:
    fields = {field.name for field in dataclasses.fields(PoolOptions)}
    assert fields == set(_RULES) == set(REFUSED) == set(ACCEPTED)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("worker", "workers"), ("num_cpu", "num_cpus"), ("max_inflight", "max_in_flight"), ("timeout", "timeout_s")],
)
def test_an_unknown_option_names_the_nearest_and_all_others(key: str, nearest: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        PoolOptions.of({key: 1})
    assert caught.value.what == f"Cannot use option '{key}'"
    assert f"did you mean '{nearest}'" in caught.value.hint
    for field in dataclasses.fields(PoolOptions):
        assert field.name in caught.value.hint


def test_defaults_are_modest() -> None:
    options = PoolOptions()
    assert (options.workers, options.max_concurrency, options.max_in_flight) == (1, 1, 2)
    assert (options.num_cpus, options.num_gpus) == (1.0, 0.0)
    assert options.bundle == {"CPU": 1.0}
    assert not options.detached
    assert not options.trust_pickle
    assert PoolOptions.of({}) == options


def test_a_bundle_has_only_what_was_asked_for() -> None:
    options = PoolOptions(num_cpus=0, num_gpus=0.5, memory=1024, resources={"tpu": 2, "none": 0})
    assert options.bundle == {"GPU": 0.5, "memory": 1024.0, "tpu": 2.0}
    assert PoolOptions(num_cpus=0).bundle == {}


def test_options_are_frozen_and_travel() -> None:
    options = PoolOptions(workers=3, runtime_env={"env_vars": {"A": "1"}})
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.workers = 4  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.mark.parametrize("name", ["a", "_", "model_predict", "Wine2", "_1", "x" * 128])
def test_a_name_that_sql_can_call_is_returned(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1st",
        "my model",
        "my-model",
        "db.model",
        "`tick`",
        "x; DROP TABLE t",
        "x()",
        "x\n",
        "\nx",
        "x\x00",
        "größe",
        "\uff4dodel",  # a full-width letter looks like another one
        "x" * 129,
        None,
        7,
        b"model",
        ["model"],
    ],
)
def test_a_name_that_sql_could_not_call_is_refused(name: object) -> None:
    with pytest.raises(InvalidNameError, match=r"\[INVALID_NAME\] Cannot use model name ") as caught:
        check_name(name)
    assert "model_predict" in caught.value.hint
