# SPDX-License-Identifier: Apache-2.0
"""How the console is served: headers, files, nothing from elsewhere."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable

import httpx
import pytest

from sparkmodel.rest.console import routes

FILES = pathlib.Path(routes.__file__).parent / "static"
Serve = Callable[..., httpx.Client]


def test_the_root_leads_to_the_page_also_below_a_path_of_a_proxy(gateway: Serve) -> None:
    answer = gateway().get("/")
    assert answer.status_code == 307
    assert answer.headers["location"] == "console"  # relative: BentoML's page was lost behind proxies


def test_every_file_is_served_with_its_type_and_with_headers_that_let_nothing_else_in(gateway: Serve) -> None:
    client = gateway()
    paths = ["/console", *(f"/console/{path.name}" for path in sorted(FILES.iterdir()))]
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/console/script.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/console/style.css").headers["content-type"].startswith("text/css")


def test_only_files_of_the_console_are_served(gateway: Serve) -> None:
    client = gateway()
    for path in ("routes.py", "../routes.py", "..%2froutes.py", "%2e%2e/routes.py", "static/script.js", ""):
        assert client.get(f"/console/{path}", follow_redirects=True).status_code in (200, 404)
        assert b"sparkmodel.rest" not in client.get(f"/console/{path}", follow_redirects=True).content


def test_a_file_that_has_not_changed_is_not_sent_again(gateway: Serve) -> None:
    client = gateway()
    tag = client.get("/console/style.css").headers["etag"]
    again = client.get("/console/style.css", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_without_the_console_nothing_of_it_is_served(gateway: Serve) -> None:
    client = gateway(console=False)
    for path in ("/", "/console", "/console/script.js", "/admin/live"):
        assert client.get(path).status_code == 404


def test_figures_are_there_from_the_beginning(gateway: Serve) -> None:
    answer = gateway().get("/admin/live", params={"seconds": 60})
    assert answer.json() == {"step_s": 5, "models": {}}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("seconds", ["0", "-5", "4", "1801", "1e9", "9" * 5000, "²", "", "NaN"])
def test_a_time_that_is_not_kept_is_refused(gateway: Serve, seconds: str) -> None:
    answer = gateway().get("/admin/live", params={"seconds": seconds})
    assert answer.status_code == 400
    assert answer.json()["condition"] == "INVALID_OPTION"
    assert len(answer.content) < 400


def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup() -> None:
    """Without the internet other servers' pages stay blank, as theirs come from a CDN."""
    for path in sorted(FILES.iterdir()):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
        assert not re.search(r"localStorage|document\.cookie", text), path.name
        assert len(text.splitlines()) < 400, path.name
    page = (FILES / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|\bstyle=|<style", page)
    assert not re.search(r'(?:src|href)="/', page)  # relative: a proxy may add a path
