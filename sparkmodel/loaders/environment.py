# SPDX-License-Identifier: Apache-2.0
"""The libraries that a model was logged with, against those that are here."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import re
import sys

import yaml
from packaging.requirements import InvalidRequirement, Requirement

from sparkmodel.errors import InvalidOptionError, ModelEnvironmentError
from sparkmodel.loaders.resolve import Resolved

_log = logging.getLogger(__name__)
_CONDA = re.compile(r"\s*([\w.-]+)\s*(?:={1,2}\s*([\d.]+))?")  # a package, and the version that it is pinned to


def requirements_of(name: str, resolved: Resolved, env_manager: str) -> tuple[str, ...]:
    """The model's requirements, as in a requirements.txt; with `env_manager="local"` a warning of those not met.

    Args:
        name: The model's name, for messages.
        resolved: Its source.
        env_manager: `local`, `virtualenv` or `uv`.

    Raises:
        InvalidOptionError: another env_manager than `local` for a source that names no requirements, or none that pip
            could install.
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
    if env_manager == "local":
        _compare(name, resolved)
        return ()
    return _to_install(name, resolved, env_manager)


def _compare(name: str, resolved: Resolved) -> None:
    """Warn of requirements that are not met here; a model that has none to compare with is served all the same."""
    try:
        lines = _read(resolved)
    except Exception as error:  # each store has its own
        _log.info("Model '%s' does not say what it requires: %s", name, error)
        return
    unmet = [text for text in map(_unmet, lines) if text]
    if unmet:
        _log.warning(
            "Model '%s' was logged with other versions of its libraries than its workers have: %s. Its predictions "
            "may differ; env_manager='virtualenv' or 'uv' gives it its own.",
            name,
            ", ".join(unmet),
        )


def _to_install(name: str, resolved: Resolved, env_manager: str) -> tuple[str, ...]:
    conda, lines = _Conda(), []
    try:
        conda = _conda(resolved)
        lines = _read(resolved)
    except Exception as error:  # each store has its own
        if conda.has_pip or not conda.is_there:
            raise ModelEnvironmentError(
                f"Cannot read the requirements of model '{name}'", f"{type(error).__name__}: {error}"
            ) from error
    if not lines and conda.is_there:
        raise InvalidOptionError(
            "Cannot use option 'env_manager'",
            f"'{env_manager}' installs with pip, and the conda.yaml of model '{name}' names nothing for pip",
            "use env_manager='local' on workers that have its packages, or log it with pip_requirements",
        )
    _tell(name, env_manager, conda)
    return tuple(lines)


@dataclasses.dataclass
class _Conda:
    """Of a conda.yaml: whether there is one, Python's version, other packages of conda's, whether there are pip's."""

    is_there: bool = False
    python: str = ""
    packages: list[str] = dataclasses.field(default_factory=list)
    has_pip: bool = False


def _tell(name: str, env_manager: str, conda: _Conda) -> None:
    """Warn of what cannot be honoured."""
    here = [str(number) for number in sys.version_info[:2]]
    pinned = conda.python.split(".")[:2] if conda.python else []
    if pinned != here[: len(pinned)]:
        _log.warning("Model '%s' was logged with Python %s, its workers have %s.", name, conda.python, ".".join(here))
    if conda.packages:
        _log.warning(
            "The conda.yaml of model '%s' names packages of conda, which env_manager='%s' does not install: %s.",
            name,
            env_manager,
            ", ".join(conda.packages),
        )


def _conda(resolved: Resolved) -> _Conda:
    from sparkmodel.loaders.mlflow_model import conda_text

    content = yaml.safe_load(conda_text(*_place(resolved))) or {}
    found = _Conda(is_there=bool(content))
    for one in content.get("dependencies") or []:
        if isinstance(one, dict):
            found.has_pip = found.has_pip or bool(one.get("pip"))
            continue
        match = _CONDA.match(str(one).rpartition("::")[2])
        package, version = (match[1].lower(), match[2] or "") if match else (str(one), "")
        if package == "python":
            found.python = version
        elif package != "pip":
            found.packages.append(str(one))
    return found


def _place(resolved: Resolved) -> tuple[str, str]:
    source, directory = resolved.source, resolved.directory
    return (source.uri, source.artifacts) if directory is None else (str(directory), "")


def _read(resolved: Resolved) -> list[str]:
    from sparkmodel.loaders.mlflow_model import requirements_text

    lines = (line.split(" #")[0].strip() for line in requirements_text(*_place(resolved)).splitlines())
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
