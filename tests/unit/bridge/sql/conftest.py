# SPDX-License-Identifier: Apache-2.0
"""The parser of statements about models in one JVM, alone and in a Spark session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.bridge import Jvm

# What Spark's own launcher opens, as far as a session that only parses and analyses wants it
OPENED = ("java.lang", "java.lang.invoke", "java.util", "java.net", "sun.nio.ch")


@pytest.fixture(scope="session")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jvm]:
    """A JVM with the parser in it, for all tests of the run."""
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
    warehouse = tmp_path_factory.mktemp("warehouse")
    machine = Jvm("io.sparkmodel.parse.ParserMain", f"-Dwarehouse={warehouse}", *opened)
    yield machine
    machine.close()


class WrongStatement(Exception):
    """What parsing or running a statement threw."""

    def __init__(self, parts: dict[str, Any]) -> None:
        super().__init__(parts["message"])
        self.kind = parts["class"].rsplit(".", 1)[1]
        self.condition = parts["condition"]
        self.place = (parts["line"], parts["position"])


def result(answer: dict[str, Any]) -> Any:
    """What a call came to.

    Raises:
        WrongStatement: it threw.
    """
    if "class" in answer:
        raise WrongStatement(answer)
    return answer["result"]
