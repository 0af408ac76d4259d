# SPDX-License-Identifier: Apache-2.0
"""The pictures of the docs. `CONSOLE_PICTURES=1` takes them anew; else it is only seen to that they are there."""

from __future__ import annotations

import os
import pathlib

import pytest

from tests.browser.conftest import Open
from tests.browser.fake import ADMIN, FakeGateway

ROOT = pathlib.Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
TAKEN = (
    ("console-models", "", 1280, "light"),
    ("console-models-dark", "", 1280, "dark"),
    ("console-models-narrow", "", 390, "light"),
    ("console-model", "#/models/wine", 1280, "light"),
    ("console-model-dark", "#/models/wine", 1280, "dark"),
    ("console-model-narrow", "#/models/wine", 390, "dark"),
    ("console-degraded", "#/models/churn", 1280, "light"),
    ("console-update", "#/models/wine", 1280, "light"),
    ("console-empty", "", 1280, "light"),
)


@pytest.mark.parametrize(("name", "path", "width", "scheme"), TAKEN, ids=[one[0] for one in TAKEN])
def test_the_page_is_no_wider_than_the_screen_and_its_picture_is_in_the_docs(
    console: Open, fake: FakeGateway, name: str, path: str, width: int, scheme: str
) -> None:
    if name == "console-empty":
        fake.models.clear()
    if not fake.has_past:
        fake.past()
    page = console(path, width=width, color_scheme=scheme, token=ADMIN)
    page.wait_for_selector("#main .empty, #main table")
    if path == "#/models/wine":
        page.get_by_role("button", name="Predict").click()
        page.wait_for_selector(".answer pre")
    if name == "console-update":
        page.get_by_role("button", name="Update").click()
        page.get_by_label("Canary: a share").check()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture = IMAGES / f"{name}.png"
    if os.environ.get("CONSOLE_PICTURES"):
        page.screenshot(path=picture, full_page=name != "console-update")
    assert picture.is_file()
    assert f"images/{name}.png" in (ROOT / "docs" / "console.md").read_text()
