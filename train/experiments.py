"""The experiments of the np-RNN paper by their long names, composed of protocols.

`+experiment=addition-np-rnn-400` is `+experiment=addition model=np-rnn task.length=400`: a protocol
(a file of conf/experiment), then a net where the protocol leaves it open, then a number.
Talathi & Vartak 2015, "Improving performance of recurrent neural network with ReLU nonlinearity".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipeline.choices import suggest
from pipeline.recurrent.spec import NETS
from train.groups import TOP_OPTIONS

_PREFIX = "+experiment="


class Protocol(NamedTuple):
    """What may follow a protocol's name: a net, and a number that becomes an override."""

    has_net: bool = True
    override: Callable[[int], str] | None = None


class PaperResult(NamedTuple):
    """Where the paper shows an experiment, and the test accuracy it prints (None: a bar)."""

    place: str
    accuracy: float | None = None


def _length(steps: int) -> str:
    return f"task.length={steps}"


def _constant(epochs: int) -> str:
    return f"schedule.phase_epochs=[{epochs}]"


def _cooled_twice(epochs: int) -> str:
    """Three phases of one length, as the paper's 33, 33 and 34 of 100 epochs.

    How it cooled in the 500 epochs of Table 2 the paper does not tell.
    """
    third = epochs // 3
    return f"schedule.phase_epochs=[{third},{third},{epochs - 2 * third}]"


PROTOCOLS: dict[str, Protocol] = {
    "addition": Protocol(override=_length),
    "multiplication": Protocol(override=_length),
    "mnist-np-rnn": Protocol(has_net=False, override=_cooled_twice),
    "mnist-irnn": Protocol(has_net=False, override=_constant),
    "permuted-mnist": Protocol(override=_cooled_twice),
    "ucf101": Protocol(),
    "copying": Protocol(override=_length),
    "digits": Protocol(),
}

# Table 3: the settings that were best on validation, and the test accuracy of each.
_UCF101 = {
    "scaled-irnn": ("1e-3", 0.566),
    "irnn": ("1e-2", 0.67),
    "np-rnn": ("1e-3", 0.752),
    "lstm": ("1e-3", 0.785),
}
# The nets that section 4 names for each figure; the bars themselves are a picture only.
_ADDITION = (
    "np-rnn", "irnn", "scaled-irnn", "n-rnn", "np-tanh-rnn", "o-rnn", "g-rnn",
)  # fmt: skip
_MULTIPLICATION = ("np-rnn", "irnn", "scaled-irnn", "n-rnn", "np-tanh-rnn")


def paper_experiments() -> dict[str, PaperResult]:
    """Every bar and row of Figures 3, 4, 5 and Tables 2, 3, by its long name."""
    return {
        **_bars("addition", "Figure 3", nets=_ADDITION, lengths=(150, 200, 300, 400, 500)),
        **_bars("multiplication", "Figure 4", nets=_MULTIPLICATION, lengths=(50, 100, 200)),
        "mnist-irnn-100": PaperResult("Table 2, Figure 5", 0.83),
        "mnist-irnn-500": PaperResult("Table 2", 0.93),
        "mnist-np-rnn-100": PaperResult("Table 2, Figure 5", 0.92),
        "mnist-np-rnn-500": PaperResult("Table 2", 0.968),
        **{f"ucf101-{net}": PaperResult("Table 3", row[1]) for net, row in _UCF101.items()},
    }


def _bars(
    protocol: str, place: str, *, nets: Sequence[str], lengths: Sequence[int]
) -> dict[str, PaperResult]:
    names = (f"{protocol}-{net}-{length}" for net in nets for length in lengths)
    return dict.fromkeys(names, PaperResult(place))


def expand_experiments(arguments: Sequence[str]) -> list[str]:
    """The arguments with `+experiment=` of a long name replaced by its protocol and overrides.

    What the user sets explicitly, before or after it, wins. Raises ValueError for an unknown name.
    """
    _refuse_second_spelling(arguments)
    explicit = {_key(argument) for argument in arguments if "=" in argument}
    expanded = []
    for argument in arguments:
        if not argument.startswith(_PREFIX):
            expanded.append(argument)
            continue
        protocol, *overrides = _expand(argument.removeprefix(_PREFIX))
        expanded.append(_PREFIX + protocol)
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
    if row.override and words[-1].isdecimal():
        overrides = [row.override(int(words.pop()))]
    net = "-".join(words)
    if net and not (row.has_net and net in NETS):
        raise _unknown(name)
    if protocol == "ucf101" and net in _UCF101:
        overrides = [f"optimizer.lr={_UCF101[net][0]}", "model.dropout=0.5"]
    return [protocol, *([f"model={net}"] if net else []), *overrides]


def _unknown(name: str) -> ValueError:
    known = [*PROTOCOLS, *paper_experiments()]
    return ValueError(
        f"+experiment={name}: expected one of {', '.join(PROTOCOLS)}, or one of them with a net "
        f"and a number, such as addition-np-rnn-400."
        f"{suggest(name, known)}"
    )
