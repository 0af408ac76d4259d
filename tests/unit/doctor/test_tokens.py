# SPDX-License-Identifier: Apache-2.0
"""Ray's token in all the ways that it can be wrong, and what others can read."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from sparkmodel.cluster.scratch import Scratch
from sparkmodel.doctor import facts
from sparkmodel.doctor.finding import FAIL, OK, WARN
from sparkmodel.doctor.scene import Scene
from sparkmodel.doctor.tokens import check_head, check_permissions, check_token_mode
from tests.unit.heads import SECRET, head


@pytest.mark.parametrize(
    ("environ", "statuses", "fact"),
    [
        ({}, [OK], "does not exist"),
        ({"RAY_AUTH_MODE": "tokens"}, [FAIL], "RAY_AUTH_MODE is 'tokens'"),
        ({"RAY_AUTH_MODE": "disabled"}, [WARN], "no token is shown"),
        ({"RAY_AUTH_TOKEN_PATH": "/nowhere"}, [FAIL], "'/nowhere' does not exist"),
        ({"RAY_AUTH_TOKEN": SECRET}, [OK, WARN], "RAY_AUTH_TOKEN is in the environment"),
    ],
)
def test_token_modes(scene: Callable[..., Scene], environ: dict[str, str], statuses: list[str], fact: str) -> None:
    found = list(check_token_mode(scene(environ=environ)))
    assert [finding.status for finding in found] == statuses
    assert fact in found[-1].fact
    assert SECRET not in repr(found)


def test_the_head_that_is_named(scene: Callable[..., Scene], tmp_path: pathlib.Path) -> None:
    file = tmp_path / "token"
    environ = {"RAY_AUTH_TOKEN_PATH": str(file)}
    with head(SECRET) as port:
        address = f"127.0.0.1:{port}"
        (found,) = check_head(scene(address=address, environ=environ))
        assert (found.status, "it wants a token" in found.fact) == (FAIL, True)
        file.write_text("wrong")
        (found,) = check_head(scene(address=address, environ=environ))
        assert (found.status, "it refuses the token" in found.fact) == (FAIL, True)
        file.write_text(SECRET)
        packages = {**facts_packages(scene), "ray": "2.60.0"}
        (found,) = check_head(scene({"packages": packages}, address=address, environ=environ))
        assert (found.status, found.fact) == (OK, f"{address} answers, with Ray 2.60.0")
        (found,) = check_head(scene(address=address, environ=environ))
        assert (found.status, found.fact) == (FAIL, f"{address} runs Ray 2.60.0, here is 1.2.3")
    (found,) = check_head(scene(address=address, environ=environ))
    assert (found.status, "nobody answers" in found.fact) == (FAIL, True)
    with head("") as port:
        found = list(check_head(scene({"packages": packages}, address=f"127.0.0.1:{port}")))
        assert [finding.status for finding in found] == [OK, WARN]
    assert list(check_head(scene())) == []


def facts_packages(scene: Callable[..., Scene]) -> dict[str, str]:
    return dict(scene().here["packages"])


def test_what_others_can_read(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    file = tmp_path / ".ray" / "auth_token"
    file.write_text("secret")
    made = Scratch(tmp_path)

    def found() -> list[tuple[str, str]]:
        seen = {"token_files": facts.token_files(), "scratch": facts.scratch(str(tmp_path))}
        return [(finding.status, finding.hint) for finding in check_permissions(scene(seen))]

    file.chmod(0o644)
    assert found() == [(WARN, f"run: chmod 600 {file}")]
    file.chmod(0o640)  # its group's, if not everybody's
    assert found() == [(WARN, f"run: chmod 600 {file}")]
    file.chmod(0o600)
    assert found() == [(OK, "")]
    made.path.chmod(0o755)
    assert found() == [(FAIL, f"run: chmod 700 {made.path}")]
    made.remove()
