"""How long a cell takes: from its arithmetic, and how fast earlier ones went."""

from __future__ import annotations

from collections.abc import Sequence

from papers.reproduction.cells import Cell
from papers.reproduction.lines import Line
from pipeline.recurrent.counts import multiply_adds_per_step
from pipeline.runs import RunConfig
from pipeline.tasks.options import MarkedOptions, MnistOptions
from pipeline.versions import name_processor

# Of one core with AVX-512: the kernel's rate, one step of a layer that runs on torch, a start of
# the program. They only weigh cells against each other; finished ones say how fast it goes.
_KERNEL_FLOPS = 1.1e11
_TORCH_STEP_SECONDS = 1.5e-4
_START_SECONDS = 5.0
_PASSES = 6  # a multiplication and an addition, forwards and backwards twice
_GUESS_SECONDS = 600.0
_CLIP_STEPS = 180  # UCF-101's mean
_CUT = 35  # of a text; of speech any number would do
_IN_KERNEL = ("simple", "lstm", "gru", "none")


def weigh(config: RunConfig, *, num_clips: int = 0, num_steps: int = 0) -> float:
    """Seconds that the run takes on one core of the machine that the constants are of.

    `num_clips` or `num_steps` of the training part, where the config does not say it.
    """
    num_train, steps = _count_sequences(config, num_clips)
    if num_steps:
        num_train, steps = max(1, num_steps // _CUT), _CUT
    schedule, batch = config.schedule.scaled(config.budget), config.batch.batch_size
    updates = schedule.num_epochs * schedule.epoch_share * max(1.0, num_train / batch)
    flops = _PASSES * multiply_adds_per_step(config.net) * steps * min(batch, num_train)
    seconds = flops / _KERNEL_FLOPS
    if config.net.kind.cell not in _IN_KERNEL:
        seconds += steps * _TORCH_STEP_SECONDS
    return _START_SECONDS + updates * seconds


def _count_sequences(config: RunConfig, num_clips: int) -> tuple[int, int]:
    options = config.task.options
    if isinstance(options, MarkedOptions):
        return options.num_train, options.length
    if isinstance(options, MnistOptions):
        return 60_000 - options.num_val, 784
    return num_clips, _CLIP_STEPS


class Clock:
    """Estimates of cells in seconds, in the measure of the cells that are finished.

    A guess counts as ten minutes of them, so that a few short ones, mostly start, say little.
    """

    def __init__(self, cells: Sequence[Cell], lines: Sequence[Line]) -> None:
        self._weights = {
            cell.config.digest(): weigh(
                cell.config, num_clips=cell.num_clips, num_steps=cell.num_steps
            )
            for cell in cells
        }
        own = [line for line in lines if line.machine == name_processor()]
        self.is_of_this_machine = bool(own)
        self._expected = self._seen = _GUESS_SECONDS
        for line in own or lines:
            self.add(line)

    def add(self, line: Line) -> None:
        """Learn from a finished cell."""
        if weight := self._weights.get(line.digest):
            self._expected += weight
            self._seen += line.seconds

    def seconds(self, cell: Cell) -> float:
        """What the cell is expected to take on one core."""
        return self._weights[cell.config.digest()] * self._seen / self._expected
