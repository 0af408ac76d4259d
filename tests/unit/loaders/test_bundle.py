# SPDX-License-Identifier: Apache-2.0
"""A model directory in pieces: the same tree comes back, and nothing else gets through."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import stat
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkmodel.errors import ModelCorruptError, ModelLoadError, ModelNotFoundError, UnsupportedSourceError
from sparkmodel.loaders import bundle
from sparkmodel.loaders.bundle import Piece, pack, unpack

WHAT = "Cannot load model 'toy'"
Tree = dict[str, tuple[int, bytes]]

# what a file system takes and a bundle does not refuse
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0\\"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
TREES = st.recursive(
    st.binary(max_size=40), lambda children: st.dictionaries(NAMES, children, max_size=4), max_leaves=8
).filter(lambda tree: isinstance(tree, dict) and tree)


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    """A small model directory: two files of several pieces, one of them executable, an empty file and directory."""
    root = tmp_path / "source"
    (root / "code" / "deep").mkdir(parents=True)
    (root / "MLmodel").write_bytes(b"0123456789")
    (root / "code" / "deep" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "code" / "deep" / "run.sh").chmod(0o755)
    (root / "code" / "__init__.py").touch()
    (root / "empty").mkdir()
    return root


@pytest.fixture
def target(tmp_path: pathlib.Path) -> pathlib.Path:
    made = tmp_path / "target"
    made.mkdir()
    return made


def tree(root: pathlib.Path) -> Tree:
    """Everything below a directory: path to mode and content."""
    found: Tree = {}
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if path.is_dir():
            found[path.relative_to(root).as_posix()] = (stat.S_IFMT(mode), b"")
        else:
            found[path.relative_to(root).as_posix()] = (mode, path.read_bytes())
    return found


def make(root: pathlib.Path, content: Any) -> None:
    for name, child in content.items():
        if isinstance(child, bytes):
            (root / name).write_bytes(child)
        else:
            (root / name).mkdir()
            make(root / name, child)


def forge(*pieces: Piece, **changes: Any) -> list[Piece]:
    """Pieces whose checksums, number and digest fit each other, whatever else is wrong with them."""
    changed = [dataclasses.replace(piece, **changes) for piece in pieces]
    changed = [dataclasses.replace(piece, sha256=hashlib.sha256(piece.data).hexdigest()) for piece in changed]
    digest = bundle._digest(piece.record for piece in changed)
    return [dataclasses.replace(piece, pieces=len(changed), digest=digest) for piece in changed]


def a_file(path: str = "a", data: bytes = b"x", **changes: Any) -> Piece:
    return dataclasses.replace(Piece(path, 0o100644, len(data), 0, data, "", 0, ""), **changes)


@settings(max_examples=60, deadline=None)
@given(content=TREES, piece_bytes=st.integers(1, 50), data=st.data())
def test_any_tree_comes_back_from_pieces_of_any_size_in_any_order(
    content: Any, piece_bytes: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as home:
        source, target = pathlib.Path(home, "source"), pathlib.Path(home, "target")
        source.mkdir()
        target.mkdir()
        make(source, content)
        pieces = list(pack(source, piece_bytes))
        assert all(len(piece.data) <= piece_bytes for piece in pieces)
        assert unpack(data.draw(st.permutations(pieces)), target, WHAT) == pieces[0].digest
        assert tree(target) == tree(source)


def test_modes_and_empty_things_come_back(source: pathlib.Path, target: pathlib.Path) -> None:
    pieces = list(pack(source, 4))
    assert len(pieces) == 3 + 3 + 1 + 1
    unpack(pieces, target, WHAT)
    assert tree(target) == tree(source)
    assert (target / "code" / "deep" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (target / "empty").is_dir()


def test_equal_content_has_equal_digests_and_other_content_another(source: pathlib.Path, target: pathlib.Path) -> None:
    first = next(pack(source)).digest
    unpack(pack(source), target, WHAT)
    assert next(pack(target)).digest == first
    (target / "MLmodel").chmod(0o755)
    second = next(pack(target)).digest
    (target / "MLmodel").rename(target / "other")
    assert len({first, second, next(pack(target)).digest}) == 3


def test_no_more_than_one_piece_is_read_ahead(source: pathlib.Path) -> None:
    (source / "big").write_bytes(bytes(1 << 20))
    pieces = pack(source, 1 << 16)
    taken = next(piece for piece in pieces if piece.path == "big")
    (source / "big").write_bytes(b"\1" * (1 << 20))
    assert taken.data == bytes(1 << 16)
    with pytest.raises(ModelCorruptError, match="file 'big' changed"):
        list(pieces)


@pytest.mark.parametrize("content", [b"", b"012345678", b"0123456789+", b"9876543210"])
def test_a_file_that_changes_between_the_readings_is_an_error(source: pathlib.Path, content: bytes) -> None:
    pieces = pack(source, 5)
    (source / "MLmodel").write_bytes(content)
    with pytest.raises(ModelCorruptError, match="file 'MLmodel' changed while it was read"):
        list(pieces)


def test_a_file_that_goes_between_the_readings_is_an_error(source: pathlib.Path) -> None:
    pieces = pack(source)
    (source / "MLmodel").unlink()
    with pytest.raises(ModelLoadError, match="MLmodel"):
        list(pieces)


def test_a_missing_or_empty_directory_is_an_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such directory"):
        pack(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFoundError, match="it is empty"):
        pack(tmp_path / "empty")
    (tmp_path / "file").touch()
    with pytest.raises(ModelNotFoundError, match="it is a file"):
        pack(tmp_path / "file")


def test_a_piece_has_at_least_one_byte(source: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        pack(source, 0)


def test_links_that_stay_inside_are_stored_as_what_they_lead_to(source: pathlib.Path, target: pathlib.Path) -> None:
    (source / "link").symlink_to("MLmodel")
    (source / "linked").symlink_to(source / "code", target_is_directory=True)
    unpack(pack(source), target, WHAT)
    assert not any(path.is_symlink() for path in target.rglob("*"))
    assert (target / "link").read_bytes() == b"0123456789"
    assert (target / "linked" / "deep" / "run.sh").exists()


UNSTORABLE: dict[str, tuple[Callable[[pathlib.Path], object], str]] = {
    "link outward": (lambda root: (root / "x").symlink_to("/etc/passwd"), "leads out of the directory"),
    "link to a neighbour": (lambda root: (root / "x").symlink_to(f"../{root.name}2"), "leads out of the directory"),
    "link to nothing": (lambda root: (root / "x").symlink_to("nothing"), "leads nowhere"),
    "link upward": (lambda root: (root / "code" / "x").symlink_to(".."), "leads back"),
    "link to itself": (lambda root: (root / "x").symlink_to("x"), "leads nowhere"),
    "pipe": (lambda root: os.mkfifo(root / "x"), "is neither a file nor a directory"),
    "backslash": (lambda root: (root / "a\\x").touch(), "backslash"),
    "not unicode": (lambda root: os.close(os.open(bytes(root) + b"/\xff", os.O_CREAT)), "is not Unicode"),
}


@pytest.mark.parametrize("case", UNSTORABLE)
def test_what_cannot_be_stored_is_named(source: pathlib.Path, case: str) -> None:
    source.with_name("source2").mkdir()
    plant, said = UNSTORABLE[case]
    plant(source)
    with pytest.raises(UnsupportedSourceError, match=said):
        pack(source)


HOSTILE_PATHS = ["/etc/x", "../x", "a/../../x", "a/./x", "./x", "a//x", "a/", "", ".", "..", "a\0b", "..\\x", "\ud800"]


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=ascii)
@pytest.mark.fault("F18")
def test_a_path_that_leads_elsewhere_is_refused(target: pathlib.Path, path: str) -> None:
    if path == "\ud800":  # it has no checksum that could fit
        pieces = [a_file(path, sha256=hashlib.sha256(b"x").hexdigest(), pieces=1)]
    else:
        pieces = forge(a_file("fine"), a_file(path))
    with pytest.raises(ModelCorruptError, match=r"the path .* (plain relative path|backslash|Unicode)"):
        unpack(pieces, target, WHAT)
    assert_clean(target)


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([], "it has no pieces"),
        (forge(a_file(mode=0o120777, data=b"/etc/passwd")), "neither a file nor"),
        (forge(a_file(mode=0o020666)), "neither a file nor"),
        (forge(a_file(mode=-1)), "neither a file nor"),
        (forge(a_file(mode=1 << 40)), "neither a file nor"),
        (forge(a_file(mode=0o040755)), "neither a file nor"),
        (forge(a_file(), a_file("a/b")), "same place"),
        (forge(a_file("a/b"), a_file()), "same place"),
        (forge(a_file(data=b"", size=0, mode=0o040755), a_file("a/b")), "cannot have other files in it"),
        (forge(a_file("a/b"), a_file(data=b"", size=0, mode=0o040755)), "cannot have other files in it"),
        (forge(a_file(), a_file()), "there twice"),
        (forge(a_file(size=3), a_file(size=3, offset=2)), "missing pieces at byte 1"),
        (forge(a_file(data=b"xy", size=3), a_file(data=b"xy", size=3, offset=1)), "overlapping pieces at byte 1"),
        (forge(a_file(size=2)), "has 1 of its 2 bytes"),
        (forge(a_file(size=3, offset=1), a_file(size=3, offset=2)), "missing pieces at byte 0"),
        (forge(a_file(size=1, offset=1)), "does not fit into 1 bytes"),
        (forge(a_file(size=1, offset=-1)), "does not fit into 1 bytes"),
        (forge(a_file(data=b"", size=1 << 60, offset=1 << 59)), "does not fit into"),
        (forge(a_file(size=2), a_file(size=3, offset=1)), "do not agree"),
        (forge(a_file(size=2), a_file(size=2, offset=1, mode=0o100600)), "do not agree"),
    ],
)
def test_pieces_that_contradict_each_other_are_refused(target: pathlib.Path, pieces: list[Piece], said: str) -> None:
    with pytest.raises(ModelCorruptError, match=said):
        unpack(pieces, target, WHAT)
    assert_clean(target)


def _flip(pieces: list[Piece]) -> list[Piece]:
    damaged = dataclasses.replace(pieces[0], data=bytes([pieces[0].data[0] ^ 1]) + pieces[0].data[1:])
    return [damaged, *pieces[1:]]


DAMAGE: dict[str, tuple[Callable[[list[Piece]], list[Piece]], str]] = {
    "a bit": (_flip, "does not fit its checksum"),
    "a lost piece in a file": (lambda pieces: pieces[1:], "missing pieces at byte 0"),
    "a lost file": (lambda pieces: [p for p in pieces if p.path != "MLmodel"], "it has 5 of its 8 pieces"),
    "a doubled piece": (lambda pieces: [*pieces, pieces[-1]], "is there twice"),
    "a foreign piece": (
        lambda p: [*p, dataclasses.replace(a_file("z"), sha256=bundle._sha256(b"x"), pieces=8, digest=p[0].digest)],
        "more than its 8 pieces",
    ),
    "another name": (
        lambda pieces: [dataclasses.replace(p, path=p.path.replace("MLmodel", "M")) for p in pieces],
        "do not fit its digest",
    ),
    "another bundle": (lambda pieces: [*pieces, *forge(a_file("z"))], "pieces of several models"),
    "another number": (lambda pieces: [dataclasses.replace(p, pieces=9) for p in pieces], "it has 8 of its 9 pieces"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.fault("F18")
def test_damage_is_found_and_leaves_nothing(source: pathlib.Path, target: pathlib.Path, damage: str) -> None:
    change, said = DAMAGE[damage]
    pieces = change(list(pack(source, 4)))
    for order in (pieces, pieces[::-1]):
        with pytest.raises(ModelCorruptError, match=said) as caught:
            unpack(order, target, WHAT)
        assert caught.value.what == WHAT
        assert_clean(target)


def test_an_error_of_whoever_gives_the_pieces_leaves_nothing_either(source: pathlib.Path, target: pathlib.Path) -> None:
    def broken() -> Iterator[Piece]:
        yield from list(pack(source))[:-1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(broken(), target, WHAT)
    assert_clean(target)


def test_a_directory_with_something_in_it_is_refused_and_left_alone(source: pathlib.Path, target: pathlib.Path) -> None:
    (target / "mine").touch()
    with pytest.raises(ModelLoadError, match="not empty"):
        unpack(pack(source), target, WHAT)
    assert [path.name for path in target.iterdir()] == ["mine"]


def test_a_link_that_appears_in_the_target_is_not_followed(tmp_path: pathlib.Path, target: pathlib.Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    first, *rest = forge(a_file("a"), a_file("b"))

    def plant() -> Iterator[Piece]:
        yield first
        (target / "b").symlink_to(outside)
        yield from rest

    with pytest.raises(ModelCorruptError, match="same place"):
        unpack(plant(), target, WHAT)
    assert outside.read_text() == "kept"
    assert_clean(target)


@pytest.mark.parametrize(("stored", "written"), [(0o6777, 0o775), (0o444, 0o444), (0o000, 0o400), (0o1666, 0o664)])
def test_dangerous_bits_are_dropped(target: pathlib.Path, stored: int, written: int) -> None:
    unpack(forge(a_file(mode=stat.S_IFREG | stored)), target, WHAT)
    assert (target / "a").stat().st_mode & 0o7777 == written


def assert_clean(target: pathlib.Path) -> None:
    """Nothing was written, neither into the directory nor beside it."""
    assert list(target.iterdir()) == []
    assert {path.name for path in target.parent.iterdir()} <= {"source", "target", "outside"}
