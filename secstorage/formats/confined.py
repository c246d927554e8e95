"""Become another program that may do next to nothing: `python3 confined.py JSON ARGV...`

Run as a program of its own, with nothing of ours loaded. JSON has `reads` and `writes` (paths),
`memory_bytes`, `seconds` (of processor time) and `file_bytes`. The limits are rlimits
(setrlimit(2)), a seccomp filter that takes away the network, other processes and the kernel's odder corners,
and Landlock (landlock(7)), where the kernel has it, so that no other file can be opened.
"""

import ctypes
import json
import os
import resource
import sys

_LIBC = ctypes.CDLL(None, use_errno=True)
_NO_NEW_PRIVILEGES = 38
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | 1
"""With EPERM."""
REFUSED = (
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "kill", "tkill"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "move_mount", "fsopen"),
    *("bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "io_uring_setup"),
    *("open_by_handle_at", "name_to_handle_at", "init_module", "finit_module", "kexec_load", "reboot"),
    *("symlink", "symlinkat", "link", "linkat", "rename", "renameat", "renameat2", "mknod", "mknodat"),
    *("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat", "chown", "fchown"),
)
_LANDLOCK = (444, 445, 446)
"""Numbers of its system calls: the same on all architectures."""
_EXECUTE, _WRITE, _READ, _READ_DIRECTORY, _TRUNCATE = 1, 2, 4, 8, 1 << 14
_PROGRAMS = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/dev/null",
    "/proc/self",
    "/sys/devices/system/cpu",
)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def main() -> None:
    limits = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limits["seconds"], limits["seconds"] + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no new privileges")
    if _landlock_version() > 0:
        _landlock(limits["reads"], limits["writes"])
    _seccomp()
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606


def _landlock_version() -> int:
    """0: the kernel has none."""
    return max(0, int(_LIBC.syscall(_LANDLOCK[0], None, ctypes.c_size_t(0), 1)))


def _landlock(reads: list[str], writes: list[str]) -> None:
    version = _landlock_version()
    handled = (1 << (15 if version >= 3 else 14 if version == 2 else 13)) - 1
    attribute = ctypes.c_uint64(handled)
    ruleset = _LIBC.syscall(_LANDLOCK[0], ctypes.byref(attribute), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock")
    for path in _PROGRAMS:
        _allow(ruleset, path, _EXECUTE | _READ | (_READ_DIRECTORY if os.path.isdir(path) else 0))  # noqa: PTH112
    for path in reads:
        _allow(ruleset, path, _READ)
    for path in writes:
        _allow(ruleset, path, (_READ | _WRITE | _TRUNCATE) & handled)
    if _LIBC.syscall(_LANDLOCK[2], ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock")


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    rule = _Beneath(rights, parent)
    if _LIBC.syscall(_LANDLOCK[1], ruleset, 1, ctypes.byref(rule), 0):
        raise OSError(ctypes.get_errno(), f"landlock: {path}")
    os.close(parent)


def _seccomp() -> None:
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_ALLOW))
    for name in REFUSED:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0 and library.seccomp_rule_add(context, _REFUSE, number, 0):
            raise OSError(f"seccomp: {name}")
    if library.seccomp_load(context):
        raise OSError("seccomp: the filter can't be loaded")


if __name__ == "__main__":
    main()
