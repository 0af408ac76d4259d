# SPDX-License-Identifier: Apache-2.0
"""How many warm processes are kept, from wherever it is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sparkmodel.control.__main__ import _read_start
from sparkmodel.errors import InvalidOptionError, ProtocolError
from sparkmodel.keeper import connection
from sparkmodel.spark.session import spares_of


class Session:
    """Has one setting."""

    def __init__(self, value: str | None) -> None:
        self.conf, self._value = self, value

    def get(self, key: str, default: str | None) -> str | None:
        return default if self._value is None or key != "spark.sparkmodel.spares" else self._value


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "2", None])
def test_it_is_a_whole_number_of_at_least_zero(wrong: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"Cannot use option 'spares'.*not a whole number of at least 0"):
        connection.prefer(wrong)


@pytest.mark.parametrize(("text", "spares"), [(None, None), ("0", 0), (" 3 ", 3)])
def test_a_session_may_say_it(text: str | None, spares: int | None) -> None:
    assert spares_of(Session(text)) == spares  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "many", "-1", "1.5"])
def test_a_setting_that_is_no_number_is_an_error(text: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"Cannot use setting 'spark.sparkmodel.spares'"):
        spares_of(Session(text))  # type: ignore[arg-type]


def test_who_starts_the_control_process_may_say_it() -> None:
    assert _read_start(b'{"token": "t"}')["spares"] is None
    assert _read_start(json.dumps({"token": "t", "spares": 0}).encode())["spares"] == 0
    for wrong in ("2", -1, True):
        with pytest.raises(ProtocolError, match=r"'spares' is .*, not a whole number"):
            _read_start(json.dumps({"token": "t", "spares": wrong}).encode())
