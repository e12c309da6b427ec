"""Run a command in a network namespace of its own: `python -m tests.realbed.netns COMMAND [ARG...]`.

Argo Rollouts binds its two ports to every address and has no flag against it; in here nothing can reach them.
Works as root and as an ordinary user. Where no namespaces are allowed, REALBED_NO_NETNS=1 runs without.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys

_INSIDE = "REALBED_NETNS"
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x1 | 0x40


def enter() -> None:
    """Come back from here only inside of a new network namespace, with its loopback up."""
    if os.environ.get("REALBED_NO_NETNS"):
        return
    if os.environ.pop(_INSIDE, None):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))
        return
    unshare = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else [])]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        sys.exit(
            "this machine allows no network namespace; REALBED_NO_NETNS=1 runs without one "
            "(two ports of Argo Rollouts then listen on every address)"
        )
    os.environ[_INSIDE] = "1"
    os.execvp("unshare", [*unshare, *sys.orig_argv])  # noqa: S606  # no shell wanted


if __name__ == "__main__":
    enter()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  # no shell wanted
