# SPDX-License-Identifier: Apache-2.0
"""Who listens where, and who reaches whom."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator

from sparkmodel.cluster import head_token
from sparkmodel.doctor.finding import FAIL, OK, WARN, Finding
from sparkmodel.doctor.scene import Scene
from sparkmodel.wire.addresses import is_loopback, spelled

_HEAD = "Ray's head"


def check_ports(scene: Scene) -> Iterator[Finding]:
    """What is open to other machines."""
    for place, facts in scene.machines():
        at = defaultdict(list)
        for one in facts["listening"]:
            at[one["kind"]].append((one["host"], one["port"]))
        for kind, sockets in sorted(at.items()):
            beyond = [spelled(host, port) for host, port in sockets if not ipaddress.ip_address(host).is_loopback]
            where = f"on {', '.join(beyond)}" if beyond else f"on loopback only, {len(sockets)} ports"
            yield Finding("ports", OK, f"{kind} listens {where}", place=place)
        if not at:
            yield Finding("ports", OK, "nothing of sparkmodel or Ray listens", place=place)


def check_strangers(scene: Scene) -> Iterator[Finding]:
    """Whether heads of Ray on this machine let anybody in who reaches them."""
    for one in scene.here["listening"]:
        if one["kind"] != _HEAD:
            continue
        host, port = one["host"], one["port"]
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
        try:
            is_open = head_token.ask(host, port).is_welcome
        except OSError:  # another port of the head's, or it has ended
            continue
        if is_open:
            who = "any user of this machine" if address.is_loopback else "whoever reaches it"
            fact = f"the head of Ray on {spelled(one['host'], port)} asks for no token: {who} can run code in it"
            yield Finding("ray-open", WARN, fact, "start Ray with RAY_AUTH_MODE=token")


def check_reach(scene: Scene) -> Iterator[Finding]:
    """Whether executors and this process reach the pools."""
    if not scene.pools:
        return
    for place, facts in (*scene.executors.items(), ("here", scene.here)):
        lost = [(host, port, why) for host, port, why in facts["reach"] if why]
        for host, port, why in lost:
            hint = (
                "executors on other machines need a Ray cluster: sm.init(address='host:port')"
                if is_loopback(host)
                else f"open port {port} of {host} to it, or set SPARKMODEL_ADVERTISE_HOST on that node"
            )
            yield Finding("reach", FAIL, f"cannot connect to {spelled(host, port)}: {why}", hint, place)
        if facts["reach"] and not lost:
            yield Finding("reach", OK, f"all {len(facts['reach'])} endpoints of pools can be reached", place=place)
