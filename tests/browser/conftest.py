# SPDX-License-Identifier: Apache-2.0
"""One Chromium and one gateway for all tests; a page of its own for each."""

from __future__ import annotations

import pathlib
import runpy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sparkmodel.rest import models
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from sparkmodel.schema import Column, Signature
from tests.browser.fake import FakeGateway
from tests.unit.rest.toys import ToyPools

ROOT = pathlib.Path(__file__).parents[2]
Open = Callable[..., Page]


@pytest.fixture(scope="module")  # playwright has a loop of its own in this thread meanwhile
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    tool = runpy.run_path(str(ROOT / "tools" / "chromium.py"))
    directory = pathlib.Path(sys.prefix) / "chromium"
    path = tool["find"](directory)
    assert path is not None, f"there is no Chromium: run `python tools/chromium.py {directory}`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FakeGateway, str]]:
    """The gateway, and where it is."""
    pools, patch = ToyPools(), pytest.MonkeyPatch()
    patch.setattr(models, "pools", pools)
    pools.add(
        "wine",
        lambda frame: frame["alcohol"] + frame["ash"],
        result_type=pa.float64(),
        signature=_signature("alcohol", "ash"),
    )
    pools.add(
        "fares", lambda frame: frame["distance km"] * frame["trips"], result_type=pa.float64(), signature=_fares()
    )
    gateway = Gateway(Settings(port=0))
    fake = FakeGateway(gateway)
    with Server(fake.app, gateway.settings) as server:
        server.start()
        yield fake, server.url
    gateway.close()
    pools.close()
    patch.undo()


@pytest.fixture
def fake(served: tuple[FakeGateway, str]) -> FakeGateway:
    """The gateway, as it was at first."""
    served[0].reset()
    return served[0]


@pytest.fixture
def console(chromium: Browser, served: tuple[FakeGateway, str], fake: FakeGateway) -> Iterator[Open]:
    """`console("#/models/wine", width=390)` opens the page; in the end no page may have had an error of its own."""
    contexts, said = [], []

    def heard(text: str) -> None:
        if not text.startswith("Failed to load resource"):  # a status that a test has asked for
            said.append(text)

    def open_page(path: str = "", *, width: int = 1280, height: int = 860, token: str = "", **rest: Any) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, timezone_id="UTC", **rest)
        contexts.append(context)
        context.set_default_timeout(10_000)
        if token:
            context.add_init_script(f"sessionStorage.setItem('sparkmodel-token', '{token}')")
        page = context.new_page()
        page.on("console", lambda message: heard(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: heard(str(error)))
        page.goto(f"{served[1]}/console{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def _signature(*names: str) -> Signature:
    return Signature(inputs=tuple(Column(name=name, type=pa.float64()) for name in names))


def _fares() -> Signature:
    return Signature(
        inputs=(
            Column(name="distance km", type=pa.float64()),
            Column(name="trips", type=pa.int64()),
            Column(name="night", type=pa.bool_(), required=False),
        )
    )
