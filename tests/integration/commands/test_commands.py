# SPDX-License-Identifier: Apache-2.0
"""The control service over HTTP, with real pools."""

from __future__ import annotations

import json
import pathlib
import pickle
import threading
from collections.abc import Callable
from typing import Any

import mlflow
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

import sparkmodel as sm
from sparkmodel.errors import (
    InvalidOptionError,
    ModelCorruptError,
    ModelLoadError,
    ModelNotFoundError,
    NameTakenError,
    NoPreviousVersionError,
    ResultTypeChangedError,
    ResultTypeError,
    SparkModelError,
    UnsupportedSourceError,
    UntrustedModelFileError,
    VersionRetiredError,
)
from sparkmodel.keeper import pools
from sparkmodel.loaders import bundle
from tests.integration.commands.making import DOUBLE, SMALL, Call, create, create_code, predict
from tests.integration.registered import FRAME, line
from tests.integration.scripts import PATIENCE_S
from tests.models import FactorModel


@pytest.mark.parametrize("command", ["card", "describe"])
def test_a_pool_that_ends_while_it_is_asked_is_not_there(
    control: Call, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_code(control, "leaving")
    leaving, ask = pools.find("leaving"), pools.Pool.spec
    ended: list[str] = []

    def end_first(pool: pools.Pool) -> Any:  # the service has found the pool by now
        if not ended:
            ended.append(pool.name)
            leaving.drop()
        return ask(pool)

    monkeypatch.setattr(pools.Pool, "spec", end_first)
    with pytest.raises(ModelNotFoundError, match="Cannot find model 'leaving'"):
        control(command, name="leaving")
    assert ended == ["leaving"]


def test_a_model_of_source_text_is_created_described_and_dropped(control: Call) -> None:
    card = create_code(
        control,
        "text",
        inputs="x double NOT NULL",
        comment="doubles",
        statement={"using": "python"},
        time_zone="Asia/Tokyo",
    )
    assert {key: card[key] for key in ("name", "version", "kind", "comment", "statement", "workers")} == {
        "name": "text",
        "version": 1,
        "kind": "code",
        "comment": "doubles",
        "statement": {"using": "python"},
        "workers": 1,
    }
    assert card["inputs"] == [{"name": "x", "type": "double", "required": True}]
    assert card["result_type"] == "double"
    assert card["options"] == {"num_cpus": 0.1}
    assert card["handle"].startswith("sparkmodel.handle.v3")
    assert predict("text") == 4.0
    described = control("describe", name="text")
    assert {key: described[key] for key in card} == card
    assert described["latency"]["batches"] == 1
    assert 0 < described["latency"]["p50_s"] <= described["latency"]["p99_s"]
    assert described["last_error"] is None
    assert described["stats"]["rows"] == 1
    (entry,) = [model for model in control("list")["models"] if model["name"] == card["name"]]
    assert (entry["name"], entry["state"], entry["rows"]) == ("text", "ready", 1)
    assert control("drop", name="text") == {"name": "text"}
    assert card["name"] not in [model["name"] for model in control("list")["models"]]


def test_what_the_model_raised_is_described(control: Call) -> None:
    create_code(control, "raiser", "def predict(frame):\n    raise ValueError('no such wine')\n", inputs="x double")
    with pytest.raises(SparkModelError, match="no such wine"):
        predict("raiser")
    described = control("describe", name="raiser")
    assert described["stats"]["errors"] == 1
    assert "[PREDICT_FAILED]" in described["last_error"]["message"]
    assert "raise ValueError('no such wine')" in described["last_error"]["details"]


@pytest.mark.parametrize(
    "code",
    [
        "class Model:\n    def load(self):\n        self.factor = 2\n    def predict(self, frame):\n"
        "        return frame['x'] * self.factor\n",
        "def load():\n    return 2\n\ndef predict(factor, frame):\n    return frame['x'] * factor\n",
    ],
    ids=["class", "load"],
)
def test_source_text_may_load_something_first(control: Call, code: str) -> None:
    create_code(control, "loads", code, inputs="x double")
    assert predict("loads") == 4.0


def test_a_taken_name_is_an_error_kept_or_replaced(control: Call) -> None:
    create_code(control, "taken", inputs="x double")
    with pytest.raises(NameTakenError, match="CREATE OR REPLACE MODEL"):
        create_code(control, "taken")
    kept = create_code(control, "taken", "no python at all", if_not_exists=True)
    assert kept["version"] == 1
    replaced = create_code(control, "taken", DOUBLE.replace("2", "3"), replace=True, inputs="x double")
    assert replaced["version"] == 2
    assert predict("taken") == 6.0


@pytest.mark.slow
def test_what_python_registers_sql_alters(control: Call, register: Callable[..., sm.Model]) -> None:
    model = register("shared", FactorModel(2.0), result_type="double")
    assert control("card", name="shared")["kind"] == "object"
    assert control("alter", name="shared", action="scale", workers=2)["workers"] == 2
    assert model.predict([{"x": 2.0}]) == [4.0]
    assert len(model.stats()["workers"]) == 2


@pytest.mark.slow
def test_options_are_set_and_unset_without_the_source(control: Call) -> None:
    create_code(control, "tuned", inputs="x double")
    card = control("alter", name="tuned", action="options", options={"timeout": "2 min", "extra_env.A": 1})
    assert card["options"] == {"num_cpus": 0.1, "timeout_s": 120.0, "extra_env": {"A": "1"}}
    assert predict("tuned") == 4.0
    card = control("alter", name="tuned", action="unset", keys=["timeout", "extra_env.A"])
    assert card["options"] == {"num_cpus": 0.1}
    assert card["version"] == 3
    # the environment is the version's, limits are the pool's
    assert control("alter", name="tuned", action="rollback")["options"] == {"num_cpus": 0.1, "extra_env": {"A": "1"}}
    card = control("alter", name="tuned", action="options", options={"timeout": "9s", "workers": "1..2"})
    assert (card["version"], card["workers"], card["options"]["timeout_s"]) == (2, "1..2", 9.0)


def test_versions_come_and_go_by_their_numbers(control: Call) -> None:
    create(control, "numbered", using="python", location="tests.models:DoubleModel", output="double")
    other = {"action": "location", "location": "tests.models:first_column"}
    card = control("alter", name="numbered", **other, rollout={"traffic": "0.5", "keep_old": "5s"})
    assert card["version"] == 1
    states = {one["version"]: one["state"] for one in control("versions", name="numbered")["versions"]}
    assert states == {1: "serving", 2: "canary"}
    assert control("alter", name="numbered", action="promote")["version"] == 2
    assert predict("numbered") == 2.0
    assert control("alter", name="numbered", action="rollback", to=1)["version"] == 1
    assert predict("numbered") == 4.0
    with pytest.raises(VersionRetiredError, match=r"known are \[1, 2\]"):
        control("alter", name="numbered", action="rollback", to=5)
    with pytest.raises(InvalidOptionError, match=r"OPTIONS \(traffic = 0.05\) begins one"):
        control("alter", name="numbered", action="promote")
    for rollout in ({"trafic": 0.1}, {"traffic": 2}, {"keep_old": "x"}):
        with pytest.raises(InvalidOptionError):
            control("check", rollout=rollout)
        with pytest.raises(InvalidOptionError):
            control("alter", name="numbered", **other, rollout=rollout)
    json.dumps(control("describe", name="numbered"), allow_nan=False)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tls": True}, InvalidOptionError),
        ({"detached": True}, InvalidOptionError),
        ({"on_error": "struct"}, ResultTypeChangedError),
        ({"method": "predict_proba"}, ResultTypeChangedError),
        ({"refresh": "10s"}, InvalidOptionError),
        ({"worker": 2}, InvalidOptionError),
    ],
)
def test_options_that_would_break_callers_are_refused(
    control: Call, options: dict[str, Any], error: type[SparkModelError]
) -> None:
    if not control("list")["models"]:
        create_code(control, "firm", inputs="x double")
    with pytest.raises(error):
        control("alter", name="firm", action="options", options=options)
    assert control("card", name="firm")["version"] == 1


