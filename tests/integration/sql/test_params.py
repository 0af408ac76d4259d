# SPDX-License-Identifier: Apache-2.0
"""Constants of SQL as a model's params."""

from __future__ import annotations

import datetime
import decimal

import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm

GIVEN = {
    "TIMESTAMP'2020-01-01 22:00:00.5'": datetime.datetime(
        2020, 1, 1, 22, 0, 0, 500_000, datetime.timezone(datetime.timedelta(hours=-5))
    ),
    "TIMESTAMP_NTZ'2020-01-01 22:00:00'": datetime.datetime(2020, 1, 1, 22),
    "DATE'2020-02-29'": datetime.date(2020, 2, 29),
    "INTERVAL '1 02' DAY TO HOUR": datetime.timedelta(days=1, hours=2),
    "0.1": 0.1,
    "0.12345678901234567890": decimal.Decimal("0.12345678901234567890"),
    "array(1.5, 2.5)": [1.5, 2.5],
    "map('k', array(DATE'2020-01-01'))": {"k": [datetime.date(2020, 1, 1)]},
    "named_struct('x', 1, 'y', 'z')": {"x": 1, "y": "z"},
    "X'00ff'": b"\x00\xff",
    "true": True,
    "5L": 5,
}


def test_constants_reach_the_model_as_what_they_are(shared: SparkSession) -> None:
    shared.conf.set("spark.sql.session.timeZone", "America/New_York")
    model = sm.register(
        shared,
        "telling",
        lambda frame, **params: [repr(dict(sorted(params.items())))] * len(frame),
        result_type="string",
        num_cpus=0.1,
    )
    try:
        names = [f"p{i:02}" for i in range(len(GIVEN))]
        params = ", ".join(f"'{name}', {text}" for name, text in zip(names, GIVEN, strict=True))
        ((told,),) = shared.sql(f"SELECT ML_PREDICT('telling', 1, params => named_struct({params}))").collect()
        assert told == repr(dict(zip(names, GIVEN.values(), strict=True)))
        with pytest.raises(Exception, match=r"\[INVALID_OPTION\].*INTERVAL MONTH cannot be a param"):
            shared.sql("SELECT ML_PREDICT('telling', 1, params => map('k', INTERVAL '1' MONTH))").collect()
    finally:
        model.drop()
        shared.conf.unset("spark.sql.session.timeZone")
