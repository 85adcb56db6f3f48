"""Helpers by demand, a picture each at a time, and what a picture may take of them.

Nothing that a helper says is believed but sizes, and these are checked. One that ends, or is ended,
costs nobody but its own picture: the next is forked within milliseconds.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from anyio import CapacityLimiter

from webhook.budget import Share
from webhook.decoders.memory import LARGEST_SHELF_BYTES, Buffer, Memory, Shelf, sealed_file
from webhook.decoders.processes import Ended, Helper, Zygote
from webhook.errors import (
    ConfigurationError,
    DecodersUnavailable,
    ImageTooLarge,
    RemovalError,
    ServiceFault,
    UnsupportedImage,
)
from webhook.imaging import IgnoredProfile, SourceImage
from webhook.telemetry import DECODERS_ENDED, log

_RETURN = TypeVar("_RETURN")

_REJECTIONS = {error.code: error for error in (ImageTooLarge, UnsupportedImage)}

# At least three times the most that honest pictures of any size take. Of a core's time that is
# 0.05 s and 1.5e-7 s a pixel, for a progressive CMYK JPEG with a profile; a busy or old core needs
# twice that. Of memory it is 16 bytes a pixel, for a WEBP.
_CPU_S, _CPU_S_PER_BYTE, _CPU_S_PER_PIXEL = 0.2, 3e-8, 5e-7
_MEMORY_BYTES, _MEMORY_PER_BYTE, _MEMORY_PER_PIXEL = 2**26, 4, 46
_PROGRAM_BYTES = 2**30  # of addresses, most of them of libraries
_LARGEST_FILE_BYTES = 2**28
_BYTES_PER_PIXEL = 4

_SMALL_GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"

_TRIES = 4
_TRIES_AFTER_A_FAULT = 2


@dataclass(frozen=True, slots=True)
class File:
    """A source in memory that nobody can change.

    Attributes:
        descriptor: Of that memory.
        size_bytes: Of the file.
    """

    descriptor: int
    size_bytes: int


class Decoders:
    """Processes that decode; see `open_decoders`."""

    def __init__(self, helpers: int, max_pixels: int, memory: Memory, patience_s: float) -> None:
        self._places = CapacityLimiter(helpers)
        self._idle: list[tuple[Helper, Shelf]] = []
        self._zygote: Zygote | None = None
        self._starting = asyncio.Lock()
        self._max_pixels = max_pixels
        self._memory = memory
        self._patience_s = patience_s

    @contextmanager
    def opened(self, data: bytes) -> Iterator[File]:
        """Hold a file where helpers can read it."""
        descriptor = sealed_file(data)
        try:
            yield File(descriptor, len(data))
        finally:
            os.close(descriptor)

    async def probe(self, file: File) -> int:
        """Return how many pixels `decode` would give, by the header alone.

        Raises:
            ImageRejected: as `imaging.probe` does, and if it takes too much or breaks the codec.
            DecodersUnavailable: the helpers were ended by others, again and again.
        """

        async def step(helper: Helper, _: Shelf) -> int:
            answer = await self._ask(helper, self._order(file, 0), [file.descriptor])
            pixels = answer.get("pixels")
            if not isinstance(pixels, int) or not 0 <= pixels <= self._max_pixels:
                raise Ended("fault", "a wrong answer")
            return pixels

        return await self._with_helper(step)

    async def decode(self, file: File, pixels: int) -> tuple[SourceImage, Share]:
        """Decode the first frame, as `imaging.decode` does.

        Args:
            file: From `opened`.
            pixels: From `probe`.

        Returns:
            The image, and a share in its memory: when all have let go it is another image's.

        Raises:
            ImageRejected, DecodersUnavailable: as `probe` does.
        """

        async def step(helper: Helper, shelf: Shelf) -> tuple[SourceImage, Buffer]:
            buffer, descriptors = self._memory.lend(shelf, _BYTES_PER_PIXEL * pixels)
            order = self._order(file, pixels) | {
                "buffer": buffer.number,
                "buffer_bytes": len(buffer.memory),
                "keep": buffer.is_kept,
            }
            try:
                answer = await self._ask(helper, order, [file.descriptor, *descriptors])
                return _image(answer, buffer, pixels), buffer
            except BaseException:
                self._memory.take_back(buffer)
                raise
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

        image, buffer = await self._with_helper(step)
        return image, Share(partial(self._memory.take_back, buffer))

    def _order(self, file: File, pixels: int) -> dict[str, Any]:
        size = file.size_bytes
        cpu_s = _CPU_S + _CPU_S_PER_BYTE * size + _CPU_S_PER_PIXEL * pixels
        return {
            "file_bytes": size,
            "max_pixels": self._max_pixels,
            "cpu_s": min(cpu_s, self._patience_s / 2),
            "memory_bytes": _allowed_memory(size, pixels),
        }

    async def _ask(
        self, helper: Helper, order: dict[str, Any], descriptors: list[int]
    ) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._patience_s):
                answer = await helper.ask(order, descriptors)
        except TimeoutError as exc:
            raise Ended("slow") from exc
        if "outgrew" in answer:
            raise Ended("memory")
        if "bug" in answer:
            raise ServiceFault("Internal error; the log of the service has the details.") from (
                RuntimeError(str(answer["bug"]))
            )
        if "rejected" in answer:
            rejection = _REJECTIONS.get(str(answer["rejected"]), UnsupportedImage)
            raise rejection(str(answer.get("message")))
        return answer

    async def _with_helper(self, step: Callable[[Helper, Shelf], Awaitable[_RETURN]]) -> _RETURN:
        """Take a step, and once more where its end may have been another's doing."""
        faults = 0
        for _ in range(_TRIES):
            try:
                async with self._helper(is_new=faults > 0) as (helper, shelf):
                    return await step(helper, shelf)
            except Ended as end:
                DECODERS_ENDED.labels(end.reason).inc()
                log.warning("decoder_ended", reason=end.reason, detail=str(end))
                if end.reason in ("time", "memory"):
                    raise UnsupportedImage(
                        f"The image takes far more {end.reason} than its pixels do."
                    ) from end
                # Of a fault a picture before it may be guilty, in the same process.
                faults += end.reason == "fault"
                if faults == _TRIES_AFTER_A_FAULT:
                    raise UnsupportedImage("The image breaks its decoder.") from end
        raise DecodersUnavailable("The processes that decode images are ended from outside.")

    @asynccontextmanager
    async def _helper(self, *, is_new: bool) -> AsyncIterator[tuple[Helper, Shelf]]:
        """Hold a helper; whoever leaves it by an error but a rejection ends it."""
        async with self._places:
            helper, shelf = self._idle.pop() if self._idle and not is_new else await self._fork()
            try:
                yield helper, shelf
            except (ImageTooLarge, UnsupportedImage, ServiceFault):
                self._idle.append((helper, shelf))
                raise
            except BaseException:
                self._discard(helper, shelf)
                raise
            self._idle.append((helper, shelf))

    def _discard(self, helper: Helper, shelf: Shelf) -> None:
        helper.kill()
        self._memory.clear(shelf)

    async def _fork(self) -> tuple[Helper, Shelf]:
        for _ in range(2):
            async with self._starting:
                if self._zygote is None:
                    await self.start()
                zygote = self._zygote
                assert zygote is not None
                try:
                    helper = await zygote.fork()
                except OSError:  # it was ended from outside
                    self.close()
                    continue
            return helper, self._memory.shelf(helper.forget)
        raise DecodersUnavailable("The processes that decode images can't be started.")

    async def start(self) -> None:
        """Start the process that forks helpers.

        Raises:
            OSError: it does not start.
        """
        allowed = _allowed_memory(_LARGEST_FILE_BYTES, self._max_pixels)
        self._zygote = await Zygote.start(_PROGRAM_BYTES + LARGEST_SHELF_BYTES + allowed)

    def close(self) -> None:
        """End all processes."""
        while self._idle:
            self._discard(*self._idle.pop())
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None


