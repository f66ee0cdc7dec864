"""TFRecord files without TensorFlow: records one after the other, every length and content checked.

A record is the length of its content (uint64), the length's masked CRC32C (uint32), the content, and the
content's masked CRC32C, all little-endian. The format has no count of records: a file that was cut exactly
between two of them cannot be told from a shorter one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from .scenes import ScenesError

LENGTH_BYTES, CRC_BYTES = 8, 4
HEADER_BYTES = LENGTH_BYTES + CRC_BYTES
MASK = 0xA282EAD8
"""Added to a rotated CRC, so that the CRC of data which contain CRCs stays a good one."""
DOWNLOAD_AGAIN = "download this file again"
NO_PACKAGE = "checking TFRecords needs google-crc32c: pip install 'gqn-transfer[tfrecords]'"


class Record(NamedTuple):
    """One record, with what an error about it has to say."""

    place: str
    """File, number of the record (the first is 1) and byte offset."""
    content: bytes


def read_records(path: Path, offset: int = 0, number: int = 1) -> Iterator[Record]:
    """The records of a file from byte `offset` on, where record `number` begins."""
    with open(path, "rb") as file:
        for place, _, length in _walk(file, path, offset, number):
            content = file.read(length)
            _check_crc(content, file.read(CRC_BYTES), f"{place}: its content")
            yield Record(place, content)


def record_offsets(path: Path) -> np.ndarray:
    """int64 (N,): the byte at which each record begins. Lengths are checked, contents are not read."""
    with open(path, "rb") as file:
        return np.array([offset for _, offset, _ in _walk(file, path, 0, 1)], np.int64)


def _walk(file: BinaryIO, path: Path, offset: int, number: int) -> Iterator[tuple[str, int, int]]:
    """Place, offset and content length of each record; `file` then stands at the content."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise ScenesError(f"{path} is empty, expected at least one record: {DOWNLOAD_AGAIN}")
    while offset < size:
        place = f"{path}: record {number} at byte {offset}"
        file.seek(offset)
        length = _read_length(file, size - offset, place)
        yield place, offset, length
        offset += HEADER_BYTES + length + CRC_BYTES
        number += 1


def _read_length(file: BinaryIO, left: int, place: str) -> int:
    """Length of the content of the record that begins here, `left` bytes before the end of the file."""
    if left < HEADER_BYTES:
        raise _truncated(place, HEADER_BYTES, left)
    header = file.read(LENGTH_BYTES)
    _check_crc(header, file.read(CRC_BYTES), f"{place}: its length")
    length = int.from_bytes(header, "little")
    if left < HEADER_BYTES + length + CRC_BYTES:
        raise _truncated(place, HEADER_BYTES + length + CRC_BYTES, left)
    return length


def _truncated(place: str, expected: int, left: int) -> ScenesError:
    return ScenesError(
        f"{place}: the file is truncated, expected {expected} bytes, got {left}: {DOWNLOAD_AGAIN}"
    )


def _check_crc(data: bytes, stored: bytes, what: str) -> None:
    expected, found = int.from_bytes(stored, "little"), masked_crc(data)
    if found != expected:
        raise ScenesError(
            f"{what} is damaged, expected CRC {expected:#010x}, got {found:#010x}: {DOWNLOAD_AGAIN}"
        )


def masked_crc(data: bytes) -> int:
    """The CRC32C of `data` as TFRecords store it: rotated right by 15 bits, `MASK` added."""
    try:
        from google_crc32c import value
    except ImportError as error:
        raise ScenesError(NO_PACKAGE) from error
    crc = value(data)
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF
