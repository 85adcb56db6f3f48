"""Shared memory: files go in, pixels come out, and neither is copied through a socket.

It is anonymous (memfd_create(2)), as /dev/shm is 64 MB in a container, and sealed: whoever shrinks
what another process has mapped ends that process.
"""

import fcntl
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field

_FIXED_SIZE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

_SMALLEST_BYTES = 2**20
_LARGEST_KEPT_BYTES = 2**26  # the pixels of a 16-megapixel picture
LARGEST_SHELF = 64
LARGEST_SHELF_BYTES = LARGEST_SHELF * _LARGEST_KEPT_BYTES
_LARGEST_WASTE = 4


def sealed_file(data: bytes) -> int:
    """Put a file into shared memory that nobody can change any more; return its descriptor."""
    descriptor = os.memfd_create("source", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FIXED_SIZE | fcntl.F_SEAL_WRITE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory for pixels, which service and helper have mapped.

    Attributes:
        number: Its name between these two.
        memory: As the service has mapped it.
        is_kept: Whether it will be used again.
    """

    number: int
    memory: mmap.mmap
    is_kept: bool
    shelf: "Shelf"


@dataclass(eq=False, slots=True)
class Shelf:
    """The buffers of one helper, who never has those of another: it might write into them.

    Attributes:
        forget: Tells the helper to unmap a buffer.
    """

    forget: Callable[[int], None]
    free: list[Buffer] = field(default_factory=list)
    kept: int = 0


class Memory:
    """All buffers. To fault their pages in anew takes as long as to decode, so they are kept."""

    def __init__(self, max_bytes: int) -> None:
        """Hold nothing yet, and never more than this but for what is lent."""
        self._max_bytes = max_bytes
        self._shelves: list[Shelf] = []
        self._bytes = self._lent = 0
        self._last_number = 0

    def shelf(self, forget: Callable[[int], None]) -> Shelf:
        """Make the shelf of a new helper."""
        shelf = Shelf(forget)
        self._shelves.append(shelf)
        return shelf

    def lend(self, shelf: Shelf, size: int) -> tuple[Buffer, list[int]]:
        """Lend a buffer of at least `size` bytes.

        Returns:
            The buffer, and if it is new its descriptor, for the helper; the caller closes it.
        """
        self._lent += 1
        fitting = [b for b in shelf.free if size <= len(b.memory) <= _LARGEST_WASTE * size]
        if fitting:
            buffer = min(fitting, key=lambda b: len(b.memory))
            shelf.free.remove(buffer)
            return buffer, []
        capacity = max(_SMALLEST_BYTES, 1 << (size - 1).bit_length())
        is_kept = capacity <= _LARGEST_KEPT_BYTES and shelf.kept < LARGEST_SHELF
        if not is_kept:
            capacity = size
        self._make_room(capacity)
        descriptor = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, capacity)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FIXED_SIZE)
        self._last_number += 1
        self._bytes += capacity
        shelf.kept += is_kept
        memory = mmap.mmap(descriptor, capacity)
        return Buffer(self._last_number, memory, is_kept, shelf), [descriptor]

    def take_back(self, buffer: Buffer) -> None:
        """End the loan: nobody looks at these pixels any more."""
        self._lent -= 1
        if not buffer.is_kept or buffer.shelf not in self._shelves:
            self._bytes -= len(buffer.memory)
        else:
            buffer.shelf.free.append(buffer)
            self._make_room(0)
        if not self._lent:  # at rest a helper keeps one, or the memory of a storm would stay
            for shelf in self._shelves:
                while len(shelf.free) > 1:
                    self._drop(shelf)

    def clear(self, shelf: Shelf) -> None:
        """Take leave of a helper that has ended."""
        self._shelves.remove(shelf)
        self._bytes -= sum(len(buffer.memory) for buffer in shelf.free)
        shelf.free.clear()

    def _make_room(self, size: int) -> None:
        for shelf in self._shelves:
            while shelf.free and self._bytes + size > self._max_bytes:
                self._drop(shelf)

    def _drop(self, shelf: Shelf) -> None:
        buffer = shelf.free.pop(0)
        self._bytes -= len(buffer.memory)
        shelf.kept -= 1
        shelf.forget(buffer.number)
