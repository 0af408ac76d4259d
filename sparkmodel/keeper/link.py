# SPDX-License-Identifier: Apache-2.0
"""The driver's end: requests from any thread, answered in whatever order."""

from __future__ import annotations

import contextlib
import enum
import itertools
import os
import pathlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sparkmodel.errors import RayUnavailableError, SparkModelError
from sparkmodel.keeper.frames import Kind, Message, apart, pack, read
from sparkmodel.keeper.process import Process

_PING_S = 5.0
_SILENT_S = 30.0  # of pings that are not answered: then it hangs
_CANCEL_S = 15.0  # for what a request that was cancelled takes back
_WHAT = "Cannot reach Ray"
_AGAIN = "call again: that starts or joins a Ray anew; pools of one that has ended are to be registered again"


class Marker(enum.Enum):
    """What stands in a request for what cannot be sent."""

    PROGRESS = "progress"


class Link:
    """A keeper and the way to it.

    Args:
        process: The keeper; one that is started now by default.
    """

    def __init__(self, process: Process | None = None) -> None:
        self.process = process or Process()
        self.lost: RayUnavailableError | None = None  # its Ray does not answer
        self.is_lost_for_good = False
        self.is_closed = False  # by this driver
        self._ended: RayUnavailableError | None = None
        self._inboxes: dict[int, queue.SimpleQueue[Message]] = {}
        self._guard = threading.Lock()
        self._numbers = itertools.count(1)
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._heard = time.monotonic()
        start = {"argv": list(sys.argv), "path": list(sys.path), "python_path": os.environ.get("PYTHONPATH")}
        self._outbox.put(pack(Kind.START, 0, start))
        for target in (self._write, self._read):
            threading.Thread(target=target, name="sparkmodel-keeper", daemon=True).start()

    @property
    def is_usable(self) -> bool:
        """Whether it takes requests."""
        return self._ended is None and self.lost is None and not self.is_closed

    @property
    def has_ended(self) -> bool:
        """Whether the keeper has ended, or does not answer any more."""
        return self._ended is not None

    def call(
        self,
        command: str,
        *arguments: Any,
        undo: Callable[[Any], object] | None = None,
        limit_s: float | None = None,
        **named: Any,
    ) -> Any:
        """What the keeper answers to a command.

        A function among the arguments is called here, in this thread, with what the command has to tell meanwhile.
        What it raises, and Ctrl-C, cancels the command: it takes back what it has done.

        Args:
            command: See `sparkmodel.keeper.commands`.
            *arguments, **named: Its arguments.
            undo: Is given an answer that came when it was not wanted any more.
            limit_s: The keeper is ended if there is no answer then.

        Raises:
            RayUnavailableError: the keeper, or the head of its Ray, has gone.
            SparkModelError: what the command raised.
        """
        progress = next((value for value in (*arguments, *named.values()) if callable(value)), None)
        number, inbox = self._open()
        try:
            call = command, [_sendable(value) for value in arguments], {k: _sendable(v) for k, v in named.items()}
            self._outbox.put(pack(Kind.CALL, number, call))
            try:
                answer = self._wait(inbox, progress, limit_s)
            except BaseException:
                self._cancel(number, inbox, progress is not None, undo)
                raise
        finally:
            with self._guard:
                self._inboxes.pop(number, None)
        if answer.kind == Kind.ERROR:
            raise SparkModelError.from_dict(answer.value)
        return answer.value

    def close(self, wait: bool = True) -> None:
        """End the keeper, and with it the Ray that it started. Calling it twice does nothing."""
        self.is_closed = True
        self._end(RayUnavailableError(_WHAT, "the connection was ended", _AGAIN))
        self.process.hang_up()
        if wait:
            self.process.wait()

    def _open(self) -> tuple[int, queue.SimpleQueue[Message]]:
        number, inbox = next(self._numbers), queue.SimpleQueue[Message]()
        with self._guard:
            error = self._ended or self.lost
            if error is not None:
                raise anew(error)
            self._inboxes[number] = inbox
        return number, inbox

    def _wait(
        self, inbox: queue.SimpleQueue[Message], progress: Callable[[Any], object] | None, limit_s: float | None
    ) -> Message:
        deadline = None if limit_s is None else time.monotonic() + limit_s
        pinged = time.monotonic()
        while True:
            try:
                message = inbox.get(timeout=_PING_S)
            except queue.Empty:
                if deadline is not None and time.monotonic() > deadline:
                    self._give_up(f"no answer came within {limit_s:g} s")
                    deadline = None
                pinged = self._ping(pinged)
                continue
            if message.kind != Kind.PROGRESS:
                return message
            if progress is not None:
                progress(message.value)

    def _ping(self, before: float) -> float:
        """Ask whether it is there, and give it up where that was asked long ago; returns when it was asked first."""
        if self._heard > before:
            before = time.monotonic()
        elif time.monotonic() - before > _SILENT_S:
            self._give_up("the process that holds it hangs")
        self._outbox.put(Message(Kind.PING))
        return before

    def _give_up(self, fact: str) -> None:
        self._end(RayUnavailableError(_WHAT, fact, _AGAIN, self.process.said))
        self.process.kill()

    def _cancel(
        self,
        number: int,
        inbox: queue.SimpleQueue[Message],
        wait: bool,
        undo: Callable[[Any], object] | None,
    ) -> None:
        self._outbox.put(Message(Kind.CANCEL, number))
        deadline = time.monotonic() + _CANCEL_S
        while wait:
            try:
                message = inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:  # it goes on to take it back
                return
            if message.kind != Kind.PROGRESS:
                if message.kind == Kind.VALUE and undo is not None:
                    undo(message.value)
                return

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # the reader sees the end
            while (message := self._outbox.get()) is not None:
                for piece in message.pieces():
                    self.process.sock.sendall(piece)
                    if message.kind == Kind.CALL:  # which may be long: it is being read
                        self._heard = time.monotonic()

    def _read(self) -> None:
        with contextlib.suppress(OSError), self.process.sock.makefile("rb") as file:
            while (message := read(file)) is not None:
                self._heard = time.monotonic()
                self._take(message)
        how = self.process.wait()
        self.process.sock.close()
        self._end(RayUnavailableError(_WHAT, how, _AGAIN, self.process.said))
        self._outbox.put(None)

    def _take(self, message: Message) -> None:
        if message.kind == Kind.LOST:
            fact, is_for_good = message.value
            error = RayUnavailableError(_WHAT, fact, _AGAIN)
            self.is_lost_for_good = is_for_good
            with self._guard:
                self.lost = error
            self._fail(error)
        elif message.kind == Kind.BACK:
            self.lost = None
        elif message.kind != Kind.PONG:
            with self._guard:
                inbox = self._inboxes.get(message.number)
            if inbox is not None:
                inbox.put(message)

    def _end(self, error: RayUnavailableError) -> None:
        with self._guard:
            self._ended = self._ended or error
        self._fail(error)

    def _fail(self, error: RayUnavailableError) -> None:
        with self._guard:
            for number, inbox in self._inboxes.items():
                inbox.put(pack(Kind.ERROR, number, error.to_dict()))


def anew(error: RayUnavailableError) -> RayUnavailableError:
    """The same error for one more thread to raise."""
    return type(error)(*error.args)


def _sendable(value: Any) -> Any:
    if isinstance(value, pathlib.Path):
        return value.absolute()  # the keeper stays where the driver was when it started
    return Marker.PROGRESS if callable(value) else apart(value)


def received(arguments: list[Any], named: Mapping[str, Any], progress: Any) -> tuple[list[Any], dict[str, Any]]:
    """The keeper's side of what `Link.call` does to arguments."""

    def given(value: Any) -> Any:
        return progress if value is Marker.PROGRESS else value

    return [given(value) for value in arguments], {key: given(value) for key, value in named.items()}
