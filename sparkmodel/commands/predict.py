# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel predict`."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Annotated
from urllib.parse import quote

import typer

from sparkmodel.commands import options, show
from sparkmodel.commands.failing import UsageError
from sparkmodel.commands.gateway import CHANGE_S, Gateway

_ARROW = "application/vnd.apache.arrow.stream"
KINDS = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "arrow": _ARROW,
    "arrows": _ARROW,
}


def predict(
    name: options.Name,
    data: Annotated[str, typer.Argument(help="A file, or - for stdin.")] = "-",
    format: Annotated[
        str | None, typer.Option(help="json, csv, parquet or arrow; by default the file's ending, else json.")
    ] = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Call a model with the rows of a file; prints a line of JSON for each prediction.

    A JSON file is a body of MLflow's scoring protocol; an Arrow file is a stream. It is sent as it is, in one request.

    Example: sparkmodel predict wine bottles.csv

    From a pipe: echo '{"dataframe_records": [{"alcohol": 12.5}]}' | sparkmodel predict wine -
    """
    ending = pathlib.PurePath(data).suffix[1:].lower()
    chosen = format or (ending if ending in KINDS else "json")
    if chosen not in KINDS:
        raise UsageError(f"--format is one of {', '.join(KINDS)}, not '{chosen}'")
    try:
        body = sys.stdin.buffer.read() if data == "-" else pathlib.Path(data).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read '{data}': {error.strerror}") from error
    # MLflow's scoring protocol has no Arrow
    path = f"/models/{quote(name, safe='')}/{'predict' if KINDS[chosen] == _ARROW else 'invocations'}"
    answer = Gateway(url).send("POST", path, body, KINDS[chosen], CHANGE_S)
    if chosen in ("arrow", "arrows"):
        import pyarrow as pa

        table = pa.ipc.open_stream(answer).read_all()
        values = table.column(0).to_pylist() if table.num_columns == 1 else table.to_pylist()
    else:
        values = json.loads(answer)["predictions"]
    if as_json:
        show.as_json(values)
        return
    for value in values:
        print(json.dumps(value, ensure_ascii=False, default=str))
