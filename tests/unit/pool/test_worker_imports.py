# SPDX-License-Identifier: Apache-2.0
"""What a worker's process imports for a model that is a plain function: nothing that the function does not use."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

BANNED = {"mlflow", "sklearn", "ray", "pyspark", "scipy", "joblib"}

SERVE = """
import json, pathlib, sys

import pyarrow as pa
from sparkmodel.options import PoolOptions
from sparkmodel.pool.worker import Worker
from sparkmodel.schema import Column, Signature
from sparkmodel.spec import ModelSpec, Source

kind, uri, payload = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
spec = ModelSpec(
    name="plain",
    source=Source(kind=kind, given="given", uri=uri),
    signature=Signature(inputs=(Column(name="x", type=pa.float64()),)),
    result_type=pa.float64(),
    options=PoolOptions(),
)
worker = Worker(spec, version=1, token="t" * 64, host="127.0.0.1")
worker.start(payload.read_bytes() or None)
stream, _ = worker.open(pa.schema([("x", pa.float64())]), {"binding": "name"})
answer = stream.predict(pa.record_batch({"x": [1.0, 2.0]}))
worker.close()
print(json.dumps([answer.column(0).to_pylist(), sorted({name.split(".")[0] for name in sys.modules})]))
"""

CODE = b"def predict(frame):\n    return frame.iloc[:, 0] * 2\n"


@pytest.mark.parametrize("kind", ["object", "pickle", "python", "code"])
def test_a_plain_function_costs_no_library_that_it_does_not_use(kind: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "plain.py").write_bytes(CODE)
    payload = tmp_path / "payload"
    pickle = "import sys; sys.path.insert(0, sys.argv[1]); import plain, cloudpickle; "
    pickle += "from sparkmodel.loaders.pickling import dumps; cloudpickle.register_pickle_by_value(plain); "
    pickle += "open(sys.argv[2], 'wb').write(dumps(plain.predict))"
    if kind in ("object", "pickle"):
        subprocess.run([sys.executable, "-c", pickle, str(tmp_path), str(payload)], timeout=60, check=True)
    else:
        payload.write_bytes(CODE if kind == "code" else b"")
    uri = {"python": "plain:predict", "code": "0123456789abcdef"}.get(kind, "")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{SERVE}", kind, uri, str(payload)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer, imported = json.loads(done.stdout.splitlines()[-1])
    assert answer == [2.0, 4.0]
    assert BANNED.isdisjoint(imported)
