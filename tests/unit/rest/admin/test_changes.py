# SPDX-License-Identifier: Apache-2.0
"""Changes of models through the admin routes."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import httpx
import pytest

from sparkmodel.registration import apart
from sparkmodel.rest.admin import actions
from tests.models import FactorModel
from tests.unit.rest.admin.conftest import Admin
from tests.unit.rest.admin.toys import MasterPools
from tests.unit.wire.toys import wait_until

TYPED = {"result_type": "double"}


def condition(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["condition"]


def test_a_model_is_registered_and_its_card_says_how(admin: Admin, pools: MasterPools) -> None:
    client = admin(allow_sources=("python:",))
    body = {"name": "m", "source": "python:tests.models:DoubleModel", "options": {"workers": [0, 2]}, **TYPED}
    answer = client.post("/admin/models", json=body)
    assert answer.status_code == 201, answer.text
    card = answer.json()
    assert (card["name"], card["version"], card["kind"], card["workers"]) == ("m", 1, "python", "0..2")
    assert (card["result_type"], card["options"]) == ("double", {"workers": "0..2"})
    assert condition(client.post("/admin/models", json=body)) == (409, "NAME_TAKEN")


def test_a_source_is_settled_in_a_process_of_its_own(
    admin: Admin, pools: MasterPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "plan_apart", apart.plan_apart)
    client = admin(allow_sources=("python:",))
    body = {"name": "m", "source": "python:tests.models:DoubleModel", **TYPED}
    assert client.post("/admin/models", json=body).status_code == 201
    wrong = {**body, "name": "w", "result_type": "doubel"}
    assert condition(client.post("/admin/models", json=wrong)) == (400, "INVALID_OPTION")
    assert pools.names() == ["m"]


def test_a_canary_is_promoted_or_rolled_back(admin: Admin, pools: MasterPools) -> None:
    client = admin(allow_sources=("python:",))
    pools.add("m", FactorModel(3.0))
    double = {"source": "python:tests.models:DoubleModel"}
    card = client.post("/admin/models/m/update", json={**double, "traffic": 0.25, "max_error_rate": 0.5}).json()
    assert (card["version"], card["canary"]) == (1, {"version": 2, "traffic": 0.25})
    card = client.post("/admin/models/m/rollback").json()
    assert (card["version"], card["canary"]) == (1, None)


def test_promote_rollback_scale_and_drop(admin: Admin, pools: MasterPools) -> None:
    client = admin(allow_sources=("python:",))
    pools.add("m", FactorModel(3.0))
    source = {"source": "python:tests.models:DoubleModel"}
    assert client.post("/admin/models/m/update", json={**source, "traffic": 0.5}).json()["canary"]["version"] == 2
    card = client.post("/admin/models/m/promote").json()
    assert (card["version"], card["canary"]) == (2, None)
    assert client.post("/admin/models/m/rollback").json()["version"] == 1
    assert client.post("/admin/models/m/rollback", json={"to": 2}).json()["version"] == 2
    assert client.post("/admin/models/m/scale", json={"workers": 2}).json()["workers"] == 2
    assert client.post("/admin/models/m/scale", json={"workers": [1, 3]}).json()["workers"] == "1..3"
    assert client.post("/admin/models/m/scale", json={"workers": "0..1"}).json()["workers"] == "0..1"
    assert client.delete("/admin/models/m").json() == {"name": "m"}
    assert condition(client.delete("/admin/models/m")) == (404, "MODEL_NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("", {"name": "m"}, "'source' is missing"),
        ("", {"name": "m", "source": 3}, "'source' is 3, not a text"),
        ("", {"name": "m", "source": "models:/m/1", "option": {}}, "did you mean 'options'"),
        ("", {"name": "1m", "source": "models:/m/1"}, "Cannot use model name"),
        ("", {"name": "m", "source": "models:/m/1", "options": {"worker": 2}}, "did you mean 'workers'"),
        ("", {"name": "m", "source": "models:/m/1", "options": {"workers": 0}}, "0 is not"),
        ("", {"name": "m", "source": "models:/m/1", "options": {"params": {}}, "params": {"k": 1}}, "given twice"),
        ("", {"name": "m", "source": "models:/m/1", "options": {"runtime_env": {}}}, "other code"),
        ("", {"name": "m", "source": "models:/m/1", "options": {"EXTRA_ENV.LD_PRELOAD": "x"}}, "other code"),
        ("", ["m"], "no JSON object"),
        ("/there/scale", {}, "None is not"),
        ("/there/scale", {"workers": True}, "True is not"),
        ("/there/rollback", {"to": 0}, "no version's number"),
        ("/there/update", {"traffic": 2}, "not a number from 0 to 1"),
        ("/there/update", {"max_error_rate": 0.1}, "only a canary"),
        ("/there/promote", {"force": True}, "no field 'force'"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    admin: Admin, pools: MasterPools, path: str, body: object, says: str
) -> None:
    pools.add("there", FactorModel(1.0))
    answer = admin().post(f"/admin/models{path}", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["message"]
    assert (pools.names(), pools.find("there").spec()[1]) == (["there"], 1)


def test_without_an_admin_token_nothing_is_changed_nor_told(admin: Admin, pools: MasterPools) -> None:
    pools.add("m", FactorModel(1.0))
    client = admin()
    del client.headers["Authorization"]
    changes = [client.delete("/admin/models/m"), client.post("/admin/models/m/scale", json={"workers": 2})]
    assert {answer.status_code for answer in changes} == {401}
    assert client.get("/admin/models/m/logs").status_code == 401
    assert client.delete("/admin/models/m", headers={"Authorization": "Bearer x"}).status_code == 403
    assert pools.names() == ["m"]


def test_two_changes_of_one_model_queue_up_and_one_of_another_does_not_wait(admin: Admin, pools: MasterPools) -> None:
    pools.add("m", FactorModel(1.0))
    pools.add("other", FactorModel(1.0))
    client, inside, go = admin(), [], threading.Event()

    def hold() -> None:
        name = threading.current_thread().name
        inside.append(name)
        if len(inside) == 1:
            assert go.wait(60)

    pools.before_change = hold
    threads = [
        threading.Thread(target=client.post, args=("/admin/models/m/scale",), kwargs={"json": {"workers": count}})
        for count in (2, 2)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: bool(inside), "the first is under way")
    try:
        assert client.post("/admin/models/other/scale", json={"workers": 2}).status_code == 200
        assert len(inside) == 2, "the second of the same model waits"
    finally:
        go.set()
        for thread in threads:
            thread.join(60)
    assert len(inside) == 3


def test_a_client_that_leaves_does_not_undo_its_change(admin: Admin, pools: MasterPools) -> None:
    pools.add("m", FactorModel(1.0))
    client, begun, go = admin(), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go.wait(60)

    pools.before_change = hold
    with pytest.raises(httpx.ReadTimeout):
        client.post("/admin/models/m/scale", json={"workers": 2}, timeout=0.3)
    assert begun.is_set()
    go.set()
    wait_until(lambda: pools.find("m").spec()[0].options.workers == 2, "it is done")


def test_a_change_is_told_in_one_line_without_secrets(
    admin: Admin, pools: MasterPools, caplog: pytest.LogCaptureFixture
) -> None:
    pools.add("m", FactorModel(1.0))
    client = admin(allow_sources=("python:",))
    with caplog.at_level(logging.INFO, "sparkmodel.audit"):
        client.post("/admin/models/m/scale", json={"workers": 2})
        body = {"name": "x", "source": "python:no:Such", "options": {"extra_env": {"K": "hunter22"}}, **TYPED}
        client.post("/admin/models", json=body)
        client.post("/admin/models/evil%0aname/promote")
    lines = [record.getMessage() for record in caplog.records if record.name == "sparkmodel.audit"]
    assert lines[0] == "principal='tester' model='m' action=scale outcome=done"
    assert lines[1].startswith("principal='tester' model='x' action=register outcome=")
    assert lines[2] == r"principal='tester' model='evil\nname' action=promote outcome=MODEL_NOT_FOUND"
    assert "hunter22" not in caplog.text


def test_a_model_that_is_not_there_is_named_with_its_neighbours(admin: Admin, pools: MasterPools) -> None:
    pools.add("wine", FactorModel(1.0))
    client = admin()
    for answer in (client.post("/admin/models/wien/promote"), client.get("/admin/models/wien")):
        assert condition(answer) == (404, "MODEL_NOT_FOUND")
        assert "did you mean 'wine'" in answer.json()["message"]


def test_the_process_of_a_gateway_has_no_engine() -> None:
    code = "import sparkmodel.rest.app, sparkmodel.rest.admin.start, sys; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name for name in ("pyspark", "mlflow", "ray") if f"'{name}'" in done.stdout} == set()
