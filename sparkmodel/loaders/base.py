# SPDX-License-Identifier: Apache-2.0
"""What every loader returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass
class LoadedModel:
    """A model in memory.

    Attributes:
        predict: Takes a pandas DataFrame, an ndarray or a dict of ndarrays, as the binding says, and returns one
            value for each row.
        predict_exact: The same for a frame whose numeric columns have the signature's own types and no NULL: it
            may leave out checks that would change nothing. None where there is no such short cut.
        feature_names: Column names that the model knows without a signature.
        example: Zero or one input that the model must be able to predict before it is declared ready.
    """

    predict: Callable[[Any], Any]
    predict_exact: Callable[[Any], Any] | None = None
    feature_names: Sequence[str] | None = None
    example: Any = None
