# SPDX-License-Identifier: Apache-2.0
"""What deploys the gateway, by the checkers that others trust."""

from __future__ import annotations

import importlib
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = pathlib.Path(sys.executable).parent


def check(*command: str) -> None:
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("hadolint", "deploy/Dockerfile"),
        ("yamllint", "--strict", "deploy"),
        ("kubernetes-validate", "--strict", "deploy/kubernetes/access.yaml"),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"),
    ],
    ids=lambda command: command[0],
)
def test_checkers_find_nothing(command: tuple[str, ...]) -> None:
    check(*command)


def test_what_is_mounted_is_there() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounts = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    assert mounts
    for mount in mounts:
        assert (DEPLOY / mount).is_dir(), mount
    assert (ROOT / services["gateway"]["build"]["dockerfile"]).is_file()


def test_ray_reads_the_application_of_kuberay() -> None:
    from ray.serve.schema import ServeDeploySchema

    service = yaml.safe_load((DEPLOY / "kubernetes" / "rayservice.yaml").read_text())
    config = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    (application,) = config.applications
    module, _, name = application.import_path.partition(":")
    assert callable(getattr(importlib.import_module(module), name))
