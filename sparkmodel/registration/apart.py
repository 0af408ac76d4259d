# SPDX-License-Identifier: Apache-2.0
"""Planning in a process of its own: MLflow, and what it imports, stays out of a process that answers requests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import cloudpickle

from sparkmodel.errors import ControlTimeoutError, ModelLoadError, SparkModelError
from sparkmodel.registration.plan import Make, Planned, plan
from sparkmodel.registration.settle import Asked

_LIMIT_S = 300.0  # a registry may be slow, and its store
_TOLD = 2000  # characters of what the process wrote last


@contextlib.contextmanager
def plan_apart(name: str, asked: Asked, make: Make) -> Iterator[Planned]:
    """As `sparkmodel.registration.plan.plan`, for sources whose files need not be kept until they are shipped.

    Raises:
        SparkModelError: the source cannot be settled, or not be served so.
        ControlTimeoutError: its registry did not answer in five minutes.
    """
    what = f"Cannot register model '{name}' from '{asked.source}'"
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sparkmodel.registration.apart"],
            input=cloudpickle.dumps((name, asked, make)),
            capture_output=True,
            env={**os.environ, "PYTHONPATH": paths},
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ControlTimeoutError(
            what, f"its registry did not answer within {_LIMIT_S:.0f} s", "look whether it is reachable"
        ) from error
    if done.returncode:
        trace = done.stderr.decode("utf-8", "replace")[-_TOLD:]
        raise ModelLoadError(what, f"the process that settles it ended with {done.returncode}", details=trace)
    answer = cloudpickle.loads(done.stdout)
    if isinstance(answer, dict):
        raise SparkModelError.from_dict(answer)
    yield answer


def main() -> None:
    """Settle what stdin asks for; the answer is the `Planned`, or the error in parts."""
    answer_to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    name, asked, make = cloudpickle.load(sys.stdin.buffer)
    try:
        with plan(name, asked, make) as planned:
            answer: Planned | dict[str, str] = planned
    except SparkModelError as error:
        answer = error.to_dict()
    with answer_to:
        cloudpickle.dump(answer, answer_to)


if __name__ == "__main__":
    main()
