"""The content of a record, a tf.Example: named lists of byte strings or of floats, in protobuf's wire format.

Example   1: Features            Feature    1: BytesList   2: FloatList   (3: Int64List)
Features  1: entry, repeated     BytesList  1: bytes, repeated
entry     1: name   2: Feature   FloatList  1: float32, repeated, packed or not
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .scenes import ScenesError
from .tfrecords import DOWNLOAD_AGAIN, Record

VARINT, EIGHT_BYTES, SIZED, FOUR_BYTES = 0, 1, 2, 5
"""Wire types that fields of a message can have: a number, 8 bytes, a length and so many bytes, 4 bytes."""
LONGEST_VARINT = 10
"""Bytes."""


class Feature(NamedTuple):
    """One named list; the kind that it is not stays empty."""

    strings: list[bytes]
    floats: np.ndarray
    """float32 (N,)."""


def parse_example(record: Record) -> dict[str, Feature]:
    """The features of a record by name. Fields that this program does not know are passed over."""
    features: dict[str, Feature] = {}
    try:
        for group in _sized(memoryview(record.content), 1):
            for entry in _sized(group, 1):
                name = b"".join(_sized(entry, 1)).decode()
                features[name] = _feature(list(_sized(entry, 2)))
    except ValueError as error:  # of _fields, of a name that is not UTF-8, of floats that end in the middle
        raise ScenesError(f"{record.place}: expected a tf.Example, got {error}: {DOWNLOAD_AGAIN}") from error
    return features


def _feature(messages: list[memoryview]) -> Feature:
    strings, floats = [], []
    for message in messages:
        for values in _sized(message, 1):
            strings += [bytes(string) for string in _sized(values, 1)]
        for values in _sized(message, 2):
            floats += [field for number, kind, field in _fields(values) if (number, kind) in _FLOATS]
    return Feature(strings, np.frombuffer(b"".join(floats), "<f4"))


_FLOATS = {(1, SIZED), (1, FOUR_BYTES)}
"""Field and wire type of packed floats, and of a single one."""


def _sized(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Contents of the fields of number `wanted` that are strings or messages."""
    return (content for number, kind, content in _fields(message) if (number, kind) == (wanted, SIZED))


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Number, wire type and content of each field of a message."""
    position = 0
    while position < len(message):
        key, start = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            _, position = _varint(message, start)
        elif kind == SIZED:
            length, start = _varint(message, start)
            position = start + length
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            position = start + (8 if kind == EIGHT_BYTES else 4)
        else:
            raise ValueError(f"a field of wire type {kind}")
        if position > len(message):
            raise ValueError(f"a field of {position - start} bytes where {len(message) - start} are left")
        yield number, kind, message[start:position]


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and the position after it."""
    value = 0
    for count, byte in enumerate(message[position : position + LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise ValueError("a number without an end")
