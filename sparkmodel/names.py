# SPDX-License-Identifier: Apache-2.0
"""Whether the names of a call's columns bind them to a model's inputs: one rule for every way to call.

The JVM's twin is `Binding.scala`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparkmodel.errors import SchemaMismatchError, suggest
from sparkmodel.schema import Column


def places(name: str, given: Sequence[str | None], case_sensitive: bool = False) -> list[int]:
    """Where a name is among others: the equal ones; if there are none, those that differ in case only, as in SQL."""
    exact = [i for i, other in enumerate(given) if other == name]
    if exact or case_sensitive:
        return exact
    return [i for i, other in enumerate(given) if other is not None and other.lower() == name.lower()]


def bound_names(
    what: str,
    given: Sequence[str | None],
    inputs: Sequence[Column] | None,
    case_sensitive: Callable[[], bool] = lambda: False,
) -> list[str] | None:
    """The inputs that the columns of an argument list are for, by their names; None if they go by position.

    Names bind where every column has one and all are the model's, in whatever order; of optional inputs some may be
    left out then. A column that has no name of the model's goes by position, and so do those beside it, if each that
    has one stands where it would by its name.

    Args:
        what: The action for an error.
        given: Names of the columns; None for what has none, such as `x + 1`.
        inputs: The model's inputs, None if nobody knows them: then all names count.
        case_sensitive: Whether the session tells upper case from lower case; asked only where it matters.

    Raises:
        SchemaMismatchError: a required input is missing, or a column has the name of one input and the place of
            another.
    """
    if inputs is None:
        names = [name for name in given if name is not None]
        return names if 0 < len(given) == len(names) == len(set(names)) else None
    known = [column.name for column in inputs]
    if None in known or _is_one_tensor(inputs):
        return None
    exact = [places(name, known, True) if name is not None else [] for name in given]
    if not all(exact) and not case_sensitive():
        exact = [places(name, known) if name is not None else [] for name in given]
    found = [at[0] if len(at) == 1 else None for at in exact]
    wanted = [at for at in found if at is not None]
    if wanted and len(wanted) == len(found) == len(set(wanted)):
        check_required(what, inputs, [str(known[at]) for at in wanted])
        return [str(known[at]) for at in wanted]
    if len(set(wanted)) == len(wanted):
        _check_places(what, given, inputs, found)
    return None


def check_required(what: str, inputs: Sequence[Column], given: Sequence[str]) -> None:
    """Refuse columns among which a required input is not.

    Raises:
        SchemaMismatchError: with the nearest name.
    """
    for column in inputs:
        if column.required and column.name not in given:
            raise missing(what, str(column.name), inputs, given)


def missing(what: str, name: str, inputs: Sequence[Column], given: Sequence[str]) -> SchemaMismatchError:
    """The error of an input that no column is for."""
    return SchemaMismatchError(
        what,
        f"column '{name}' is missing; the model takes ({', '.join(map(str, inputs))}), given are {list(given)}",
        suggest(name, given, f"give a column of the name '{name}'"),
    )


def _is_one_tensor(inputs: Sequence[Column]) -> bool:
    return len(inputs) == 1 and inputs[0].shape is not None


def _check_places(
    what: str, given: Sequence[str | None], inputs: Sequence[Column], found: Sequence[int | None]
) -> None:
    for i, at in enumerate(found):
        if at is not None and at != i:
            raise SchemaMismatchError(
                what,
                f"column '{given[i]}' is input {at + 1} of the model by its name, and argument {i + 1} of the call by "
                "its position",
                "name all columns, or pass one struct with the model's column names",
            )