@asynccontextmanager
async def open_decoders(
    helpers: int, *, max_pixels: int, max_pixels_in_flight: int, patience_s: float
) -> AsyncIterator[Decoders]:
    """Start what forks helpers; end it and them at the end.

    Args:
        helpers: How many there may be at once.
        max_pixels: Of one image.
        max_pixels_in_flight: Of all decoded images together.
        patience_s: How long a step may take on a machine that has no time for it.

    Raises:
        ConfigurationError: it does not work on this machine.
    """
    memory = Memory(_BYTES_PER_PIXEL * max_pixels_in_flight)
    decoders = Decoders(helpers, max_pixels, memory, patience_s)
    try:
        await decoders.start()
        with decoders.opened(_SMALL_GIF) as file:
            await decoders.probe(file)
    except (OSError, RemovalError) as exc:
        decoders.close()
        reason = exc.__cause__ or exc
        raise ConfigurationError(f"Images can't be decoded on this machine: {reason}") from exc
    try:
        yield decoders
    finally:
        decoders.close()


def _allowed_memory(file_bytes: int, pixels: int) -> int:
    return _MEMORY_BYTES + _MEMORY_PER_BYTE * file_bytes + _MEMORY_PER_PIXEL * pixels


def _image(answer: dict[str, Any], buffer: Buffer, pixels: int) -> SourceImage:
    """View the buffer as the image that a helper says is in it."""
    match answer:
        case {"height": int(height), "width": int(width), "has_alpha": bool(has_alpha)} if (
            height > 0 and width > 0 and height * width == pixels
        ):
            rgba = np.ndarray((height, width, 4), np.uint8, buffer=buffer.memory)
            return SourceImage(rgba, has_alpha, _ignored_profile(answer))
        case _:
            raise Ended("fault", "a wrong answer")


def _ignored_profile(answer: dict[str, Any]) -> IgnoredProfile | None:
    match answer.get("ignored_profile"):
        case {"reason": str(reason), "profile_bytes": int(size)}:
            return IgnoredProfile(reason, size)
        case _:
            return None
