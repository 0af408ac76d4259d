# SPDX-License-Identifier: Apache-2.0
"""Who is let in: each door with each token."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from sparkmodel.errors import AccessRefusedError
from sparkmodel.rest.access import Access
from sparkmodel.rest.tokens import parse
from tests.unit.rest.doors import SECRETS, TOKENS, Doors, bearer
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]

# for no token, one that is not known, and those for predict, metrics and admin
MATRIX = {
    "/door/open": (200, 200, 200, 200, 200),
    "/door/predict": (401, 403, 200, 403, 200),
    "/door/metrics": (401, 403, 403, 200, 200),
    "/door/admin": (401, 403, 403, 403, 200),
}
CELLAR, OPERATOR = "cellar-0123456789abcdef", f"operator admin {SECRETS['admin']}"
SHOWN = (None, "an-unknown-token-of-some-length", "predict", "metrics", "admin")


@pytest.mark.usefixtures("doors")
def test_each_door_opens_for_its_scope_only(gateway: Serve) -> None:
    client = gateway(TOKENS)
    for path, wanted in MATRIX.items():
        for name, status in zip(SHOWN, wanted, strict=True):
            answer = client.get(path, headers=bearer(name) if name else {})
            assert answer.status_code == status, (path, name)
            assert answer.headers.get("www-authenticate", "").startswith("Bearer") == (status == 401)


@pytest.mark.usefixtures("doors")
@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "predict-0123456789abcdef"])
def test_what_is_no_bearer_token_is_none(gateway: Serve, header: str) -> None:
    assert gateway(TOKENS).get("/door/predict", headers={"Authorization": header}).status_code == 401


@pytest.mark.usefixtures("doors")
def test_without_tokens_loopback_is_open_but_for_changes(gateway: Serve) -> None:
    client = gateway()
    statuses = [client.get(path).status_code for path in MATRIX]
    assert statuses == [200, 200, 200, 401]
    assert client.get("/door/predict", headers=bearer("of-another-program")).status_code == 200


@pytest.mark.usefixtures("doors")
@pytest.mark.parametrize("host", ["evil.example", "evil.example:5001", "127.0.0.1.evil.example", "", "[::2]:80"])
def test_a_page_whose_name_points_here_is_refused_at_every_path(gateway: Serve, host: str) -> None:
    client = gateway()
    for path in ("/door/open", "/door/predict", "/nothing"):
        assert client.get(path, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:5001", "127.0.0.1:5001", "[::1]:5001", "[::1]"])
def test_names_of_loopback_are_ours(host: str) -> None:
    Access().check_host(host)


def test_beyond_loopback_any_name_may_be_ours_and_nothing_is_open() -> None:
    access = Access(host="0.0.0.0")
    access.check_host("models.example")
    assert access._open == set()
    with pytest.raises(AccessRefusedError):
        Access(host="127.0.0.1").check_host("models.example")


@pytest.mark.usefixtures("doors")
def test_a_token_for_some_models_calls_no_other_and_does_not_learn_which_there_are(
    gateway: Serve, pools: ToyPools
) -> None:
    pools.add("wine", lambda x: x["x"] + 1)
    pools.add("iris", lambda x: x["x"] + 1)
    client = gateway(TOKENS)
    statuses = [
        client.post(f"/toy/{name}", json={"x": [1.0]}, headers=bearer("wine")).status_code
        for name in ("wine", "iris", "nothing")
    ]
    assert statuses == [200, 403, 403]


def test_who_asked_is_told(gateway: Serve, doors: Doors) -> None:
    gateway(TOKENS).get("/door/predict", headers=bearer("predict"))
    assert doors.told[-1].principal == "caller"


@pytest.mark.usefixtures("doors")
def test_pages_of_elsewhere_are_told_nothing(gateway: Serve) -> None:
    answer = gateway().get("/door/predict", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "set-cookie" not in answer.headers


def test_lists_show_a_token_only_the_models_that_it_is_good_for(gateway: Serve, pools: ToyPools) -> None:
    for name in ("wine", "foreign"):
        pools.add(name, lambda x: x["x"])
    client = gateway(parse([f"cellar predict,metrics {CELLAR} models=wine", OPERATOR], ""), docs=True)
    body = {"dataframe_split": {"columns": ["x"], "data": [[1.0]]}}
    for name in ("wine", "foreign"):
        assert client.post(f"/models/{name}/invocations", json=body, headers=bearer("admin")).status_code == 200
    for path in ("/v2/repository/index", "/metrics", "/admin/live", "/openapi.json"):
        method = "POST" if path.endswith("index") else "GET"
        seen, all_ = (client.request(method, path, headers=bearer(who)) for who in (CELLAR, "admin"))
        assert (seen.status_code, all_.status_code) == (200, 200), path
        assert "foreign" not in seen.text, path
        assert "foreign" in all_.text or path == "/admin/live", path  # whose last step is not over
    assert "wine" in client.get("/metrics", headers=bearer(CELLAR)).text
