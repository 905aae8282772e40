"""What commands share at the command line: messages for tracebacks, exit codes, names shown."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import unicodedata
from collections.abc import Callable
from types import FrameType

OK = 0
SOME_FAILED = 1
"""The command did its work, but not for every clip."""
REFUSED = 2
"""The command could not do its work: the message says why."""
INTERRUPTED = 130
UNREAD = 141
"""Nobody reads the answers any more, as after `| head`: what a shell says of SIGPIPE."""
_OUTPUTS = (1, 2)  # as the system numbers them: stdout, stderr
_OF_MESSAGES = "\n\t"
# Control characters, halves of surrogate pairs (bytes that are no UTF-8), line and paragraph ends.
_STEERING = ("Cc", "Cs", "Zl", "Zp")


def run_command(command: Callable[[], int], *, how_to_go_on: str) -> int:
    """The exit code of `command`, with what stops it said in one message on standard error.

    ValueError is what a user can mend; OSError what the machine refused. Anything else is our
    mistake and keeps its traceback. Answers that nobody reads to their end stop it in silence.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()  # else the interpreter does so at its end, and complains
    except KeyboardInterrupt:
        print(f"\nStopped. What was done is kept. {how_to_go_on}", file=sys.stderr)
        return INTERRUPTED
    except ValueError as error:
        print(f"error: {show_name(str(error), kept=_OF_MESSAGES)}", file=sys.stderr)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _drop_unread():
            return UNREAD
        told = show_name(_explain(error), kept=_OF_MESSAGES)
        print(f"error: {told} {how_to_go_on}", file=sys.stderr)
    return REFUSED


def _drop_unread() -> bool:
    """Whether somebody has closed our output; what is left to be written then goes nowhere."""
    closed = [output for output in _OUTPUTS if _is_closed(output)]
    for output in closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output)
        os.close(nowhere)
    return bool(closed)


def _is_closed(output: int) -> bool:
    # Writing again would not tell: Python drops what it could not write.
    poll = select.poll()
    poll.register(output, 0)  # errors alone
    return bool(poll.poll(0))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _explain(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"The disk is full: {error.strerror}. What was done is kept. Free some, then go on."
    # HDF5 gives the number only in its text.
    if f"errno = {errno.ENOSPC}" in str(error):
        return "The disk is full. What was done is kept. Free some space, then go on."
    return f"{error}."


def is_showable(name: str) -> bool:
    """Whether a name holds nothing but what can be printed in one line."""
    return not any(unicodedata.category(char) in _STEERING for char in name)


def show_name(name: str, *, kept: str = "") -> str:
    r"""The name with its control characters as `\x1b`, but for those that are `kept`."""
    return "".join(
        char
        if char in kept or unicodedata.category(char) not in _STEERING
        else char.encode("unicode_escape", errors="surrogatepass").decode("ascii")
        for char in name
    )
