"""What a remote store has to be able to do, and how a value lies in it.

How a value is never stored after an invalidation that came while it was computed, without a lock
and without asking twice: before computing, something is put at the key itself, a *placeholder* of
its own random token. The value is stored only if what lies at the key is still what was seen before
(a compare and set). Whoever invalidates deletes what lies there, value or placeholder; whoever
comes later puts down a new one, with another token. An eviction, a restart or a flush of the store
has the same effect. So the only state that this needs is the key's own.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import NamedTuple

__all__ = ["LEASE", "STAMP_SIZE", "Backend", "Record", "Seen", "Want", "Write", "placeholder"]

LEASE = 300.0
"""Seconds that a placeholder lives: the result of a longer computation is not stored."""

STAMP_SIZE = 17  # the kind and the token
_HEAD = struct.Struct("<dd B")
_TOKEN_SIZE = 16
# Seconds since the epoch; no clock of a machine that is set right says more (year 5138).
_LATEST = 1e11


class Want(NamedTuple):
    """A key and the tags that its value has or will have."""

    key: str
    tags: frozenset[str]


class Seen(NamedTuple):
    """What lies at a key. The value may be stored there as long as the stamp is the same."""

    record: bytes | None
    """A value's record; None for a placeholder."""
    stamp: Hashable


class Write(NamedTuple):
    key: str
    tags: frozenset[str]
    stamp: Hashable | None
    """Only over what this stamp was seen on; None: over anything."""
    record: bytes
    seconds: float


class Record(NamedTuple):
    """A value as it lies in the store. Times are seconds since the epoch, on the writer's clock."""

    created: float
    expires: float
    codec: str
    payload: bytes

    def encode(self) -> bytes:
        codec = self.codec.encode()
        head = _HEAD.pack(self.created, self.expires, len(codec))
        return b"".join((b"V", os.urandom(_TOKEN_SIZE), head, codec, self.payload))

    @classmethod
    def decode(cls, data: bytes) -> Record | None:
        """None for what no Ember cache of this version has written: a store is shared, and whatever
        else writes there must not reach a caller."""
        if data[:1] != b"V" or len(data) < STAMP_SIZE + _HEAD.size:
            return None
        created, expires, size = _HEAD.unpack_from(data, STAMP_SIZE)
        at = STAMP_SIZE + _HEAD.size
        # Not a number is outside too.
        if not (0 <= created <= _LATEST and 0 <= expires <= _LATEST) or len(data) < at + size:
            return None
        codec = data[at : at + size].decode("utf-8", "replace")
        return cls(created, expires, codec, data[at + size :])


def placeholder() -> bytes:
    return b"P" + os.urandom(_TOKEN_SIZE)


class Backend(ABC):
    """A store. Every method may raise whatever its client raises: the guard in front decides."""

    refusals: tuple[type[Exception], ...] = ()
    """Errors by which the store itself says no: it is there, only this operation failed."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For the log, without passwords."""

    @abstractmethod
    async def read(self, wants: Sequence[Want]) -> list[Seen | None]:
        """What lies at each key; None where there is nothing (or nothing that is still valid)."""

    @abstractmethod
    async def begin(self, wants: Sequence[Want]) -> list[Seen | None]:
        """The same, after putting a placeholder where there was nothing. None: it did not last."""

    @abstractmethod
    async def write(self, writes: Sequence[Write]) -> list[bool]:
        """Store each record for its seconds; False where something else lies there by now."""

    @abstractmethod
    async def delete(self, key: str) -> None: ...

    @abstractmethod
    async def delete_tag(self, tag: str) -> None: ...

    @abstractmethod
    async def delete_pattern(self, pattern: str) -> None: ...

    async def lock(self, key: str, seconds: float) -> bytes | None:
        """Take the lock that all processes see, or None: somebody has it."""
        raise NotImplementedError(f"{self.name} has no locks")

    async def unlock(self, key: str, token: bytes) -> None:
        raise NotImplementedError(f"{self.name} has no locks")

    @abstractmethod
    async def close(self) -> None:
        """Close the connections; the next operation opens new ones."""

    @abstractmethod
    def forget(self) -> None:
        """Drop connections that belong to a loop which is gone."""