def test_two_changes_at_the_same_time_follow_each_other(control: Call) -> None:
    create_code(control, "busy", inputs="x double")
    done: list[int] = []

    def alter(number: int) -> None:
        done.append(control("alter", name="busy", action="options", options={f"extra_env.V{number}": "1"})["version"])

    threads = [threading.Thread(target=alter, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(done) == [2, 3]
    assert control("card", name="busy")["options"]["extra_env"] == {"V0": "1", "V1": "1"}


def test_what_is_not_there_is_named(control: Call) -> None:
    create_code(control, "wine", inputs="x double")
    for command in ("drop", "card", "describe"):
        with pytest.raises(ModelNotFoundError, match="did you mean 'wine'"):
            control(command, name="wien")
    with pytest.raises(NoPreviousVersionError):
        control("alter", name="wine", action="rollback")


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"using": "mlflow", "location": "model.pkl"}, UnsupportedSourceError, "give an MLflow URI"),
        ({"using": "python", "location": "models:/wine/1"}, UnsupportedSourceError, "give an import path"),
        ({"using": "table", "location": "/tmp/model"}, UnsupportedSourceError, "db.name@3"),
        ({"using": "pickle", "location": "models:/wine/1"}, UnsupportedSourceError, "ends in one of"),
        ({"using": "pickle", "location": "model.pkl"}, UntrustedModelFileError, r"trust_pickle = true"),
        ({"using": "sparkml", "location": "model"}, UnsupportedSourceError, "no such kind"),
        ({"code": "def predict(frame):\n    return (\n"}, ModelLoadError, "line 2"),
        ({"code": "x = 1"}, UnsupportedSourceError, r"define predict\(frame\)"),
        ({"code": DOUBLE, "output": None}, ResultTypeError, "RETURNS double"),
        ({"code": DOUBLE, "inputs": "x nonsense"}, InvalidOptionError, "'nonsense' is not a type"),
        ({"code": DOUBLE, "options": {"workers": "two"}}, InvalidOptionError, "a whole number"),
        ({}, InvalidOptionError, "LOCATION"),
    ],
)
def test_what_cannot_be_created_leaves_nothing(
    control: Call, fields: dict[str, Any], error: type[SparkModelError], says: str
) -> None:
    with pytest.raises(error, match=says):
        create(control, "never", **{"output": "double", **fields})
    assert "never" not in [model["name"] for model in control("list")["models"]]


