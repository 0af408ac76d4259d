# SPDX-License-Identifier: Apache-2.0
"""Why workers are missing is told in one line, or not at all."""

from __future__ import annotations

from sparkmodel.control.service import _problem


def test_a_problem_says_since_when_how_often_and_why() -> None:
    assert _problem({"restart_error": None, "restart_since": None, "restart_attempts": 0}) == {}
    failing = {"restart_error": "[MODEL_LOAD_FAILED] no disk", "restart_since": 0.0, "restart_attempts": 3}
    told = "since 1970-01-01T00:00:00+00:00, 3 times: [MODEL_LOAD_FAILED] no disk"
    assert _problem(failing) == {"problem": told}
