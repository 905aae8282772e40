"""What a training says before it begins."""

from __future__ import annotations

from pipeline.recurrent.classifier import SequenceNet, num_parameters
from pipeline.recurrent.counts import multiply_adds_per_step
from pipeline.sequences import SequenceSet
from train.training import Training, find_notes, find_untrained, find_unvalidated


def announce(
    training: Training, net: SequenceNet, train_set: SequenceSet, updates_per_step: int
) -> list[str]:
    """What is about to be trained, for the terminal."""
    task, budget = training.task, training.config.budget
    lines = [
        f"  {training.config.net.name}: {num_parameters(net)} parameters, "
        f"{multiply_adds_per_step(training.config.net)} multiply-adds a step",
        f"  {task.num_outputs} outputs; train {task.use('train')}; val {task.use('val')}; "
        f"sequences {'in memory' if train_set.is_in_memory else 'read from disk'}",
    ]
    lines += [f"  {note}" for note in find_notes(task)]
    if absent := find_unvalidated(task):
        lines.append(
            f"  warning: no validation clip of {len(absent)} of {len(task.labels)} classes "
            f"({', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}): no epoch is chosen by "
            f"them, and validation scores leave them out"
        )
    if unknown := find_untrained(task):
        lines.append(
            f"  warning: no training frame of {len(unknown)} of {len(task.labels)} classes "
            f"({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}): where they are "
            f"spoken the net is wrong"
        )
    if budget != 1:
        lines.append(f"  a trial with {budget:g} of the training budget")
    if training.compute.found_accelerator == "cpu" and updates_per_step == 1:
        threads = training.compute.found_threads
        lines.append(f"  {threads} thread{'s' * (threads > 1)} on the CPU")
    if updates_per_step > 1:
        lines.append(f"  {updates_per_step} consecutive updates at a time, in the fused kernel")
    if (num := training.compute.num_processes) > 1:
        lines.append(
            f"  {num} processes, which share each batch of {training.config.batch.batch_size}"
        )
    return lines