@pytest.mark.slow
def test_files_and_import_paths(control: Call, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "line.pkl"
    path.write_bytes(pickle.dumps(LinearRegression().fit(FRAME.to_numpy(), FRAME.x * 3)))
    create(
        control,
        "pickled",
        using="pickle",
        location=str(path),
        output="double",
        options={**SMALL, "trust_pickle": "true"},
    )
    assert predict("pickled") == 6.0
    card = create(control, "imported", using="python", location="tests.models:DoubleModel", output="double")
    assert card["source"] == "python:tests.models:DoubleModel"
    assert predict("imported") == 4.0
    card = control("alter", name="imported", action="location", location="tests.models:first_column")
    assert (card["version"], card["source"]) == (2, "python:tests.models:first_column")
    assert predict("imported") == 2.0
    with pytest.raises(UnsupportedSourceError, match="import path"):
        control("alter", name="imported", action="location", location=str(path))


def write_pieces(directory: pathlib.Path, path: pathlib.Path, **renamed: str) -> str:
    """A model's rows as the JVM writes them."""
    kinds = {"mode": pa.int32(), "size": pa.int64(), "offset": pa.int64(), "data": pa.binary(), "pieces": pa.int32()}
    rows = [vars(piece) for piece in bundle.pack(directory, 1000)]
    names = ["path", "mode", "size", "offset", "data", "sha256", "pieces", "digest"]
    schema = pa.schema([(renamed.get(name, name), kinds.get(name, pa.string())) for name in names])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for row in rows:
            stream.write_batch(pa.record_batch([pa.array([row[n]], kinds.get(n, pa.string())) for n in names], schema))
    return str(path)


@pytest.mark.slow
def test_a_tables_rows_come_as_a_file(control: Call, tmp_path: pathlib.Path) -> None:
    for factor in (2, 3):
        mlflow.pyfunc.save_model(tmp_path / f"m{factor}", **line(factor))
    pieces = write_pieces(tmp_path / "m2", tmp_path / "rows")
    card = create(control, "tabled", using="table", location="ai.line@3", pieces=pieces)
    assert (card["source"], card["kind"]) == ("table:ai.line@3", "mlflow")
    assert card["inputs"] == [{"name": "x", "type": "double", "required": True}]
    assert predict("tabled") == 4.0
    other = write_pieces(tmp_path / "m3", tmp_path / "rows3")
    control("alter", name="tabled", action="location", location="ai.line", pieces=other)
    assert predict("tabled") == 6.0
    assert control("alter", name="tabled", action="scale", workers=2)["workers"] == 2
    assert predict("tabled") == 6.0
    with pytest.raises(UnsupportedSourceError, match="rows of the table"):
        create(control, "untold", using="table", location="ai.line")
    wrong = write_pieces(tmp_path / "m2", tmp_path / "wrong", sha256="md5")
    with pytest.raises(ModelCorruptError, match="its columns are"):
        create(control, "wrong", using="table", location="ai.line", pieces=wrong)


def test_json_can_carry_every_answer(control: Call) -> None:
    card = create_code(control, "plain", inputs="x array<double>, d decimal(10,2), `a b` map<string,int>")
    assert [column["type"] for column in card["inputs"]] == ["array<double>", "decimal(10,2)", "map<string,int>"]
    json.dumps(control("describe", name="plain"), allow_nan=False)
