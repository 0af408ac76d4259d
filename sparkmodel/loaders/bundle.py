# SPDX-License-Identifier: Apache-2.0
"""A model directory as a sequence of pieces that can be stored, shipped and checked one by one."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import stat
from collections.abc import Iterable, Iterator
from typing import NoReturn

from sparkmodel.errors import ModelCorruptError, ModelLoadError, ModelNotFoundError, UnsupportedSourceError

_Record = tuple[str, int, int, int, str]


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of one file, or an empty file, or an empty directory.

    Attributes:
        path: Where it belongs in the model directory; relative, with '/'.
        mode: Type and permissions, as in `os.stat`.
        size: Bytes of the whole file.
        offset: Where `data` begins in the file, in bytes.
        data: The content; empty for empty files and for directories only.
        sha256: Hex checksum of `data`.
        pieces: Number of pieces of the whole bundle.
        digest: Hex checksum over what all pieces are; it identifies the content of the directory.
    """

    path: str
    mode: int
    size: int
    offset: int
    data: bytes
    sha256: str
    pieces: int
    digest: str

    @property
    def record(self) -> _Record:
        """What the digest is made of."""
        return (self.path, self.mode, self.size, self.offset, self.sha256)


def pack(directory: str | os.PathLike[str], piece_bytes: int = 1 << 20) -> Iterator[Piece]:
    """Cut a directory into pieces, with no more than one of them in memory.

    The files are read twice: at once, for the digest, and again while the pieces are taken. A symbolic link is stored
    as what it leads to, which must be inside of the directory.

    Args:
        directory: The model directory.
        piece_bytes: Length of a piece, in bytes; the last one of a file may be shorter.

    Raises:
        ModelNotFoundError: no such directory, or nothing is in it.
        UnsupportedSourceError: it holds what cannot be stored: a link that leads out of it, nowhere or in a circle, a
            socket, a name that is not Unicode or has a backslash.
        ModelLoadError: a file cannot be read.
        ModelCorruptError: a file has changed between the two readings.
    """
    if piece_bytes < 1:
        raise ValueError(f"piece_bytes must be at least 1, not {piece_bytes}")
    root = pathlib.Path(directory)
    what = f"Cannot store model directory '{root}'"
    if not root.is_dir():
        raise ModelNotFoundError(what, "it is a file" if root.exists() else "no such directory")
    entries = []
    for path, mode in _walk(root, pathlib.Path(), what):
        checksums, size = [], 0
        for data in _chunks(root / path, mode, piece_bytes, what):
            checksums.append(_sha256(data))
            size += len(data)
        entries.append((path, mode, size, checksums))
    if not entries:
        raise ModelNotFoundError(what, "it is empty")
    digest = _digest(
        (path, mode, size, number * piece_bytes, checksum)
        for path, mode, size, checksums in entries
        for number, checksum in enumerate(checksums)
    )
    pieces = sum(len(checksums) for *_, checksums in entries)

    def read_again() -> Iterator[Piece]:
        for path, mode, size, checksums in entries:
            chunks = _chunks(root / path, mode, piece_bytes, what)
            for number, (data, checksum) in enumerate(itertools.zip_longest(chunks, checksums)):
                if data is None or checksum is None or _sha256(data) != checksum:
                    raise ModelCorruptError(what, f"file '{path}' changed while it was read", "store a copy of it")
                yield Piece(path, mode, size, number * piece_bytes, data, checksum, pieces, digest)

    return read_again()


def unpack(pieces: Iterable[Piece], target: pathlib.Path, what: str) -> str:
    """Write pieces, in whatever order they come, into a directory, and check all that can be checked.

    Nothing is written outside of the target, and nothing is left in it on an error. Files get the permissions that
    they had, but set-user-id, set-group-id and the right of all others to write.

    Args:
        pieces: All pieces of one bundle.
        target: An existing, empty directory.
        what: The action, for messages: `Cannot <verb> <object> '<value>'`.

    Returns:
        The digest.

    Raises:
        ModelCorruptError: pieces are missing, doubled, damaged, or of several bundles, or their paths lead elsewhere.
        ModelLoadError: a file cannot be written.
    """
    if any(target.iterdir()):
        raise ModelLoadError(what, f"directory '{target}' is not empty")
    writer = _Writer(target, what)
    try:
        try:
            for piece in pieces:
                writer.add(piece)
            return writer.finish()
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise ModelCorruptError(what, f"two of its files have the same place: {error}") from error
        except OSError as error:
            raise ModelLoadError(what, f"its files cannot be written: {error}") from error
        finally:
            writer.close()
    except BaseException:
        for child in target.iterdir():
            shutil.rmtree(child, ignore_errors=True) if child.is_dir() else child.unlink()
        raise


