# SPDX-License-Identifier: Apache-2.0
"""An immutable version of what a pool serves, and which plans it answers right."""

from __future__ import annotations

import dataclasses

from sparkmodel.errors import InputsChangedError
from sparkmodel.schema import Column, changes_for_plans
from sparkmodel.spec import ModelSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generation:
    """One version of what a pool serves. Only its limits, and which plans it takes, ever change.

    Attributes:
        version: Its number, never given twice.
        spec: What is served.
        payload: The launcher's key of what was shipped; empty for nothing.
        feature_names: The columns that the loaded model knows of itself.
        accepts: Digests of the plans that it answers right.
        registration: Counts the whole specs that users wrote: within one, limits and size are the pool's, not the
            version's.
    """

    version: int
    spec: ModelSpec
    payload: str = ""
    feature_names: tuple[str, ...] | None = None
    accepts: tuple[str, ...] = ()
    registration: int = 1

    @property
    def described(self) -> ModelSpec:
        """The spec, with the columns that the loaded model knows of itself where it has no signature."""
        signature = self.spec.signature
        if signature.inputs is not None or self.feature_names is None:
            return self.spec
        inputs = tuple(Column(name=name, type=None) for name in self.feature_names)
        return dataclasses.replace(self.spec, signature=dataclasses.replace(signature, inputs=inputs))

    @property
    def digests(self) -> tuple[str, ...]:
        """Of plans that were made for it."""
        return tuple(dict.fromkeys((self.spec.digest, self.described.digest)))

    def takes(self, digest: str) -> bool:
        """Whether a plan of that digest gets right answers here; an empty one asks for nothing."""
        return not digest or digest in self.accepts


def accepting(new: Generation, before: Generation | None, allow_new_inputs: bool) -> Generation:
    """A version that takes its own plans and, where it answers them right, those of the one before.

    Args:
        new: The version.
        before: What is served.
        allow_new_inputs: Whether plans of before may have to stay with the version before.

    Raises:
        InputsChangedError: plans of before would be answered wrong, and it is not allowed.
    """
    changes = [] if before is None else _changes(before, new)
    if changes and not allow_new_inputs:
        raise InputsChangedError(
            f"Cannot update model '{new.spec.name}'",
            f"queries that were planned for version {before.version if before else 0} would go wrong: "
            + "; ".join(changes),
            "pass allow_new_inputs=True to serve it to new plans only, or register it with replace=True",
        )
    theirs = () if before is None or changes else before.accepts
    return dataclasses.replace(new, accepts=tuple(dict.fromkeys((*new.accepts, *new.digests, *theirs))))


def _changes(before: Generation, new: Generation) -> list[str]:
    old, next_ = before.described, new.described
    return changes_for_plans(old.signature.inputs, next_.signature.inputs, old.result_type, next_.result_type)
