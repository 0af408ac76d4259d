# SPDX-License-Identifier: Apache-2.0
"""The gateway on a Ray cluster, by Ray Serve: by the command, and as Ray Serve's own configuration names it."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import httpx
import mlflow
import psutil
import pytest

from tests.integration.registered import line
from tests.integration.scripts import (
    PATIENCE_S,
    Script,
    command_line,
    free_port,
    other_scratch,
    scratch_directories,
    wait_until,
    with_suppress,
)
from tests.integration.test_lifecycle import ray_head

TOKEN = "a-token-for-everything"
AS_CONFIGURED = """
    import sys
    from ray import serve
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
    from ray.serve._private.utils import import_attr
    from sparkmodel.cluster import connection

    connection.ensure({address!r}, connection.NAMESPACE)
    named = import_attr("sparkmodel.rest.on_ray:application")
    serve.run(call_user_app_builder_with_args_if_necessary(named, {args!r}), name="configured", route_prefix="/")
    connection.shutdown()
"""


@pytest.mark.slow
def test_a_cluster_serves_what_was_registered_there_and_after_ctrl_c_others_may_serve_it(
    tmp_path: pathlib.Path,
) -> None:
    before = scratch_directories()
    mlflow.pyfunc.save_model(tmp_path / "line", **line(3.0))
    tokens = tmp_path / "tokens"
    tokens.write_text(f"me admin {TOKEN}\n")
    tokens.chmod(0o600)
    head = ray_head()
    address, port = next(head), free_port()
    words = ["serve", "--on-ray", "--address", address, "--port", str(port), "--tokens", str(tokens)]
    gateway = subprocess.Popen(
        [sys.executable, "-m", "sparkmodel", *words, "--allow-source", str(tmp_path)], start_new_session=True
    )
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE_S
    )

    def status(path: str) -> int:
        try:
            return client.get(path).status_code
        except httpx.TransportError:
            return 0

    def predictions() -> Any:
        answer = client.post("/models/triple/invocations", json={"inputs": {"x": [1.0, 2.0]}})
        assert answer.status_code == 200, answer.text
        assert len(answer.headers.get_list("X-Request-Id")) == 1
        return answer.json()["predictions"]

    try:
        wait_until(lambda: gateway.poll() is not None or status("/v2/health/live") == 200, 90)
        assert gateway.poll() is None
        assert httpx.post(f"{client.base_url}/admin/models", json={}).status_code == 401
        options = {"num_cpus": 0.1, "detached": True}
        source = str(tmp_path / "line")
        made = client.post("/admin/models", json={"name": "triple", "source": source, "options": options})
        assert made.status_code == 201, made.text
        assert predictions() == [3.0, 6.0]

        gateway.send_signal(signal.SIGINT)
        assert gateway.wait(PATIENCE_S) == 0
        assert status("/v2/health/live") == 404  # Ray Serve's proxy is the cluster's, and goes on

        args = {"tokens": str(tokens), "docs": True}
        Script(AS_CONFIGURED.format(address=address, args=args), tmp_path).finish()
        assert predictions() == [3.0, 6.0]  # of the same pool
        assert status("/openapi.json") == 200
        assert client.delete("/admin/models/triple").status_code == 200
    finally:
        client.close()
        with_suppress(gateway.kill)
        gateway.wait()
        head.close()
    wait_until(lambda: not [process for process in psutil.process_iter() if is_of(address, process)])
    wait_until(lambda: scratch_directories() <= before | other_scratch())


def is_of(address: str, process: psutil.Process) -> bool:
    """Whether a process is of this cluster, or was started by one that was."""
    return process.pid != os.getpid() and any(address in word for word in command_line(process))
