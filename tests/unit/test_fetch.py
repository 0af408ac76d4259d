# SPDX-License-Identifier: Apache-2.0
"""`tools/fetch.py`: which client is asked for what, and that only the right files are taken."""

from __future__ import annotations

import hashlib
import importlib.util
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

PATH = pathlib.Path(__file__).parents[2] / "tools" / "fetch.py"
JARS = {f"org.example:{name}:1.0": hashlib.sha256(name.encode()).hexdigest() for name in ("one", "two")}
Client = Callable[[Sequence[str], pathlib.Path], str]


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("fetch_tool", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fetch_tool", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def client(brings: dict[str, str], asked: list[Sequence[str]]) -> Client:
    """One that brings files, by name within its scratch directory, and notes what it was asked for."""

    def resolve(coordinates: Sequence[str], into: pathlib.Path) -> str:
        asked.append(list(coordinates))
        for name, content in brings.items():
            (into / name).parent.mkdir(exist_ok=True)
            (into / name).write_text(content)
        return "words"

    return resolve


def test_what_one_client_does_not_bring_another_is_asked_for(fetch: Any, tmp_path: pathlib.Path) -> None:
    asked: list[Sequence[str]] = []
    fetch.CLIENTS = {
        "first": client({"jars/org.example_one-1.0.jar": "one", "jars/other-1.0.jar": "other"}, asked),
        "second": client({"two-1.0.jar": "two"}, asked),
        "third": client({}, asked),
    }
    fetch.fetch_jars(JARS, tmp_path / "jars")
    assert asked == [list(JARS), ["org.example:two:1.0"]]
    assert {path.name: path.read_text() for path in (tmp_path / "jars").iterdir()} == {
        "one-1.0.jar": "one",
        "two-1.0.jar": "two",
    }


def test_what_is_there_is_kept_and_nobody_is_asked(fetch: Any, tmp_path: pathlib.Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}-1.0.jar").write_text(name)
    asked: list[Sequence[str]] = []
    fetch.CLIENTS = {"first": client({}, asked)}
    fetch.fetch_jars(JARS, tmp_path)
    assert asked == []


def test_a_file_with_another_checksum_is_not_taken(fetch: Any, tmp_path: pathlib.Path) -> None:
    fetch.CLIENTS = {"first": client({"one-1.0.jar": "one", "two-1.0.jar": "forged"}, [])}
    with pytest.raises(SystemExit, match=r"(?s)Cannot fetch org.example:two:1.0.*first says:.*another checksum"):
        fetch.fetch_jars(JARS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one-1.0.jar"]


def test_a_jar_that_was_damaged_is_fetched_again(fetch: Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "one-1.0.jar").write_text("half")
    fetch.CLIENTS = {"first": client({"one-1.0.jar": "one", "two-1.0.jar": "two"}, [])}
    fetch.fetch_jars(JARS, tmp_path)
    assert (tmp_path / "one-1.0.jar").read_text() == "one"


def test_each_jar_has_coordinates_and_a_checksum(fetch: Any) -> None:
    for extra in fetch.EXTRAS.values():
        for coordinate, checksum in extra.jars.items():
            assert len(coordinate.split(":")) == 3
            assert len(bytes.fromhex(checksum)) == 32


def test_wrong_arguments_are_told_the_right_ones(fetch: Any) -> None:
    for arguments in ([], ["delta"], ["nothing", "here"]):
        with pytest.raises(SystemExit, match=r"usage: fetch.py delta\|spark41\|kafka DIRECTORY"):
            fetch.main(arguments)
