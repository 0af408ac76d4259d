# SPDX-License-Identifier: Apache-2.0
"""What the drop-ins are asked for is checked before Ray is started, a model is looked for, or anything is sent."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
from pyspark.sql.types import DoubleType

from sparkmodel import drop_in
from sparkmodel.errors import InvalidOptionError

NO_SPARK = cast(Any, None)


@pytest.fixture(autouse=True)
def _nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin() -> Any:
        raise AssertionError("Ray is started")

    monkeypatch.setattr(drop_in.early, "begin", begin)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"timeout_s": -1}, "'timeout_s': -1 is not a number of seconds above 0"),
        ({"timeout_s": math.inf}, "'timeout_s': inf is not a number of seconds above 0"),
        ({"workers": 0}, "'workers': 0 is not a whole number of at least 1"),
        ({"max_retries": "3"}, "'max_retries': '3' is not a whole number"),
        ({"batch_size": math.nan}, "'batch_size': nan is not a whole number"),
        ({"on_error": "ignore"}, "'on_error': 'ignore' is not one of"),
        ({"worker": 1}, "'worker': no such pool option"),
        ({"params": 5}, "'params': 5 is not a mapping"),
        ({"params": "k"}, "'params': 'k' is not a mapping"),
        ({"extra_env": {"A": 1}}, "'extra_env': .* is not a mapping of strings"),
    ],
)
def test_what_spark_udf_cannot_have(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidOptionError, match=says):
        drop_in.spark_udf(NO_SPARK, "models:/none/1", **wrong)


@pytest.mark.parametrize(
    ("batch_size", "more", "says"),
    [
        (0, {}, "'batch_size': 0 is not a whole number of at least 1"),
        (-1, {}, "'batch_size': -1 is not"),
        (2.5, {}, "'batch_size': 2.5 is not"),
        ("8", {}, "'batch_size': '8' is not"),
        (True, {}, "'batch_size': True is not"),
        (10**400, {}, "'batch_size': a whole number of more than 30 digits is not"),
        (8, {"timeout_s": math.nan}, "'timeout_s': nan is not"),
        (8, {"batch_format": "pandas"}, "'batch_format': it has a place of its own here"),
    ],
)
def test_what_predict_batch_udf_cannot_have(batch_size: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidOptionError, match=says):
        drop_in.predict_batch_udf(lambda: len, return_type=DoubleType(), batch_size=batch_size, **more)
