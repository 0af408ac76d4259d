# SPDX-License-Identifier: Apache-2.0
"""What is the same for every request."""

from __future__ import annotations

from collections.abc import Callable

import httpx


def test_a_path_that_is_not_there_is_404(gateway: Callable[..., httpx.Client]) -> None:
    assert gateway().get("/nothing").status_code == 404
