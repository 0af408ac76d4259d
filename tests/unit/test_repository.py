# SPDX-License-Identifier: Apache-2.0
"""The repository names no host of a package registry: clients know theirs, and each site configures them."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]

# in parts, as this file is read as well
HOSTS = [
    ".".join(parts)
    for parts in (
        ("repo1", "maven", "org"),
        ("repo", "maven", "apache", "org"),
        ("search", "maven", "org"),
        ("maven", "google", "com"),
        ("central", "sonatype", "com"),
        ("oss", "sonatype", "org"),
        ("s01", "oss", "sonatype", "org"),
        ("repos", "spark-packages", "org"),
        ("repository", "apache", "org"),
        ("plugins", "gradle", "org"),
        ("mvnrepository", "com"),
        ("jitpack", "io"),
        ("pypi", "org"),
        ("pypi", "python", "org"),
        ("files", "pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("conda", "anaconda", "org"),
        ("repo", "anaconda", "com"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("cdn", "jsdelivr", "net"),
        ("unpkg", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("rubygems", "org"),
        ("registry-1", "docker", "io"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
    )
]


def texts() -> dict[str, str]:
    """The text files that are tracked, or will be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    found = {}
    for name in filter(None, names):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content:
            found[name] = content.decode("utf-8", errors="replace")
    return found


def hosts_in(text: str) -> list[str]:
    """Hosts of registries that a text names."""
    return [host for host in HOSTS if host in text.lower()]


def test_no_registry_host_is_named() -> None:
    read = texts()
    assert "Makefile" in read
    assert "tests/unit/test_repository.py" in read
    assert {name: hosts for name, text in read.items() if (hosts := hosts_in(text))} == {}


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_is_found_in_an_address(host: str) -> None:
    assert host in hosts_in(f"see HTTPS://{host.upper()}/simple.")
