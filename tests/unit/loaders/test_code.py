# SPDX-License-Identifier: Apache-2.0
"""Models of source text."""

from __future__ import annotations

import traceback

import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.errors import ModelLoadError, UnsupportedSourceError
from sparkmodel.loaders import load
from sparkmodel.loaders.resolve import resolve_code
from sparkmodel.options import PoolOptions
from sparkmodel.spec import ModelSpec

FRAME = pd.DataFrame({"x": [1.0, 2.0]})
FUNCTION = "def predict(frame, add=0):\n    return frame['x'] * 2 + add\n"
METHODS = "class Model:\n    def predict(self, frame):\n        return frame.x * 2\n    other = predict\n"


def run(code: str, method: str | None = None, **params: float) -> list[float]:
    resolved = resolve_code("toy", code)
    spec = ModelSpec(
        name="toy",
        source=resolved.source,
        signature=resolved.signature,
        result_type=pa.float64(),
        options=PoolOptions(),
        method=method,
    )
    return list(load(spec, resolved.payload).calls(params).predict(FRAME))


@pytest.mark.parametrize(
    "code",
    [
        FUNCTION,
        METHODS,
        "import operator\npredict = lambda frame: operator.mul(frame.x, 2)\n",
        "from operator import itemgetter as predict\npredict = lambda frame: frame.x * 2\n",
        "def load():\n    return 2\ndef predict(model, frame):\n    return frame.x * model\n",
        "class Model:\n    def load(self):\n        self.f = 2\n    def predict(self, frame):\n"
        "        return frame.x * self.f\n",
        "import dataclasses\n@dataclasses.dataclass\nclass Model:\n    f: float = 2.0\n"
        "    def predict(self, frame):\n        return frame.x * self.f\n",
    ],
)
def test_what_text_may_define(code: str) -> None:
    assert run(code) == [2.0, 4.0]


def test_params_and_another_method() -> None:
    assert run(FUNCTION, add=1) == [3.0, 5.0]
    assert run(METHODS, "other") == [2.0, 4.0]


def test_the_text_does_not_run_before_a_worker_loads_it() -> None:
    assert resolve_code("toy", "raise SystemExit\ndef predict(frame): pass\n").payload is not None


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("x = 1\ndef predict(frame)\n    return 1\n", "line 2: expected ':'"),
        ("def predict(frame):\nreturn 1\n", "line 2: expected an indented block"),
        ("def predict(frame):\n    pass\nreturn 1\n", "line 3: 'return' outside function"),
        ("x = '\0'", "null bytes"),
    ],
)
def test_text_that_is_no_python_says_where(code: str, says: str) -> None:
    with pytest.raises(ModelLoadError, match=says) as caught:
        resolve_code("toy", code)
    assert "Error" in caught.value.details


def test_text_without_a_model_says_what_one_is() -> None:
    with pytest.raises(UnsupportedSourceError, match=r"define predict\(frame\)"):
        resolve_code("toy", "def predcit(frame):\n    return 1\n")


def test_a_traceback_quotes_the_text() -> None:
    code = "def predict(frame):\n    raise ValueError('no such wine')  # here\n"
    with pytest.raises(ValueError, match="no such wine") as caught:
        run(code)
    assert "# here" in traceback.format_exception(caught.value)[-2]


def test_text_that_fails_as_it_is_loaded_says_so() -> None:
    with pytest.raises(ModelLoadError, match="ModuleNotFoundError: No module named 'no_such_module'"):
        run("import no_such_module\ndef predict(frame): pass\n")
