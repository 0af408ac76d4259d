# SPDX-License-Identifier: Apache-2.0
"""A pool that keeps what it is asked for, with nothing behind it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sparkmodel.errors import RevisionChangedError
from sparkmodel.loaders import resolve
from sparkmodel.options import PoolOptions
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.schema import Column, Signature
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory, Revision
from sparkmodel.wire.handle import Contract, Credential, Handle, PoolRef
from tests.models import FactorModel

X = Column(name="x", type=pa.float64())


@dataclasses.dataclass
class Asked:
    """A pool as its clients see it.

    Attributes:
        served: What it serves.
        revision: Of it.
        meanwhile: Called once before each change: what somebody else does.
        changes: The intents that it was sent, with what was shipped.
    """

    served: ModelSpec
    revision: Revision = Revision(1, 3)  # noqa: RUF009 - cannot be changed
    meanwhile: Callable[[], None] = lambda: None
    changes: list[tuple[Intent, Any]] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        return self.served.name

    @property
    def last(self) -> Intent:
        """The newest intent."""
        return self.changes[-1][0]

    def spec(self) -> tuple[ModelSpec, int]:
        return self.served, 1

    def handle(self) -> Handle:
        return Handle(
            pool=PoolRef(name=self.name, pool_id="p", master=("h", 1), directory=Directory(revision=self.revision)),
            credential=Credential(claims="{}", key=""),
            contract=Contract(result_type=self.served.result_type),
        )

    def change(
        self, intent: Intent, payload: Any = None, progress: Any = None, directory: pathlib.Path | None = None
    ) -> Applied:
        self.meanwhile()
        self.changes.append((intent, payload))
        if intent.expect not in (None, self.revision):
            raise RevisionChangedError("Cannot change", f"it is {self.revision}")
        return Applied(2, self.revision)


def pool_of(*inputs: Column, source: Any = None, **options: Any) -> Asked:
    """A pool of a live object, or of another source."""
    resolved = resolve("m", source or FactorModel(2.0), trust_pickle=True)
    return Asked(
        ModelSpec(
            name="m",
            source=resolved.source,
            signature=Signature(inputs=inputs or None),
            result_type=pa.float64(),
            options=PoolOptions.of(options),
        )
    )
