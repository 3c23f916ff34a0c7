"""Reads JSON and TOML into dataclasses, by the annotations of their fields.

A node imports nothing else for that: pydantic would be a fifth of its memory and a
third of the CPU of its start. It does understand the same annotations
(:mod:`meshwg.wire.models`), and tests hold both against each other: what is read here
reads the same there, and values are taken as they are here, never converted from other
types, but for whole numbers where any number is meant.

Fields may be ``str``, ``int``, ``float``, ``bool``, ``Path``, ``Literal``, ``dict``,
other such dataclasses, tuples of one kind, all of these or ``None``, and
``Annotated[..., Rule]``.
"""

import functools
import math
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

T = TypeVar("T")
Reader = Callable[[Any], Any]

_UNIONS = (Union, type(int | None))


class Malformed(ValueError):
    """A value does not fit.

    :ivar place: the fields and numbers that lead to it, the outermost first.
    """

    def __init__(self, reason: str, *place: str) -> None:
        super().__init__(reason)
        self.place = place

    @classmethod
    def at(cls, where: str, error: ValueError) -> "Malformed":
        """Return the error of a part as one of the whole."""
        below = error.place if isinstance(error, Malformed) else ()
        return cls(str(error), where, *below)


class Unknown(Malformed):
    """There is no field of this name."""


class Rule:
    """What a value has to fulfil, beyond its type."""

    def apply(self, value: Any) -> Any:
        """Return the value, perhaps in another form.

        :raises ValueError: if it is not allowed; the text completes "The value of".
        """
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: Reader) -> Any:
        """Tell pydantic the same."""
        function = {"type": "no-info", "function": self.apply}
        return {
            "type": "function-after",
            "function": function,
            "schema": handler(source),
        }


@dataclass(frozen=True, slots=True)
class MaxLength(Rule):
    """A text, or a list, is not longer than this."""

    limit: int

    def apply(self, value: Any) -> Any:
        if len(value) > self.limit:
            raise ValueError(f"input should have at most {self.limit} items")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Reader) -> Any:
        return {**handler(source), "max_length": self.limit}


@dataclass(frozen=True, slots=True)
class Within(Rule):
    """A number is in an interval; ``None`` leaves an end open."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def apply(self, value: Any) -> Any:
        # Written so that what is no number (NaN) is in no interval.
        if self.ge is not None and not value >= self.ge:
            raise ValueError(f"input should be greater than or equal to {self.ge}")
        if self.gt is not None and not value > self.gt:
            raise ValueError(f"input should be greater than {self.gt}")
        if self.le is not None and not value <= self.le:
            raise ValueError(f"input should be less than or equal to {self.le}")
        if self.lt is not None and not value < self.lt:
            raise ValueError(f"input should be less than {self.lt}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Reader) -> Any:
        bounds = {"ge": self.ge, "gt": self.gt, "le": self.le, "lt": self.lt}
        known = {name: end for name, end in bounds.items() if end is not None}
        return {**handler(source), **known}


@dataclass(frozen=True, slots=True)
class Matching(Rule):
    """A whole text matches a regular expression."""

    pattern: str

    def apply(self, value: Any) -> Any:
        return _matched(self.pattern, value)


@functools.lru_cache(maxsize=1024)
def _matched(pattern: str, text: str) -> str:
    """Return a text that matches, the same object for texts that come often.

    :raises ValueError: if it does not match.
    """
    if not re.fullmatch(pattern, text):
        raise ValueError(f"input should match {pattern}")
    return text


@dataclass(frozen=True, slots=True)
class Converted(Rule):
    """A value is brought into another form, or refused by a ``ValueError``."""

    function: Callable[[Any], Any]

    def apply(self, value: Any) -> Any:
        return self.function(value)


def read(kind: type[T], value: object, *, strict: bool = False) -> T:
    """Return the instance of a dataclass that an object of JSON or TOML describes.

    :param strict: refuse fields that the dataclass does not have; otherwise they are
        ignored.
    :raises Malformed: if it does not fit.
    """
    described: Any = kind
    if strict and isinstance(value, dict):
        for name in value:
            if name not in _names(described):
                raise Unknown("there is no such field", str(name))
    result: T = _reader(described)(value)
    return result


def plain(value: Any) -> Any:
    """Return what JSON makes of a value: without fields that are ``None``."""
    if is_dataclass(value):
        kind: Any = type(value)
        return {
            name: plain(each)
            for name in _names(kind)
            if (each := getattr(value, name)) is not None
        }
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return value


def sparse(value: Any) -> Any:
    """Return the same, without fields that are at their default."""
    if is_dataclass(value):
        kind: Any = type(value)
        return {
            name: sparse(each)
            for name, default in _defaults(kind)
            if (each := getattr(value, name)) is not None and each != default
        }
    if isinstance(value, tuple):
        return [sparse(each) for each in value]
    return value


@functools.cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a dataclass with their defaults, ``MISSING`` without one."""
    return tuple((each.name, each.default) for each in fields(kind))


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


