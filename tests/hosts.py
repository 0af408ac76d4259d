# SPDX-License-Identifier: Apache-2.0
"""Several hosts on one machine: each with its own network, processes, host name and /tmp, on a switch of their own.

Each host is a process in Linux namespaces of its own. It ends when what holds its stdin does, however that ends, and
with it the kernel ends all that runs in the host, and removes its links. So nothing is left, and no name is taken on
the machine. Traffic stays within the hosts: they have no way out.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
_TMP = pathlib.Path("/tmp")
_START_S = 20.0
# what a host needs of the machine's /tmp is mounted into its own, where this code may be itself
_BOOT = """
set -e
hostname "$1"; shift
tmp="$1"; shift
mount --bind "$tmp/etc-hosts" /etc/hosts
for path in "$@"; do
    mkdir -p "$tmp${path#/tmp}"
    mount --bind "$path" "$tmp${path#/tmp}"
done
mount --rbind "$tmp" /tmp
ip link set lo up
echo up
read -r _
"""


class Host:
    """One of them.

    Args:
        number: 1 is the first; 0 is the switch, where no program runs.
        home: What it has as /tmp, made here.
        names: Of all hosts, as /etc/hosts has them.

    Attributes:
        name: Its host name.
        address, address6: On the link, as numbers.
        other, other6: A second address of each kind on the same link.
        tmp: What it has as /tmp, seen from outside.
    """

    def __init__(self, number: int, home: pathlib.Path, names: str) -> None:
        self.number, self.name = number, f"host{number}"
        self.address, self.address6 = f"10.77.0.{number}", f"fd77::{number}"
        self.other, self.other6 = f"10.78.0.{number}", f"fd78::{number}"
        self.tmp = home / self.name
        self.tmp.mkdir(mode=0o1777)
        self.tmp.chmod(0o1777)
        (self.tmp / "etc-hosts").write_text(names)
        inside = sorted({str(path) for path in (ROOT, pathlib.Path(sys.prefix)) if path.is_relative_to(_TMP)})
        kinds = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        self._init = subprocess.Popen(
            ["unshare", *kinds, "sh", "-c", _BOOT, "boot", self.name, str(self.tmp), *inside],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._init.stdout is not None
        if self._init.stdout.readline() != "up\n":
            raise RuntimeError("hosts need root, and the programs unshare, nsenter and ip")
        self.pid = int(pathlib.Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text())

    def command(self, *command: str) -> list[str]:
        """What runs a command in this host."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u", "-i", "--wdns=/tmp", "--", *command]

    def run(self, *command: str) -> str:
        """Run it, and return what it printed."""
        done = subprocess.run(self.command(*command), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
        return done.stdout

    def start(
        self, log: str, *command: str, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a program whose output goes to a file in the host's /tmp, with that as its home."""
        environment = {
            **os.environ,
            "HOME": "/tmp",
            "PYTHONPATH": str(ROOT),
            "SPARK_LOCAL_IP": self.address,
            **(env or {}),
        }
        with (self.tmp / log).open("w") as file:
            options = {"stdout": file, "stderr": file, "stdin": subprocess.DEVNULL, **options}
            return subprocess.Popen(self.command(*command), env=environment, text=True, **options)

    def log(self, name: str) -> str:
        """What a program has printed so far."""
        file = self.tmp / name
        return file.read_text(errors="replace") if file.exists() else ""

    def end(self) -> None:
        """Power off: all its processes end at once."""
        assert self._init.stdin is not None
        self._init.stdin.close()
        try:
            self._init.wait(_START_S)
        except subprocess.TimeoutExpired:
            self._init.kill()
            self._init.wait()
        if self._init.stdout is not None:
            self._init.stdout.close()


class Hosts(Sequence[Host]):
    """Hosts 1 to n, each with a link to the switch; `hosts[0]` is host 1.

    Args:
        count: How many.
        home: A directory of their own.
    """

    def __init__(self, count: int, home: pathlib.Path) -> None:
        ensure_ip()
        self._all: list[Host] = []
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"10.77.0.{n} host{n}" for n in range(count + 1)]
        try:
            for number in range(count + 1):
                self._all.append(Host(number, home, "\n".join(lines) + "\n"))
            self.switch = self._all[0]
            self.switch.run("ip", "link", "add", "br0", "type", "bridge")
            self.switch.run("ip", "link", "set", "br0", "up")
            for host in self:
                self._connect(host)
        except BaseException:
            self.close()
            raise

    def _connect(self, host: Host) -> None:
        port, pid = _port(host.number), str(host.pid)
        # the peer is put into the host by the process that the switch's namespace of processes does not know
        subprocess.run(
            [
                "nsenter",
                "-t",
                str(self.switch.pid),
                "-n",
                "ip",
                "link",
                "add",
                port,
                "type",
                "veth",
                "peer",
                "eth0",
                "netns",
                pid,
            ],
            check=True,
            timeout=60,
        )
        self.switch.run("ip", "link", "set", port, "master", "br0", "up")
        for address in (f"{host.address}/24", f"{host.other}/24"):
            host.run("ip", "addr", "add", address, "dev", "eth0")
        for address in (f"{host.address6}/64", f"{host.other6}/64"):
            host.run("ip", "-6", "addr", "add", address, "dev", "eth0", "nodad")
        host.run("ip", "link", "set", "eth0", "up")

    def __getitem__(self, index: Any) -> Any:
        return self._all[1:][index]

    def __len__(self) -> int:
        return len(self._all) - 1

    def unplug(self, host: Host) -> None:
        """Take its link down: nothing reaches it, and nothing that it sends arrives; nobody is told."""
        self.switch.run("ip", "link", "set", _port(host.number), "nomaster")

    def plug(self, host: Host) -> None:
        """Put the link back."""
        self.switch.run("ip", "link", "set", _port(host.number), "master", "br0")

    def close(self) -> None:
        """End them all. Calling it twice does nothing."""
        hosts, self._all = self._all, []
        for host in hosts:
            host.end()


def _port(number: int) -> str:
    return f"port{number}"


def ensure_ip() -> None:
    """Have iproute2: installed from Debian if it is missing."""
    if shutil.which("ip") is None:
        subprocess.run(["apt-get", "install", "-y", "iproute2"], check=True, timeout=300, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def hosts(count: int, home: pathlib.Path) -> Iterator[Hosts]:
    """Hosts for a while."""
    made = Hosts(count, home)
    try:
        yield made
    finally:
        made.close()


def wait_for(holds: Any, what: str, seconds: float) -> float:
    """Wait until it holds; returns the seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - began
