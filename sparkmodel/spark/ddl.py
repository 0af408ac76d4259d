# SPDX-License-Identifier: Apache-2.0
"""Spark's types in DDL, read and written without a JVM: what serves SQL may have no Spark session of its own."""

from __future__ import annotations

import re

from pyspark.sql import types as t

_TOKEN = re.compile(
    r"\s*(?:(?P<quoted>`(?:[^`]|``)+`)|(?P<text>'(?:[^'\\]|\\.|'')*')|(?P<word>\w+)|(?P<sign>[<>(),:]))"
)
_PLAIN = re.compile(r"[A-Za-z_]\w*")
_NAMES: dict[str, t.DataType] = {
    "boolean": t.BooleanType(),
    "bool": t.BooleanType(),
    "tinyint": t.ByteType(),
    "byte": t.ByteType(),
    "smallint": t.ShortType(),
    "short": t.ShortType(),
    "int": t.IntegerType(),
    "integer": t.IntegerType(),
    "bigint": t.LongType(),
    "long": t.LongType(),
    "float": t.FloatType(),
    "real": t.FloatType(),
    "double": t.DoubleType(),
    "string": t.StringType(),
    "binary": t.BinaryType(),
    "date": t.DateType(),
    "timestamp": t.TimestampType(),
    "timestamp_ltz": t.TimestampType(),
    "timestamp_ntz": t.TimestampNTZType(),
}


def parse_ddl(text: str) -> t.DataType:
    """The type that a text means: `double`, `array<float>`, or columns, `label string, p double`, for a struct.

    Raises:
        ValueError: it is no such text; says where.
    """
    try:
        reader = _Reader(text)
        type_ = reader.type()
        reader.end()
        return type_
    except ValueError as error:
        try:
            return parse_columns(text)
        except ValueError:
            # the reading that it looks like is the one to explain
            if re.match(r"\s*(?:\w+|`[^`]+`)\s*[:\s]\s*\w", text):
                raise
            raise error from None


def parse_columns(text: str) -> t.StructType:
    """Columns as in CREATE TABLE: `` a double, `b c` array<int> NOT NULL COMMENT 'x' ``.

    Raises:
        ValueError: they are not; says where.
    """
    reader = _Reader(text)
    fields = reader.fields()
    reader.end()
    return t.StructType(fields)


def to_ddl(type_: t.DataType) -> str:
    """The type as DDL that Spark's own parser reads."""
    if isinstance(type_, t.ArrayType):
        return f"array<{to_ddl(type_.elementType)}>"
    if isinstance(type_, t.MapType):
        return f"map<{to_ddl(type_.keyType)},{to_ddl(type_.valueType)}>"
    if isinstance(type_, t.StructType):
        return "struct<" + ",".join(f"{_quoted(f.name)}:{to_ddl(f.dataType)}" for f in type_.fields) + ">"
    return type_.simpleString()


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else "`" + name.replace("`", "``") + "`"


class _Reader:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._position = text, 0

    def type(self) -> t.DataType:
        word = self._word("a type")
        name = word.lower()
        if name == "array":
            return t.ArrayType(self._inside(1)[0])
        if name == "map":
            key, value = self._inside(2)
            return t.MapType(key, value)
        if name == "struct":
            self._sign("<")
            fields = [] if self._has(">") else self.fields()
            self._sign(">")
            return t.StructType(fields)
        if name in ("decimal", "dec", "numeric"):
            return t.DecimalType(*self._numbers(2))
        if name in ("varchar", "char"):
            self._numbers(1)
            return t.StringType()
        if name not in _NAMES:
            raise self._error(f"'{word}' is not a type")
        if name == "string" and self._take("collate"):
            self._word("a collation")
        return _NAMES[name]

    def fields(self) -> list[t.StructField]:
        fields = []
        while True:
            name = self._word("a name", quoted=True)
            if self._has(":"):
                self._sign(":")
            type_ = self.type()
            nullable = True
            if self._take("not"):
                if not self._take("null"):
                    raise self._error("NOT goes before NULL")
                nullable = False
            if self._take("comment"):
                self._next("text", "a text in quotes")
            fields.append(t.StructField(name, type_, nullable))
            if not self._has(","):
                return fields
            self._sign(",")

    def end(self) -> None:
        if self._text[self._position :].strip():
            raise self._error("something is left over")

    def _inside(self, count: int) -> list[t.DataType]:
        self._sign("<")
        types = [self.type()]
        while len(types) < count:
            self._sign(",")
            types.append(self.type())
        self._sign(">")
        return types

    def _numbers(self, most: int) -> list[int]:
        numbers: list[int] = []
        if not self._has("("):
            return numbers
        self._sign("(")
        while True:
            word = self._word("a number")
            if not word.isdigit() or len(numbers) == most:
                raise self._error(f"'{word}' does not belong here")
            numbers.append(int(word))
            if not self._has(","):
                break
            self._sign(",")
        self._sign(")")
        return numbers

    def _peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self._text, self._position)

    def _has(self, sign: str) -> bool:
        match = self._peek()
        return match is not None and match["sign"] == sign

    def _take(self, word: str) -> bool:
        match = self._peek()
        if match is None or (match["word"] or "").lower() != word:
            return False
        self._position = match.end()
        return True

    def _sign(self, sign: str) -> None:
        match = self._peek()
        if match is None or match["sign"] != sign:
            raise self._error(f"'{sign}' is missing")
        self._position = match.end()

    def _word(self, what: str, *, quoted: bool = False) -> str:
        match = self._peek()
        if quoted and match is not None and match["quoted"]:
            self._position = match.end()
            return match["quoted"][1:-1].replace("``", "`")
        return self._next("word", what)

    def _next(self, group: str, what: str) -> str:
        match = self._peek()
        if match is None or not match[group]:
            raise self._error(f"{what} is missing")
        self._position = match.end()
        return match[group]

    def _error(self, fact: str) -> ValueError:
        return ValueError(f"{fact} at '{self._text[self._position :].strip()[:30]}' of '{self._text}'")
