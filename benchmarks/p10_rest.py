# SPDX-License-Identifier: Apache-2.0
"""P10: one row over HTTP: the gateway against `mlflow models serve` and a plain deployment of Ray Serve.

A script of its own, `python -m benchmarks.p10_rest`: it needs no Spark, and starts three kinds of servers in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import mlflow
import numpy as np
import orjson
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import ElasticNet

from benchmarks.common import compare, say
from benchmarks.p10_load import Load, load
from sparkmodel.rest import pauses

COLUMNS = [f"x{i}" for i in range(11)]
ROW = [float(i) for i in range(1, len(COLUMNS) + 1)]
BODY = orjson.dumps({"dataframe_split": {"columns": COLUMNS, "data": [ROW]}})
CONNECTIONS = (1, 8, 32)
OURS, JOINED = "sparkmodel serve", "sparkmodel serve, batch_size=32"
MLFLOW, RAY_SERVE = "mlflow models serve", "Ray Serve"
_START_S = 180.0


class First(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """The model that does nothing: the first column."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        """The first column."""
        return model_input.iloc[:, 0].to_numpy()


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one server took for one model with so many connections."""

    model: str
    server: str
    connections: int
    load: Load


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all, print the table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.p10_rest", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each cell (default 4)")
    parser.add_argument("--servers", nargs="+", default=list(_START), help="which (default all)")
    options = parser.parse_args(arguments)
    pauses.shorten()  # of the callers
    with tempfile.TemporaryDirectory(prefix="sparkmodel-p10-", ignore_cleanup_errors=True) as home:
        work = pathlib.Path(home)
        models = _models(work)
        cells: list[Cell] = []
        for server in options.servers:
            for served in [models] if server != MLFLOW else [{name: uri} for name, uri in models.items()]:
                with _START[server](served, work) as url:
                    cells += _measure(server, url, served, options.seconds)
    print(table(cells))
    return 0


def _models(work: pathlib.Path) -> dict[str, str]:
    """Paths of the two models, by name."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(1000, len(COLUMNS))), columns=COLUMNS)
    linear = ElasticNet(alpha=0.01).fit(frame, frame.to_numpy() @ random.normal(size=len(COLUMNS)))
    signature = infer_signature(frame, linear.predict(frame))
    noop, net = str(work / "noop"), str(work / "elasticnet")
    mlflow.pyfunc.save_model(noop, python_model=First(), signature=signature, pip_requirements=["mlflow"])
    mlflow.sklearn.save_model(
        linear, net, signature=signature, pip_requirements=["scikit-learn"], serialization_format="cloudpickle"
    )
    return {"noop": noop, "elasticnet": net}


def _measure(server: str, url: str, served: dict[str, str], seconds: float) -> list[Cell]:
    cells = []
    for model, uri in served.items():
        at = f"{url}/invocations" if server == MLFLOW else f"{url}/models/{model}/invocations"
        expected = mlflow.pyfunc.load_model(uri).predict(pd.DataFrame([ROW], columns=COLUMNS))
        answer = until_well(at)
        compare(server, np.asarray(answer["predictions"], dtype=float), expected)
        for connections in CONNECTIONS:
            load(at, BODY, connections, seconds / 4)
            cells.append(Cell(model, server, connections, load(at, BODY, connections, seconds)))
            say(f"{server}, {model}, {connections}: {cells[-1].load}")
        compare(server, np.asarray(until_well(at)["predictions"], dtype=float), expected)
    return cells


def until_well(url: str, body: bytes = BODY) -> Any:
    """The answer to the request, once the server gives it."""
    end = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}, timeout=60)
            if answer.status_code == 200:
                return answer.json()
            if time.monotonic() >= end:
                raise RuntimeError(f"{url} answered {answer.status_code}: {answer.text[:500]}")
        if time.monotonic() >= end:
            raise RuntimeError(f"{url} does not answer")
        time.sleep(0.5)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str], log: pathlib.Path, **environment: str) -> Iterator[None]:
    """A process with all that it starts, ended with the context."""
    with log.open("wb") as output:
        # MLflow calls uvicorn by its name
        path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PATH": path, **environment},
        )
    try:
        yield
    except BaseException:
        say(log.read_text(errors="replace")[-3000:])
        raise
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def serving(arguments: Sequence[str], work: pathlib.Path) -> Iterator[str]:
    """`sparkmodel serve` with these arguments, and where it serves."""
    port = _free_port()
    command = [sys.executable, "-m", "sparkmodel", "serve", "--port", str(port), *arguments]
    with _running(command, work / "ours.log"):
        yield f"http://127.0.0.1:{port}"


def _ours(models: dict[str, str], work: pathlib.Path) -> contextlib.AbstractContextManager[str]:
    return serving([part for name, uri in models.items() for part in ("--model", f"{name}={uri}")], work)


def _joined(models: dict[str, str], work: pathlib.Path) -> contextlib.AbstractContextManager[str]:
    options = ["-o", "batch_size=32", "-o", "batch_wait_s=0"]
    return serving([*(part for name, uri in models.items() for part in ("--model", f"{name}={uri}")), *options], work)


@contextlib.contextmanager
def _mlflow(models: dict[str, str], work: pathlib.Path) -> Iterator[str]:
    port = _free_port()
    ((name, uri),) = models.items()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "-p", str(port)]
    with _running(command, work / f"mlflow-{name}.log"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _ray_serve(models: dict[str, str], work: pathlib.Path) -> Iterator[str]:
    port = _free_port()
    given = orjson.dumps({"port": port, "models": models}).decode()
    with _running([sys.executable, "-m", "benchmarks.p10_ray_serve", given], work / "ray-serve.log"):
        yield f"http://127.0.0.1:{port}"


_START: dict[str, Callable[[dict[str, str], pathlib.Path], contextlib.AbstractContextManager[str]]] = {
    OURS: _ours,
    JOINED: _joined,
    MLFLOW: _mlflow,
    RAY_SERVE: _ray_serve,
}


def table(cells: Sequence[Cell]) -> str:
    """A Markdown table; the ratios are the gateway's to each other's: its rate by theirs, its p99 by theirs."""
    ours = {(cell.model, cell.connections): cell.load for cell in cells if cell.server == OURS}
    lines = [
        "| Model | Connections | Server | requests/s | p50, ms | p99, ms | p99.9, ms | rate: ours/its | p99 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in sorted(cells, key=lambda cell: (cell.model, cell.connections)):
        own, it = ours.get((cell.model, cell.connections)), cell.load
        ratios = "| |" if own is None or own is it else f"| {own.rate / it.rate:.2f} | {own.p99_ms / it.p99_ms:.2f} |"
        lines.append(
            f"| {cell.model} | {cell.connections} | {cell.server} | {it.rate:.0f} | {it.p50_ms:.2f} "
            f"| {it.p99_ms:.2f} | {it.p999_ms:.2f} {ratios}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
