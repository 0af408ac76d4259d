# SPDX-License-Identifier: Apache-2.0
"""Metrics read back."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def shown(text: str) -> dict[str, dict[str, float]]:
    """The values by the sample's name, and by its labels as `key=value`, sorted."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found
