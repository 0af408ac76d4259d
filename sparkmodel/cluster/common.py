# SPDX-License-Identifier: Apache-2.0
"""What the process that holds Ray and those that ask it both know; nothing here imports Ray."""

from __future__ import annotations

import os
import secrets
from typing import Any

from sparkmodel.errors import InvalidOptionError, NameTakenError

APP_VARIABLE = "SPARKMODEL_APP"  # by which a driver's keeper knows whom it does things for
# Control.scala reads it: pid:port:file of the Python that started the JVM. The token is in the file, as a variable goes
# on to every process that comes of this one, to models' code among them, and into many a log.
CONTROL_VARIABLE = "SPARKMODEL_CONTROL"
NAMESPACE = "sparkmodel"
SPARES = 1
REQUIRE_TLS = "SPARKMODEL_REQUIRE_TLS"  # an operator's: no pool on a cluster goes without


def new_app() -> str:
    """A name for an application of ours, by which what it is let in by is told from others'."""
    return f"app-{secrets.token_hex(6)}"


def check_spares(spares: Any) -> int:
    """The number, if it is one."""
    if not isinstance(spares, int) or isinstance(spares, bool) or spares < 0:
        raise InvalidOptionError("Cannot use option 'spares'", f"{spares!r} is not a whole number of at least 0")
    return spares


def check_tls(name: str, tls: bool, is_local: bool) -> None:
    """Refuse a pool that others of the network could listen to, where the operator has said so.

    Raises:
        InvalidOptionError: it has no TLS, and its workers listen for more than this machine.
    """
    if not tls and not is_local and os.environ.get(REQUIRE_TLS, "").lower() in ("1", "true"):
        raise InvalidOptionError(
            f"Cannot register model '{name}'", f"{REQUIRE_TLS} is set, and it has no TLS", "pass tls=True"
        )


def name_taken(name: str) -> NameTakenError:
    """The error of who wants a name that a pool has."""
    return NameTakenError(
        f"Cannot register model '{name}'",
        "a pool of that name is serving",
        "pass replace=True to move it to this source, or call sm.unregister first",
    )
