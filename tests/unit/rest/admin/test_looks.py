# SPDX-License-Identifier: Apache-2.0
"""What the admin routes tell of models."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from pyspark.sql import types as t

from sparkmodel.rest.admin.types import to_ddl
from sparkmodel.schema import Column, Signature
from sparkmodel.spark import ddl
from sparkmodel.spark.types import to_arrow
from tests.models import FactorModel
from tests.unit.pool.toys import score
from tests.unit.rest.admin.conftest import Admin
from tests.unit.rest.admin.toys import MasterPools

X = Signature(inputs=(Column(name="x", type=pa.float64()), Column(name="v", type=pa.float32(), shape=(-1, 3))))


class Telling:
    """Raises with what it was given."""

    def predict(self, frame: object) -> list[float]:
        raise ValueError("cannot take 4711")


def test_a_card_says_what_the_console_and_the_command_line_show(admin: Admin, pools: MasterPools) -> None:
    pools.add("m", FactorModel(2.0), signature=X, workers=2, example='{"instances":[[1.5]]}', extra_env={"K": "hunter"})
    client = admin()
    (card,) = client.get("/admin/models").json()["models"]
    assert (card["name"], card["state"], card["workers"], card["running"]) == ("m", "ready", 2, 2)
    assert card["inputs"][0] == {"name": "x", "type": "double", "required": True}
    assert card["inputs"][1]["type"] == "array<float>"
    assert (card["result_type"], card["example"], card["problem"]) == ("double", {"instances": [[1.5]]}, None)
    assert card["options"]["extra_env"] == ["K"]
    details = client.get("/admin/models/m").json()
    assert {**card, "rows": 0}.items() <= details.items()
    assert [worker["node"] for worker in details["workers_now"]] == ["127.0.0.1"] * 2
    assert [one["state"] for one in details["versions"]] == ["serving"]
    assert set(details["latency"]) == {"p50_s", "p95_s", "p99_s"}
    assert "hunter" not in json.dumps(details)


def test_errors_are_told_without_values_but_to_admins(admin: Admin, pools: MasterPools) -> None:
    pool = pools.add("m", Telling())
    with pytest.raises(Exception, match="4711"):
        score(pool.running.client(), [1.0])
    client = admin()
    assert "PREDICT_FAILED" in client.get("/admin/models/m").json()["last_error"]["message"]
    assert "4711" not in client.get("/admin/models/m").text + client.get("/admin/models/m/events").text
    assert "4711" in client.get("/admin/models/m/logs").text
    assert len(client.get("/admin/models/m/logs?lines=1").json()["lines"]) == 1
    assert client.get("/admin/models/m/logs?lines=many").status_code == 400


def test_events_are_newest_first_with_deaths_versions_and_who_changed_what(admin: Admin, pools: MasterPools) -> None:
    pools.add("m", FactorModel(2.0))
    client = admin(allow_sources=("python:",))
    client.post("/admin/models/m/update", json={"source": "python:tests.models:DoubleModel", "traffic": 0.1})
    client.post("/admin/models/m/rollback")
    events = client.get("/admin/models/m/events").json()["events"]
    assert [event["time"] for event in events] == sorted((event["time"] for event in events), reverse=True)
    texts = [f"{event['kind']}: {event['text']}" for event in events]
    assert "change: rollback by tester: done" in texts
    assert any(text.startswith("canary: version 2 (python:tests.models:DoubleModel)") for text in texts)
    assert any(text.startswith("version: version 1") and text.endswith("began") for text in texts)


@pytest.mark.parametrize(
    "type_",
    [
        *(t.BooleanType(), t.ByteType(), t.ShortType(), t.IntegerType(), t.LongType(), t.FloatType(), t.DoubleType()),
        *(t.StringType(), t.BinaryType(), t.DateType(), t.TimestampType(), t.TimestampNTZType()),
        *(t.DayTimeIntervalType(), t.DecimalType(12, 3), t.ArrayType(t.MapType(t.StringType(), t.LongType()))),
        t.StructType([t.StructField("a b", t.DoubleType()), t.StructField("c", t.ArrayType(t.FloatType()))]),
    ],
    ids=str,
)
def test_types_are_written_as_spark_writes_them(type_: t.DataType) -> None:
    assert to_ddl(to_arrow(type_)) == ddl.to_ddl(type_)


def test_a_type_that_spark_has_not_is_none() -> None:
    assert (to_ddl(pa.uint32()), to_ddl(pa.time64("us")), to_ddl(pa.null())) == ("bigint", None, None)


def test_a_token_for_some_models_sees_and_changes_no_others(admin: Admin, pools: MasterPools) -> None:
    for name in ("own", "foreign"):
        pools.add(name, FactorModel(2.0), signature=X)
    client = admin(only=frozenset({"own"}))
    assert [card["name"] for card in client.get("/admin/models").json()["models"]] == ["own"]
    assert client.get("/admin/models/own").status_code == 200
    paths = ("/admin/models/foreign", "/admin/models/foreign/events", "/admin/models/foreign/logs")
    assert [client.get(path).status_code for path in paths] == [403] * 3
    assert client.delete("/admin/models/foreign").status_code == 403
    assert client.post("/admin/models", json={"name": "new", "source": "models:/new/1"}).status_code == 403
    assert pools.find("foreign") is not None
