# SPDX-License-Identifier: Apache-2.0
"""Some of the frames of `python -m tests.fuzz --frames 10000`: no crash, no hang, no wrong row, bounded memory."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sparkmodel.wire import protocol as p
from tests.fuzz.frames import MOST_BYTES, Mutator, _read, answers, grown_bytes, requests, samples

SEED, COUNT = 13, 2000


@pytest.mark.fault("F27")
def test_a_server_answers_mutated_requests_with_right_rows_or_an_error() -> None:
    before = grown_bytes()
    assert [text for text in requests(SEED, range(COUNT)) if text is not None] == []
    assert grown_bytes() - before < MOST_BYTES


@pytest.mark.fault("F27")
def test_a_client_makes_right_rows_or_an_error_of_mutated_answers() -> None:
    before = grown_bytes()
    assert [text for text in answers(SEED, range(COUNT)) if text is not None] == []
    assert grown_bytes() - before < MOST_BYTES


def test_the_mutations_leave_some_frames_whole_and_break_others() -> None:
    """Else the two above would show nothing."""
    batches = samples()
    others = [p.batch_to_buffer(batch).to_pybytes() for batch in batches]
    outcomes = [_outcome(number, batches, others) for number in range(COUNT)]
    assert min(outcomes.count(outcome) for outcome in ("refused", "same", "another")) > COUNT // 50


def _outcome(number: int, batches: list[pa.RecordBatch], others: list[bytes]) -> str:
    which = number % len(batches)
    read = _read(Mutator(number, others).payload(others[which]), batches[which].schema)
    if read is None:
        return "refused"
    return "same" if read.equals(batches[which]) else "another"
