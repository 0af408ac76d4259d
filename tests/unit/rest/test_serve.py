# SPDX-License-Identifier: Apache-2.0
"""How a gateway is started, refused, and closed."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import sparkmodel as sm
from sparkmodel.errors import InvalidOptionError, RayUnavailableError
from sparkmodel.keeper import connection
from tests.unit.rest.doors import Doors

TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """No Ray is asked, and the home is another one."""
    monkeypatch.setattr(connection, "ensure", lambda *_: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SPARKMODEL_TOKEN", "SPARKMODEL_TOKENS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def certificate(tmp_path: pathlib.Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert), str(secret)


@pytest.mark.parametrize(
    ("line", "settings", "problem"),
    [
        ("", {}, "no token"),
        ("", {"insecure": True}, "no token"),
        ("prometheus metrics", {"insecure": True}, "no token"),
        ("caller predict", {}, "in the clear"),
        ("caller predict", {"tls_cert": "cert.pem"}, "and its key"),
        ("caller predict", {"tls_cert": "no.pem", "tls_key": "no.pem"}, "No such file"),
        ("caller predict", {"colour": "red"}, "colour"),
        ("caller predict", {"insecure": True}, None),
        ("caller predict", {"tls": True}, None),
    ],
)
def test_beyond_loopback_it_wants_a_token_and_tls(
    monkeypatch: pytest.MonkeyPatch,
    certificate: tuple[str, str],
    line: str,
    settings: dict[str, Any],
    problem: str | None,
) -> None:
    if line:
        monkeypatch.setenv("SPARKMODEL_TOKENS", f"{line} {TOKEN}")
    if settings.pop("tls", False):
        settings.update(tls_cert=certificate[0], tls_key=certificate[1])
    if problem is not None:
        with pytest.raises(InvalidOptionError, match=problem):
            sm.serve("0.0.0.0", 0, False, **settings)
    else:
        sm.serve("0.0.0.0", 0, False, **settings).close()


def test_with_a_certificate_it_speaks_tls(certificate: tuple[str, str]) -> None:
    import ssl

    with sm.serve("localhost", 0, False, tls_cert=certificate[0], tls_key=certificate[1]) as server:
        assert server.url.startswith("https://localhost:")
        known = ssl.create_default_context(cafile=certificate[0])
        assert httpx.get(f"{server.url}/nothing", verify=known).status_code == 404


@pytest.mark.usefixtures("doors")
def test_a_token_for_changes_is_made_told_to_its_user_alone_and_gone_with_the_gateway(tmp_path: pathlib.Path) -> None:
    stale, other = (tmp_path / ".sparkmodel" / "gateways" / f"{port}.json" for port in (1, 2))
    stale.parent.mkdir(parents=True)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    stale.write_text(json.dumps({"url": "", "token": "", "pid": int(ended.stdout)}))
    other.write_text("something else")
    with sm.serve(port=0, block=False) as server:
        path = server.token_path
        assert path == stale.parent / f"{server.port}.json"
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        told = json.loads(path.read_text())
        assert (told["url"], told["pid"]) == (server.url, os.getpid())
        headers = {"Authorization": f"Bearer {told['token']}"}
        assert httpx.get(f"{server.url}/door/admin", headers=headers).status_code == 200
        assert httpx.get(f"{server.url}/door/admin").status_code == 401
        assert told["token"] not in repr(server)
        assert (stale.exists(), other.exists()) == (False, True)
    assert not path.exists()


def test_nothing_is_left_of_one_that_is_closed() -> None:
    server = sm.serve(port=0, block=False)
    assert "serving" in repr(server)
    server.close()
    server.close()
    assert "closed" in repr(server)
    assert "sparkmodel-gateway" not in {one.name for one in threading.enumerate()}
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", server.port)) != 0
    sm.serve(port=server.port, block=False).close()


def test_a_port_that_is_taken_is_told_and_another_can_be_asked_for() -> None:
    with sm.serve(port=0, block=False) as first:
        with pytest.raises(InvalidOptionError, match="the port is in use"):
            sm.serve(port=first.port, block=False)
        with sm.serve(port=0, block=False) as second:
            assert second.url != first.url


def test_a_ray_that_cannot_be_reached_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    def ensure(*_: object) -> None:
        raise RayUnavailableError("Cannot reach Ray", "it is not there")

    monkeypatch.setattr(connection, "ensure", ensure)
    with pytest.raises(RayUnavailableError):
        sm.serve(port=0, block=False)
    assert not (tmp_path / ".sparkmodel").exists()


def test_it_serves_where_a_loop_runs_already(doors: Doors) -> None:
    """As in a notebook."""

    async def cell() -> int:
        with sm.serve(port=0, block=False) as server:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{server.url}/door/open")).status_code

    assert asyncio.run(cell()) == 200


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_one_that_is_waited_for_ends_by_a_signal_without_a_traceback(signal: str) -> None:
    code = f"""
import os, signal, threading
import sparkmodel as sm
from sparkmodel.keeper import connection
from sparkmodel.rest.server import Server
connection.ensure = lambda *_: None
wait = Server.wait
def waited(self):
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.{signal})).start()
    wait(self)
Server.wait = waited
sm.serve(port=0)
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ended" in done.stdout
    assert "http://127.0.0.1:" in done.stdout
