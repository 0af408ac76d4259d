# SPDX-License-Identifier: Apache-2.0
"""Where Ray is looked for."""

from __future__ import annotations

import socket

import pytest

from sparkmodel.cluster import connection, head_token
from sparkmodel.errors import RayUnavailableError


@pytest.mark.fault("F23")
def test_a_wrong_address_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "auto", "local"):
            head_token.look_for(address)
    with pytest.raises(RayUnavailableError, match=f"Cannot connect to Ray '127.0.0.1:{port}': nobody answers there"):
        connection.connect(f"127.0.0.1:{port}")
    assert not connection.is_connected()
