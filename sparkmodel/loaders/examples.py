# SPDX-License-Identifier: Apache-2.0
"""An MLflow model's input example, as a JSON body of MLflow's scoring protocol: what people try a model with."""

from __future__ import annotations

import json
import logging
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

_log = logging.getLogger(__name__)
MOST_BYTES = 1 << 16
_FORMS = {"dataframe_split", "dataframe_records", "instances", "inputs"}


def example_of(info: Mapping[str, Any] | None, files: str) -> str | None:
    """The example that was logged with a model; None without one that can be sent as it is.

    It is for people: one that is broken, or longer than 64 KiB, is none. Nor is anything fetched for it: of a model
    whose files are in a store elsewhere there is none.

    Args:
        info: `saved_input_example_info` of its MLmodel.
        files: Its directory, or where else its files are.
    """
    if not info or not os.path.isabs(files):
        return None
    try:
        return _body(info, pathlib.Path(files))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _log.info("the input example in '%s' cannot be used: %s", files, error)
        return None


def _body(info: Mapping[str, Any], directory: pathlib.Path) -> str | None:
    is_split = info.get("type") == "dataframe" and info.get("pandas_orient") == "split"
    name = info.get("serving_input_path") or (info["artifact_path"] if is_split else None)  # before MLflow 2.15
    if name is None:
        return None
    path = directory / str(name)
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"'{name}' is outside of the model")
    if path.stat().st_size > 2 * MOST_BYTES:  # it is indented
        return None
    body = json.loads(path.read_text("utf-8"))
    if "serving_input_path" not in info:
        body = {"dataframe_split": body}
    if not isinstance(body, dict) or len(_FORMS & body.keys()) != 1:  # a chat's messages, and the like
        return None
    text = json.dumps(_without_nan(body), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text if len(text.encode()) <= MOST_BYTES else None


def _without_nan(value: Any) -> Any:
    """MLflow writes NaN for what is missing, which is no JSON."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
