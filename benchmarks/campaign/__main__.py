"""`python -m benchmarks.campaign`: wrong input of every kind, tried and counted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from benchmarks.campaign.configs import try_configs
from benchmarks.campaign.corruptions import try_corruptions
from benchmarks.campaign.counts import Counts, write_table
from benchmarks.campaign.kills import try_kills
from pipeline.choices import check_choice
from pipeline.console import OK, SOME_FAILED, run_command

PARTS: Mapping[str, Callable[[int], Counts]] = {
    "configs": try_configs,
    "corruptions": try_corruptions,
    "kills": try_kills,
}


def main() -> int:
    """1 where a try ended as none may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaign", description=__doc__)
    parser.add_argument("--only", metavar="PART,...", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--seed", type=int, default=0, help="draws misspellings, order, moments")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(PARTS)
    for name in names:
        check_choice("--only", name, PARTS)
    parts = [PARTS[name](options.seed) for name in names]
    for counts in parts:
        for found in counts.bad:
            print(f"{counts.part}: {found.ending}: {found.what}\n    {found.seen.strip()[-400:]}")
    print(write_table(parts))
    return SOME_FAILED if any(counts.bad for counts in parts) else OK


if __name__ == "__main__":
    sys.exit(run_command(main, how_to_go_on="Run the same command again."))
