# SPDX-License-Identifier: Apache-2.0
"""What a client does, by the shared file of calls, against servers that say what is written there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import SparkModelError
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.limits import Limits
from tests.unit.wire.script import Script, batch_of, differences
from tests.unit.wire.test_vectors import ARROW, VECTORS
from tests.unit.wire.toys import HandleClient, handle_of


@pytest.mark.parametrize("case", VECTORS["calls.json"], ids=lambda case: case["name"])
def test_a_call_goes_as_stated(case: dict[str, Any]) -> None:
    call, expected = case["call"], case["expected"]

    def batches() -> Iterator[pa.RecordBatch]:
        yield from (batch_of(given, ARROW) for given in call["batches"])
        time.sleep(call["collect_after_ms"] / 1000)

    with contextlib.closing(Script(case, ARROW)) as script:
        handle = handle_of(
            master=None,
            pool_id=case["name"],
            directory=Directory.from_dict(script.directory(call["directory"])),
            digest=call["digest"],
            query=call["query"],
            master_endpoint=script.endpoints["master"],
            limits=Limits.from_dict(call["limits"]),
            **call.get("options", {}),
        )
        with contextlib.closing(HandleClient(handle)) as client:
            answers, condition, fact = [], None, ""
            try:
                for answer in client.predict(batches(), False, call["timeout_s"]):
                    answers.append(answer)
            except SparkModelError as error:
                condition, fact = error.condition, error.fact
        assert condition == expected["condition"]
        assert expected.get("fact", "") in fact
        assert answers == [batch_of(name, ARROW).column(0) for name in expected["answers"]]
        assert differences(expected, script.heard) == []
