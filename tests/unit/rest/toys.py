# SPDX-License-Identifier: Apache-2.0
"""Models that the gateway finds without Ray: each a real worker of this process, or several."""

from __future__ import annotations

import dataclasses
from typing import Any

from sparkmodel.errors import ModelNotFoundError
from sparkmodel.pool.counters import Counters
from sparkmodel.pool.worker import Worker
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire.client import forget
from sparkmodel.wire.directory import Directory, Revision, Served
from sparkmodel.wire.handle import CallOptions, Contract, Handle, PoolRef
from sparkmodel.wire.limits import Limits
from tests.unit.pool.toys import HOST, TOKEN, spec_of
from tests.unit.wire.toys import credential_of


@dataclasses.dataclass
class Member:
    """A worker of this process as its pool counts it."""

    worker: Worker
    version: int = 1

    def stats(self) -> dict[str, Any]:
        return dataclasses.asdict(self.worker.stats())


class ToyPool:
    """Some of what the gateway asks of `sparkmodel.keeper.pools.Pool`."""

    def __init__(self, name: str, source: Any, workers: int = 1, **rest: Any) -> None:
        spec, self._payload = spec_of(source, **rest)
        self.name, self.pool_id = name, f"toy-{name}-{id(self)}"
        self._spec: ModelSpec = dataclasses.replace(spec, name=name)
        self.counters, self._members = Counters(), dict[Worker, Member]()
        self.workers = [self._start(1) for _ in range(workers)]
        self._publish()

    def _start(self, version: int) -> tuple[Worker, tuple[str, int]]:
        worker = Worker(self._spec, version=version, token=TOKEN, host=HOST)
        return worker, worker.start(self._payload.data)

    def _publish(self) -> None:
        served = Served(1, tuple(endpoint for _, endpoint in self.workers), accepts=(self._spec.digest,))
        self.directory = Directory(Revision(1, 1), "ready", 1, (served,))
        for worker, _ in self.workers:
            worker.publish(self.directory)

    def spec(self) -> tuple[ModelSpec, int]:
        return self._spec, 1

    def handle(self, valid_s: float | None = None) -> Handle:
        spec = self._spec
        return Handle(
            pool=PoolRef(name=self.name, pool_id=self.pool_id, master=self.workers[0][1], directory=self.directory),
            credential=credential_of(TOKEN, self.pool_id),
            contract=Contract(
                result_type=answer_type(spec.result_type, spec.options.on_error),
                inputs=spec.signature.inputs,
                like_mlflow=spec.like_mlflow,
                digest=spec.digest,
            ),
            call=CallOptions(limits=Limits.of(spec.options)),
        )

    def stats(self) -> dict[str, Any]:
        for worker, _ in self.workers:
            self._members.setdefault(worker, Member(worker))
        members: Any = [self._members[worker] for worker, _ in self.workers]
        workers, sums = self.counters.shown(members)
        figures = self.counters.figures()
        figures.setdefault(1, {})["weight"] = 1.0
        return {"name": self.name, "version": 1, **sums, "workers": workers, "figures": figures}

    def end(self) -> None:
        """All workers end, and another one takes their place."""
        old = self.workers
        self.counters.end([self._members[worker] for worker, _ in old])  # type: ignore[misc]
        self.workers = [self._start(1)]
        for worker, _ in old:
            worker.close()

    def close(self) -> None:
        forget(self.pool_id)
        for worker, _ in self.workers:
            worker.close()


class ToyPools:
    """Stands where the gateway has `sparkmodel.keeper.pools`."""

    def __init__(self) -> None:
        self.by_name: dict[str, ToyPool] = {}

    def add(self, name: str, source: Any, **rest: Any) -> ToyPool:
        self.by_name[name] = ToyPool(name, source, **rest)
        return self.by_name[name]

    def find(self, name: str) -> ToyPool:
        if name not in self.by_name:
            raise ModelNotFoundError(f"Cannot find model '{name}'", "no such pool on this Ray cluster")
        return self.by_name[name]

    def names(self) -> list[str]:
        return sorted(self.by_name)

    def close(self) -> None:
        for pool in self.by_name.values():
            pool.close()
