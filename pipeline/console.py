"""What the three commands share at the command line: messages instead of tracebacks, exit codes."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable
from types import FrameType

OK = 0
SOME_FAILED = 1
"""The command did its work, but not for every clip."""
REFUSED = 2
"""The command could not do its work: the message says why."""
INTERRUPTED = 130


def run_command(command: Callable[[], int], *, how_to_go_on: str) -> int:
    """The exit code of `command`, with what stops it said in one message on standard error.

    ValueError is what a user can mend; OSError what the machine refused. Anything else is our
    mistake and keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return command()
    except KeyboardInterrupt:
        print(f"\nStopped. What was done is kept. {how_to_go_on}", file=sys.stderr)
        return INTERRUPTED
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {_explain(error)} {how_to_go_on}", file=sys.stderr)
    return REFUSED


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _explain(error: OSError) -> str:
    # HDF5 gives the number only in its text.
    if error.errno == errno.ENOSPC or f"errno = {errno.ENOSPC}" in str(error):
        return "The disk is full. What was done is kept. Free some space, then go on."
    return f"{error}."
