# SPDX-License-Identifier: Apache-2.0
"""Real sockets of processes that are called as ours are."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.doctor import facts
from sparkmodel.doctor.finding import FAIL, OK, WARN
from sparkmodel.doctor.network import check_ports, check_reach, check_strangers
from sparkmodel.doctor.scene import Scene
from tests.unit.heads import SECRET, head

LISTEN = """
import socket, sys
s = socket.create_server((sys.argv[1], 0), family=int(sys.argv[2]))
print(s.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("address", "family", "fact"),
    [
        ("127.0.0.1", socket.AF_INET, "on loopback only"),
        ("0.0.0.0", socket.AF_INET, "on 0.0.0.0:"),
        ("::1", socket.AF_INET6, "on loopback only"),
        ("::", socket.AF_INET6, "on [::]:"),
    ],
)
def test_who_listens_where(scene: Callable[..., Scene], address: str, family: int, fact: str) -> None:
    name = f"sparkmodel worker /tmp/x-{address}"
    with subprocess.Popen(
        [name, "-c", LISTEN, address, str(int(family))],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        listening = [one for one in facts.listening() if one["pid"] == process.pid]
        assert listening == [{"pid": process.pid, "kind": "worker", "host": address, "port": port}]
        (found,) = check_ports(scene({"listening": listening}))
        assert fact in found.fact
        process.communicate("")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),  # IPv4 at a socket of both
        ("77000000000000000000000001000000", "0:77::1"),
    ],
)
def test_addresses_as_linux_writes_them(text: str, address: str) -> None:
    if sys.byteorder == "little":
        assert facts.numeric(text) == address


@pytest.mark.parametrize(("token", "statuses"), [("", [WARN]), (SECRET, [])])
def test_a_head_that_lets_anybody_in(scene: Callable[..., Scene], token: str, statuses: list[str]) -> None:
    with head(token) as port:
        seen = scene({"listening": [{"pid": 1, "kind": "Ray's head", "host": "127.0.0.1", "port": port}]})
        assert [finding.status for finding in check_strangers(seen)] == statuses


def test_who_reaches_the_pools(scene: Callable[..., Scene], facts_of: Callable[..., dict[str, Any]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as worker:
        host, port = worker.getsockname()
        here = facts.reach(host, port, 1.0)
    lost = facts.reach(host, port, 1.0)
    assert here == ""
    pools = [{"name": "f", "endpoints": [(host, port)]}]
    seen = scene(
        {"reach": [[host, port, here]]}, pools=pools, executors={"executor": facts_of(reach=[[host, port, lost]])}
    )
    assert seen.endpoints() == [(host, port)]
    there, own = check_reach(seen)
    assert (there.place, there.status, "Connection refused" in there.fact) == ("executor", FAIL, True)
    assert "sm.init(address=" in there.hint
    assert (own.place, own.status) == ("here", OK)
