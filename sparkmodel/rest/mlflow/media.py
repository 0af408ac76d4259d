# SPDX-License-Identifier: Apache-2.0
"""Content types of MLflow's scoring protocol."""

from __future__ import annotations

from sparkmodel.errors import UnsupportedMediaTypeError

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
_KNOWN = (JSON, CSV, PARQUET)


def media_type(header: str | None) -> str:
    """One of the three, of a request's `Content-Type`; of parameters it may have `charset=utf-8` only.

    Raises:
        UnsupportedMediaTypeError: it is missing, or another one.
    """
    kind, *parameters = [part.strip() for part in (header or "").split(";")]
    if kind.lower() not in _KNOWN:
        fact = f"its content type is '{kind}'" if kind else "it has no content type"
        raise UnsupportedMediaTypeError("Cannot read the request", fact, f"send one of {', '.join(_KNOWN)}")
    for parameter in filter(None, parameters):
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "charset" or value.strip().strip('"').lower() != "utf-8":
            raise UnsupportedMediaTypeError(
                "Cannot read the request", f"its content type has '{parameter}'", "send charset=utf-8, or no parameter"
            )
    return kind.lower()
