"""Whole trainings in this checkout and in another: `python -m benchmarks.versions --before DIR`.

DIR is a checkout of an earlier commit with its kernel built: `git worktree add DIR COMMIT`, then
`python setup.py build_ext --inplace` in it. This Python runs both, on one thread, by turns, on the
same features and with the same overrides: sequences a second in the fastest epoch but the first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.report import Comparison, Side, describe_machine, make_parser, write_report
from benchmarks.stores import read_lengths, write_store

ROOT = Path(__file__).resolve().parent.parent
# Run in the checkout's own folder, so that its packages are imported.
_TRAIN = """
import csv, json, sys, torch
from train.config import compose_config
from train.fit import train_run
torch.set_num_threads(1)
folder = train_run(compose_config(json.loads(sys.argv[1])))
with (folder / "metrics.csv").open(newline="") as file:
    seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
print("seconds", min(seconds[1:]))
"""
_EPOCHS = 3


def list_cases(store: Path, num_train: int, *, quick: bool) -> dict[str, tuple[list[str], int]]:
    """What is trained, by overrides, and on how many sequences an epoch."""
    clips = [f"features={store}", "split=draw"]
    cases = {
        f"clips, {model}, batch {size}": (
            [*clips, f"model={model}", f"trainer.batch_size={size}"], num_train
        )
        for model in ("np-rnn", "lstm", "gru") for size in (16, 64)
    }  # fmt: skip
    for model, optimizer, num in (
        ("np-rnn", "sgd", 16_000), ("np-rnn", "rmsprop", 2_000), ("lstm", "rmsprop", 400)
    ):  # fmt: skip
        size = num // 40 if quick else num
        cases[f"addition, T = 150, {model}, {optimizer}, batch 1"] = (
            ["+experiment=addition", f"model={model}", f"optimizer={optimizer}",
             "optimizer.lr=1e-4", "optimizer.clip=10", f"task.num_train={size}",
             "task.num_val=64", "task.num_test=64"],
            size,
        )  # fmt: skip
    return cases


def time_training(checkout: Path, overrides: Sequence[str]) -> float:
    """Seconds of the fastest epoch but the first. Raises CalledProcessError for one that fails."""
    with tempfile.TemporaryDirectory() as out:
        words = [*overrides, f"schedule.phase_epochs=[{_EPOCHS}]", f"out={out}", "logger=none",
                 "trainer.accelerator=cpu"]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", _TRAIN, json.dumps(words)], cwd=checkout, check=True,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
    return float(done.stdout.splitlines()[-1].removeprefix("seconds "))


def compare(
    before: Path, cases: Mapping[str, tuple[list[str], int]], *, rounds: int
) -> list[Comparison]:
    checkouts = {"now": ROOT, "before": before}
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for what, (overrides, num) in cases.items():
            for name, checkout in checkouts.items():
                seconds = time_training(checkout, overrides)
                rates.setdefault((what, name), []).append(num / seconds)
    return [
        Comparison(
            what, "sequences/s", "rate",
            Side("now", tuple(rates[what, "now"])), Side("before", tuple(rates[what, "before"])),
        )
        for what in cases
    ]  # fmt: skip


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    options = parser.parse_args()
    lengths, copies = read_lengths(), 1 if options.quick else 2
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", lengths, copies=copies)
        cases = list_cases(store, round(0.7 * copies * len(lengths)), quick=options.quick)
        comparisons = compare(options.before.resolve(), cases, rounds=1 if options.quick else 2)
    write_report("versions", comparisons, options, machine=describe_machine())


if __name__ == "__main__":
    main()
