# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel predict`: what is sent, and what is printed."""

from __future__ import annotations

import io
import json
import pathlib
import sys
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.commands.conftest import Run


@pytest.mark.parametrize(
    ("name", "more", "kind"),
    [
        ("rows.json", (), "application/json"),
        ("rows.CSV", (), "text/csv"),
        ("rows.parquet", (), "application/vnd.apache.parquet"),
        ("rows.txt", (), "application/json"),
        ("rows.txt", ("--format", "csv"), "text/csv"),
    ],
)
def test_a_file_is_sent_as_what_it_is(
    run: Run, recorder: Any, tmp_path: pathlib.Path, name: str, more: tuple[str, ...], kind: str
) -> None:
    (tmp_path / name).write_bytes(b"\x00rows\xff")
    code, out, err = run("predict", "a model/with%signs", str(tmp_path / name), *more)
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [1.5, None, {"label": "a"}]
    ((path, headers, body),) = recorder.seen
    assert path == "/models/a%20model%2Fwith%25signs/invocations"
    assert (headers["Content-Type"], body) == (kind, b"\x00rows\xff")


def test_stdin_is_read_and_json_printed(run: Run, recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"instances": [1]}')))
    code, out, _ = run("predict", "m", "-", "--json")
    assert (code, json.loads(out)) == (0, [1.5, None, {"label": "a"}])
    assert recorder.seen[0][2] == b'{"instances": [1]}'


def test_an_arrow_stream_is_answered_by_one(run: Run, recorder: Any, tmp_path: pathlib.Path) -> None:
    sink = io.BytesIO()
    table = pa.table({"prediction": [1, 2]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    recorder.answer = (200, {}, sink.getvalue())
    (tmp_path / "rows.arrow").write_bytes(sink.getvalue())
    assert run("predict", "m", str(tmp_path / "rows.arrow"))[:2] == (0, "1\n2\n")
    path, headers, _ = recorder.seen[0]
    assert (path, headers["Content-Type"]) == ("/models/m/predict", "application/vnd.apache.arrow.stream")


def test_what_is_refused_is_said(run: Run, recorder: Any, tmp_path: pathlib.Path) -> None:
    recorder.answer = (400, {}, b'{"error_code": "BAD_REQUEST", "message": "[SCHEMA_MISMATCH] Cannot ..."}')
    assert run("predict", "m", __file__) == (1, "", "[SCHEMA_MISMATCH] Cannot ...\n")
