# SPDX-License-Identifier: Apache-2.0
"""The libraries that a model was logged with, against those that are here."""

from __future__ import annotations

import importlib.metadata
import logging

from packaging.requirements import InvalidRequirement, Requirement

from sparkmodel.errors import InvalidOptionError, ModelEnvironmentError
from sparkmodel.loaders.resolve import Resolved

_log = logging.getLogger(__name__)


def requirements_of(name: str, resolved: Resolved, env_manager: str) -> tuple[str, ...]:
    """The model's requirements, as in a requirements.txt; with `env_manager="local"` a warning of those not met.

    Args:
        name: The model's name, for messages.
        resolved: Its source.
        env_manager: `local`, `virtualenv` or `uv`.

    Raises:
        InvalidOptionError: another env_manager than `local` for a source that names no requirements.
        ModelEnvironmentError: they cannot be fetched.
    """
    if resolved.source.kind != "mlflow":
        if env_manager != "local":
            raise InvalidOptionError(
                "Cannot use option 'env_manager'",
                f"'{resolved.source.given}' is no MLflow model and does not say what it requires",
                "log it with MLflow, or pass runtime_env={'pip': [...]}",
            )
        return ()
    lines = _read(name, resolved)
    if env_manager == "local":
        unmet = [text for text in map(_unmet, lines) if text]
        if unmet:
            _log.warning(
                "Model '%s' was logged with other versions of its libraries than its workers have: %s. Its predictions "
                "may differ; env_manager='virtualenv' or 'uv' gives it its own.",
                name,
                ", ".join(unmet),
            )
        return ()
    return tuple(lines)


def _read(name: str, resolved: Resolved) -> list[str]:
    from sparkmodel.loaders.mlflow_model import requirements_text

    source, directory = resolved.source, resolved.directory
    try:
        text = (
            requirements_text(source.uri, source.artifacts) if directory is None else requirements_text(str(directory))
        )
    except Exception as error:  # each store has its own
        raise ModelEnvironmentError(
            f"Cannot read the requirements of model '{name}'", f"{type(error).__name__}: {error}"
        ) from error
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _unmet(line: str) -> str:
    """What is here instead of the requirement; empty if it is met, or is no plain requirement."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement:  # an option of pip's, a URL
        return ""
    if requirement.marker is not None and not requirement.marker.evaluate():
        return ""
    try:
        here = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement} (not installed)"
    return "" if requirement.specifier.contains(here, prereleases=True) else f"{requirement} ({here} is installed)"
