"""Run as a script: gives up root where told to, dies with its parent, becomes the program given.

    guard.py <parent's pid> <signal at its death> <uid, or - to stay> <program> <argument>...

A script of its own, and not code between fork and exec, because threads of the parent could hold
locks there. It imports nothing of ours: Python runs it by its path, isolated.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Never returns."""
    parent, death_signal, uid, *program = argv
    if uid != "-":
        os.setgroups([])
        os.setgid(pwd.getpwuid(int(uid)).pw_gid)
        os.setuid(int(uid))
    if sys.platform == "linux":
        # After the change of user, which clears it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.execv(program[0], program)
    except OSError as exc:
        sys.exit(f"{program[0]} can't be run: {exc.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
