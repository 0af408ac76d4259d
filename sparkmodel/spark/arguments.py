# SPDX-License-Identifier: Apache-2.0
"""The arguments of a call from Python: which columns go to the model, and under which names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from sparkmodel.binding import check_position
from sparkmodel.errors import SchemaMismatchError
from sparkmodel.names import bound_names, places
from sparkmodel.schema import Signature
from sparkmodel.spark.analysis import check_frame
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.handle import Handle

_CASE = "spark.sql.caseSensitive"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Columns for a call.

    Attributes:
        columns: In the model's order, as far as it is known.
        names: Their names; empty where some have none.
        by_name: Whether the names bind.
    """

    columns: list[Column]
    names: tuple[str, ...] = ()
    by_name: bool = False

    def of(self, handle: Handle) -> Handle:
        """The handle of a function that is called with them."""
        return handle.calling(names=self.names, by_name=self.by_name) if self.names else handle


def is_case_sensitive(spark: SparkSession | None) -> bool:
    """What the session says of names, Spark's default without one."""
    return spark is not None and str(spark.conf.get(_CASE, "false")).lower() == "true"


def of_call(
    name: str,
    columns: Sequence[Column | str],
    signature: Signature,
    *,
    like_mlflow: bool = False,
    case_sensitive: Callable[[], bool] = lambda: False,
) -> Arguments:
    """The arguments of `model(...)`, bound by the columns' names where these are the model's.

    Args:
        name: The model's, for messages.
        columns: As they were given; none at all are the signature's.
        signature: The model's.
        like_mlflow: Number the columns of a model without signature, as MLflow does.
        case_sensitive: Asks the session.

    Raises:
        SchemaMismatchError: too many or too few columns, or names that fit in part.
    """
    what, inputs = f"Cannot call model '{name}'", signature.inputs
    if not columns:
        return _of_signature(what, signature)
    given = [_name_of(column, signature) for column in columns]
    known = None if like_mlflow and inputs is None else bound_names(what, given, inputs, case_sensitive)
    made = [_column(column, signature) for column in columns]
    if known is None:
        if inputs is not None and len(columns) > 1 and not like_mlflow and not any(c.shape for c in inputs):
            check_position(what, len(columns), inputs)
        return Arguments(made)
    if inputs is None:
        # one column alone may be an array that a model takes as such, whatever it is called
        return Arguments(made, tuple(known), by_name=len(known) > 1)
    order = sorted(range(len(known)), key=lambda i: [c.name for c in inputs].index(known[i]))
    return Arguments([made[i] for i in order], tuple(known[i] for i in order), by_name=True)


def of_frame(spec: ModelSpec, df: DataFrame) -> Arguments:
    """The arguments of `model.transform(df)`: the columns that the model takes, by their names.

    Raises:
        SchemaMismatchError: a column is missing, or of a wrong type.
    """
    case_sensitive = is_case_sensitive(df.sparkSession)
    check_frame(spec, df, case_sensitive)
    given = list(df.columns)
    wanted = [column.name for column in spec.signature.inputs or ()]
    found = [at for name in wanted if name is not None for at in places(name, given, case_sensitive)]
    chosen = [given[at] for at in found] or given
    if not chosen:
        return Arguments([f.struct()])
    return Arguments([f.col(_quoted(name)) for name in chosen], tuple(chosen), by_name=True)


def _of_signature(what: str, signature: Signature) -> Arguments:
    inputs = signature.inputs or ()
    fact = ""
    if not inputs:
        fact = "no columns were given, and the model has no signature that names them"
    elif any(column.name is None for column in inputs):
        fact = f"no columns were given, and the signature has no names: {signature}"
    elif not all(column.required for column in inputs):
        fact = f"no columns were given, and some of the signature's are optional: {signature}"
    if fact:
        raise SchemaMismatchError(what, fact, "name the columns")
    names = tuple(str(column.name) for column in inputs)
    return Arguments([f.col(_quoted(name)) for name in names], names, by_name=True)


def _column(column: Column | str, signature: Signature) -> Column:
    if not isinstance(column, str):
        return column
    names = [one.name for one in signature.inputs or ()]
    # a name with a dot or a blank in it, which Spark would take apart
    return f.col(_quoted(column)) if column in names else f.col(column)


def _name_of(column: Column | str, signature: Signature) -> str | None:
    """What a column is called: the last part of a reference, or an alias; None for other expressions."""
    if isinstance(column, str):
        return column if column in [one.name for one in signature.inputs or ()] else _last_part(column)
    text, is_alias = _reference(column)
    return text if text is None or is_alias else _last_part(text)


def _reference(column: Any) -> tuple[str | None, bool]:
    """The text of a reference or an alias in an expression tree, classic or Connect; PySpark has no word for it."""
    inside = vars(column)  # a Column has any attribute that it is asked for: a field of its struct
    if "_expr" in inside:
        kind, node = type(inside["_expr"]).__name__, inside["_expr"]
        if kind == "ColumnReference":
            return str(node._unparsed_identifier), False
        return (str(node._alias[0]), True) if kind == "ColumnAlias" and len(node._alias) == 1 else (None, False)
    node = inside["_jc"].node()
    kind = node.getClass().getSimpleName()
    if kind == "UnresolvedAttribute":
        parts = node.nameParts()
        return str(parts.apply(parts.size() - 1)), True
    if kind == "ExpressionColumnNode":  # a frame's own column, `df.b`
        expression = node.expression()
        is_named = expression.getClass().getSimpleName() in ("AttributeReference", "Alias")
        return (str(expression.name()), True) if is_named else (None, False)
    if kind == "Alias" and node.name().size() == 1:
        return str(node.name().apply(0)), True
    return None, False


def _last_part(identifier: str) -> str | None:
    """`t.b` is called b, and `` `a.b` `` a.b; a star has no name."""
    if "`" not in identifier:
        last = identifier.rsplit(".", 1)[-1]
        return None if last == "*" else last
    if identifier.endswith("`"):
        start = identifier.rfind("`", 0, len(identifier) - 1)
        while start > 0 and identifier[start - 1] == "`":  # two of them in a name mean one
            start = identifier.rfind("`", 0, start - 1)
        return identifier[start + 1 : -1].replace("``", "`")
    return identifier.rsplit(".", 1)[-1]


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
