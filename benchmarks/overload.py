# SPDX-License-Identifier: Apache-2.0
"""A gateway that is asked for three times what it can do: how much it still answers, and how soon it refuses the rest.

`python -m benchmarks.overload`: the model takes 5 ms a request; gateway, keeper and pool are real; the callers are
sockets of another process, which keep their connections and send the next request as soon as they have an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

MODEL_S = 0.005
NAME = "bench_overload"
GOAL_SHARE, GOAL_REFUSED_MS = 0.8, 10.0
STEPS = (8, 16, 32)  # connections; two workers take 34 requests
_WAIT_S = 0.05  # of a caller that was refused: `Retry-After` would be a second, and the load less than is wanted
_BODY = json.dumps({"dataframe_split": {"columns": ["x"], "data": [[1.0]]}}).encode()


def slow(frame: Any) -> Any:
    """A model of 5 ms that needs no processor."""
    time.sleep(MODEL_S)
    return frame.to_numpy()[:, 0] * 2


class Load:
    """Closed loops of requests, as many as there are connections.

    Args:
        url: Of the gateway.
        seconds: How long.
    """

    def __init__(self, url: str, seconds: float) -> None:
        at = urlsplit(url)
        self._host, self._port, self._seconds = at.hostname or "", at.port or 80, seconds
        head = f"POST /models/{NAME}/invocations HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        self._request = f"{head}content-length: {len(_BODY)}\r\n\r\n".encode() + _BODY
        self._taken: dict[int, list[float]] = {}

    async def run(self, connections: int) -> dict[str, Any]:
        """Requests a second that were answered well, and milliseconds by status."""
        self._taken, self._end = {}, time.perf_counter() + self._seconds
        started = time.perf_counter()
        await asyncio.gather(*(self._calls(start=i / connections * 0.2) for i in range(connections)))
        lasted = time.perf_counter() - started
        return {
            "connections": connections,
            "answered_per_s": len(self._taken.get(200, ())) / lasted,
            "offered_per_s": sum(map(len, self._taken.values())) / lasted,
            "answered_ms": percentiles(self._taken.get(200, [])),
            "refused_ms": percentiles(self._taken.get(429, [])),
            "others": {status: len(taken) for status, taken in self._taken.items() if status not in (200, 429)},
        }

    async def _calls(self, start: float) -> None:
        await asyncio.sleep(start)
        reader, writer = await asyncio.open_connection(self._host, self._port)
        while time.perf_counter() < self._end:
            began = time.perf_counter()
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            status, length = int(head[9:12]), int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            self._taken.setdefault(status, []).append((time.perf_counter() - began) * 1e3)
            if status == 429:
                await asyncio.sleep(_WAIT_S)
        writer.close()


def percentiles(taken: list[float]) -> list[float]:
    """Median and 99th percentile; nothing of nothing."""
    taken = sorted(taken)
    return [round(taken[int(len(taken) * share)], 2) for share in (0.5, 0.99)] if taken else []


def report(peak: dict[str, Any], over: dict[str, Any]) -> bool:
    """Print the table; whether the goals are met."""
    print(
        f"{'':12}{'connections':>12}{'offered/s':>11}{'answered/s':>12}{'p50, p99 ms':>18}{'refused p50, p99 ms':>22}"
    )
    for name, row in (("peak", peak), ("three times", over)):
        answered, refused = (", ".join(map(str, row[key])) or "-" for key in ("answered_ms", "refused_ms"))
        print(
            f"{name:12}{row['connections']:12}{row['offered_per_s']:11.0f}{row['answered_per_s']:12.0f}"
            f"{answered:>18}{refused:>22}"
        )
    share = over["answered_per_s"] / peak["answered_per_s"]
    p99 = over["refused_ms"][1] if over["refused_ms"] else None
    print(f"goodput at three times the load: {share:.0%} of peak (goal {GOAL_SHARE:.0%}); refusals p99: {p99} ms")
    if others := {**peak["others"], **over["others"]}:
        print(f"other statuses: {others}")
    return share >= GOAL_SHARE and p99 is not None and p99 <= GOAL_REFUSED_MS and not others


async def drive(url: str, seconds: float) -> bool:
    """Find the peak, go beyond it, and print; whether the goals are met."""
    load = Load(url, seconds)
    await load.run(STEPS[0])  # warms it up
    peak = max([await load.run(step) for step in STEPS], key=lambda row: float(row["answered_per_s"]))
    return report(peak, await load.run(3 * STEPS[-1]))


def main() -> int:
    """Serve, and have a process of its own do the calls; 0 if the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--url", help="of a gateway that is there: only call it")
    given = parser.parse_args()
    if given.url:
        return 0 if asyncio.run(drive(given.url, given.seconds)) else 1
    # here, not above: the calling process wants none of them
    import cloudpickle

    import sparkmodel as sm
    from benchmarks.common import open_bench, registered

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with (
        open_bench() as bench,
        registered(bench, NAME, slow, result_type="double"),
        sm.serve(port=0, block=False, console=False) as server,
    ):
        caller = [sys.executable, "-m", "benchmarks.overload", "--url", server.url, "--seconds", str(given.seconds)]
        return subprocess.run(caller, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
