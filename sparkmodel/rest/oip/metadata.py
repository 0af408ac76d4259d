# SPDX-License-Identifier: Apache-2.0
"""What the Open Inference Protocol tells of the server and its models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sparkmodel.rest.asked import Served
from sparkmodel.rest.oip.datatypes import inputs_of, outputs_of
from sparkmodel.version import __version__

_EXTENSIONS = ("binary_tensor_data", "model_repository")


def server_metadata() -> dict[str, Any]:
    """Of the server."""
    return {"name": "sparkmodel", "version": __version__, "extensions": list(_EXTENSIONS)}


def metadata_of(served: Served) -> dict[str, Any]:
    """Of a model. One without a signature takes any inputs: it lists none."""
    return {
        "name": served.name,
        "versions": [str(version) for version in served.versions],
        "platform": f"sparkmodel_{served.spec.source.kind}",
        "inputs": [tensor.to_dict() for tensor in inputs_of(served.spec) or ()],
        "outputs": [tensor.to_dict() for tensor in outputs_of(served.handle.contract.result_type)],
    }


def is_ready(served: Served, version: int | None) -> bool:
    """Whether a worker serves the model, or one version of it."""
    return any(one.endpoints and version in (None, one.version) for one in served.handle.pool.directory.served)


def index_of(served: Iterable[Served], names: Sequence[str], *, only_ready: bool) -> list[dict[str, Any]]:
    """The repository's index: each version of each model, and models that have none yet."""
    found, listed = [], set()
    for model in served:
        listed.add(model.name)
        for version in model.versions:
            state = "READY" if is_ready(model, version) else "UNAVAILABLE"
            reason = "" if state == "READY" else "none of its workers serves now"
            found.append({"name": model.name, "version": str(version), "state": state, "reason": reason})
    found += [
        {"name": name, "state": "LOADING", "reason": "it is not ready, or goes"} for name in names if name not in listed
    ]
    return [one for one in found if one["state"] == "READY"] if only_ready else found
