# SPDX-License-Identifier: Apache-2.0
"""Whether the names of an argument list bind it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.names import bound_names, places
from sparkmodel.schema import Column

WHAT = "Cannot call model 'm'"
F64 = pa.float64()
ABC = (Column(name="a", type=F64), Column(name="b", type=F64, required=False), Column(name="c", type=F64))
TWO = (Column(name="Age", type=F64), Column(name="Income", type=F64))


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        (["c", "a"], ["c", "a"]),
        (["C", "A"], ["c", "a"]),
        (["x", "y", "z"], None),
        (["a", "y", "c"], None),
        ([None, "b", None], None),
        (["a", None, None], None),
        (["a", "a", "c"], None),  # the same column for two inputs, by position
    ],
)
def test_names_bind_where_all_are_the_models(given: list[str | None], bound: list[str] | None) -> None:
    assert bound_names(WHAT, given, ABC) == bound


@pytest.mark.parametrize("given", [["b", "x", "c"], ["x", "a", "c"], [None, "c"], ["c", None]])
def test_a_name_of_the_models_in_anothers_place_is_refused(given: list[str | None]) -> None:
    with pytest.raises(SchemaMismatchError, match="by its name, and argument"):
        bound_names(WHAT, given, ABC)


@pytest.mark.parametrize("given", [["a"], ["b"], ["a", "b"]])
def test_a_required_input_that_is_missing_is_named(given: list[str | None]) -> None:
    with pytest.raises(SchemaMismatchError, match="is missing; the model takes"):
        bound_names(WHAT, given, ABC)


def test_the_session_says_whether_the_case_matters() -> None:
    assert bound_names(WHAT, ["income", "AGE"], TWO) == ["Income", "Age"]
    assert bound_names(WHAT, ["income", "AGE"], TWO, lambda: True) is None
    assert bound_names(WHAT, ["Income", "Age"], TWO, lambda: True) == ["Income", "Age"]
    both = (*TWO, Column(name="age", type=F64))
    assert bound_names(WHAT, ["age", "Age", "Income"], both) == ["age", "Age", "Income"]


def test_all_names_count_where_nobody_knows_the_models() -> None:
    assert bound_names(WHAT, ["b", "a"], None) == ["b", "a"]
    assert bound_names(WHAT, ["b", None], None) is None
    assert bound_names(WHAT, ["b", "b"], None) is None
    assert bound_names(WHAT, [], None) is None


def test_unnamed_inputs_and_one_tensor_go_by_position() -> None:
    assert bound_names(WHAT, ["a", "b"], (Column(name=None, type=F64),) * 2) is None
    assert bound_names(WHAT, ["y", "x"], (Column(name="x", type=F64, shape=(-1, 2)),)) is None


def test_an_equal_name_comes_before_one_in_another_case() -> None:
    assert places("a", ["A", "a", None]) == [1]
    assert places("a", ["A", None]) == [0]
    assert places("a", ["A"], True) == []
    assert places("Ab", ["AB", "aB"]) == [0, 1]
