# SPDX-License-Identifier: Apache-2.0
"""What an MLflow registry has, for who wants to call it by name."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import mlflow

from sparkmodel.errors import ModelNotFoundError
from sparkmodel.loaders.stores import store_uris
from sparkmodel.loaders.uris import absolute_uri

_MODELS, _VERSIONS = 100, 1000  # of a page
_SHOWN = 20  # names in a hint
_MEANT = "did you mean "


@dataclasses.dataclass
class Entry:
    """A registered model.

    Attributes:
        name, description: As in the registry.
        versions: Numbers, ascending.
        aliases: Alias to version.
    """

    name: str
    description: str = ""
    versions: list[int] = dataclasses.field(default_factory=list)
    aliases: dict[str, int] = dataclasses.field(default_factory=dict)


class Registry:
    """One registry, read without a change of the stores that MLflow uses in this process.

    Args:
        tracking_uri, registry_uri: Of its stores; None is the process's own.
    """

    def __init__(self, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        self.uris = store_uris(tracking_uri, registry_uri)
        self._client = mlflow.MlflowClient(*self.uris)

    @property
    def key(self) -> str:
        """The same in all processes that mean this registry."""
        return " ".join(map(absolute_uri, self.uris))

    def entries(self) -> list[Entry]:
        """All registered models, by name."""
        with self._explained("Cannot list the models of the registry"):
            found = {model.name: _entry(model) for model in _pages(self._client.search_registered_models, _MODELS)}
            for version in _pages(self._client.search_model_versions, _VERSIONS):
                if version.name in found:
                    found[version.name].versions.append(int(version.version))
        for entry in found.values():
            entry.versions.sort()
        return [found[name] for name in sorted(found)]

    def uri_of(self, model: str, version: int | None, alias: str | None) -> str:
        """The URI of a version, of what an alias points to, or of the latest version.

        Raises:
            ModelNotFoundError: there is no such model, version or alias; with the nearest.
        """
        asked = f"version {version}" if version is not None else f"alias '{alias}'" if alias is not None else ""
        what = f"Cannot find {asked} of model '{model}'" if asked else f"Cannot find model '{model}'"
        with self._explained(what):
            known = {entry.name: entry for entry in self.entries()}
            entry = known.get(model)
            if entry is None:
                raise ModelNotFoundError(
                    f"Cannot find model '{model}'", self._nothing("such model"), _near(model, known)
                )
            if version is not None and version not in entry.versions:
                raise ModelNotFoundError(what, self._nothing("such version"), _near(str(version), entry.versions))
            if alias is not None and alias not in entry.aliases:
                raise ModelNotFoundError(what, self._nothing("such alias"), _near(alias, entry.aliases))
            if not entry.versions:
                raise ModelNotFoundError(what, self._nothing("version of it"), "log a model under this name")
        if alias is not None:
            return f"models:/{model}@{alias}"
        return f"models:/{model}/{'latest' if version is None else version}"

    def _nothing(self, what: str) -> str:
        return f"the registry {absolute_uri(self.uris[1])} has no {what}"

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except mlflow.exceptions.MlflowException as error:
            raise ModelNotFoundError(
                what, f"{error} (registry URI {self.uris[1]})", "check the URIs of the tracking server and registry"
            ) from error


def hint_for(uri: str) -> str | None:
    """What may have been meant by a `models:/` URI that leads nowhere in the process's own registry."""
    match = re.fullmatch(r"models:/+(?P<model>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>.+)|/latest)", uri)
    if match is None:
        return None
    version = None if match["version"] is None else int(match["version"])
    try:
        Registry().uri_of(unquote(match["model"]), version, match["alias"])
    except ModelNotFoundError as error:
        return error.hint if error.hint.startswith(_MEANT) else f"{error.hint}, or check mlflow.set_tracking_uri"
    return None


def _near(name: str, known: Any) -> str:
    """The nearest name only: a registry may have thousands."""
    names = [str(one) for one in known]
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"{_MEANT}'{near[0]}'?"
    return f"known are {names[-_SHOWN:]}" if names else "there are none yet"


def _entry(model: Any) -> Entry:
    aliases = {alias: int(version) for alias, version in (model.aliases or {}).items()}
    return Entry(model.name, model.description or "", aliases=aliases)


def _pages(search: Callable[..., Any], size: int) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=size, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def model_of(uri: str) -> str | None:
    """The registered model of a `models:/` URI, None for another one."""
    match = re.fullmatch(r"models:/+([^/@]+)(?:[/@].*)?", uri)
    return unquote(match[1]) if match else None
