# SPDX-License-Identifier: Apache-2.0
"""The secrets that this package makes: told from other text wherever one turns up."""

from __future__ import annotations

import secrets

PREFIX = "smsecret_"  # a search for it, in logs or a repository, finds what should not be there
_BYTES = 32


def new_secret() -> str:
    """A secret that nobody guesses, in ASCII."""
    return PREFIX + secrets.token_hex(_BYTES)
