# SPDX-License-Identifier: Apache-2.0
"""Errors: their form, and that they arrive as what they left as."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Callable

import cloudpickle
import pytest

from sparkmodel import errors
from sparkmodel.errors import PredictError, SparkModelError, suggest

CLASSES = [SparkModelError, *SparkModelError.__subclasses__()]
FORM = re.compile(
    r"\[(?P<condition>[A-Z]+(_[A-Z]+)*)\] Cannot (?P<what>[^:]+): (?P<fact>.+?[.!?])( Hint: (?P<hint>.+[.!?]))?"
)

WAYS: dict[str, Callable[[SparkModelError], SparkModelError]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "oldest pickle": lambda error: pickle.loads(pickle.dumps(error, protocol=0)),
    "cloudpickle": lambda error: pickle.loads(cloudpickle.dumps(error)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "json": lambda error: SparkModelError.from_dict(json.loads(json.dumps(error.to_dict()))),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_arrives_as_the_class_and_text_that_it_left_as(cls: type[SparkModelError], way: str) -> None:
    error = cls(
        "Cannot score with 'wine'", "the model raised ValueError: ä 'x' \"y\"", "look below", "Trace:\n  line\n"
    )
    back = WAYS[way](error)
    assert type(back) is cls
    assert (back.what, back.fact, back.hint, back.details) == (error.what, error.fact, error.hint, error.details)
    assert str(back) == str(error)
    assert back.condition == cls.condition


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_message_has_its_form_with_and_without_a_hint(cls: type[SparkModelError]) -> None:
    with_hint = FORM.fullmatch(cls("Cannot score with 'wine'", "it was dropped", "register it again").message)
    assert with_hint is not None
    assert with_hint["condition"] == cls.condition
    assert with_hint["what"] == "score with 'wine'"
    assert with_hint["fact"] == "it was dropped."
    assert with_hint["hint"] == "register it again."
    without = FORM.fullmatch(cls("Cannot score with 'wine'", "why?").message)
    assert without is not None
    assert without["fact"] == "why?"  # a stop that is there is not doubled
    assert without["hint"] is None


def test_conditions_are_unique_and_every_class_is_found_by_its_own() -> None:
    conditions = [cls.condition for cls in CLASSES]
    assert len(set(conditions)) == len(conditions)
    for cls in CLASSES:
        assert type(SparkModelError.from_dict({"condition": cls.condition})) is cls


def test_every_class_says_what_it_is_for() -> None:
    for name in dir(errors):
        cls = getattr(errors, name)
        if isinstance(cls, type) and issubclass(cls, SparkModelError):
            assert cls.__doc__
            assert cls in CLASSES


def test_an_unknown_condition_of_a_newer_worker_stays_readable() -> None:
    parts = {"condition": "SUN_TOO_HOT", "what": "Cannot shine", "fact": "6000 K", "hint": "wait", "details": "far"}
    error = SparkModelError.from_dict(parts)
    assert type(error) is SparkModelError
    assert error.message == "[INTERNAL_ERROR] Cannot shine: SUN_TOO_HOT: 6000 K. Hint: wait."
    assert error.details == "far"


def test_an_error_of_half_a_message_is_still_an_error() -> None:
    error = SparkModelError.from_dict({})
    assert FORM.fullmatch(error.message)


def test_details_follow_the_message_and_are_not_part_of_it() -> None:
    error = PredictError("Cannot score with 'wine'", "it raised", details="Traceback:\n  boom\n\n")
    assert str(error) == f"{error.message}\n\nTraceback:\n  boom"
    assert "boom" not in error.message


def test_a_message_is_one_line_whatever_the_model_said() -> None:
    assert "\n" not in PredictError("Cannot score with 'wine'", "the model raised ValueError: first\nsecond").message


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("wroker", ["workers", "num_cpus"], "did you mean 'workers'"),
        ("zzz", ["b", "a"], "known are ['a', 'b']"),
        ("zzz", [], "there are none yet"),
    ],
)
def test_suggest_names_the_nearest_else_all(name: str, known: list[str], said: str) -> None:
    assert said in suggest(name, known)
