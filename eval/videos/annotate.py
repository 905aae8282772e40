"""A video to show around: its answer and the curves of its probabilities drawn below its frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from eval.pages.svg import COLOURS
from eval.predictions.unknown import is_known, name_answer, with_nearest
from eval.videos.timeline import Timeline
from eval.videos.videos import Classifier, VideoAnswer
from eval.videos.watch import choose_labels
from pipeline.video import read_frames
from pipeline.video.web import write_shared_video

_MOST_HEIGHT_PIXELS = 360
_LEAST_WIDTH_PIXELS = 320
_TEXT_PIXELS, _CHART_PIXELS = 32, 72
_FONT_PIXELS = 18
# A GIF of all frames is large, and many viewers slow it down.
_GIF_FPS = 12.5
_PAPER, _INK, _FAINT = "#16181c", "#f2f2f2", "#5b616b"


def write_annotated(out: Path, answer: VideoAnswer, classifier: Classifier) -> None:
    """Write the video of an answer with a timeline as `out`, an .mp4 or a .gif, whole or not.

    Every frame has the answer after it, and the curves so far; the dashed line is the threshold.
    A GIF has at most 12.5 frames a second.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    spacing = math.ceil(answer.fps / _GIF_FPS) if out.suffix.lower() == ".gif" else 1
    frames = draw_frames(answer, classifier, spacing=spacing)
    write_shared_video(out, frames, fps=answer.fps / spacing)


def draw_frames(
    answer: VideoAnswer, classifier: Classifier, *, spacing: int = 1
) -> Iterator[NDArray[np.uint8]]:
    """Every `spacing`-th frame of the video, annotated, (H, W, 3) RGB with even sides."""
    assert answer.timeline is not None
    panel: Panel | None = None
    index = 0
    for chunk in read_frames(answer.path, chunk_frames=8):
        for frame in chunk:
            if index % spacing == 0:
                picture = _shrink(Image.fromarray(frame))
                panel = panel or Panel(
                    answer, classifier, width=max(_LEAST_WIDTH_PIXELS, picture.width)
                )
                yield _join(picture, panel.draw(index / answer.fps))
            index += 1


class Panel:
    """What stands below the frames: the answer in words, and a chart that grows with time."""

    def __init__(self, answer: VideoAnswer, classifier: Classifier, *, width: int) -> None:
        assert answer.timeline is not None
        self._timeline = answer.timeline
        self._labels, self._threshold = classifier.labels, classifier.threshold
        self._shown = choose_labels(answer.timeline)
        self._seconds = answer.seconds
        self._width = width
        # A font that comes with matplotlib knows more letters than Pillow's own.
        path = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
        self._font = ImageFont.truetype(str(path), _FONT_PIXELS)
        self._empty = self._draw_chart(())
        self._full = self._draw_chart(self._shown)

    def draw(self, seconds: float) -> Image.Image:
        """The panel at this moment of the video."""
        image = Image.new("RGB", (self._width, _TEXT_PIXELS + _CHART_PIXELS), _PAPER)
        draw = ImageDraw.Draw(image)
        moment = find_moment(self._timeline, seconds)
        text, colour = self._describe(moment)
        draw.text((8, 6), self._cut(text), fill=colour, font=self._font)
        # The answer after a frame holds until the next.
        x = round(self._width * min(1.0, seconds / max(self._seconds, 1e-9)))
        image.paste(self._empty, (0, _TEXT_PIXELS))
        image.paste(self._full.crop((0, 0, x, _CHART_PIXELS)), (0, _TEXT_PIXELS))
        draw.line([(x, _TEXT_PIXELS), (x, image.height)], fill=_INK)
        return image

    def _describe(self, moment: int) -> tuple[str, str]:
        shares = self._timeline.probabilities[moment]
        best, known = int(shares.argmax()), is_known(shares, self._threshold)
        name = name_answer(shares, self._labels, self._threshold)
        answer = with_nearest(name, self._labels[best], known=known)
        place = self._shown.index(best) if known and best in self._shown else None
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in answer)
        return f"{text}  {100 * shares[best]:.0f} %", _INK if place is None else COLOURS[place]

    def _cut(self, text: str) -> str:
        """The text as far as it goes into the panel; the probability at its end stays."""
        words, _, share = text.rpartition("  ")
        while words and self._font.getlength(text) > self._width - 16:
            words = words[:-1]
            text = f"{words}…  {share}"
        return text

    def _draw_chart(self, shown: Sequence[int]) -> Image.Image:
        image = Image.new("RGB", (self._width, _CHART_PIXELS), _PAPER)
        draw = ImageDraw.Draw(image)
        for share in (0.0, 0.5, 1.0):
            draw.line([(0, _height(share)), (self._width, _height(share))], fill=_FAINT)
        if self._threshold is not None:
            for x in range(0, self._width, 12):
                y = _height(self._threshold)
                draw.line([(x, y), (x + 5, y)], fill=_INK)
        ends = np.append(self._timeline.seconds, self._seconds) / max(self._seconds, 1e-9)
        for place, label in enumerate(shown):
            shares = self._timeline.probabilities[:, label]
            shares = np.append(shares, shares[-1])
            points = [
                (float(self._width * x), _height(y)) for x, y in zip(ends, shares, strict=True)
            ]
            draw.line(points, fill=COLOURS[place], width=2)
        return image


def find_moment(timeline: Timeline, seconds: float) -> int:
    """The last moment of the timeline at or before this time."""
    return max(0, int(np.searchsorted(timeline.seconds, seconds + 1e-6, side="right")) - 1)


def _height(share: float) -> float:
    """How far down the chart a probability stands, with room for the width of its line."""
    return 2 + (1 - share) * (_CHART_PIXELS - 5)


def _shrink(picture: Image.Image) -> Image.Image:
    height = min(_MOST_HEIGHT_PIXELS, picture.height)
    size = (_even(picture.width * height / picture.height), _even(height))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BILINEAR)


def _even(pixels: float) -> int:
    """The nearest even size, which 4:2:0 needs."""
    return max(2, 2 * round(pixels / 2))


def _join(picture: Image.Image, panel: Image.Image) -> NDArray[np.uint8]:
    """The picture above the panel, in its middle where it is narrower."""
    whole = Image.new("RGB", (panel.width, picture.height + panel.height), _PAPER)
    whole.paste(picture, ((panel.width - picture.width) // 2, 0))
    whole.paste(panel, (0, picture.height))
    return np.asarray(whole)
