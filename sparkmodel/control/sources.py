# SPDX-License-Identifier: Apache-2.0
"""From `USING kind LOCATION '...'` to the source that is asked for."""

from __future__ import annotations

import pathlib

from sparkmodel.errors import InvalidOptionError, UnsupportedSourceError, suggest
from sparkmodel.registration.settle import Asked
from sparkmodel.spark.tables import read_piece_file
from sparkmodel.spec import Source

_PICKLES = (".pkl", ".pickle", ".cloudpickle", ".joblib")
_FORMS = {
    "mlflow": "an MLflow URI (models:/wine@champion, runs:/..., s3://...) or the directory of an MLflow model",
    "pickle": f"the path of a file that ends in one of {', '.join(_PICKLES)}",
    "python": "an import path: pkg.module:Name",
    "table": "a table: db.name, or db.name@3 for a version",
}


def using_of(source: Source) -> str | None:
    """The kind that a served source was created with; None for what only Python can register."""
    if source.given.startswith("table:"):
        return "table"
    kinds = {"mlflow": "mlflow", "pickle": "pickle", "joblib": "pickle", "python": "python", "code": "python"}
    return kinds.get(source.kind)


def asked_of(
    name: str,
    using: str | None,
    location: str | None,
    *,
    code: str | None = None,
    pieces: str | None = None,
    trust_pickle: bool = False,
) -> Asked:
    """The source that a statement names; nothing is read yet.

    Args:
        name: The model's name, for messages.
        using: `mlflow`, `pickle`, `python` or `table`; None goes by the location, as `sparkmodel.register` does.
        location: Of that kind's form.
        code: Source text instead of a location, for `python`.
        pieces: File with the rows of a table.
        trust_pickle: Whether a loose pickle file may be loaded.

    Raises:
        UnsupportedSourceError: the location is not of its kind's form.
    """
    what = f"Cannot create model '{name}'"
    if using is not None and using not in _FORMS:
        raise UnsupportedSourceError(f"{what} using '{using}'", "no such kind of model", suggest(using, _FORMS))
    if code is not None:
        if using not in (None, "python") or location is not None:
            raise UnsupportedSourceError(what, "source text goes with USING python, without a location")
        return Asked(source=code, is_code=True)
    if not location:
        raise InvalidOptionError(what, "it has no location", "add LOCATION '...'")
    given = _given(f"{what} from '{location}'", using, location)
    if not given.startswith("table:"):
        return Asked(source=given, trust_pickle=trust_pickle)
    if pieces is None:
        raise UnsupportedSourceError(f"{what} from '{location}'", "the rows of the table were not sent along")
    return Asked(source=given, pieces=read_piece_file(pieces, name, given))


def _given(what: str, using: str | None, location: str) -> str:
    """The location in the form that `sparkmodel.register` takes."""
    if using is None:
        return location
    path = pathlib.PurePath(location)
    own = "table:" if location.startswith("table:") else "python:" if location.startswith("python:") else ""
    is_pickle = path.suffix.lower() in _PICKLES
    fits = {
        "mlflow": not own and not is_pickle,
        "pickle": not own and is_pickle,
        "python": own == "python:" or (not own and ":" in location and "/" not in location),
        "table": own == "table:" or (not own and not {"/", ":"} & set(location.partition("@")[0])),
    }
    if not fits[using]:
        raise UnsupportedSourceError(what, f"that is no location for USING {using}", f"give {_FORMS[using]}")
    return location if own or using in ("mlflow", "pickle") else f"{using}:{location}"
