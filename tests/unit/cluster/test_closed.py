# SPDX-License-Identifier: Apache-2.0
"""Who is not let in: other users at our sockets, pools in the clear where the operator wants none."""

from __future__ import annotations

import os
import pathlib

import pytest

from sparkmodel.cluster import sockets
from sparkmodel.cluster.common import REQUIRE_TLS, check_tls
from sparkmodel.cluster.head_token import Token
from sparkmodel.cluster.records import Deed
from sparkmodel.cluster.worker_process import Seat
from sparkmodel.errors import InvalidOptionError
from sparkmodel.secret import PREFIX, new_secret
from sparkmodel.wire.tls import Identity
from tests.unit.pool.toys import spec_of


def test_another_user_is_refused_at_either_end_of_a_socket(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sockets.listen(tmp_path, "door") as door:
        with sockets.connect(tmp_path, "door") as near:
            far = sockets.accept(door, 5.0)
            assert far is not None
            with far:
                sockets.check(near)
        us = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: us + 1)
        with pytest.raises(PermissionError, match=f"user {us} is at the other end"):
            sockets.connect(tmp_path, "door")
        with pytest.raises(PermissionError, match="at the other end"):
            sockets.accept(door, 5.0)


@pytest.mark.parametrize(
    ("asked", "tls", "is_local", "refused"),
    [
        (None, False, False, False),
        ("0", False, False, False),
        ("1", False, False, True),
        ("true", False, False, True),
        ("1", True, False, False),
        ("1", False, True, False),  # loopback
    ],
)
def test_an_operator_can_want_tls_of_every_pool_on_a_cluster(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, tls: bool, is_local: bool, refused: bool
) -> None:
    monkeypatch.delenv(REQUIRE_TLS, raising=False)
    if asked is not None:
        monkeypatch.setenv(REQUIRE_TLS, asked)
    if not refused:
        check_tls("m", tls, is_local)
        return
    with pytest.raises(InvalidOptionError, match="Cannot register model 'm': SPARKMODEL_REQUIRE_TLS is set"):
        check_tls("m", tls, is_local)


def test_what_has_a_secret_does_not_show_it() -> None:
    """Whatever prints it: a log, an error, a debugger."""
    secret, (spec, _) = new_secret(), spec_of(len)
    identity = Identity("a certificate", secret)
    shown = repr(
        [
            identity,
            Token(secret, "a file"),
            Deed("m", "p1", secret, identity),
            Seat(spec=spec, version=1, token=secret, root=pathlib.Path("/"), host="h", identity=identity),
        ]
    )
    assert PREFIX not in shown
    assert "a certificate" in shown
