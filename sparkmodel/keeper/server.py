# SPDX-License-Identifier: Apache-2.0
"""The keeper's end: each request in a thread of its own, until the driver is gone."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from sparkmodel.errors import RayUnavailableError, SparkModelError
from sparkmodel.keeper.frames import Kind, Message, pack, read
from sparkmodel.keeper.link import received

_CANCEL_S = 10.0  # for what is under way when the driver ends


class CancelledError(BaseException):
    """Nobody waits for the answer: like Ctrl-C it is for no handler of errors."""


class Request:
    """One call, under way.

    Args:
        send: Sends a message to the driver.
        number: Of the request.
    """

    def __init__(self, send: Callable[[Message], None], number: int) -> None:
        self._send, self._number = send, number
        self._lock = threading.Lock()
        self._is_cancelled = self._is_answered = False

    def progress(self, status: Any) -> None:
        """Tell the driver how far it is.

        Raises:
            CancelledError: the driver does not want the answer any more.
        """
        if self._is_cancelled:
            raise CancelledError
        self._send(pack(Kind.PROGRESS, self._number, status))

    def cancel(self) -> None:
        """Note that the answer is not wanted, unless it has been given."""
        with self._lock:
            self._is_cancelled = not self._is_answered

    def answer(self, message: Message) -> bool:
        """Answer, unless it was cancelled; returns whether it was answered."""
        with self._lock:
            if self._is_cancelled:
                return False
            self._is_answered = True
        self._send(message)
        return True


class Server:
    """Answers a driver.

    Args:
        sock: The keeper's end of the socket.
        run: Runs a command: its name, arguments, named arguments; returns its value, and what takes back what it has
            done, if there is such a thing.
    """

    def __init__(
        self,
        sock: socket.socket,
        run: Callable[[str, list[Any], Mapping[str, Any]], tuple[Any, Callable[[], object] | None]],
    ) -> None:
        self._sock, self._run = sock, run
        self._writing = threading.Lock()
        self._requests: dict[int, tuple[Request, threading.Thread]] = {}
        self._guard = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message; a driver that is gone is told nothing."""
        try:
            with self._writing:
                for piece in message.pieces():
                    self._sock.sendall(piece)
        except OSError:  # `serve` sees the end
            return

    def serve(self, start: Callable[[dict[str, Any]], None]) -> None:
        """Answer until the driver's end of the socket is closed.

        Args:
            start: Is given what the driver says first.
        """
        with self._sock.makefile("rb") as file:
            while (message := _read(file)) is not None:
                if message.kind == Kind.START:
                    start(message.value)
                elif message.kind == Kind.PING:
                    self.send(Message(Kind.PONG))
                elif message.kind == Kind.CANCEL:
                    self._cancel(message.number)
                elif message.kind == Kind.CALL:
                    self._begin(message)

    def lost(self, fact: str, is_for_good: bool) -> None:
        """Tell the driver that Ray does not answer, and give up what is under way."""
        self.send(pack(Kind.LOST, 0, (fact, is_for_good)))
        self._cancel_all()

    def back(self) -> None:
        """Tell the driver that Ray answers again."""
        self.send(Message(Kind.BACK))

    def end(self) -> None:
        """Give up what is under way, and wait some seconds until it has been taken back."""
        for thread in self._cancel_all():
            thread.join(_CANCEL_S)

    def _cancel(self, number: int) -> None:
        with self._guard:
            request, _ = self._requests.get(number, (None, None))
        if request is not None:
            request.cancel()

    def _cancel_all(self) -> list[threading.Thread]:
        with self._guard:
            running = list(self._requests.values())
        for request, _ in running:
            request.cancel()
        return [thread for _, thread in running]

    def _begin(self, message: Message) -> None:
        request = Request(self.send, message.number)
        thread = threading.Thread(target=self._answer, args=(request, message), name="sparkmodel-request", daemon=True)
        with self._guard:
            self._requests[message.number] = request, thread
        thread.start()

    def _answer(self, request: Request, message: Message) -> None:
        command, number = "", message.number
        try:
            command, arguments, named = message.value
            given, by_name = received(arguments, named, request.progress)
            value, undo = self._run(command, given, by_name)
            if not request.answer(pack(Kind.VALUE, number, value)):
                if undo is not None:
                    undo()
                raise CancelledError
        except CancelledError:
            self.send(pack(Kind.ERROR, number, SparkModelError(f"Cannot do '{command}'", "it was cancelled").to_dict()))
        except Exception as error:
            self.send(pack(Kind.ERROR, number, _told(command, error).to_dict()))
        finally:
            with self._guard:
                self._requests.pop(number, None)


def _told(command: str, error: Exception) -> SparkModelError:
    """An error as the driver is told it, which has no classes of Ray."""
    if isinstance(error, SparkModelError):
        return error
    fact = f"{type(error).__name__}: {error}"
    if type(error).__module__.split(".")[0] == "ray":
        return RayUnavailableError("Cannot reach Ray", fact)
    trace = "".join(traceback.format_exception(error))
    return SparkModelError(f"Cannot do '{command}' in the process that holds Ray", fact, details=trace)


def _read(file: Any) -> Message | None:
    try:
        return read(file)
    except OSError:  # reset: the driver was killed
        return None
