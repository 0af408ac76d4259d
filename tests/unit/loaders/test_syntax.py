# SPDX-License-Identifier: Apache-2.0
"""Text is parsed right whoever else parses at the time."""

from __future__ import annotations

import ast
import gc
import threading
from collections.abc import Iterator

import pytest

from sparkmodel.loaders.syntax import parse

SOURCE = "\n".join(f"def f{i}(x):\n    return [x + {i}, (x, {{'a': [x, [x, [x]]]}})]" for i in range(300))


@pytest.fixture
def disturbed() -> Iterator[list[int]]:
    """The next collection of garbage, which may be amid a tree, has another thread parse."""
    done: list[int] = []

    def disturb(phase: str, info: dict[str, int]) -> None:
        if not done:
            done.append(1)
            other = threading.Thread(target=ast.parse, args=("x = 1",))
            other.start()
            other.join()

    before = gc.get_threshold()
    gc.collect()
    gc.callbacks.append(disturb)
    gc.set_threshold(100, 10, 10)
    yield done
    gc.set_threshold(*before)
    gc.callbacks.remove(disturb)


def test_another_thread_that_parses_amid_a_tree_does_not_disturb(disturbed: list[int]) -> None:
    tree = parse(SOURCE)
    assert disturbed
    assert ast.dump(tree) == ast.dump(parse(SOURCE))


def test_what_is_no_python_is_an_error_as_ever() -> None:
    with pytest.raises(SyntaxError):
        parse("def f(:")
    with pytest.raises((SyntaxError, ValueError), match="null bytes"):
        parse("x\0")
