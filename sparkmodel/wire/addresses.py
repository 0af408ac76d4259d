# SPDX-License-Identifier: Apache-2.0
"""Addresses: as people write them, as callers are told them, and as they are bound."""

from __future__ import annotations

import ipaddress
import os
import socket

from sparkmodel.errors import InvalidOptionError

BIND, ADVERTISE = "SPARKMODEL_BIND_HOST", "SPARKMODEL_ADVERTISE_HOST"


def spelled(host: str, port: int) -> str:
    """`host:port`; an IPv6 address stands in brackets, as its colons are not the port's."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def advertised(node: str) -> str:
    """What callers are told for this node.

    Args:
        node: Its address as Ray knows it, which callers may have no way to.
    """
    return os.environ.get(ADVERTISE) or node


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """Listen for callers who are told a host; where nothing else was asked for, at that address alone.

    Raises:
        InvalidOptionError: it is no address of this machine, and which one to bind was not said.
        OSError: the port is taken.
    """
    bind = host if is_loopback(host) else os.environ.get(BIND) or host
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    both = bind == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((bind, port), family=family, backlog=backlog, dualstack_ipv6=both)
    except OSError as error:
        if is_here(bind):
            raise
        raise InvalidOptionError(
            f"Cannot listen on '{bind}'",
            f"it is no address of this machine: {error}",
            f"set {BIND} on that node to one, or to 0.0.0.0 or :: for all; callers are told {ADVERTISE}",
        ) from error


def is_loopback(host: str) -> bool:
    """Whether it is for this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_here(host: str) -> bool:
    """Whether a numeric address is one of this machine's; a name is not looked up for it."""
    if host == "localhost":
        return True
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))  # only an address of this machine can be bound
    except (OSError, ValueError):
        return False
    return True
