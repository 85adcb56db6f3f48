"""The processes that decode for a running service, found from outside, and their ends."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def helpers_of(service: int) -> list[int]:
    """Return the helpers of a service: the zygote is its child, and they are the zygote's."""
    zygotes = [child for child in _children(service) if _is_zygote(child)]
    return [helper for zygote in zygotes for helper in _children(zygote)]


def is_decoding(process: int, pixels: int) -> bool:
    """Tell whether a helper has that many pixels mapped; large ones only while it decodes them."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            start, end = (int(place, 16) for place in line.split()[0].split("-"))
            if "memfd:pixels" in line and end - start >= 4 * pixels:
                return True
    return False


@contextmanager
def ending_helpers(
    service: int,
    number: signal.Signals,
    every_s: float,
    chosen: Callable[[int], bool] = lambda _: True,
) -> Iterator[list[int]]:
    """Send a signal to each helper that is `chosen`, again and again; yield those that got it."""
    ended: list[int] = []
    over = threading.Event()

    def keep_ending() -> None:
        while not over.wait(every_s):
            for helper in filter(chosen, helpers_of(service)):
                with suppress(ProcessLookupError):
                    os.kill(helper, number)
                    ended.append(helper)

    thread = threading.Thread(target=keep_ending, daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        over.set()
        thread.join()


def _children(process: int) -> list[int]:
    """Return the children of a process that its main thread has started."""
    with suppress(OSError):  # it has ended meanwhile
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
        return [int(child) for child in children.split()]
    return []


def _is_zygote(process: int) -> bool:
    with suppress(OSError):
        return b"webhook.decoders.zygote" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False