class _Writer:
    """Files under way, and what is known about them."""

    def __init__(self, target: pathlib.Path, what: str) -> None:
        self._target, self._what = target, what
        self._first: Piece | None = None
        self._files: dict[str, Piece] = {}  # by path: the first piece of it that came, without its data
        self._records: set[_Record] = set()
        self._lengths: dict[tuple[str, int], int] = {}  # by path and offset
        self._open = ("", -1)

    def add(self, piece: Piece) -> None:
        """Check one piece and write it."""
        self._check(piece)
        path = self._target / piece.path
        is_new = piece.path not in self._files
        self._files.setdefault(piece.path, dataclasses.replace(piece, data=b""))
        self._records.add(piece.record)
        self._lengths[piece.path, piece.offset] = len(piece.data)
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(piece.mode):
            path.mkdir(exist_ok=True)
            return
        if self._open[0] != piece.path:
            self.close()
            create = os.O_CREAT | os.O_EXCL if is_new else 0
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | create
            self._open = (piece.path, os.open(path, flags, 0o600))
        rest, offset = memoryview(piece.data), piece.offset
        while rest:
            written = os.pwrite(self._open[1], rest, offset)
            rest, offset = rest[written:], offset + written

    def close(self) -> None:
        """Close the file that was written last."""
        (_, file), self._open = self._open, ("", -1)
        if file >= 0:
            os.close(file)

    def finish(self) -> str:
        """Check the whole and set permissions; returns the digest."""
        self.close()
        if self._first is None:
            self._fail("it has no pieces")
        parents = {str(parent) for path in self._files for parent in pathlib.PurePosixPath(path).parents}
        for path in sorted(parents & set(self._files)):
            self._fail(f"'{path}' cannot have other files in it")
        ends = dict.fromkeys(self._files, 0)
        for (path, offset), length in sorted(self._lengths.items()):
            if offset != ends[path]:
                kind = "missing" if offset > ends[path] else "overlapping"
                self._fail(f"file '{path}' has {kind} pieces at byte {min(offset, ends[path])}")
            ends[path] += length
        for path, end in ends.items():
            if end != self._files[path].size:
                self._fail(f"file '{path}' has {end} of its {self._files[path].size} bytes")
        if len(self._records) != self._first.pieces:
            self._fail(f"it has {len(self._records)} of its {self._first.pieces} pieces")
        if _digest(self._records) != self._first.digest:
            self._fail("its pieces do not fit its digest")
        for path, piece in self._files.items():
            owner = 0o700 if stat.S_ISDIR(piece.mode) else 0o400  # its owner must be able to load and to remove it
            os.chmod(self._target / path, piece.mode & 0o775 | owner)
        return self._first.digest

    def _check(self, piece: Piece) -> None:
        self._first = first = self._first or dataclasses.replace(piece, data=b"")
        if (piece.digest, piece.pieces) != (first.digest, first.pieces):
            self._fail("it has pieces of several models, as after an append")
        fault = _fault(piece.path)
        if fault:
            self._fail(f"the path {piece.path!r} {fault}")
        known = self._files.get(piece.path, piece)
        if (piece.mode, piece.size) != (known.mode, known.size):
            self._fail(f"the pieces of '{piece.path}' do not agree on its size or mode")
        if (piece.path, piece.offset) in self._lengths:
            self._fail(f"the piece of '{piece.path}' at byte {piece.offset} is there twice")
        is_valid = 0 <= piece.mode <= 0o177777 and (
            (stat.S_ISDIR(piece.mode) and piece.size == 0) or stat.S_ISREG(piece.mode)
        )
        if not is_valid:
            self._fail(f"'{piece.path}' is neither a file nor an empty directory")
        end = piece.offset + len(piece.data)
        if piece.offset < 0 or end > piece.size or (not piece.data and piece.size > 0):
            self._fail(f"the piece of '{piece.path}' at byte {piece.offset} does not fit into {piece.size} bytes")
        if _sha256(piece.data) != piece.sha256:
            self._fail(f"the piece of '{piece.path}' at byte {piece.offset} does not fit its checksum")
        if len(self._records) >= piece.pieces:
            self._fail(f"it has more than its {piece.pieces} pieces")

    def _fail(self, fact: str) -> NoReturn:
        raise ModelCorruptError(self._what, f"the stored model is damaged: {fact}", "save it again")


def _walk(root: pathlib.Path, inner: pathlib.Path, what: str, above: tuple[str, ...] = ()) -> Iterator[tuple[str, int]]:
    """Path and mode of all files and empty directories below `root / inner`, sorted by path in each directory."""
    real_root = os.path.realpath(root)
    above = (*above, os.path.realpath(root / inner))
    try:
        children = sorted(os.listdir(root / inner))
    except OSError as error:
        raise ModelLoadError(what, f"it cannot be read: {error}") from error
    for child in children:
        path = inner / child
        real = os.path.realpath(root / path)
        fault = _fault(path.as_posix())
        if not fault and os.path.commonpath([real, real_root]) != real_root:
            fault = "leads out of the directory"
        if not fault and not os.path.exists(real):
            fault = "leads nowhere"
        if not fault and real in above:
            fault = "leads back to a directory that it is in"
        if not fault:
            mode = os.stat(real).st_mode & (0o777 | 0o170000)
            if stat.S_ISDIR(mode) and os.listdir(real):
                yield from _walk(root, path, what, above)
                continue
            if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                yield path.as_posix(), mode
                continue
            fault = "is neither a file nor a directory"
        raise UnsupportedSourceError(what, f"{path.as_posix()!r} {fault}")


def _chunks(path: pathlib.Path, mode: int, piece_bytes: int, what: str) -> Iterator[bytes]:
    """The data of the pieces of a file or an empty directory: at least one."""
    if stat.S_ISDIR(mode):
        yield b""
        return
    try:
        with path.open("rb") as file:
            data = file.read(piece_bytes)
            yield data
            while len(data) == piece_bytes and (data := file.read(piece_bytes)):
                yield data
    except OSError as error:
        raise ModelLoadError(what, f"it cannot be read: {error}") from error


def _fault(path: str) -> str:
    """Why a path cannot be one of a model's; empty if it can."""
    if {"", ".", ".."} & set(path.split("/")):
        return "is not a plain relative path"
    if "\0" in path or "\\" in path:
        return "has a zero byte or a backslash"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "is not Unicode"
    return ""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(records: Iterable[_Record]) -> str:
    whole = hashlib.sha256()
    for record in sorted(records):
        whole.update(json.dumps(record).encode() + b"\n")
    return whole.hexdigest()
