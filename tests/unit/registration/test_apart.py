# SPDX-License-Identifier: Apache-2.0
"""Planning in a process of its own."""

from __future__ import annotations

import os
from typing import Any

import pytest

from sparkmodel.errors import ModelLoadError, ModelNotFoundError
from sparkmodel.registration import apart
from sparkmodel.registration.apart import plan_apart
from sparkmodel.registration.settle import Asked

SOURCE = Asked(source="python:pkg.module:Model")


def test_an_error_comes_back_as_it_was() -> None:
    def refuse(_: Any) -> Any:
        raise ModelNotFoundError("Cannot do it", "it is not there", "look elsewhere", "a trace")

    with pytest.raises(ModelNotFoundError) as caught, plan_apart("m", SOURCE, refuse):
        pass
    assert (caught.value.fact, caught.value.hint, caught.value.details) == (
        "it is not there",
        "look elsewhere",
        "a trace",
    )


def test_a_process_that_prints_answers_still_and_one_that_dies_is_an_error() -> None:
    def noisy(resolved: Any) -> Any:
        print("a progress bar")
        return resolved.source.uri

    with plan_apart("m", SOURCE, noisy) as planned:
        assert planned.spec == "pkg.module:Model"

    def die(_: Any) -> Any:
        os.write(2, b"out of memory")
        os._exit(3)

    with pytest.raises(ModelLoadError, match="ended with 3") as caught, plan_apart("m", SOURCE, die):
        pass
    assert caught.value.details == "out of memory"


def test_a_registry_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_LIMIT_S", 0.2)

    def wait(_: Any) -> Any:
        import time

        time.sleep(600)

    with pytest.raises(apart.ControlTimeoutError, match="did not answer"), plan_apart("m", SOURCE, wait):
        pass
