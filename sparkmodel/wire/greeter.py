# SPDX-License-Identifier: Apache-2.0
"""Who has just connected: one thread takes all strangers until they have proved who they are, or are sent away.

A stranger costs a socket and some kilobytes, for five seconds at most: no thread, and no memory that it could ask for.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import ipaddress
import logging
import math
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator
from typing import NamedTuple

from sparkmodel.errors import SparkModelError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.capabilities import Admit
from sparkmodel.wire.greeting import LIMIT_S, reception
from sparkmodel.wire.handle import Credential
from sparkmodel.wire.tls import refused_without, speaks_tls

_log = logging.getLogger(__name__)
MOST_STRANGERS, MOST_OF_ADDRESS, MOST = 64, 16, 2000
# a greeting takes milliseconds: who has had so long gives way to who comes, where there are too many
_HURRY_S = 0.3  # without a first message
_HURRY_HEARD_S = 2.0  # with one: it may be a caller whose machine is busy
_LINGER_S = 1.0  # for a stranger to read why it is refused
_TELL_S = 1.0
_PAUSE_S = 0.1  # after an accept that failed
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Met(NamedTuple):
    """Who has proved to be a caller of the pool; its socket blocks again."""

    sock: socket.socket
    renewed: Credential | None


class Greeter:
    """Accepts on a listener, and hands over who has proved to be a caller.

    Args:
        listener: Listens.
        secret: The pool's.
        what: The action that errors name.
        tls: What to serve TLS with.
        admit: Looks at what a caller has proved to have.
        take: Is given each caller, in the greeter's thread.
        others: Number of the connections that were handed over and are open.
    """

    def __init__(
        self,
        listener: socket.socket,
        secret: str,
        what: str,
        *,
        tls: ssl.SSLContext | None,
        admit: Admit,
        take: Callable[[Met], None],
        others: Callable[[], int],
    ) -> None:
        listener.setblocking(False)
        self._listener, self._secret, self._what, self._tls = listener, secret, what, tls
        self._admit, self._take, self._others = admit, take, others
        self._selector = selectors.DefaultSelector()
        self._strangers: dict[_Stranger, None] = {}  # the oldest first
        self._waiting: dict[str, collections.deque[_Stranger]] = {}  # over what their address may have: not heard yet
        self._is_listening, self._deaf_until = False, 0.0
        self._sent_away: collections.Counter[str] = collections.Counter()
        self._told = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sparkmodel-greeter", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._strangers)

    def close(self) -> None:
        """Close the listener, and the connections of all who are not greeted."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closes it: else it might sleep on
        self._thread.join(LIMIT_S)
        self._listener.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._turn()
            except Exception:
                if not self._stopped.is_set():  # else it is the listener that was closed
                    _log.exception("greeting failed once")
                    self._stopped.wait(_PAUSE_S)
        self._listener.close()
        for stranger in list(self._strangers):
            stranger.sock.close()
        self._strangers.clear()
        self._selector.close()

    def _turn(self) -> None:
        self._listen()
        for key, _ in self._selector.select(self._pause_s()):
            if key.data is None:
                self._accept()
            elif key.data in self._strangers:
                self._go_on(key.data)
        now = time.monotonic()
        for stranger in [stranger for stranger in self._strangers if stranger.until <= now]:
            self._close(stranger, f"no greeting came within {LIMIT_S:g} s")
        self._tell(now)

    def _listen(self) -> None:
        """Listen while there is room, or somebody who is to give way; else who comes waits in the kernel."""
        now = time.monotonic()
        has_room = len(self._strangers) < MOST_STRANGERS or now >= self._next_slow()
        wanted = has_room and now >= self._deaf_until
        if wanted and not self._is_listening:
            self._selector.register(self._listener, _READ, None)
        elif self._is_listening and not wanted:
            self._selector.unregister(self._listener)
        self._is_listening = wanted

    def _pause_s(self) -> float:
        until = [stranger.until for stranger in self._strangers]
        if not self._is_listening:
            until.append(self._deaf_until)
            until.append(self._next_slow())
        if self._sent_away:
            until.append(self._told + _TELL_S)
        # never for ever: while it does not listen, nothing else wakes it when the listener is closed
        return min(LIMIT_S, max(0.001, min(until, default=math.inf) - time.monotonic()))

    def _accept(self) -> None:
        while True:
            is_full = len(self._strangers) >= MOST_STRANGERS
            slow = self._slow() if is_full else None
            if is_full and slow is None:
                return
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if not self._stopped.is_set():
                    _log.warning("accept failed: %s", error)  # such as too many open files: go on
                    self._deaf_until = time.monotonic() + _PAUSE_S
                return
            if slow is not None:
                self._close(slow, "others came")
            if len(self._strangers) + self._others() >= MOST:
                self._count("there are too many connections")
                sock.close()
                continue
            self._meet(_Stranger(sock, _origin(str(address[0]))))

    def _next_slow(self) -> float:
        """When the next one has been here for too long to be kept where others come."""
        return min((stranger.slow_at for stranger in self._strangers), default=0.0)

    def _slow(self) -> _Stranger | None:
        """Who is to give way: who has been here for long, of those whose address has most, the first."""
        now = time.monotonic()
        slow = [stranger for stranger in self._strangers if stranger.slow_at <= now]
        counts = collections.Counter(stranger.origin for stranger in self._strangers)
        return max(slow, key=lambda stranger: counts[stranger.origin], default=None)

    def _meet(self, stranger: _Stranger) -> None:
        origin = stranger.origin
        heard = sum(other.origin == origin and other.life is not None for other in self._strangers)
        self._strangers[stranger] = None
        if origin and heard >= MOST_OF_ADDRESS:
            self._waiting.setdefault(origin, collections.deque()).append(stranger)
        else:
            self._hear(stranger)

    def _hear(self, stranger: _Stranger) -> None:
        stranger.sock.setblocking(False)
        with contextlib.suppress(OSError):  # it has gone, which is seen when it is read
            stranger.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stranger.life = stranger.lives(self._secret, self._what, self._tls, self._admit)
        self._go_on(stranger)

    def _go_on(self, stranger: _Stranger) -> None:
        assert stranger.life is not None
        try:
            wanted = next(stranger.life)
        except StopIteration as end:
            if stranger.refusal:
                self._close(stranger)
            else:
                self._hand_over(stranger, end.value)
            return
        except (OSError, EOFError):  # it has gone
            self._close(stranger)
            return
        except Exception:  # ours: what failed must not be taken for what has come to its end, and let it in
            _log.exception("a greeting failed")
            self._close(stranger, "the greeting failed")
            return
        if wanted != stranger.wanted:
            change = self._selector.modify if stranger.wanted else self._selector.register
            change(stranger.sock, wanted, stranger)
            stranger.wanted = wanted

    def _hand_over(self, stranger: _Stranger, renewed: Credential | None) -> None:
        self._forget(stranger)
        try:
            stranger.sock.setblocking(True)
            self._take(Met(stranger.sock, renewed))
        except (OSError, RuntimeError) as error:  # reset meanwhile, or no more threads: go on
            self._count(f"it cannot be served: {error}")
            stranger.sock.close()

    def _close(self, stranger: _Stranger, reason: str = "") -> None:
        if stranger.refusal or reason:
            self._count(stranger.refusal or reason)
        self._forget(stranger)
        stranger.sock.close()

    def _forget(self, stranger: _Stranger) -> None:
        """It is a stranger no more; who waits for its place is heard."""
        if stranger.wanted:
            self._selector.unregister(stranger.sock)
        self._strangers.pop(stranger, None)
        waiting = self._waiting.get(stranger.origin)
        if waiting is None:
            return
        if stranger.life is None:
            waiting.remove(stranger)
        next_ = waiting.popleft() if waiting and stranger.life is not None else None
        if not waiting:
            del self._waiting[stranger.origin]
        if next_ is not None:
            self._hear(next_)

    def _count(self, reason: str) -> None:
        self._sent_away[reason] += 1

    def _tell(self, now: float) -> None:
        """Say how many were sent away, and why: once a second, however many."""
        if self._sent_away and now - self._told >= _TELL_S:
            for reason, count in self._sent_away.items():
                _log.warning("%d connections were closed: %s", count, reason)
            self._sent_away.clear()
            self._told = now


