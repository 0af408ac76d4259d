# SPDX-License-Identifier: Apache-2.0
"""Which part of a result belongs to which row, and which to which field."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest

from sparkmodel.errors import WrongResultTypeError, WrongRowCountError
from sparkmodel.scoring.outputs import to_array

INT, DOUBLE, TEXT = pa.int64(), pa.float64(), pa.string()
PAIR = pa.struct([("a", INT), ("b", TEXT)])
NUMBERS = pa.struct([("a", INT), ("b", INT)])
ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": "z"}]

Named = collections.namedtuple("Named", "a b")


@dataclasses.dataclass
class Plain:
    a: int
    b: Any


class Checked(pydantic.BaseModel):
    b: str | None = None
    a: int


class Tensor:
    """As torch and others have it: an ndarray that is asked for."""

    def __init__(self, values: Any) -> None:
        self._values = np.array(values)
        self.shape, self.dtype = self._values.shape, self._values.dtype

    def __len__(self) -> int:
        return len(self._values)

    def detach(self) -> Tensor:
        return self

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self._values


def convert(result: Any, type_: pa.DataType, rows: int = 3, **how: Any) -> list[Any]:
    values: list[Any] = to_array("Cannot score", result, rows, type_, **how).to_pylist()
    return values


@pytest.mark.parametrize("like_mlflow", [False, True])
@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        ([2, 0, 1], [20, 30, 10]),
        (pd.RangeIndex(2, -1, -1), [30, 20, 10]),
        (pd.Index([2, 0, 1], dtype="int32"), [20, 30, 10]),
        (pd.Index([2, 0, 1], dtype="Int64"), [20, 30, 10]),
        (pd.RangeIndex(3), [10, 20, 30]),
        ([3, 2, 1], [10, 20, 30]),
        ([0, 0, 1], [10, 20, 30]),
        ([2.0, 1.0, 0.0], [10, 20, 30]),
        (["b", "a", "c"], [10, 20, 30]),
        ([False, True, False], [10, 20, 30]),
        (pd.MultiIndex.from_tuples([(2, 0), (1, 0), (0, 0)]), [10, 20, 30]),
    ],
    ids=str,
)
def test_an_index_with_the_rows_numbers_says_whose_the_results_are(
    index: Any, wanted: list[int], like_mlflow: bool
) -> None:
    series = pd.Series([10, 20, 30], index=index)
    assert convert(series, INT, like_mlflow=like_mlflow) == wanted
    assert convert(series.to_frame("p"), INT, like_mlflow=like_mlflow) == wanted
    assert convert({"p": series}, INT, like_mlflow=like_mlflow) == wanted
    both = {"b": [1, 2, 3], "a": series}
    assert [row["a"] for row in convert(both, NUMBERS, like_mlflow=like_mlflow)] == wanted


def test_a_batch_that_was_sorted_or_grouped_inside_comes_back_in_its_order() -> None:
    frame = pd.DataFrame({"g": ["u", "v", "u"], "x": [3, 1, 2]})
    assert convert(frame.sort_values("x")["x"], INT) == [3, 1, 2]
    parts = [group["x"] * 10 for _, group in frame.groupby("g")]
    assert convert(pd.concat(parts), INT) == [30, 10, 20]
    assert convert(frame.sort_values("x").reset_index(drop=True)["x"], INT) == [1, 2, 3]
    with pytest.raises(WrongRowCountError):
        convert(frame.groupby("g")["x"].sum(), INT)


@pytest.mark.parametrize(
    "result",
    [
        {"a": np.array([1, 2, 3]), "b": ["x", "y", "z"]},
        {"b": Tensor([["x"], ["y"], ["z"]]), "A": Tensor([1, 2, 3])},
        [np.array([1, 2, 3]), np.array(["x", "y", "z"])],
        (np.array([[1], [2], [3]]), pd.Series(["x", "y", "z"])),
        [Tensor([1, 2, 3]), Tensor(["x", "y", "z"])],
        Named(a=np.array([1, 2, 3]), b=["x", "y", "z"]),
        Plain(a=Tensor([1, 2, 3]), b=np.array(["x", "y", "z"], dtype=object)),  # type: ignore[arg-type]
        np.array([(1, "x"), (2, "y"), (3, "z")], [("a", "i4"), ("b", "U1")]),
        np.array([("x", 1), ("y", 2), ("z", 3)], [("B", "U1"), ("A", ">i8")]),
        np.array([[1, "x"], [2, "y"], [3, "z"]], dtype=object),
        [Named(1, "x"), Named(2, "y"), Named(3, "z")],
        [Plain(1, "x"), Plain(2, "y"), Plain(3, "z")],
        [Checked(a=1, b="x"), Checked(a=2, b="y"), Checked(a=3, b="z")],
        [(1, "x"), [2, "y"], np.array([3, "z"], dtype=object)],
        [pd.Series({"b": "x", "a": 1}), {"A": 2, "B": "y"}, pd.Series([3, "z"])],
        list(np.array([(1, "x"), (2, "y"), (3, "z")], [("a", "i4"), ("b", "U1")])),
        pd.DataFrame({"B": ["x", "y", "z"], "a": [1, 2, 3]}),
        pd.DataFrame({"b": ["x", "y", "z"], "a": [1, 2, 3], "b2": 0}),
        pa.table({"B": ["x", "y", "z"], "A": [1, 2, 3]}),
        pa.array([{"B": "x", "A": 1}, {"B": "y", "A": 2}, {"B": "z", "A": 3}]),
    ],
    ids=lambda result: type(result).__name__,
)
def test_a_struct_out_of_everything_that_has_parts(result: Any) -> None:
    assert convert(result, PAIR) == ROWS
    assert convert(result, PAIR, like_mlflow=True) == ROWS
    if isinstance(result, list) and len(result) == 3:
        assert convert([[row] for row in result], pa.list_(PAIR)) == [[row] for row in ROWS]


def test_a_list_of_arrays_that_may_be_rows_or_fields_is_not_guessed() -> None:
    square = [np.array([1, 2]), np.array([3, 4])]
    with pytest.raises(WrongResultTypeError, match="could be the fields or the rows"):
        convert(square, NUMBERS, 2)
    assert convert(tuple(square), NUMBERS, 2) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert convert([np.array([1, 2]), np.array(["x", "y"])], PAIR, 2) == ROWS[:2]  # only fields fit
    assert convert([np.array([1, "x"], object), np.array([2, "y"], object)], PAIR, 2) == ROWS[:2]  # only rows fit
    assert convert([np.array([1, 2])] * 3, NUMBERS, 3) == [{"a": 1, "b": 2}] * 3
    assert convert([np.array([[1], [2]]), np.array([[3], [4]])], NUMBERS, 2) == convert(tuple(square), NUMBERS, 2)
    assert convert(square, pa.list_(INT), 2) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("result", "fact"),
    [
        (pd.DataFrame([[1, "x", "y"]], columns=["a", "b", "b"]), r"have \['b'\] more than once"),
        (pd.DataFrame([[1, "x"]], columns=[1, "1"]), r"have \['1'\] more than once"),
        ({1: [1], "1": ["x"]}, r"have \['1'\] more than once"),
        ([{1: 1, "1": "x"}], r"row 0 is .*have \['1'\] more than once"),
        (pd.DataFrame({"a": [1], "c": ["x"]}), r"columns \['a', 'c'\] are not the fields"),
        (pd.DataFrame([[1, "x", 2]]), r"columns \['0', '1', '2'\] are not the fields"),
        ([{"a": 1, "c": 2}], r"row 0 is .*the keys \['c'\] are no fields, \['b'\] are missing"),
        ([(1,)], r"row 0 is \(1,\): it has 1 parts"),
    ],
)
def test_names_that_are_not_the_fields(result: Any, fact: str) -> None:
    with pytest.raises(WrongResultTypeError, match=fact):
        convert(result, PAIR, 1)


def test_the_exact_name_comes_before_one_in_another_case_and_two_of_those_are_none() -> None:
    upper = pa.struct([("A", INT), ("a", INT)])
    assert convert([{"a": 1, "A": 2}], upper, 1) == [{"A": 2, "a": 1}]
    assert convert([{"a": 1}], upper, 1) == [{"A": None, "a": 1}]
    assert convert(pd.DataFrame({"b": [1], "B": [2], "a": [3]}), NUMBERS, 1) == [{"a": 3, "b": 1}]
    with pytest.raises(WrongResultTypeError, match="'ab' could be any of"):
        convert([{"aB": 1, "Ab": 2}], pa.struct([("ab", INT)]), 1)


def test_a_field_that_is_missing_is_null_whatever_other_rows_have() -> None:
    rows = [{"a": 1}, {}, {"b": "x"}, None]
    wanted = [{"a": 1, "b": None}, {"a": None, "b": None}, {"a": None, "b": "x"}, None]
    assert convert(rows, PAIR, 4) == wanted
    assert [convert([row], PAIR, 1)[0] for row in rows] == wanted
    needed = pa.struct([pa.field("a", INT, nullable=False), ("b", TEXT)])
    assert convert([{"a": 1}, None], needed, 2) == [{"a": 1, "b": None}, None]
    for result in (
        [{"a": 1}, {"b": "x"}],
        pd.DataFrame({"a": [1, None], "b": None}),
        pa.array([{"a": 1, "b": "x"}, {"a": None, "b": "x"}]),
    ):
        with pytest.raises(WrongResultTypeError, match="'a' is NOT NULL and missing"):
            convert(result, needed, 2)
