# SPDX-License-Identifier: Apache-2.0
"""`python -m sparkmodel` is the command `sparkmodel`."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys

INTERRUPTED = 130


def main() -> int:
    """The command of this process, from its imports on: Ctrl-C at any time gives an exit code, and no traceback."""
    codes: list[int] = []
    atexit.register(_leave, codes)  # the first one, which is called last
    try:
        from sparkmodel.cli import main as run

        codes.append(run())
    except KeyboardInterrupt:
        codes.append(INTERRUPTED)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # the Ray that it started ends now; that ends by itself too if somebody does not want to wait for it
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    return codes[0]


def _leave(codes: list[int]) -> None:
    """Python is taken apart next, where Ctrl-C is a death by SIGINT; and so is an end after one, if it has seen it."""
    if codes == [INTERRUPTED]:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        os._exit(INTERRUPTED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
