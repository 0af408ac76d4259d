# SPDX-License-Identifier: Apache-2.0
"""MLflow's ChatModel, ChatAgent and ResponsesAgent as functions of a row.

Each takes one request and gives one response, whatever the number of rows: MLflow's own `spark_udf` asks for the first
row only. Here every row is a request of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from sparkmodel.errors import ResultTypeError, SchemaMismatchError
from sparkmodel.loaders.base import Calls, LoadedModel
from sparkmodel.schema import Signature

_LOADERS = "mlflow.pyfunc.loaders."


@dataclasses.dataclass(frozen=True)
class Chat:
    """What one of the three kinds takes and gives.

    Attributes:
        messages: The field of a request that holds the messages.
        text: The text of a response, None if it has none.
    """

    messages: str
    text: Callable[[Mapping[str, Any]], str | None]


def _of_choices(response: Mapping[str, Any]) -> str | None:
    """The first choice's message."""
    choices = response.get("choices") or []
    return choices[0]["message"].get("content") if choices else None


def _of_messages(response: Mapping[str, Any]) -> str | None:
    """The last message."""
    messages = response.get("messages") or []
    return messages[-1].get("content") if messages else None


def _of_output(response: Mapping[str, Any]) -> str | None:
    """The text parts of all messages, one after the other."""
    messages = (item for item in response.get("output") or [] if item.get("type") == "message")
    parts = [part for message in messages for part in message.get("content") or []]
    texts = [part["text"] for part in parts if part.get("type") == "output_text"]
    return "".join(texts) if texts else None


_CHATS = {
    f"{_LOADERS}chat_model": Chat("messages", _of_choices),
    f"{_LOADERS}chat_agent": Chat("messages", _of_messages),
    f"{_LOADERS}responses_agent": Chat("input", _of_output),
}


def chat_of(loader: str | None) -> Chat | None:
    """The kind that MLflow loads by this module; None for other models."""
    return _CHATS.get(loader or "")


def signature_of_chat(chat: Chat, fields: Sequence[str]) -> Signature:
    """A text for a text, unless the registration says otherwise; other fields of a request are params too."""
    return Signature(inputs=None, output=pa.string(), params=tuple(name for name in fields if name != chat.messages))


def load_chat(
    chat: Chat, fields: Sequence[str], predict: Callable[[Any], Any], result_type: pa.DataType
) -> LoadedModel:
    """A function of rows.

    Args:
        chat: Its kind.
        fields: Names of what a request may have.
        predict: Answers one request, a dict, with a response, a dict.
        result_type: A string is the response's text; a struct has fields of the response.

    Raises:
        ResultTypeError: it is another type.
    """
    is_text = pa.types.is_string(result_type)
    if not is_text and not pa.types.is_struct(result_type):
        raise ResultTypeError(
            "Cannot load the chat model",
            f"its response is a text or a struct, and no {result_type}",
            "pass result_type='string', or a struct with fields of the response",
        )

    def calls(params: Mapping[str, Any]) -> Calls:
        unknown = [name for name in params if name not in fields or name == chat.messages]
        if unknown:
            raise ValueError(f"a request has no field {unknown}, known are {list(fields)}")

        def answer(data: Any) -> list[Any]:
            responses = (predict({**params, **request}) for request in _requests(chat, fields, data))
            return [chat.text(response) if is_text else _fields_of(response, result_type) for response in responses]

        return Calls(answer)

    return LoadedModel(calls)


def _requests(chat: Chat, fields: Sequence[str], data: Any) -> Iterator[dict[str, Any]]:
    """One for each row of a frame: from its text, its messages, or its fields by name."""
    what = "Cannot make requests of the rows"
    if not isinstance(data, pd.DataFrame):
        raise SchemaMismatchError(what, f"a chat model takes columns, and no {type(data).__name__}")
    names = [str(name) for name in data.columns]
    if len(names) == 1 and not (names[0] in fields and names[0] != chat.messages):
        names = [chat.messages]
    unknown = [name for name in names if name not in fields]
    if unknown or chat.messages not in names:
        raise SchemaMismatchError(
            what,
            f"the columns are {names}, a request has '{chat.messages}' and may have "
            f"{[name for name in fields if name != chat.messages]}",
            f"give one text, or '{chat.messages}' and other fields by their names, as in a struct",
        )
    columns = [data.iloc[:, i].tolist() for i in range(len(names))]
    for values in zip(*columns, strict=True):
        request = {name: value for name, value in zip(names, map(_plain, values), strict=True) if value is not None}
        messages = request.get(chat.messages)
        if messages is None:
            raise ValueError(f"the row has no text, or no '{chat.messages}': it is NULL")
        if isinstance(messages, str):
            request[chat.messages] = [{"role": "user", "content": messages}]
        yield request


def _fields_of(response: Any, type_: pa.DataType) -> Any:
    """The declared fields of a response, None for those that it has not: which it has differs from answer to answer."""
    if isinstance(response, Mapping) and pa.types.is_struct(type_):
        return {field.name: _fields_of(response.get(field.name), field.type) for field in type_}
    if isinstance(response, list) and pa.types.is_list(type_):
        return [_fields_of(one, type_.value_type) for one in response]
    return response


def _plain(value: Any) -> Any:
    """Python's own values, without what is NULL: a field that is missing has its default."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: one for key, one in ((key, _plain(one)) for key, one in value.items()) if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if pd.isna(value) else value
