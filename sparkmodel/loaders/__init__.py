# SPDX-License-Identifier: Apache-2.0
"""From a source to a loaded model: `resolve` settles it on the driver, `load` opens it in a worker."""

from __future__ import annotations

from sparkmodel.loaders.base import Calls, LoadedModel
from sparkmodel.loaders.load import load
from sparkmodel.loaders.resolve import Resolved, resolve

__all__ = ["Calls", "LoadedModel", "Resolved", "load", "resolve"]
