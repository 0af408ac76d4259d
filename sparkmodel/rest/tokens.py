# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: who may ask the gateway for what, and how much."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import stat
from collections.abc import Iterable, Mapping

from sparkmodel.errors import InvalidOptionError
from sparkmodel.secret import new_secret

SCOPES = frozenset({"predict", "metrics", "admin"})
_SHORTEST = 16
_FORM = "name scope[,scope] token [models=a,b] [per_s=100] [concurrent=8]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Token:
    """What a token is good for; the token itself is not kept.

    Attributes:
        name: Of whoever has it: in metrics, logs and records.
        scopes: Some of `predict`, `metrics` and `admin`; the last includes the others, as whoever registers a model
            runs code.
        digest: SHA-256 of it.
        models: Names of the models that it may call; None for all.
        per_s: Requests per second; None without limit.
        concurrent: Requests at once; None without limit.
    """

    name: str
    scopes: frozenset[str]
    digest: bytes = dataclasses.field(repr=False)
    models: frozenset[str] | None = None
    per_s: float | None = None
    concurrent: int | None = None


def digest_of(token: str) -> bytes:
    """What is kept of a token, and compared: its length tells nothing then."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def made(name: str, *scopes: str) -> tuple[Token, str]:
    """A new token, and its text."""
    text = new_secret()
    return Token(name=name, scopes=frozenset(scopes), digest=digest_of(text)), text


def read(path: str | os.PathLike[str]) -> tuple[Token, ...]:
    """The tokens in a file, one in each line: `name scope[,scope] token [models=a,b] [per_s=100] [concurrent=8]`.

    Raises:
        InvalidOptionError: it cannot be read, others than its owner can read it, or a line is wrong.
    """
    what = f"Cannot read the tokens in '{path}'"
    try:
        with pathlib.Path(path).open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise InvalidOptionError(what, f"its mode is {stat.filemode(mode)}", f"chmod 600 {path}")
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOptionError(what, f"{type(error).__name__}: {getattr(error, 'strerror', '')}") from None
    return parse(text.splitlines(), what)


def from_environment(environ: Mapping[str, str] = os.environ) -> tuple[Token, ...]:
    """The tokens in SPARKMODEL_TOKENS, as lines of a file of them, and in SPARKMODEL_TOKEN, good for calls and metrics.

    Raises:
        InvalidOptionError: one is wrong.
    """
    lines = environ.get("SPARKMODEL_TOKENS", "").splitlines()
    if single := environ.get("SPARKMODEL_TOKEN"):
        lines.append(f"default predict,metrics {single}")
    return parse(lines, "Cannot read the tokens in the environment")


def parse(lines: Iterable[str], what: str) -> tuple[Token, ...]:
    """The tokens in lines; what is after `#` at a line's begin, and empty lines, say nothing.

    Raises:
        InvalidOptionError: one is wrong; its text is not told, as a secret is in it.
    """
    tokens: dict[str, Token] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            token = _token(words)
        except ValueError as error:
            raise InvalidOptionError(what, f"line {number}: {error}", f"write `{_FORM}`") from None
        if token.name in tokens or any(token.digest == one.digest for one in tokens.values()):
            raise InvalidOptionError(what, f"line {number}: its name or its token is in an earlier line already")
        tokens[token.name] = token
    return tuple(tokens.values())


def _token(words: list[str]) -> Token:
    if len(words) < 3:
        raise ValueError("it has fewer than three words")
    name, scopes, text = words[0], frozenset(words[1].split(",")), words[2]
    if not scopes <= SCOPES:
        raise ValueError(f"scopes are {', '.join(sorted(SCOPES))}")
    if len(text) < _SHORTEST or not (text.isascii() and text.isprintable()):
        raise ValueError(f"a token has at least {_SHORTEST} ASCII characters")
    limits = {word.partition("=")[0]: word.partition("=")[2] for word in words[3:]}
    if unknown := limits.keys() - {"models", "per_s", "concurrent"}:
        raise ValueError(f"{len(unknown)} of its limits are not known")
    token = Token(name=name, scopes=scopes, digest=digest_of(text))
    if "models" in limits:
        token = dataclasses.replace(token, models=frozenset(limits["models"].split(",")))
    if "per_s" in limits:
        token = dataclasses.replace(token, per_s=_positive(float(limits["per_s"])))
    if "concurrent" in limits:
        token = dataclasses.replace(token, concurrent=int(_positive(int(limits["concurrent"]))))
    return token


def _positive(value: float) -> float:
    if not 0 < value < float("inf"):
        raise ValueError("limits are above 0")
    return value
