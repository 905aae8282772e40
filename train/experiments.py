"""Experiments by their long names: a protocol of a paper or of ours, a net, a number.

`+experiment=addition-np-rnn-400` is `+experiment=addition model=np-rnn task.length=400`: a
protocol, then a net where the protocol leaves it open, then a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from papers import irnn
from papers.book import Protocol
from papers.np_rnn import protocols as np_rnn
from pipeline.choices import suggest
from pipeline.recurrent.spec import NETS
from pipeline.tasks.options import TOP_OPTIONS

PREFIX = "+experiment="

_OURS = {
    "copying": Protocol(
        task="copying", optimizer="rmsprop", lr=1e-3, phase_epochs=(10,), batch_size=128,
        loss_over_batch="mean", number="length",
    ),
    # As the paper's UCF-101.
    "arrow-of-time": replace(np_rnn.PROTOCOLS["ucf101"], task="arrow-of-time", best_of_net={}),
    # Minutes on two cores.
    "digits": Protocol(
        task="digits", optimizer="rmsprop", lr=1e-3, phase_epochs=(40, 20), batch_size=16
    ),
    # Of our choosing, for a corpus of minutes: the IRNN paper's rates for TIMIT are not known.
    "speech-frames": Protocol(
        task="speech-frames", optimizer="adam", lr=3e-3, phase_epochs=(20, 10), batch_size=8,
        dropout=0.5, clip=1.0, loss_over_batch="mean", keep="best", worst=1.0,
    ),
}  # fmt: skip
PROTOCOLS: dict[str, Protocol] = {**np_rnn.PROTOCOLS, **irnn.PROTOCOLS, **_OURS}


def expand_experiments(arguments: Sequence[str]) -> list[str]:
    """The arguments with `+experiment=` of a long name replaced by its protocol and overrides.

    What the user sets explicitly, before or after it, wins. Raises ValueError for an unknown name.
    """
    _refuse_second_spelling(arguments)
    explicit = {_key(argument) for argument in arguments if "=" in argument}
    expanded = []
    for argument in arguments:
        if not argument.startswith(PREFIX):
            expanded.append(argument)
            continue
        protocol, *overrides = _expand(argument.removeprefix(PREFIX))
        expanded.append(PREFIX + protocol)
        expanded += [override for override in overrides if _key(override) not in explicit]
    return expanded


def _refuse_second_spelling(arguments: Sequence[str]) -> None:
    """Refuse `task.split=` and `task.features=`, which stand at the top of the config."""
    for argument in arguments:
        option = _key(argument).removeprefix("task.")
        if _key(argument) != option and option in TOP_OPTIONS:
            value = argument.partition("=")[2]
            raise ValueError(f"{argument}: no such key. Pass {option}={value or '...'}.")


def _key(argument: str) -> str:
    return argument.split("=", maxsplit=1)[0].lstrip("+~")


def _expand(name: str) -> list[str]:
    """The protocol that a long name begins with, then the overrides that its rest stands for."""
    if "," in name:
        if set(name.split(",")) <= set(PROTOCOLS):
            return [name]
        raise ValueError(
            f"+experiment={name}: expected one long name, found several.\n"
            f"Sweep over nets and lengths instead: -m +experiment=addition model=np-rnn,irnn "
            f"task.length=150,200"
        )
    matches = [protocol for protocol in PROTOCOLS if f"{name}-".startswith(f"{protocol}-")]
    if not matches:
        raise _unknown(name)
    protocol = max(matches, key=len)
    words = name[len(protocol) + 1 :].split("-")
    row, overrides = PROTOCOLS[protocol], []
    if row.number and words[-1].isdecimal():
        overrides = [_override(row, int(words.pop()))]
    net = "-".join(words)
    if net and (row.net or net not in NETS):
        raise _unknown(name)
    return [protocol, *([f"model={net}"] if net else []), *overrides]


def _override(protocol: Protocol, number: int) -> str:
    """What a number after the protocol's name sets: the length, or the epochs.

    Epochs are divided as the protocol's own, equally into its phases, the last one the longest.
    """
    if protocol.number == "length":
        return f"task.length={number}"
    num_phases = len(protocol.phase_epochs)
    each = number // num_phases
    phases = [*[each] * (num_phases - 1), number - each * (num_phases - 1)]
    return f"schedule.phase_epochs=[{','.join(map(str, phases))}]"


def _unknown(name: str) -> ValueError:
    known = [*PROTOCOLS, *np_rnn.PRINTED]
    return ValueError(
        f"+experiment={name}: expected one of {', '.join(PROTOCOLS)}, or one of them with a net "
        f"and a number, such as addition-np-rnn-400."
        f"{suggest(name, known)}"
    )
