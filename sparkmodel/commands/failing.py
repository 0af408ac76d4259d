# SPDX-License-Identifier: Apache-2.0
"""How commands fail: what is said, and the exit code."""

from __future__ import annotations

REFUSED, USAGE, NO_GATEWAY, INTERRUPTED = 1, 2, 3, 130


class CommandError(Exception):
    """A command cannot do what it was asked for; its text is all that is printed."""

    code = REFUSED


class RefusedError(CommandError):
    """The gateway says no, and why."""


class UsageError(CommandError):
    """It was called wrong."""

    code = USAGE


class NoGatewayError(CommandError):
    """Nobody answers."""

    code = NO_GATEWAY
