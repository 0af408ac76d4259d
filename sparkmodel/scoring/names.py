# SPDX-License-Identifier: Apache-2.0
"""Which of the names that a model gave are the fields of its result: SQL's rule, exactly first, then in any case."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd


def find_fields(wanted: Sequence[str], given: Sequence[str]) -> list[int | None]:
    """Where each field is among the given names, None for one that is not there.

    Raises:
        ValueError: a name is given twice, or several that differ by their case only could be one field.
    """
    if len(set(given)) != len(given):
        twice = [name for name, count in Counter(given).items() if count > 1]
        raise ValueError(f"the names {list(given)} have {twice} more than once")
    exact = {name: i for i, name in enumerate(given)}
    places = [exact.get(name) for name in wanted]
    for i, name in enumerate(wanted):
        if places[i] is None:
            places[i] = _in_any_case(name, given, places)
    return places


def _in_any_case(name: str, given: Sequence[str], taken: Sequence[int | None]) -> int | None:
    found = [i for i, one in enumerate(given) if one.casefold() == name.casefold() and i not in taken]
    if len(found) > 1:
        raise ValueError(f"'{name}' could be any of {[given[i] for i in found]}")
    return found[0] if found else None


def columns_of_fields(wanted: Sequence[str], labels: Sequence[Any]) -> list[int]:
    """Which column is which field of a struct: by name, or by position where there are no names or none fits.

    Raises:
        ValueError: the columns are not the fields, or one is there twice.
    """
    names = [str(label) for label in labels]
    if is_unlabelled(labels):
        places: list[int | None] = [None] * len(wanted)
    else:
        places = find_fields(wanted, names)
    found = [place for place in places if place is not None]
    if len(found) == len(wanted):
        return found
    if found or len(labels) != len(wanted):
        raise ValueError(f"columns {names} are not the fields {list(wanted)}")
    return list(range(len(wanted)))


def is_unlabelled(labels: Sequence[Any]) -> bool:
    """Whether the labels are those that pandas counts by itself: 0, 1, 2, ..."""
    if isinstance(labels, pd.RangeIndex) or not len(labels):
        return True
    return all(isinstance(label, int) and label == i for i, label in enumerate(labels))


@functools.lru_cache(maxsize=1024)
def keys_of_fields(wanted: tuple[str, ...], keys: tuple[Any, ...]) -> list[tuple[Any] | None]:
    """The key of each field in one row that is a dict: a tuple of one, None where the row has no such key.

    A row without a key has a NULL there, whatever other rows have; but if it has a key that is no field as well, it
    may be misspelt.

    Raises:
        ValueError: a field is missing and a key is unknown, or one is there twice.
    """
    places = find_fields(wanted, [str(key) for key in keys])
    unknown = [str(key) for i, key in enumerate(keys) if i not in places]
    missing = [name for name, place in zip(wanted, places, strict=True) if place is None]
    if unknown and missing:
        raise ValueError(f"the keys {unknown} are no fields, {missing} are missing")
    return [None if place is None else (keys[place],) for place in places]
