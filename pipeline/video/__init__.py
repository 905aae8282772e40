"""Videos as frames: of a file with what is wrong with it, live, and for browsers."""

from pipeline.video.file import VideoError, VideoHeader, read_header
from pipeline.video.frames import (
    DECODER,
    Chunk,
    DecodeSummary,
    Frame,
    read_frames,
    write_video,
)

__all__ = [
    "DECODER",
    "Chunk",
    "DecodeSummary",
    "Frame",
    "VideoError",
    "VideoHeader",
    "read_frames",
    "read_header",
    "write_video",
]
