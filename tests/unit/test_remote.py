# SPDX-License-Identifier: Apache-2.0
"""A model in a process without Ray, MLflow or a session: what a `Model` is pickled as."""

from __future__ import annotations

import base64
import pickle
import subprocess
import sys
from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.errors import InvalidOptionError
from sparkmodel.remote import RemoteModel
from sparkmodel.schema import Signature
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import handle_of

ELSEWHERE = """
import base64, pickle, sys
model = pickle.loads(base64.b64decode(sys.argv[1]))
print(model, model.name, model.predict([{"x": 1.0}, {"x": 2.0}]))
assert {"ray", "mlflow", "pyspark"}.isdisjoint(sys.modules)
"""


@pytest.fixture
def model(serve: Callable[..., Server]) -> RemoteModel:
    """One that doubles."""
    return RemoteModel(handle_of(serve()), 1, Signature(inputs=None, output=None, params={}), pa.float64())


def test_it_scores_each_kind_of_local_data(model: RemoteModel) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=[7, 3])
    assert model.predict(frame).to_dict() == {7: 2.0, 3: 4.0}
    assert model.predict(pa.table({"x": [1.0]})).to_pylist() == [2.0]
    assert model.predict([{"x": 1.5}]) == [3.0]


def test_another_process_scores_and_imports_no_engine(model: RemoteModel) -> None:
    text = base64.b64encode(pickle.dumps(model)).decode()
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, text], capture_output=True, text=True, check=True)
    assert done.stdout == "RemoteModel('toy', version 1, (?) -> ?) toy [2.0, 4.0]\n"


def test_a_param_that_the_model_has_not_is_refused_before_anything_is_sent(model: RemoteModel) -> None:
    with pytest.raises(InvalidOptionError, match="its signature has no such param"):
        model.predict([{"x": 1.0}], params={"k": 1})
