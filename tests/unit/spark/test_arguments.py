# SPDX-License-Identifier: Apache-2.0
"""What a column of Python is called."""

from __future__ import annotations

import pytest

from sparkmodel.spark.arguments import _last_part


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("b", "b"),
        ("t.b", "b"),
        ("db.t.b", "b"),
        ("`a.b`", "a.b"),
        ("t.`a.b`", "a.b"),
        ("`t.x`.b", "b"),
        ("`q``t`", "q`t"),
        ("t.`q``t`", "q`t"),
        ("*", None),
        ("t.*", None),
    ],
)
def test_the_last_part_of_a_reference_is_its_name(identifier: str, name: str | None) -> None:
    assert _last_part(identifier) == name
