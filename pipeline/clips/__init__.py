"""Clips: what they are, how they are found, and how they are split."""

from pipeline.clips.clip import (
    PARTS,
    VIDEO_SUFFIXES,
    Clip,
    FoundClips,
    Problem,
    find_clips,
    is_clip_list,
    keep_ids,
    list_files,
    read_clip_list,
    read_group,
    refuse_unfit,
    write_clip_list,
)
from pipeline.clips.splits import (
    DRAW,
    SPLITS_FOLDER,
    Split,
    digest_split,
    draw_split,
    is_split_file,
    read_split,
)

__all__ = [
    "DRAW",
    "PARTS",
    "SPLITS_FOLDER",
    "VIDEO_SUFFIXES",
    "Clip",
    "FoundClips",
    "Problem",
    "Split",
    "digest_split",
    "draw_split",
    "find_clips",
    "is_clip_list",
    "is_split_file",
    "keep_ids",
    "list_files",
    "read_clip_list",
    "read_group",
    "read_split",
    "refuse_unfit",
    "write_clip_list",
]
