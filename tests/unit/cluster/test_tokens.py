# SPDX-License-Identifier: Apache-2.0
"""Ray's own token, with a head that has no node: it is there within a second, and asks for a token as every head."""

from __future__ import annotations

import os
import pathlib
import stat
from collections.abc import Callable, Iterator

import pytest

from sparkmodel.cluster import tokens
from sparkmodel.cluster.head_token import MODE, PATH, TOKEN
from sparkmodel.cluster.tokens import OwnToken
from sparkmodel.errors import InvalidOptionError

RIGHT, WRONG = "r" * 40, "w" * 40
SOON_S = 5.0  # promised is one second; the machine may be busy


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[Callable[..., None]]:
    """`shown(RAY_AUTH_MODE="token")`: what this process shows a cluster, and nothing else."""

    def show(**variables: str) -> None:
        for name in (MODE, TOKEN, PATH):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        tokens._refresh()

    with monkeypatch.context():
        show()
        yield show
    monkeypatch.undo()
    tokens._refresh()


@pytest.mark.parametrize("umask", [0o022, 0o000])
@pytest.mark.parametrize("named", [True, False])
def test_a_ray_of_our_own_gets_a_token_that_others_cannot_read(
    shown: Callable[..., None], tmp_path: pathlib.Path, umask: int, named: bool
) -> None:
    shown(**({TOKEN: RIGHT} if named else {}))
    before = os.umask(umask)
    try:
        own = OwnToken(tmp_path, {})
    finally:
        os.umask(before)
    path = pathlib.Path(os.environ[PATH])
    assert path.parent == tmp_path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (os.environ[MODE], TOKEN in os.environ) == ("token", False)  # a variable reaches the models' code
    assert len(path.read_text()) >= 40
    assert (path.read_text() == RIGHT) == named
    own.forget()
    assert (os.environ.get(TOKEN), MODE in os.environ, PATH in os.environ) == (RIGHT if named else None, False, False)


def test_a_ray_without_a_token_stays_on_loopback(shown: Callable[..., None], tmp_path: pathlib.Path) -> None:
    shown(RAY_AUTH_MODE="disabled")
    OwnToken(tmp_path, {"dashboard_host": "127.0.0.1"})
    with pytest.raises(InvalidOptionError, match="could run code on it"):
        OwnToken(tmp_path, {"dashboard_host": "0.0.0.0"})
    with pytest.raises(InvalidOptionError, match="unset RAY_AUTH_MODE"):
        OwnToken(tmp_path, {"_node_ip_address": "10.0.0.1"})
