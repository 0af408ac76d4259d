# SPDX-License-Identifier: Apache-2.0
"""What Python would do is told in the words of SQL; all else of an error stays."""

from __future__ import annotations

import pathlib

import pytest

from sparkmodel.control.hints import in_sql
from sparkmodel.errors import (
    InputsChangedError,
    InvalidOptionError,
    ModelNotFoundError,
    PoolNotPlacedError,
    SparkModelError,
    UnsupportedSourceError,
)
from sparkmodel.loaders import resolve


def test_hints_that_fit_both_stay() -> None:
    error = PoolNotPlacedError("Cannot place", "no room", "sm.init(num_cpus=n)", "details")
    told = in_sql(error)
    assert type(told) is PoolNotPlacedError
    assert (told.what, told.fact, told.details) == ("Cannot place", "no room", "details")
    assert "sm." not in told.hint
    other = ModelNotFoundError("Cannot find model 'x'", "no", "did you mean 'y'?")
    assert in_sql(other).to_dict() == other.to_dict()


@pytest.mark.parametrize(
    ("source", "kind"), [("/no/such/model", ModelNotFoundError), (".", UnsupportedSourceError), ("models:/x/1", None)]
)
def test_no_hint_about_a_source_speaks_of_python(
    source: str, kind: type[SparkModelError] | None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind or ModelNotFoundError) as caught:
        resolve("x", source)
    told = in_sql(caught.value)
    assert told.hint != caught.value.hint
    assert not any(word in told.hint for word in ("predict", "mlflow.set", "sm.", "function"))


@pytest.mark.parametrize("kind", [InputsChangedError, InvalidOptionError])
def test_hints_about_versions_are_statements(kind: type[SparkModelError]) -> None:
    for hint in ("update the model with traffic= first", "look at the versions that it had: model.versions()"):
        told = in_sql(kind("Cannot", "no", hint))
        assert not any(word in told.hint for word in ("traffic= ", "model.", "=True"))
        assert any(word in told.hint for word in ("SET LOCATION", "SHOW MODEL VERSIONS"))
