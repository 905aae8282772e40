"""When which part of a program ran, in which thread: recorded, added up, drawn."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from pytorch_lightning.profilers import Profiler


@dataclass(frozen=True)
class Span:
    """A part's stay, in seconds of `time.perf_counter`; `work` is what it did, in its own unit.

    `cpu_seconds` are its thread's: what other programs take is not in them.
    """

    part: str
    thread: str
    start: float
    end: float
    cpu_seconds: float
    work: float = 0.0


class Moment(NamedTuple):
    """The clock, and the thread's own CPU seconds."""

    clock: float
    cpu: float


def take_moment() -> Moment:
    return Moment(time.perf_counter(), time.thread_time())


@dataclass
class Recorder:
    """The spans of the functions that it wraps, in the order of their ends."""

    spans: list[Span] = field(default_factory=list)
    patches: ExitStack = field(default_factory=ExitStack)

    def add(self, part: str, start: Moment, work: float = 0.0) -> None:
        name, end = threading.current_thread().name, take_moment()
        self.spans.append(Span(part, name, start.clock, end.clock, end.cpu - start.cpu, work))

    def wrap(self, owner: Any, name: str, part: str | Callable[..., tuple[str, float]]) -> None:
        """Record each call of `owner.name`, until `patches` closes.

        `part` gets the call's arguments where it is a function, and gives a part and its work.
        """
        function = getattr(owner, name)

        @wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            named, work = (part, 0.0) if isinstance(part, str) else part(*args, **kwargs)
            start = take_moment()
            try:
                return function(*args, **kwargs)
            finally:
                self.add(named, start, work)

        self.replace(owner, name, recorded)

    def replace(self, owner: Any, name: str, value: Any) -> None:
        """Set `owner.name` until `patches` closes."""
        self.patches.enter_context(mock.patch.object(owner, name, value))


class LightningSpans(Profiler):
    """Lightning's own actions as spans of a recorder; `parts` names those of interest by ending."""

    def __init__(self, recorder: Recorder, parts: dict[str, str]) -> None:
        super().__init__()
        self._recorder, self._parts = recorder, parts
        self._starts: dict[str, Moment] = {}

    def start(self, action_name: str) -> None:
        self._starts[action_name] = take_moment()

    def stop(self, action_name: str) -> None:
        start = self._starts.pop(action_name, None)
        part = next((p for ending, p in self._parts.items() if action_name.endswith(ending)), None)
        if start is not None and part is not None:
            self._recorder.add(part, start)


def own_cpu_seconds(spans: Sequence[Span]) -> dict[str, float]:
    """CPU seconds of each part without those of the spans inside its own, of one thread's spans."""
    seconds: dict[str, float] = defaultdict(float)
    around: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        while around and around[-1].end <= span.start:
            around.pop()
        if around:
            seconds[around[-1].part] -= span.cpu_seconds
        seconds[span.part] += span.cpu_seconds
        around.append(span)
    return seconds


def draw_timeline(spans: Sequence[Span], path: Path) -> None:
    """A lane a thread; a span inside another is drawn over it. Times in ms since the first."""
    from matplotlib.figure import Figure  # noqa: PLC0415  only the picture needs it

    threads = list(dict.fromkeys(span.thread for span in sorted(spans, key=lambda s: s.start)))
    parts = list(dict.fromkeys(span.part for span in sorted(spans, key=lambda s: s.start)))
    first = min(span.start for span in spans)
    figure = Figure(figsize=(10, 0.8 * len(threads) + 1.6), layout="constrained")
    axes = figure.subplots()
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        bar = (1e3 * (span.start - first), 1e3 * (span.end - span.start))
        lane = (threads.index(span.thread) - 0.4, 0.8)
        axes.broken_barh([bar], lane, facecolors=f"C{parts.index(span.part)}")
    for number, part in enumerate(parts):
        axes.barh(0, 0, color=f"C{number}", label=part)
    axes.set_yticks(range(len(threads)), threads)
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=4, fontsize=8, frameon=False)
    figure.savefig(path)
