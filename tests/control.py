# SPDX-License-Identifier: Apache-2.0
"""A client of the control service, as the JVM's is."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from sparkmodel.errors import SparkModelError

TOKEN = "a token of a test"


def post(port: int, path: str, body: bytes = b"{}", **headers: str) -> tuple[int, Any]:
    """Status and JSON of one request."""
    return request("POST", port, path, body, {"Authorization": f"Bearer {TOKEN}", **headers})


def request(method: str, port: int, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Any]:
    """The same, with the headers that are given and no others."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def call(port: int, command: str, **fields: Any) -> dict[str, Any]:
    """The answer to a command; an error is raised as the class that it left as."""
    status, answer = post(port, f"/v1/{command}", json.dumps(fields).encode())
    if status != 200:
        raise SparkModelError.from_dict(answer)
    result: dict[str, Any] = answer
    return result
