"""One extraction into a folder that is thrown away."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.report import find_data
from demo.clips import ClipsSpec, write_clips
from extract.flow import extract_features
from extract.outcome import Tally
from extract.setup import default_workers
from pipeline.backbones import Backbone
from pipeline.clips import FoundClips, find_clips
from pipeline.features import FeatureSpec


@dataclass(frozen=True)
class Job:
    """The clips and the backbone of one benchmark."""

    found: FoundClips
    backbone: Backbone
    compute: str

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec(self.backbone.name, self.backbone.dim, compute=self.compute)


def find_videos(folder: Path, num_clips: int) -> FoundClips:
    """The first real clips of every class in turn, or generated ones in `folder`."""
    data = find_data()
    if data is None:
        write_clips(folder, ClipsSpec(groups=tuple(range(1, 26)), clips_per_group=2))
    found = find_clips(data / "ucf101" if data else folder)
    return spread(found, num_clips)


def spread(found: FoundClips, num_clips: int) -> FoundClips:
    step = max(1, len(found.clips) // num_clips)
    return replace(found, clips=found.clips[::step][:num_clips])


def time_flow(job: Job) -> Tally:
    """One extraction into a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as out:
        return extract_features(
            job.found, job.found.folder, Path(out), backbone=job.backbone, spec=job.spec,
            num_workers=default_workers(job.backbone.device),
        ).tally  # fmt: skip
