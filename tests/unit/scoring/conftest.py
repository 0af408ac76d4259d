# SPDX-License-Identifier: Apache-2.0
"""The pool's workers serve here too: they are what a batch is scored in."""

from __future__ import annotations

from tests.unit.pool.conftest import quiet_threads, serve

__all__ = ["quiet_threads", "serve"]
