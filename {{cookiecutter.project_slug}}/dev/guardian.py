"""Sees to it that nothing outlives the supervisor, however that dies.

The supervisor starts this first, as leader of a new process group, with the read end of a pipe as standard input.
The only write end is the supervisor's. Every child joins this process's group; when the pipe closes, the guardian
ends the group, itself included. It works where `PR_SET_PDEATHSIG` does not exist (macOS), and for grandchildren.

Run by path with `python -I -S`: standard library only, so that it is there before anything needs it.
"""

import contextlib
import fcntl
import os
import signal
import sys
import time

GRACE_SECONDS = 2.0


def main(lock_path: str, state_path: str) -> None:
    """Hold the lock, say "ready", wait for the pipe to close, then remove the state file and end the group."""
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    # Held until the last child is dead: whoever gets it next finds no old process on the same files.
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    os.write(1, b"ready\n")
    while os.read(0, 1024):
        pass
    with contextlib.suppress(OSError):
        os.unlink(state_path)  # it says that everything is up
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
