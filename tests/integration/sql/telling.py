# SPDX-License-Identifier: Apache-2.0
"""What a statement is told, and the page that lists it."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pyspark.errors import AnalysisException, ParseException, PySparkException, PythonException
from pyspark.sql import SparkSession

from tests.integration.sql.wrong_uses import WrongUse

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "reference" / "sql-errors.md"

HEAD = """# Errors of SQL about models

What each wrong use is told: condition, SQLSTATE and message. `tools/sql_errors.py` makes this page of
`tests/integration/sql/wrong_uses.py` by running the statements. They run beside the table t (a DOUBLE, b DOUBLE, c
STRING), the models `line` and `wine` of the inputs a and b, and a registry with versions 1 and 2 of `sql_wine`.

An error is an `AnalysisException`; of a statement that cannot be read it is Spark's `ParseException`, whose message
also shows the place; of a prediction it is Spark's `PythonException`, with the condition and the model's traceback in
its text. What the conditions mean is in [errors.md](../errors.md).
"""


class Told(NamedTuple):
    """An error.

    Attributes:
        kind: Its class.
        condition, sqlstate: As Spark gives them; of a prediction that fails, ours.
        line: The line that says what is wrong.
        is_one_line: Whether there is nothing else to the message.
    """

    kind: str
    condition: str
    sqlstate: str
    line: str
    is_one_line: bool


def tell(session: SparkSession, statement: str) -> Told | None:
    """Run a statement; None if it does not fail."""
    try:
        session.sql(statement).collect()
    except PySparkException as error:
        return read(error)
    return None


def read(error: PySparkException) -> Told:
    """The parts of an error."""
    text = str(error).strip()
    condition = str(error.getCondition())
    line = text.splitlines()[0]
    if isinstance(error, PythonException):
        found = re.search(r"\[(\w+)\] Cannot .*", text)
        assert found is not None, text
        condition, line = found[1], found[0]
    kinds = (ParseException, PythonException, AnalysisException)  # the first is one of the last
    kind = next((kind.__name__ for kind in kinds if isinstance(error, kind)), type(error).__name__)
    return Told(kind, condition, str(error.getSqlState()), line, line == text)


def page(told: Mapping[WrongUse, Told], homes: Iterable[str]) -> str:
    """The page, with the same text on every machine."""
    parts, section = [HEAD], ""
    for use, found in told.items():
        if use.section != section:
            section = use.section
            parts.append(f"## {section}\n")
        statement, line = (_anywhere(text, homes) for text in (use.statement, found.line))
        title = use.title[0].upper() + use.title[1:]
        parts.append(f"{title}: `{use.condition}`, {use.sqlstate}\n\n```text\n{statement}\n\n{line}\n```\n")
    return "\n".join(parts)


def _anywhere(text: str, homes: Iterable[str]) -> str:
    for home in homes:
        text = text.replace(home, "/models")
    text = text.replace("{home}", "/models")
    text = re.sub(r"sqlite:///\S*?\.db", "sqlite:///mlflow.db", text)
    text = re.sub(r"(?:did you mean '\w+'\? Known|known) are \[[^]]*'line'[^]]*\]", _models(text), text)
    text = re.sub(
        r"there is CPU [\d.]+ free of [\d.]+ \(waited \d+ s\)", "there is CPU 15.8 free of 16 (waited 1 s)", text
    )
    text = re.sub(r"\d+ other sessions? ha(?:s|ve) called it", "1 other session has called it", text)
    return re.sub(r"SQLSTATE: \w+.*", "", text).rstrip()


def _models(text: str) -> str:
    """The hint that lists the models, without those that other tests have as well, one of which may be nearer."""
    meant = [right for wrong, right in (("lien", "line"), ("wien", "wine")) if f"'{wrong}'" in text]
    return f"did you mean '{meant[0]}'? Known are ['line', 'wine']" if meant else "known are ['line', 'wine']"
