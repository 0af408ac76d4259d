# SPDX-License-Identifier: Apache-2.0
"""Programs one after the other in one process, whose JVM takes longer to start than most of them.

Each has Spark sessions of its own, which it stops. What the first one's builder says is a default of the others: Spark
starts the JVM with it.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
import textwrap
from collections.abc import Mapping

from tests.integration.scripts import Script

CONNECT_LOCK = pathlib.Path(tempfile.gettempdir()) / f"sparkmodel-tests-{os.getuid()}.lock"  # of `connect_port`
ENDED = "--- ended: "
RUN = """
    import fcntl, runpy, traceback

    with open({lock!r}, "w") as lock:
        for name in {names!r}:
            if name.startswith("connect"):  # all Connect servers want the same port
                fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                runpy.run_path("program_" + name + ".py", run_name="__main__")
            except SystemExit as end:
                print("" if end.code is None else f"exit {{end.code}}")
            except BaseException:
                print(traceback.format_exc())
            print({ended!r} + name, flush=True)
"""


def run_all(
    programs: Mapping[str, str], cwd: pathlib.Path, env: Mapping[str, str | None] | None = None
) -> dict[str, str]:
    """What each program prints by its name, at the end its traceback if it fails; the others go on."""
    for name, code in programs.items():
        (cwd / f"program_{name}.py").write_text(textwrap.dedent(code))
    code = RUN.format(lock=str(CONNECT_LOCK), names=tuple(programs), ended=ENDED)
    *said, _ = Script(code, cwd, {"SPARK_CONNECT_MODE_ENABLED": None, **(env or {})}).finish().split(ENDED)
    # each part but the first begins with the name of the one before
    parts = [said[0], *(part.partition("\n")[2] for part in said[1:])]
    assert len(parts) == len(programs), parts
    return dict(zip(programs, parts, strict=True))
