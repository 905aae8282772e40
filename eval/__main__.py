"""From runs to scores, and what else a run is asked: `python -m eval`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from eval.commands.dynamics import DYNAMICS
from eval.commands.export import EXPORT
from eval.commands.predict import PREDICT
from eval.commands.scores import SCORES
from eval.commands.serve import SERVE
from eval.commands.study import STUDY
from eval.commands.unknown import UNKNOWN
from eval.commands.verb import run_verb
from eval.commands.watch import WATCH
from pipeline.allocation import keep_freed_memory

VERBS = (PREDICT, WATCH, SERVE, STUDY, DYNAMICS, UNKNOWN, EXPORT)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    words = sys.argv[1:] if arguments is None else arguments
    return run_verb(words, VERBS, otherwise=SCORES)


if __name__ == "__main__":
    keep_freed_memory()  # of the whole process, so not for a caller of main
    sys.exit(main())