@functools.cache
def _reader(kind: Any) -> Reader:
    """Return what reads values of an annotation."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _ruled(arguments[0], arguments[1:])
    if origin in _UNIONS:
        return _optional(arguments)
    if origin is Literal:
        return _literal(arguments)
    if origin is tuple:
        return _items(_reader(arguments[0]))
    if is_dataclass(kind):
        return _object(kind)
    return _READERS[origin or kind]


def _ruled(kind: Any, rules: tuple[Rule, ...]) -> Reader:
    reader = _reader(kind)
    applied = tuple(rule.apply for rule in rules)
    if get_origin(kind) is tuple:
        limits = tuple(r.apply for r in rules if isinstance(r, MaxLength))
        reader = _limited(reader, limits)
    if len(applied) == 1:
        # Netmaps are read by the thousand values, and most have one rule.
        (apply,) = applied
        return lambda value: apply(reader(value))

    def read_ruled(value: Any) -> Any:
        value = reader(value)
        for apply in applied:
            value = apply(value)
        return value

    return read_ruled


def _limited(reader: Reader, limits: tuple[Reader, ...]) -> Reader:
    """Return what reads lists that are not too long; others are not even read."""

    def read_limited(value: Any) -> Any:
        if isinstance(value, list):
            for apply in limits:
                apply(value)
        return reader(value)

    return read_limited


def _optional(kinds: tuple[Any, ...]) -> Reader:
    (kind,) = (each for each in kinds if each is not type(None))
    reader = _reader(kind)
    return lambda value: None if value is None else reader(value)


def _literal(allowed: tuple[Any, ...]) -> Reader:
    words = [repr(each) for each in allowed]
    listed = " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)

    def read_literal(value: Any) -> Any:
        if type(value) is not type(allowed[0]) or value not in allowed:
            raise Malformed(f"input should be {listed}")
        return value

    return read_literal


def _items(reader: Reader) -> Reader:
    def read_items(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise Malformed("input should be a list")
        items: list[Any] = []
        try:
            items.extend(map(reader, value))
        except ValueError as error:
            raise Malformed.at(str(len(items)), error) from None
        return tuple(items)

    return read_items


def _object(kind: Any) -> Reader:
    hints = get_type_hints(kind, include_extras=True)
    parts = [
        (
            each.name,
            _reader(hints[each.name]),
            each.default is MISSING and each.default_factory is MISSING,
        )
        for each in fields(kind)
    ]

    def read_object(value: Any) -> Any:
        if not isinstance(value, dict):
            raise Malformed("input should be an object")
        known: dict[str, Any] = {}
        for name, reader, is_required in parts:
            if name in value:
                try:
                    known[name] = reader(value[name])
                except ValueError as error:
                    raise Malformed.at(name, error) from None
            elif is_required:
                raise Malformed("a value is missing", name)
        return kind(**known)

    return read_object


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Malformed("input should be a text")
    if not value.isascii():
        # JSON can name halves of characters, which nothing else can write.
        value.encode()
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise Malformed("input should be a whole number")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise Malformed("input should be a number")
    try:
        number = float(value)
    except OverflowError:
        raise Malformed("input should be a smaller number") from None
    if not math.isfinite(number):
        # JSON has no word for these, but numbers that are too large become them.
        raise Malformed("input should be a finite number")
    return number


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise Malformed("input should be true or false")
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise Malformed("input should be a path")
    return Path(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed("input should be an object")
    return value


_READERS: dict[Any, Reader] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _truth,
    Path: _path,
    dict: _mapping,
}
