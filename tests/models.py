# SPDX-License-Identifier: Apache-2.0
"""Toy models with names that say what they do. They travel to the workers by value."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import time
from typing import Any

import cloudpickle
import numpy as np

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def first_column(data: Any) -> np.ndarray[Any, Any]:
    """The first column of a frame, or of an array."""
    return np.asarray(data.iloc[:, 0] if hasattr(data, "iloc") else data.reshape(len(data), -1)[:, 0], dtype=float)


class DoubleModel:
    """Twice the first column."""

    def predict(self, data: Any) -> Any:
        return first_column(data) * 2


class FactorModel:
    """The first column times a factor: tells versions apart."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def predict(self, data: Any) -> Any:
        return first_column(data) * self.factor


class ErrorModel:
    """Raises for a negative first column."""

    def predict(self, data: Any) -> Any:
        values = first_column(data)
        if (values < 0).any():
            raise ValueError(f"negative input {values.min():g}")
        return values


class WrongLengthModel:
    """One row too few."""

    def predict(self, data: Any) -> Any:
        return first_column(data)[:-1]


class WrongTypeModel:
    """Text where a number was declared."""

    def predict(self, data: Any) -> Any:
        return ["not a number"] * len(data)


class SlowModel:
    """Takes its time for each batch."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def predict(self, data: Any) -> Any:
        time.sleep(self.seconds)
        return first_column(data)


class HalfwayModel:
    """Twice the first column; after some batches it waits until a file is there."""

    def __init__(self, path: pathlib.Path, batches: int) -> None:
        self.path, self.batches = path, batches

    def predict(self, data: Any) -> Any:
        self.batches -= 1
        while self.batches < 0 and not self.path.exists():
            time.sleep(0.01)
        return first_column(data) * 2


class HangModel:
    """Never comes back for a negative first column."""

    def predict(self, data: Any) -> Any:
        values = first_column(data)
        while (values < 0).any():
            time.sleep(0.05)
        return values


class CrashModel:
    """Kills its process for a negative first column."""

    def predict(self, data: Any) -> Any:
        values = first_column(data)
        if (values < 0).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return values


class BrokenModel:
    """Cannot be loaded."""

    def predict(self, data: Any) -> Any:
        return first_column(data)

    def __reduce__(self) -> Any:
        return (_raise_on_load, ())


def _raise_on_load() -> None:
    raise RuntimeError("weights are missing")


class LoadLog:
    """A `(load, predict)` pair that writes a line to a file for each load, and takes a while for it."""

    def __init__(self, path: pathlib.Path, seconds: float = 1.0) -> None:
        self.path, self.seconds = path, seconds

    @property
    def count(self) -> int:
        return len(self.path.read_text().splitlines()) if self.path.exists() else 0

    def pair(self) -> tuple[Any, Any]:
        path, seconds = self.path, self.seconds

        def load() -> Any:
            time.sleep(seconds)
            with path.open("a") as log:
                log.write(f"{os.getpid()}\n")
            return DoubleModel()

        return load, lambda model, data: model.predict(data)
