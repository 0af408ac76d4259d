# SPDX-License-Identifier: Apache-2.0
"""A worker in a process of its own, which can be killed or stopped: `id * 1024 + which` is its answer to a row."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pyarrow as pa

ROOT = pathlib.Path(__file__).parents[3]
STEP = 1024


class Apart:
    """One such process.

    Args:
        which: Its number, which every answer of it tells.
    """

    def __init__(self, which: int) -> None:
        self.which = which
        command = [sys.executable, "-m", "tests.unit.wire.apart", str(which)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.endpoint = ("127.0.0.1", int(self.process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def main(which: int) -> None:
    """Serve until nobody holds the other end of the input any more."""
    from sparkmodel.wire.server import Server
    from tests.unit.wire.toys import ToyWorker

    toy = ToyWorker()
    toy.predict = lambda batch: pa.array([value * STEP + which for value in batch.column(0).to_pylist()], pa.float64())
    print(Server(toy, "127.0.0.1").endpoint[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
