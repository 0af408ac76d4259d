# SPDX-License-Identifier: Apache-2.0
"""What one call asks for, put into the handle that it is made through."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sparkmodel.errors import InvalidOptionError
from sparkmodel.registration.calls import for_call, read_config
from sparkmodel.spec import answer_type
from sparkmodel.wire.handle import Handle
from tests.unit.pool.toys import spec_of
from tests.unit.wire.toys import HandleClient

SPEC, _ = spec_of(lambda frame: frame["x"])


@pytest.fixture
def handle(serve: Callable[..., Any], pool: Callable[..., HandleClient]) -> Handle:
    return pool(serve(), max_retries=9, timeout_s=7.0).handle.calling(time_zone="UTC", timeout_s=5.0)


def test_what_is_not_asked_for_stays_as_the_handle_has_it(handle: Handle) -> None:
    assert for_call(handle, SPEC) == handle
    called = for_call(handle, SPEC, on_error="struct")
    assert called.call == handle.calling(on_error="struct").call
    assert called.call.timeout_s == 5.0, "a deadline is not lost"
    assert called.contract.result_type == answer_type(pa.float64(), "struct") != pa.float64()
    assert for_call(called, SPEC, {"k": 2}).contract == called.contract


def test_params_and_deadline_are_taken_over_those_of_the_handle(handle: Handle) -> None:
    called = for_call(handle, SPEC, {"k": np.float64(2.5)}, timeout_s=0.25)
    assert (called.call.params, called.call.timeout_s, called.call.time_zone) == ('{"k": 2.5}', 0.25, "UTC")
    assert called.call.limits == handle.call.limits


def test_what_cannot_be_asked_for_is_refused(handle: Handle) -> None:
    with pytest.raises(InvalidOptionError, match="'maybe' is none of"):
        for_call(handle, SPEC, on_error="maybe")
    with pytest.raises(InvalidOptionError, match="cannot be sent as a param"):
        for_call(handle, SPEC, {"k": object()})
    with pytest.raises(InvalidOptionError, match="'timeout_s': -1 is not a number of seconds above 0"):
        for_call(handle, SPEC, timeout_s=-1)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidOptionError, match="'params'"):
        for_call(handle, SPEC, {"k": deep})


def test_a_models_configuration_may_be_a_file(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("factor: 3\nnames: [a, b]\n")
    wanted = {"factor": 3, "names": ["a", "b"]}
    assert read_config(file) == read_config(str(file)) == read_config(wanted) == wanted
    assert read_config(None) is None


@pytest.mark.parametrize("text", [None, "just text", "a: [", "- 1"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: pathlib.Path, text: str | None) -> None:
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidOptionError, match="Cannot use option 'model_config'"):
        read_config(file)
