# SPDX-License-Identifier: Apache-2.0
"""How a pool goes from one version to the next: what can be said, and what goes together."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest

from sparkmodel.errors import InvalidOptionError
from sparkmodel.model import Model
from sparkmodel.pool.intents import Intent
from sparkmodel.registration.calls import check_version
from sparkmodel.registration.rollout import NAMES, Rollout


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"traffic": 1.5}, "1.5 is not a number from 0 to 1. Hint: 0.05 is one query of twenty"),
        ({"traffic": -0.1}, "-0.1 is not a number from 0 to 1"),
        ({"traffic": "0.1"}, "'0.1' is not a number from 0 to 1"),
        ({"traffic": True}, "True is not a number"),
        ({"traffic": math.nan}, "nan is not a number from 0 to 1"),
        ({"traffic": 0.5, "max_error_rate": 2}, "2 is not a number from 0 to 1"),
        ({"max_error_rate": 0.1}, "only a canary is rolled back by itself. Hint: give traffic too"),
        (
            {"keep_old": "x"},
            "'x' is neither 'until_done' nor a number of seconds of at least 0, at most 100,000,000. Hint: 'until",
        ),
        ({"keep_old": -1}, "-1 is neither"),
        ({"keep_old": None}, "None is neither"),
        ({"keep_old": math.inf}, "inf is neither"),
        ({"allow_new_inputs": 1}, "1 is not True or False"),
        ({"stop_first": "yes"}, "'yes' is not True or False"),
        ({"traffic": 0.5, "stop_first": True}, "a canary serves beside the old version. Hint: leave traffic out"),
        ({"traffic": 0.5, "allow_new_inputs": True}, "a canary gets the queries of the plans that are there"),
        ({"keepold": 3}, "an update has no such option. Hint: did you mean 'keep_old'?"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_name_of_its_option(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        Rollout.of(given)
    assert str(caught.value).startswith("[INVALID_OPTION] Cannot use option '")
    assert any(f"'{key}'" in caught.value.what for key in given)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"traffic": 0},
        {"traffic": 1.0, "max_error_rate": 0.0, "keep_old": 30},
        {"keep_old": 0.0, "allow_new_inputs": True, "stop_first": True},
    ],
)
def test_what_fits_reaches_the_intent_as_it_was_said(given: dict[str, Any]) -> None:
    intent = Intent(kind="source", **Rollout.of(given).fields())
    assert {key: getattr(intent, key) for key in given} == given
    assert Rollout().fields() == {key: getattr(Intent(kind="source"), key) for key in NAMES}


def test_an_update_takes_all_of_it() -> None:
    parameters = inspect.signature(Model.update).parameters
    defaults = {key: parameters[key].default for key in NAMES}
    assert defaults == Rollout().fields()


@pytest.mark.parametrize("to", [None, 1, 17])
def test_a_version_has_a_number(to: int | None) -> None:
    assert check_version("m", to) == to


@pytest.mark.parametrize("to", [0, -1, 1.0, "1", True])
def test_what_is_no_versions_number_is_refused(to: object) -> None:
    with pytest.raises(InvalidOptionError, match=r"Cannot roll back model 'm': .* is no version's number.*Hint"):
        check_version("m", to)
