"""What a helper can't do, whatever a broken codec makes of it. Linux only."""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38  # prctl(2)

_SECCOMP_MODE_FILTER, _ALLOW, _REFUSE = 2, 0x7FFF0000, 0x00050000 | errno.EPERM  # seccomp(2)
_LOAD_WORD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of a filter program, linux/bpf_common.h
_CALL, _ARCHITECTURE = 0, 4  # where the filter finds them
# execve, execveat, fork, vfork, clone, clone3, socket, socketpair, ptrace, process_vm_readv
_FORBIDDEN = {
    "x86_64": (0xC000003E, (59, 322, 57, 58, 56, 435, 41, 53, 101, 310)),
    "aarch64": (0xC00000B7, (221, 281, 220, 435, 198, 199, 117, 270)),
}
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # landlock(7); the numbers are every architecture's
_ASK_FOR_VERSION = 1
# How many kinds of access to files each version of Landlock knows; later ones at least as many.
_FILE_ACCESSES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP, _TCP_SINCE = 0b11, 4
_OTHERS, _OTHERS_SINCE = 0b11, 6  # abstract sockets of other processes, signals to them

_DESCRIPTORS = 128  # one for each buffer that is mapped
_PAGE_BYTES = resource.getpagesize()

_libc = ctypes.CDLL(None, use_errno=True)


class Confinement:
    """The limits of this process, which has been forked to decode and for nothing else."""

    def __init__(self, max_address_space: int) -> None:
        """Give up for good whatever decoding does not need.

        That is: outliving the parent, new privileges, processes, threads and connections, files,
        core dumps, more than a few descriptors, and more than `max_address_space` bytes; where the
        kernel has Landlock, also the whole file system and signals to others.
        """
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        self._max_address_space = _limit(resource.RLIMIT_AS, max_address_space)
        _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
        _limit(resource.RLIMIT_NPROC, 0)
        _limit(resource.RLIMIT_FSIZE, 0)
        _limit(resource.RLIMIT_CORE, 0)
        _leave_the_file_system()
        _forbid_calls()

    def allow(self, memory_bytes: int, cpu_s: float) -> None:
        """Let the next step take so much memory beyond what is in use, and time of a core.

        The kernel counts the time, and only while this process runs: a busy machine takes none of
        it. It ends by SIGPROF; memory by an allocation that fails.
        """
        in_use = int(os.pread(self._statm, 32, 0).split()[0]) * _PAGE_BYTES
        most = min(in_use + memory_bytes, self._max_address_space)
        resource.setrlimit(resource.RLIMIT_AS, (most, self._max_address_space))
        signal.setitimer(signal.ITIMER_PROF, cpu_s)

    def rest(self) -> None:
        """End what `allow` has begun."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (self._max_address_space,) * 2)


def _limit(kind: int, most: int) -> int:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))
    return most


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _leave_the_file_system() -> None:
    """Allow this process no file at all, where the kernel can forbid it."""
    version = _libc.syscall(_CREATE_RULESET, None, 0, _ASK_FOR_VERSION)
    if version < 1:
        return  # Linux before 5.13, or a sandbox that knows no Landlock
    files = (1 << _FILE_ACCESSES[min(version, max(_FILE_ACCESSES))]) - 1
    tcp = _TCP if version >= _TCP_SINCE else 0
    others = _OTHERS if version >= _OTHERS_SINCE else 0
    attributes = struct.pack("QQQ", files, tcp, others)
    size = 8 if version < _TCP_SINCE else 16 if version < _OTHERS_SINCE else 24
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0 or _libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock")
    os.close(ruleset)


def _forbid_calls() -> None:
    """Have the kernel refuse the calls that begin something new."""
    if platform.machine() not in _FORBIDDEN:
        return
    architecture, calls = _FORBIDDEN[platform.machine()]
    to_the_end = len(calls) + 1
    program = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 0, to_the_end, architecture),  # else: refused, as is x86's older numbering
        (_LOAD_WORD, 0, 0, _CALL),
        *((_IF_EQUAL, len(calls) - place, 0, call) for place, call in enumerate(calls)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
