# SPDX-License-Identifier: Apache-2.0
"""MLflow's chat models and agents answer each row."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.pyfunc import ChatAgent, ChatModel, ResponsesAgent
from mlflow.types.agent import ChatAgentMessage, ChatAgentResponse
from mlflow.types.llm import ChatCompletionResponse
from mlflow.types.responses import ResponsesAgentResponse

from sparkmodel.errors import ResultTypeError, SchemaMismatchError
from sparkmodel.loaders import load, resolve
from sparkmodel.options import PoolOptions
from sparkmodel.scoring.outputs import to_array
from sparkmodel.spec import ModelSpec


class Chat(ChatModel):
    """Says it loudly, with the temperature."""

    def predict(self, context, messages, params):  # type: ignore[no-untyped-def, override]
        content = f"{messages[-1].content} {params.temperature}".upper()
        message = {"role": "assistant", "content": content}
        return ChatCompletionResponse.from_dict(
            {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "model": "loud"}
        )


class Agent(ChatAgent):
    """Thinks before it speaks."""

    def predict(self, messages, context=None, custom_inputs=None):  # type: ignore[no-untyped-def]
        said = f"{messages[-1].content} {(custom_inputs or {}).get('tone')}".upper()
        return ChatAgentResponse(
            messages=[
                ChatAgentMessage(role="assistant", content="hm", id="1"),
                ChatAgentMessage(role="assistant", content=said, id="2"),
            ]
        )


class Responses(ResponsesAgent):
    """Answers in two parts."""

    def predict(self, request):  # type: ignore[no-untyped-def]
        text = f"{request.input[-1].content} {request.temperature}".upper()
        parts = [self.create_text_output_item(text=part, id=str(i)) for i, part in enumerate((text[:3], text[3:]))]
        return ResponsesAgentResponse(output=[self.create_reasoning_item("r", "why not"), *parts])


KINDS: dict[str, tuple[Callable[[], Any], str, list[str]]] = {
    "chat": (Chat, "messages", ["HELLO 1.0", "BYE 1.0"]),
    "agent": (Agent, "messages", ["HELLO NONE", "BYE NONE"]),
    "responses": (Responses, "input", ["HELLO NONE", "BYE NONE"]),
}
TEXTS = pd.DataFrame({"prompt": ["hello", "bye"]})


def opened(source: Any, result_type: pa.DataType | None = None) -> Any:
    resolved = resolve("chat", source)
    spec = ModelSpec(
        name="chat",
        source=resolved.source,
        signature=resolved.signature,
        result_type=result_type or resolved.signature.output or pa.null(),
        options=PoolOptions(),
    )
    return load(spec, resolved.payload)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["live", "saved", "loaded"])
def source(request: pytest.FixtureRequest, kind: str, tmp_path: pathlib.Path) -> Any:
    """The model alive, as a directory, and as MLflow loads it."""
    model = KINDS[kind][0]()
    if request.param == "live":
        return model
    mlflow.pyfunc.save_model(tmp_path / "m", python_model=model, pip_requirements=[])
    return str(tmp_path / "m") if request.param == "saved" else mlflow.pyfunc.load_model(str(tmp_path / "m"))


def test_a_text_for_a_text(kind: str, source: Any) -> None:
    model = opened(source)
    assert resolve("chat", source).signature.output == pa.string()
    assert model.calls({}).predict(TEXTS) == KINDS[kind][2]
    assert model.example is None  # nobody pays for a probe


def test_messages_and_fields_by_name(kind: str, source: Any) -> None:
    field = KINDS[kind][1]
    turns = [{"role": "user", "content": "no"}, {"role": "user", "content": "yes", "name": None}]
    frame = pd.DataFrame({field: [turns, turns[:1]]})
    predict = opened(source).calls({}).predict
    last = KINDS[kind][2][0].removeprefix("HELLO")
    assert predict(frame) == [f"YES{last}", f"NO{last}"]
    assert predict(frame.set_axis(["turns"], axis=1)) == [f"YES{last}", f"NO{last}"]
    if kind != "agent":
        assert predict(frame.assign(temperature=[0.5, None]))[0] == "YES 0.5"
    else:
        assert predict(frame.assign(custom_inputs=[{"tone": "low"}, None])) == ["YES LOW", "NO NONE"]


def test_params_are_fields_of_each_request(kind: str, source: Any) -> None:
    model = opened(source)
    params: dict[str, Any] = {"custom_inputs": {"tone": "low"}} if kind == "agent" else {"temperature": 0.25}
    assert set(params) <= set(resolve("chat", source).signature.params or ())
    wanted = ["HELLO LOW", "BYE LOW"] if kind == "agent" else ["HELLO 0.25", "BYE 0.25"]
    assert model.calls(params).predict(TEXTS) == wanted
    with pytest.raises(ValueError, match=r"a request has no field \['mood'\]"):
        model.calls({"mood": 1})


STRUCTS = {
    "chat": pa.struct(
        [
            ("model", pa.string()),
            ("choices", pa.list_(pa.struct([("message", pa.struct([("content", pa.string())]))]))),
        ]
    ),
    "agent": pa.struct([("messages", pa.list_(pa.struct([("content", pa.string())]))), ("finish_reason", pa.string())]),
    "responses": pa.struct([("output", pa.list_(pa.struct([("type", pa.string())]))), ("model", pa.string())]),
}
ANSWERS = {
    "chat": {"model": "loud", "choices": [{"message": {"content": "HELLO 1.0"}}]},
    "agent": {"messages": [{"content": "hm"}, {"content": "HELLO NONE"}], "finish_reason": None},
    "responses": {"output": [{"type": "reasoning"}, {"type": "message"}, {"type": "message"}], "model": None},
}


def test_a_struct_has_fields_of_the_response(kind: str, source: Any) -> None:
    result = opened(source, STRUCTS[kind]).calls({}).predict(TEXTS.head(1))
    assert to_array("Cannot", result, 1, STRUCTS[kind]).to_pylist() == [ANSWERS[kind]]


def test_another_result_type_is_refused(source: Any) -> None:
    with pytest.raises(ResultTypeError, match="its response is a text or a struct, and no double"):
        opened(source, pa.float64())


@pytest.mark.parametrize(
    ("frame", "error", "why"),
    [
        (pd.DataFrame({"prompt": ["a"], "temperature": [1.0]}), SchemaMismatchError, "the columns are"),
        (pd.DataFrame({"temperature": [1.0]}), SchemaMismatchError, "the columns are"),
        (pd.DataFrame({"prompt": ["a", None]}), ValueError, "it is NULL"),
    ],
)
def test_what_makes_no_request_is_refused(frame: pd.DataFrame, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        opened(Chat()).calls({}).predict(frame)
