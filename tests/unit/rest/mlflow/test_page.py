# SPDX-License-Identifier: Apache-2.0
"""The commands of the page about protocols work as they stand there; chat models and files have their limits."""

from __future__ import annotations

import io
import pathlib
import re
import subprocess
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import sparkmodel
from sparkmodel.schema import Column, Signature
from tests.unit.rest.mlflow.models import Serve, Sum
from tests.unit.rest.toys import ToyPools

PAGE = (pathlib.Path(sparkmodel.__file__).parents[1] / "docs" / "protocols.md").read_text()
COMMANDS = re.findall(r"^(?:printf .* \| )?curl .*$", PAGE, re.MULTILINE)
PARQUET = "application/vnd.apache.parquet"


class Agent:
    """Answers as a chat model does once it is loaded."""

    def predict(self, data: Any) -> list[str]:
        return [f"{message[-1]['content']}!" for message in data["messages"]]


def test_each_command_of_the_page_gives_an_answer(pools: ToyPools, gateway: Serve, tmp_path: pathlib.Path) -> None:
    inputs = (Column(name="a", type=pa.float64()), Column(name="b", type=pa.float64()))
    pools.add("sum", Sum(), signature=Signature(inputs=inputs, params=()))
    pools.add("agent", Agent(), signature=Signature(params=("temperature",)), result_type=pa.string())
    pa.parquet.write_table(pa.table({"a": [1.0], "b": [2.5]}), tmp_path / "rows.parquet")
    url = str(gateway(only="sum").base_url)
    answers = [
        subprocess.run(
            ["sh", "-c", command.replace("http://127.0.0.1:5001", url)],
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
        ).stdout
        for command in COMMANDS
    ]  # fmt: skip
    assert answers == ['{"predictions": [3.5]}'] * 6 + ['"hello!"']


def test_a_request_for_a_language_model_keeps_its_fields(pools: ToyPools, gateway: Serve) -> None:
    pools.add("agent", Agent(), signature=Signature(params=("temperature",)), result_type=pa.string())
    body = {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "temperature": 0.5}
    assert gateway().post("/invocations", json=body).json() == "b!"


@pytest.mark.parametrize(("prompt", "answer"), [("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_a_prompt_is_a_row_or_several(prompt: Any, answer: Any, pools: ToyPools, gateway: Serve) -> None:
    class Echo:
        def predict(self, data: Any) -> list[str]:
            return list(data["prompt"])

    inputs = (Column(name="prompt", type=pa.string()),)
    pools.add("echo", Echo(), signature=Signature(inputs=inputs, params=("k",)), result_type=pa.string())
    assert gateway().post("/invocations", json={"prompt": prompt}).json() == answer


def test_a_small_parquet_file_of_much_is_refused(pools: ToyPools, gateway: Serve) -> None:
    pools.add("sum", Sum(), signature=Signature(inputs=(Column(name="a", type=pa.float64()),)))
    file = io.BytesIO()
    pa.parquet.write_table(pa.table({"a": pa.repeat(1.0, 1 << 20)}), file)
    assert len(file.getvalue()) < 1 << 16
    client = gateway(max_body_bytes=1 << 18)
    response = client.post("/invocations", content=file.getvalue(), headers={"Content-Type": PARQUET})
    assert (response.status_code, response.json()["error_code"]) == (413, "BAD_REQUEST")
