# SPDX-License-Identifier: Apache-2.0
"""What OPTIONS (...) may say."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sparkmodel.control.sql_options import KNOWN, Settings, rollout_of, said
from sparkmodel.errors import InvalidOptionError
from sparkmodel.options import PoolOptions
from sparkmodel.registration.rollout import Rollout


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("workers", "2", 2),
        ("workers", 2, 2),
        ("WORKERS", " 2 ", 2),
        ("workers", "0..3", (0, 3)),
        ("workers", " 1 .. 8 ", (1, 8)),
        ("workers", [0, 3], (0, 3)),
        ("idle", "2 min", 120.0),
        ("num_cpus", "0.5", 0.5),
        ("num_cpus", 1, 1),
        ("detached", "TRUE", True),
        ("detached", False, False),
        ("batch_size", "1000", 1000),
        ("batch_size", "none", None),
        ("memory", None, None),
        ("on_error", "null", "null"),
        ("timeout_s", "30", 30.0),
        ("timeout_s", "30s", 30.0),
        ("timeout", "2 min", 120.0),
        ("ready_timeout", "1.5 hours", 5400.0),
        ("refresh", "500ms", 0.5),
        ("refresh_s", "null", None),
        ("extra_env", '{"A": "b"}', {"A": "b"}),
        ("extra_env.A", 1, {"A": "1"}),
        ("extra_env.A", True, {"A": "true"}),
        ("resources.tpu", "0.5", {"tpu": 0.5}),
        ("runtime_env", '{"pip": ["x"]}', {"pip": ["x"]}),
    ],
)
def test_a_value_gets_the_type_of_its_option(key: str, given: Any, value: Any) -> None:
    pool = Settings().with_options({key: given}).pool
    name = key.lower().partition(".")[0]
    seen = getattr(pool, name if hasattr(pool, name) else f"{name}_s")
    assert seen == value
    assert type(seen) is type(value)


def test_what_is_a_models_stays_as_it_was_written() -> None:
    settings = Settings().with_options(
        {
            "params.k": 3,
            "params.Name": "3",
            "model_config.a.b": True,
            "method": "predict_proba",
            "result_type": "double",
        }
    )
    assert settings.params == {"k": 3, "Name": "3"}
    assert settings.model_config == {"a.b": True}
    assert (settings.method, settings.result_type) == ("predict_proba", "double")


def test_every_option_of_a_pool_can_be_said_and_each_is_known_by_one_name() -> None:
    names = {field.name for field in dataclasses.fields(PoolOptions)}
    assert names < set(KNOWN)
    assert not {name.removesuffix("_s") for name in names if name.endswith("_s")} & names


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"worker": 1}, "no such option. Hint: did you mean 'workers'?"),
        ({"workers": "8..1"}, r"\(8, 1\) is not a whole number of at least 1, or a least of at least 0 and a most"),
        ({"workers": "1..many"}, "'1..many' is not a whole number of at least 1"),
        ({"workers": "0"}, "0 is not a whole number of at least 1"),
        ({"workers": True}, "True is not a whole number"),
        ({"timeout": "30 parsecs"}, "'30 parsecs' is not a number of seconds above 0"),
        ({"timeout": "0s"}, "0.0 is not a number of seconds above 0"),
        ({"timeout": "-5s"}, "'-5s' is not a number of seconds above 0"),
        ({"timeout": "1e999"}, "inf is not a number of seconds above 0"),
        ({"timeout": "30000h"}, "108000000.0 is not a number of seconds above 0, at most 100,000,000"),
        ({"timeout": "nan"}, "nan is not a number of seconds above 0"),
        ({"refresh": "0"}, "0.0 is not a number of seconds above 0, at most 100,000,000, or None"),
        ({"batch_size": "-1"}, "-1 is not a whole number of at least 1"),
        ({"batch_size": "2.5"}, "'2.5' is not a whole number of at least 1"),
        ({"max_retries": "9" * 5000}, "is not a whole number of at least 0, at most 2,147,483,647"),
        ({"workers": "9" * 5000}, "is not a whole number of at least 1"),
        ({"error_threshold": "2"}, "2.0 is not a number from 0 to 1"),
        ({"num_cpus": "30s"}, "'30s' is not a number of at least 0"),
        ({"detached": "maybe"}, "'maybe' is not True or False"),
        ({"on_error": "ignore"}, "is not one of 'fail', 'null', 'struct'"),
        ({"on_error": 1}, "1 is not a text"),
        ({"timeout": 1, "timeout_s": 2}, "'timeout_s' is given twice"),
        ({"workers.x": 1}, "'workers' has no entries"),
        ({"params": "k"}, "'k' is not a mapping"),
        ({"params": "[1]"}, r"'\[1\]' is not a mapping"),
        ({"resources.CPU": 1}, "is not a mapping of custom resource names"),
        ({"resources.tpu": "many"}, "is not a mapping of custom resource names"),
        ({"batch_wait": "10ms"}, "there is no batch_size to wait for"),
    ],
)
def test_what_does_not_fit_says_what_does(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidOptionError, match=says):
        Settings().with_options(options)


def test_an_unknown_option_names_all_that_are_known() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        Settings().with_options({"wrkers": 1})
    assert all(f"'{name}'" in caught.value.hint for name in KNOWN)


def test_options_go_over_those_before_and_are_taken_away() -> None:
    first = Settings().with_options({"workers": 2, "extra_env.A": "a", "params.k": 1, "timeout": "5s"})
    second = first.with_options({"extra_env.B": "b", "workers": "3"})
    assert second.non_default() == {
        "workers": 3,
        "extra_env": {"A": "a", "B": "b"},
        "params": {"k": 1},
        "timeout_s": 5.0,
    }
    third = second.without(["extra_env.A", "timeout", "params.k"])
    assert third.non_default() == {"workers": 3, "extra_env": {"B": "b"}}
    assert third.without(["EXTRA_ENV", "workers", "params.absent"]) == Settings()
    with pytest.raises(InvalidOptionError, match="did you mean"):
        third.without(["worker"])


def test_a_range_of_workers_is_told_as_it_is_written() -> None:
    settings = Settings().with_options({"workers": "0..3"})
    assert settings.non_default() == {"workers": "0..3"}
    assert Settings().with_options(settings.non_default()) == settings


def test_what_was_said_is_told_from_what_comes_of_it() -> None:
    assert said(["TIMEOUT", "extra_env.A", "params"]) == {"timeout_s": False, "extra_env": True, "params": False}
    with pytest.raises(InvalidOptionError, match="did you mean 'workers'"):
        said(["wrokers"])


@pytest.mark.parametrize(
    ("options", "rollout"),
    [
        ({}, Rollout()),
        ({"traffic": 0.05, "MAX_ERROR_RATE": "0.1"}, Rollout(traffic=0.05, max_error_rate=0.1)),
        ({"keep_old": "until_done"}, Rollout()),
        ({"keep_old": "UNTIL_DONE", "traffic": "1"}, Rollout(traffic=1.0)),
        ({"keep_old": "2 min"}, Rollout(keep_old=120.0)),
        ({"keep_old": 0}, Rollout(keep_old=0)),
        ({"allow_new_inputs": "TRUE", "stop_first": True}, Rollout(allow_new_inputs=True, stop_first=True)),
    ],
)
def test_how_a_pool_goes_to_another_location(options: dict[str, Any], rollout: Rollout) -> None:
    assert rollout_of(options) == rollout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trafic": 0.1}, "an update has no such option. Hint: did you mean 'traffic'?"),
        ({"traffic": "much"}, "'much' is not a number from 0 to 1"),
        ({"traffic": "5%"}, "'5%' is not a number from 0 to 1"),
        ({"keep_old": "forever"}, "'forever' is neither 'until_done' nor a number of seconds"),
        ({"allow_new_inputs": "maybe"}, "'maybe' is not True or False"),
    ],
)
def test_a_wrong_way_to_another_location_says_what_would_do(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidOptionError, match=says):
        rollout_of(options)
