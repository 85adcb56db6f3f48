"""What every benchmark says of the machine it ran on, and of its own memory."""

import os
import platform
from pathlib import Path


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
