# SPDX-License-Identifier: Apache-2.0
"""Metrics as text, in the format that is asked for."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder


class Told:
    """Families that were collected already, as prometheus_client wants to collect them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families


def written(families: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """The text, and its media type.

    Args:
        families: What to write.
        accept: The request's `Accept`; OpenMetrics where it names it, else Prometheus's own text.
    """
    told = Told(families)
    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        encode, media_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    return encode(told), media_type
