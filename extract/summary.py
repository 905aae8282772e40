"""The closing summary of an extraction: what was done, how fast each stage was, what is wrong."""

from __future__ import annotations

from pathlib import Path

from extract.outcome import PROBLEMS, Outcome, Tally
from extract.parts import Part


def summarize(outcome: Outcome, out: Path, num_ignored: int) -> str:
    """The closing summary: what was done, how fast each stage was, and what is wrong."""
    lines = _describe_work(outcome.tally)
    if num_ignored:
        lines.append(f"{num_ignored} files without the ending of a video were passed over.")
    lines += _describe_problems(outcome, f"all in {out / PROBLEMS}")
    state = "complete" if outcome.is_complete else "not complete: run the same command again"
    lines.append(f"{out}: {outcome.num_stored} clips, {state}")
    return "\n".join(lines)


def summarize_part(outcome: Outcome, out: Path, part: Part) -> str:
    """The closing summary of a part: which it is, and what is to follow."""
    lines = _describe_work(outcome.tally)
    lines += _describe_problems(outcome, f"which --finish lists in {PROBLEMS}")
    state = "done" if outcome.is_complete else "not done: run the same command again"
    return "\n".join(
        [
            *lines,
            f"{out}: part {part}, {outcome.num_shards} shards, {outcome.num_stored} clips, {state}",
            f"When all {part.total} parts are done, the same command with --finish in place of "
            f"--part {part} writes the index.",
        ]
    )


def _describe_work(tally: Tally) -> list[str]:
    lines = [f"{name} was done anew: {why}." for name, why in tally.redone.items()]
    if tally.num_clips:
        lines.append(
            f"{tally.num_clips} clips, {tally.num_steps} frames in {tally.wall_seconds:.1f} s: "
            f"{tally.num_steps / tally.wall_seconds:.0f} frames/s"
        )
        if tally.warm_up_seconds >= 1:
            lines.append(f"  {'compile':8s}{tally.warm_up_seconds:8.1f} s")
        for stage, num, seconds in (
            ("decode", tally.num_frames, tally.decode_seconds),
            ("compute", tally.num_steps, tally.encode_seconds),
            ("write", tally.num_steps, tally.write_seconds),
        ):
            rate = f"{num / seconds:8.0f} frames/s" if seconds else "-"
            lines.append(f"  {stage:8s}{seconds:8.1f} s {rate}")
        lines.append("  (seconds of work, summed over threads and processes; the stages overlap)")
    else:
        lines.append("Nothing was left to do: every byte is as it was written.")
    return lines


def _describe_problems(outcome: Outcome, where: str) -> list[str]:
    lines = [f"  {p.path}: {p.reason}" for p in outcome.problems[:10]]
    if outcome.problems:
        lines.append(f"{len(outcome.problems)} clips with problems, {where}")
    if left := outcome.tally.left_to_others:
        lines.append(f"Being written by another process: {', '.join(left)}")
    return lines
