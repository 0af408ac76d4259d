# SPDX-License-Identifier: Apache-2.0
"""The control service and models of MLflow registries: aliases that move, and the catalog."""

from __future__ import annotations

import functools
import pathlib
import threading
from typing import Any

import mlflow
import pytest

import sparkmodel as sm
from sparkmodel.errors import (
    ModelNotFoundError,
    SchemaMismatchError,
)
from tests.integration.commands.making import SMALL, Call, create, predict
from tests.integration.registered import log_line
from tests.integration.scripts import PATIENCE_S, wait_until


@pytest.mark.slow
def test_an_alias_is_refreshed_and_declared_inputs_must_be_the_models(
    control: Call, mlflow_store: pathlib.Path
) -> None:
    log_line("control_line", 2)
    log_line("control_line", 3)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("control_line", "champion", "1")
    uri = "models:/control_line@champion"
    with pytest.raises(SchemaMismatchError, match="declare those, or none"):
        create(control, "line", using="mlflow", location=uri, inputs="y double")
    card = create(control, "line", location=uri, inputs="x double")
    assert card["resolved"] == "models:/control_line/1"
    client.set_registered_model_alias("control_line", "champion", "2")
    assert control("alter", name="line", action="refresh")["resolved"] == "models:/control_line/2"
    assert predict("line") == 6.0


@pytest.mark.slow
def test_a_registrys_models_are_listed_and_shared_by_name(control: Call, mlflow_store: pathlib.Path) -> None:
    for factor in (2, 3):
        log_line("catalog line", factor)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("catalog line", "champion", "1")
    client.update_registered_model("catalog line", "a line")
    uris = {"tracking_uri": mlflow.get_tracking_uri(), "registry_uri": None}
    found = {model["name"]: model for model in control("catalog/list", **uris)["models"]}
    assert found["catalog line"] == {
        "name": "catalog line",
        "description": "a line",
        "versions": [1, 2],
        "aliases": {"champion": 1},
    }
    get = functools.partial(control, "catalog/card", **uris, options=SMALL, idle_s=600)
    cards: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: cards.append(get(model="catalog line"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert cards[0] == cards[1]
    assert cards[0]["resolved"] == "models:/catalog line/2"
    assert cards[0]["options"]["refresh_s"] == 30.0
    assert predict(cards[0]["name"]) == 6.0
    champion = get(model="catalog line", alias="champion", options={**SMALL, "refresh": "500ms"})
    assert champion["resolved"] == "models:/catalog line/1"
    assert champion["name"] != cards[0]["name"]
    client.set_registered_model_alias("catalog line", "champion", "2")
    wait_until(lambda: get(model="catalog line", alias="champion")["version"] == 2)
    assert predict(champion["name"]) == 6.0
    first = get(model="catalog line", version=1)
    assert "refresh_s" not in first["options"]
    assert predict(first["name"]) == 4.0
    with pytest.raises(ModelNotFoundError, match="did you mean 'catalog line'"):
        get(model="catalog_line")
    with pytest.raises(ModelNotFoundError, match=r"no such version.*known are \['1', '2'\]"):
        get(model="catalog line", version=7)
    with pytest.raises(ModelNotFoundError, match="did you mean 'champion'"):
        get(model="catalog line", alias="champoin")


@pytest.mark.slow
def test_another_registry_is_used_for_one_call_only(
    control: Call, mlflow_store: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    log_line("here_only", 2)
    here, there = mlflow.get_tracking_uri(), f"sqlite:///{tmp_path}/other.db"
    names = {model["name"] for model in control("catalog/list", tracking_uri=there)["models"]}
    assert names == set()
    with pytest.raises(ModelNotFoundError, match=r"other\.db has no such model"):
        control("catalog/card", model="here_only", tracking_uri=there, options=SMALL, idle_s=60)
    mlflow.set_tracking_uri(there)
    try:
        card = control("catalog/card", model="here_only", tracking_uri=here, options=SMALL, idle_s=60)
        assert mlflow.get_tracking_uri() == there
    finally:
        mlflow.set_tracking_uri(here)
    assert predict(card["name"]) == 4.0


@pytest.mark.slow
def test_a_pool_of_the_catalog_rests_while_it_is_not_used_and_who_found_it_before_wakes_it(
    control: Call, mlflow_store: pathlib.Path
) -> None:
    log_line("idle_line", 2)
    get = functools.partial(control, "catalog/card", model="idle_line", options=SMALL, idle_s=1)
    card = get()
    model = sm.get(card["name"])
    assert card["workers"] == "0..1"
    for _ in range(2):
        assert model.predict([{"x": 2.0}]) == [4.0], "by what was known of the pool before it rested"
        wait_until(lambda: model.stats()["workers"] == [])
        ((state, running),) = [(one["state"], one["running"]) for one in control("list")["models"]]
        assert (state, running) == ("cold", 0)
    again = get()
    assert (again["name"], again["version"]) == (card["name"], 1)


@pytest.mark.slow
def test_a_pool_of_the_catalog_that_is_to_stay_has_its_workers(control: Call, mlflow_store: pathlib.Path) -> None:
    log_line("busy_line", 2)
    card = control("catalog/card", model="busy_line", options={**SMALL, "workers": "1..2"}, idle_s=0)
    assert card["workers"] == "1..2"
    card = control("catalog/card", model="busy_line", version=1, options={**SMALL, "workers": 2}, idle_s=90)
    assert (card["workers"], card["options"]["idle_s"]) == ("0..2", 90.0)
