"""What a verb of `python -m eval` is, and how the one that is asked for is found."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.choices import check_choice
from pipeline.console import run_command

PROGRAM = "python -m eval"


@dataclass(frozen=True)
class Verb:
    """A command with options of its own.

    `name` is "" for what is done without a verb. `epilog` ends the help: examples, then what is
    written. `run` takes the parsed options and returns the exit code; `check` sees the words before
    they are parsed. Both may raise ValueError.
    """

    name: str
    summary: str
    epilog: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    check: Callable[[Sequence[str]], None] = lambda words: None

    def make_parser(self, description: str = "") -> argparse.ArgumentParser:
        """The parser of the verb's options."""
        parser = argparse.ArgumentParser(
            prog=f"{PROGRAM} {self.name}".rstrip(),
            description=description or self.summary,
            epilog=self.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_options(parser)
        return parser


def run_verb(words: Sequence[str], verbs: Sequence[Verb], *, otherwise: Verb) -> int:
    """The exit code of the verb that the first word names, or of `otherwise` if it is an option."""
    by_name = {verb.name: verb for verb in verbs}

    def command() -> int:
        if words and not words[0].startswith("-"):
            _check_name(words[0], by_name)
            verb = by_name[words[0]]
            return verb.run(verb.make_parser().parse_args(words[1:]))
        otherwise.check(words)
        parser = otherwise.make_parser(_list_verbs(otherwise, verbs))
        return otherwise.run(parser.parse_args(words))

    return run_command(command, how_to_go_on="Run the same command again.")


def _check_name(name: str, verbs: Mapping[str, Verb]) -> None:
    try:
        check_choice(PROGRAM, name, verbs)
    except ValueError as error:
        raise ValueError(f"{error}\nScores need no verb: {PROGRAM} [--run RUN]") from None


def _list_verbs(otherwise: Verb, verbs: Sequence[Verb]) -> str:
    width = max(len(verb.name) for verb in verbs)
    lines = [f"  {verb.name:{width}}  {verb.summary}" for verb in verbs]
    title = f"verbs, each with options of its own ({PROGRAM} VERB --help):"
    return "\n".join([otherwise.summary, "", title, *lines])
