"""How does a child die with its parent, even when the parent is killed with SIGKILL?

Run as a program, `tether.py PARENT_PID -- COMMAND...`: it asks Linux for a SIGKILL at the parent's death
(prctl(2), PR_SET_PDEATHSIG, which survives execve) and becomes COMMAND. On other systems it only becomes
COMMAND. It imports nothing of voicestack, so that it starts fast.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""
CANNOT_RUN = 127
"""The exit status with which a shell says the same (POSIX, "Exit Status for Commands")."""


def main(arguments: list[str]) -> int:
    """Become the command. Returns only when that is impossible or pointless."""
    parent_pid, separator, *command = arguments
    if separator != "--" or not command:
        sys.stderr.write("usage: tether.py PARENT_PID -- COMMAND...\n")
        return 2
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            sys.stderr.write(f"tether: prctl: {os.strerror(ctypes.get_errno())}\n")
            return CANNOT_RUN
    # The parent may have died before the request was in force: then nobody would ever send the signal.
    if os.getppid() != int(parent_pid):
        return 0
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
    return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
