# SPDX-License-Identifier: Apache-2.0
"""What a gateway shows to Prometheus, over real workers."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pyarrow as pa
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as of_openmetrics
from prometheus_client.parser import text_string_to_metric_families as of_text

from sparkmodel.metrics.pools import Reader
from sparkmodel.rest import metrics
from sparkmodel.rest.app import make_app
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from sparkmodel.rest.tokens import Token, digest_of
from sparkmodel.schema import Column, Signature
from tests.unit.metrics.asked import asked
from tests.unit.metrics.figures import shown
from tests.unit.rest.toys import ToyPools
from tests.unit.wire.toys import wait_until

Serve = Callable[..., httpx.Client]


def double(frame: Any) -> Any:
    if (frame["x"] < 0).any():
        raise ValueError("negative")
    return frame["x"] * 2


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "Reader", lambda pools: Reader(pools, fresh_s=0.0, limit_s=2.0))


@pytest.fixture
def served(pools: ToyPools, gateway: Serve) -> httpx.Client:
    column = Column(name="x", type=pa.float64(), required=True, shape=None)
    signature = Signature(inputs=(column,), output=pa.float64(), params=None)
    pools.add("double", double, signature=signature)
    return gateway()


def call(client: httpx.Client, *values: float, name: str = "double") -> httpx.Response:
    return client.post(
        f"/models/{name}/invocations", json={"dataframe_split": {"columns": ["x"], "data": [[v] for v in values]}}
    )


def told(client: httpx.Client, part: str = "all") -> dict[str, dict[str, float]]:
    answer = client.get("/metrics", params={"part": part})
    assert answer.status_code == 200, answer.text
    return shown(answer.text)


def settled(client: httpx.Client, calls: int) -> dict[str, dict[str, float]]:
    """What is told once so many calls are counted: a worker counts a batch when it has answered it."""
    wait_until(lambda: sum(told(client).get("sparkmodel_requests_total", {}).values()) >= calls, "they are counted")
    return told(client)


def test_calls_are_counted_by_model_version_source_and_outcome(served: httpx.Client) -> None:
    assert call(served, 1, 2, 3).status_code == 200
    assert call(served, -1).status_code == 500
    seen = settled(served, 2)
    ok = "model=double,outcome=ok,source=rest,version=1"
    failed = "model=double,outcome=PREDICT_FAILED,source=rest,version=1"
    assert seen["sparkmodel_requests_total"] == {ok: 1, failed: 1}
    assert seen["sparkmodel_rows_total"] == {ok: 3, failed: 1}
    assert seen["sparkmodel_gateway_requests_total"] == {ok: 1, failed: 1}
    of_model = "model=double,source=rest,version=1"
    assert seen["sparkmodel_batch_rows_count"] == {of_model: 2}
    assert seen["sparkmodel_batch_rows_bucket"]["le=1.0," + of_model] == 1
    assert set(seen["sparkmodel_stage_seconds_count"]) == {
        f"model=double,source=rest,stage={stage},version=1" for stage in ("wait", "queue", "predict", "transfer")
    }
    assert seen["sparkmodel_version_active"] == {"model=double,version=1": 1}
    assert seen["sparkmodel_pool_up"] == {"model=double": 1}
    assert seen["sparkmodel_gateway_inflight"] == {"": 1}, "the scrape itself"


def test_names_that_clients_make_up_are_no_labels(served: httpx.Client) -> None:
    for number in range(20):
        assert call(served, 1, name=f"made-up-{number}").status_code == 404
    assert "made-up" not in served.get("/metrics").text
    unknown = "model=,outcome=MODEL_NOT_FOUND,source=rest,version="
    assert told(served)["sparkmodel_gateway_requests_total"] == {unknown: 20}


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text; version=1.0.0",
        ),
        ("application/openmetrics-text;version=nonsense", "text/plain; version=0.0.4"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(served: httpx.Client, accept: str, media_type: str) -> None:
    call(served, 1)
    answer = served.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.headers["content-type"].count("charset") == 1
    parse = of_openmetrics if "openmetrics" in media_type else of_text
    names = [family.name for family in parse(answer.text)]
    assert len(names) == len(set(names)), "each family is told once"
    assert answer.text.endswith("# EOF\n") == ("openmetrics" in media_type)


def test_of_several_gateways_one_tells_of_the_pools(served: httpx.Client) -> None:
    call(served, 1)
    gateways, pools = set(told(served, "gateway")), set(told(served, "pools"))
    assert gateways & pools <= {
        "sparkmodel_stage_seconds_bucket",
        "sparkmodel_stage_seconds_count",
        "sparkmodel_stage_seconds_sum",
    }
    assert "sparkmodel_requests_total" in pools
    assert "sparkmodel_gateway_requests_total" in gateways
    assert gateways | pools == set(told(served))
    assert served.get("/metrics", params={"part": "none"}).status_code == 400


def test_a_pool_that_does_not_answer_is_down_and_holds_nothing_up(
    served: httpx.Client, pools: ToyPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "Reader", lambda pools: Reader(pools, fresh_s=0.0, limit_s=0.3))
    released, hung = threading.Event(), pools.add("hung", double)
    asked = []

    def hang() -> dict[str, Any]:
        asked.append(1)
        released.wait(60)
        return {}

    hung.stats = hang  # type: ignore[method-assign]
    settings = Settings(port=0)
    with Server(make_app(Gateway(settings)), settings) as server:
        server.start()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            try:
                for _ in range(3):
                    seen = told(client)
                    assert seen["sparkmodel_pool_up"] == {"model=double": 1, "model=hung": 0}
                assert len(asked) == 1, "it is not asked again while it hangs"
            finally:
                released.set()


def test_without_a_token_where_one_is_needed_the_answer_says_how_to_show_one(pools: ToyPools) -> None:
    settings = Settings(port=0)
    tokens = [Token(name="prometheus", digest=digest_of("scrape"), scopes=frozenset({"metrics"}))]
    with Server(make_app(Gateway(settings, tokens)), settings) as server:
        server.start()
        refused = httpx.get(f"{server.url}/metrics")
        assert (refused.status_code, refused.headers["www-authenticate"].split()[0]) == (401, "Bearer")
        assert httpx.get(f"{server.url}/metrics", headers={"Authorization": "Bearer other"}).status_code == 403
        assert httpx.get(f"{server.url}/metrics", headers={"Authorization": "Bearer scrape"}).status_code == 200


def test_figures_of_workers_that_ended_stay(served: httpx.Client, pools: ToyPools) -> None:
    call(served, 1, 2)
    before = settled(served, 1)["sparkmodel_rows_total"]
    pool = pools.by_name["double"]
    pool.end()
    after = told(served)["sparkmodel_rows_total"]
    assert before == after == {"model=double,outcome=ok,source=rest,version=1": 2}


def test_every_rule_and_panel_asks_for_what_is_shown(served: httpx.Client) -> None:
    call(served, 1)
    names = set(settled(served, 1)) | EMPTY_AT_FIRST
    root = pathlib.Path(__file__).parents[3] / "deploy"
    for file in ("grafana/sparkmodel.json", "prometheus/alerts.yml"):
        wanted = asked(root / file)
        assert wanted
        assert wanted <= names, file
    text = served.get("/metrics").text
    assert all(f"# TYPE {name}" in text for name in EMPTY_AT_FIRST)


EMPTY_AT_FIRST = {"sparkmodel_rejected_total", "sparkmodel_worker_restarts_total"}