class _Stranger:
    """One connection that is not greeted yet.

    Attributes:
        origin: Where it comes from; empty for this host.
        until, slow_at: How long it may stay at most, and where others come, by the monotonic clock.
        life: What it goes through, None while it waits to be heard; yields the event that it waits for.
        wanted: That event, 0 for none.
        refusal: The condition that it was told.
    """

    def __init__(self, sock: socket.socket, origin: str) -> None:
        self.sock, self.origin = sock, origin
        now = time.monotonic()
        self.until, self.slow_at = now + LIMIT_S, now + _HURRY_S
        self.life: Generator[int, None, Credential | None] | None = None
        self.wanted = 0
        self.refusal = ""

    def lives(
        self, secret: str, what: str, tls: ssl.SSLContext | None, admit: Admit
    ) -> Generator[int, None, Credential | None]:
        """From the first byte until it has proved who it is, or was told why not."""
        try:
            if tls is not None:
                yield from self._secure(tls, what)
            steps = reception(secret, what)
            said, size = next(steps)
            while True:
                self._send(said)
                try:
                    said, size = steps.send((yield from self._read(size)))
                    self.slow_at = self.until - LIMIT_S + _HURRY_HEARD_S
                except StopIteration as end:
                    return admit(end.value, what)
        except SparkModelError as error:
            self.refusal = error.condition
            self._send(b"".join(p.pack_answer(p.Answer(p.ERROR, 0, payload=p.to_json(error.to_dict())))))
            self.until = min(self.until, time.monotonic() + _LINGER_S)
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
            while True:  # closing with unread input would reset the connection, and the answer be lost
                yield _READ
                if not socket.socket.recv(self.sock, 1 << 16):
                    return None

    def _secure(self, tls: ssl.SSLContext, what: str) -> Generator[int, None, None]:
        while True:
            try:
                is_secure = speaks_tls(self.sock)
                break
            except BlockingIOError:
                yield _READ
        if not is_secure:
            self._send(p.pack_preface())
            raise refused_without(what)
        sock = self.sock = tls.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        yield from _patiently(sock.do_handshake)

    def _read(self, size: int) -> Generator[int, None, bytes]:
        data = b""
        while len(data) < size:
            part = yield from _patiently(functools.partial(self.sock.recv, size - len(data)))
            if not part:
                raise EOFError("the connection was closed")
            data += part
        return data

    def _send(self, data: bytes) -> None:
        # so little always fits into the socket's buffer
        if data and self.sock.send(data) < len(data):
            raise OSError("it does not read")


def _patiently(do: Callable[[], bytes | None]) -> Generator[int, None, bytes]:
    while True:
        try:
            return do() or b""
        except (BlockingIOError, ssl.SSLWantReadError):
            yield _READ
        except ssl.SSLWantWriteError:
            yield _WRITE


def _origin(host: str) -> str:
    """What addresses are counted by: the network of one in IPv6; nothing for this host."""
    address = ipaddress.ip_address(host.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return ""
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
