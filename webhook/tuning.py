"""How a process that computes is set up, whatever it is started for; before torch is loaded."""

import ctypes
import os
import sys

_M_ARENA_MAX = -8  # malloc.h

# After each of a network's operations the device's thread asks for the interpreter's lock again.
# By default whoever holds it may keep it for 5 ms, and the device would wait for its next order.
_SWITCH_INTERVAL_S = 0.0005


def tune_process() -> None:
    """Let the threads of the device, of the pixels and of S3 stand less in each other's way."""
    # Read when torch loads its OpenMP: a waiting thread sleeps instead of spinning, which beside
    # other work costs many times what the network computes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _share_freed_memory()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


def _share_freed_memory() -> None:
    """Have threads allocate from two places, not from one each, which keeps what it ever held.

    Under load that is 40 % of the resident memory. Of glibc only.
    """
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 2)
