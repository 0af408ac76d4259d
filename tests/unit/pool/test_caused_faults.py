# SPDX-License-Identifier: Apache-2.0
"""Memory and disks that are not there, and texts that cannot be written: caused for real."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.errors import ModelLoadError, PredictError, SparkModelError
from tests import models
from tests.unit.pool.toys import RunningPool, Serve, score

ROOT = pathlib.Path(__file__).parents[3]
PIB = 1 << 50


def greedy(frame: pd.DataFrame) -> Any:
    """Wants memory for each row: what 16 rows take can be had, what 17 take cannot."""
    np.empty((len(frame) + 15) // 16 * 8 - 7 if len(frame) <= 16 else len(frame) * PIB, np.uint8)
    return frame.iloc[:, 0] * 2.0


@pytest.mark.fault("F8")
def test_a_batch_whose_memory_is_not_there_is_halved_until_it_is(serve: Serve) -> None:
    worker, client = serve(greedy, result_type=pa.float64(), on_error="null")
    values = [float(i) for i in range(1000)]
    assert score(client, values) == [value * 2 for value in values]
    assert worker.stats().calls <= 3 * 1000 / 8


@pytest.mark.fault("F8")
def test_a_row_whose_memory_is_never_there_is_an_error_once_and_the_worker_goes_on(serve: Serve) -> None:
    def never(frame: pd.DataFrame) -> Any:
        if (frame.iloc[:, 0] < 0).any():
            np.empty(PIB, np.uint8)
        return frame.iloc[:, 0] * 2.0

    worker, client = serve(never, result_type=pa.float64())
    with pytest.raises(PredictError, match="MemoryError"):
        score(client, [1.0, -1.0, 3.0])
    assert worker.stats().calls == 1
    assert score(client, [1.0, 3.0]) == [2.0, 6.0]
    _, client = serve(never, result_type=pa.float64(), on_error="null")
    assert score(client, [1.0, -1.0, 3.0]) == [2.0, None, 6.0]


class Heavy:
    """A model whose weights have no room in any memory."""

    def predict(self, data: Any) -> Any:
        return data

    def __reduce__(self) -> Any:
        return np.empty, (PIB, np.uint8)


@pytest.mark.fault("F7")
def test_a_model_that_has_no_room_in_memory_is_a_failed_load_and_the_one_of_before_serves(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2))
    client = pool.client()
    with pytest.raises(ModelLoadError, match=r"MemoryError|Unable to allocate"):
        pool.update(Heavy())
    assert score(client, [1.0, 2.0]) == [2.0, 4.0]
    assert (pool.directory.version, pool.directory.state) == (1, "ready")
    assert len(pool.house.shipped) <= 1, "what could not be loaded is kept"
    with pytest.raises(ModelLoadError):
        pool.update(Heavy())
    assert [member.version for member in pool.house.alive] == [1]


def run(code: str, cwd: pathlib.Path) -> str:
    """What a program of its own prints: it may break what this process needs."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# the system refuses to write more: what it does on a full disk, but for the number of the error
FULL = """
    import pathlib, resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    source, target = pathlib.Path("source"), pathlib.Path("target")
    source.mkdir(); target.mkdir()
    (source / "weights").write_bytes(b"x" * (1 << 20))
    (source / "a_small_one").write_bytes(b"x")

    def left():
        return sorted(str(path.relative_to(target)) for path in target.rglob("*"))

    def fill_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))

    def make_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def refused(call):
        fill_disk()
        try:
            call()
        except Exception as error:
            print(type(error).__name__, "File too large" in str(error), left())
        finally:
            make_room()
"""


@pytest.mark.fault("F17")
def test_files_of_a_model_that_have_no_room_are_a_failed_load_and_leave_nothing(tmp_path: pathlib.Path) -> None:
    code = (
        FULL
        + """
    from sparkmodel.cluster.node_files import NodeFiles
    from sparkmodel.loaders import bundle

    pieces = list(bundle.pack(source))
    refused(lambda: bundle.unpack(pieces, target, "Cannot load model 'toy'"))
    fill = lambda path: bundle.unpack(pieces, path, "Cannot load model 'toy'")
    refused(lambda: NodeFiles(target, "key", fill))
    files = NodeFiles(target, "key", fill)
    print((files.path / "weights").stat().st_size)
    files.release()
    print(left())
    """
    )
    assert run(code, tmp_path).splitlines() == ["ModelLoadError True []", "ModelLoadError True []", str(1 << 20), "[]"]


@pytest.mark.fault("F17")
def test_what_is_shipped_and_has_no_room_on_the_supervisors_disk_leaves_nothing(tmp_path: pathlib.Path) -> None:
    code = (
        FULL
        + """
    import ray
    from sparkmodel.cluster.payloads import Kept
    from sparkmodel.loaders import bundle

    ray.get = lambda boxed: boxed
    kept = Kept(target / "kept", "Cannot load model 'toy'")
    pickle, files = b"x" * (1 << 20), list(bundle.pack(source))
    refused(lambda: kept.keep("key", [pickle]))
    refused(lambda: kept.keep("key", [None, files]))
    kept.keep("key", [pickle, files])
    print(len((kept.path("key") / "pickle").read_bytes()))
    kept.close()
    print(left())
    """
    )
    pickle, files, size, rest = run(code, tmp_path).splitlines()
    assert (pickle, files) == ("ModelLoadError True ['kept']", "ModelLoadError True ['kept']")
    assert (size, rest) == (str(1 << 20), "[]")


TEXTS = [
    "",
    " ",
    "\x00",
    "ascii",
    "Straße",
    "日本語",
    "العربية",
    "नमस्ते",
    "e\u0301",
    "👩‍👩‍👧‍👦",
    "\U0010ffff",
    "\u200f",
    "a\r\nb",
]


@pytest.mark.fault("F21")
def test_texts_of_any_script_come_back_and_columns_may_have_such_names(serve: Serve) -> None:
    _, client = serve(lambda frame: frame["größe 日本"] + frame["x"], result_type=pa.string())
    batch = pa.record_batch({"x": pa.array([""] * len(TEXTS)), "größe 日本": pa.array(TEXTS)})
    (answer,) = client.predict([batch], True, 60)
    assert answer.to_pylist() == TEXTS


@pytest.mark.fault("F21")
def test_a_text_that_is_no_unicode_is_an_error_about_its_row(serve: Serve) -> None:
    def broken(frame: pd.DataFrame) -> list[str]:
        return ["\ud800" if value < 0 else f"ok {value:g}" for value in frame["x"]]

    _, client = serve(broken, result_type=pa.string())
    with pytest.raises(SparkModelError, match="row 1") as caught:
        score(client, [1.0, -1.0, 3.0])
    assert caught.value.condition == "WRONG_RESULT_TYPE"
    _, client = serve(broken, result_type=pa.string(), on_error="null")
    assert score(client, [1.0, -1.0, 3.0]) == ["ok 1", None, "ok 3"]
