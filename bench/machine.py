"""What every benchmark says of the machine it ran on, and of its own memory."""

import os
import platform
import signal
import threading
from pathlib import Path
from typing import Self

_MEMORY_INTERVAL_S = 0.1


def describe_machine() -> str:
    """Name the processor, its cores, and how busy they are."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = (*names, platform.machine())[0]
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def peak_rss_bytes(pid: int | str = "self") -> int:
    """Return the most memory that a process has had; getrusage counts its parent's in."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/status has no VmHWM")


class MemoryProbe(threading.Thread):
    """Watches the memory of a process and all its descendants while it is entered.

    What they share is counted once (proportional set size). A process that takes far too much is
    killed, as the kernel might choose another one.
    """

    def __init__(self, pid: int, deadly_bytes: float) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._pid = pid
        self._deadly_bytes = deadly_bytes
        self._over = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(_MEMORY_INTERVAL_S):
            used = sum(map(_proportional_bytes, process_tree(self._pid)))
            self.peak_bytes = max(self.peak_bytes, used)
            if used > self._deadly_bytes:
                os.kill(self._pid, signal.SIGKILL)
                return

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and wait for the end."""
        self._over.set()
        self.join()


def process_tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for process in found:
        try:
            for children in Path(f"/proc/{process}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        except OSError:  # it has ended meanwhile
            continue
    return found


def _proportional_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has ended meanwhile
        pass
    return 0
