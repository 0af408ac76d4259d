# SPDX-License-Identifier: Apache-2.0
"""A gateway that is asked for three times what it can do: how much it still answers, and how soon it refuses the rest.

`python -m benchmarks.overload`: the model takes 5 ms a request; `sparkmodel serve` is a process of its own. First
callers that wait for each answer find out what it can do; then three times as many requests a second come, whether the
ones before were answered or not, at times that are random. Each is counted from when it was to be sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import random
import sys
import tempfile
import time
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.p10_rest import serving, until_well
from sparkmodel.rest import pauses

MODEL_S = 0.005
NAME = "bench_overload"
GOAL_SHARE, GOAL_REFUSED_MS = 0.8, 10.0
STEPS = (8, 16, 32)  # callers that wait
TIMES = 3.0
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_BODY = json.dumps({"dataframe_split": {"columns": ["x"], "data": [[1.0]]}}).encode()


def slow(frame: Any) -> Any:
    """A model of 5 ms that needs no processor."""
    time.sleep(MODEL_S)
    return frame.to_numpy()[:, 0] * 2


class Load:
    """Requests to one gateway over connections that are kept.

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
        self._idle: list[Line] = []
        self._opened = 0

    async def closed(self, callers: int) -> dict[str, Any]:
        """So many callers, of which each waits for its answer before it asks again."""

        async def calls() -> None:
            while time.perf_counter() < end:
                await self._call(time.perf_counter())

        started = self._begin()
        end = started + self._seconds
        await asyncio.gather(*(calls() for _ in range(callers)))
        return self._told(started, f"{callers} callers")

    async def offered(self, per_s: float) -> dict[str, Any]:
        """So many requests a second, one after the other at random times."""
        random_, calls = random.Random(1), []
        started = at = self._begin()
        while (at := at + random_.expovariate(per_s)) < started + self._seconds:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            calls.append(asyncio.ensure_future(self._call(at)))
        await asyncio.gather(*calls)
        return self._told(started, f"{TIMES:g} times as much")

    def _begin(self) -> float:
        self._taken = {}
        return time.perf_counter()

    def _told(self, started: float, name: str) -> dict[str, Any]:
        lasted = time.perf_counter() - started
        return {
            "load": name,
            "connections": self._opened,
            "answered_per_s": len(self._taken.get(200, ())) / lasted,
            "offered_per_s": sum(map(len, self._taken.values())) / lasted,
            "answered_ms": percentiles(self._taken.get(200, [])),
            "refused_ms": percentiles(self._taken.get(429, [])),
            "others": {status: len(taken) for status, taken in self._taken.items() if status not in (200, 429)},
        }

    async def _call(self, since: float) -> None:
        if not self._idle:
            self._opened += 1
            self._idle.append(await asyncio.open_connection(self._host, self._port))
        reader, writer = line = self._idle.pop()
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        status, length = int(head[9:12]), int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        self._taken.setdefault(status, []).append((time.perf_counter() - since) * 1e3)
        self._idle.append(line)


def percentiles(taken: list[float]) -> list[float]:
    """Median and 99th percentile; nothing of nothing."""
    taken = sorted(taken)
    return [round(taken[int(len(taken) * share)], 2) for share in (0.5, 0.99)] if taken else []


def report(peak: dict[str, Any], over: dict[str, Any]) -> bool:
    """Print a Markdown table; whether the goals are met."""
    print(
        "| load | connections | offered/s | answered/s | p50, p99 ms | refused p50, p99 ms |\n|---|---|---|---|---|---|"
    )
    for row in (peak, over):
        answered, refused = (", ".join(map(str, row[key])) or "-" for key in ("answered_ms", "refused_ms"))
        rates = f"{row['offered_per_s']:.0f} | {row['answered_per_s']:.0f}"
        print(f"| {row['load']} | {row['connections']} | {rates} | {answered} | {refused} |")
    share = over["answered_per_s"] / peak["answered_per_s"]
    p99 = over["refused_ms"][1] if over["refused_ms"] else None
    print(f"goodput: {share:.0%} of peak (goal {GOAL_SHARE:.0%}); refusals p99: {p99} ms (goal {GOAL_REFUSED_MS:g})")
    if others := {**peak["others"], **over["others"]}:
        print(f"other statuses: {others}")
    return share >= GOAL_SHARE and p99 is not None and p99 <= GOAL_REFUSED_MS and not others


async def drive(url: str, seconds: float) -> bool:
    """Find the peak, go beyond it, and print; whether the goals are met."""
    pauses.shorten()  # of this process
    load = Load(url, seconds)
    await load.closed(STEPS[0])  # warms it up
    peak = max([await load.closed(step) for step in STEPS], key=lambda row: float(row["answered_per_s"]))
    return report(peak, await load.offered(TIMES * float(peak["answered_per_s"])))


def main() -> int:
    """Serve, and call from here; 0 if the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    given = parser.parse_args()
    arguments = ["--no-console", "--model", f"{NAME}=python:benchmarks.overload:slow", "--result-type", "double"]
    with tempfile.TemporaryDirectory() as home, serving([*arguments, "-o", "workers=2"], pathlib.Path(home)) as url:
        until_well(f"{url}/models/{NAME}/invocations", _BODY)
        return 0 if uvloop.run(drive(url, given.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
