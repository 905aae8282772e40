"""A run's model card: README.md as the Hugging Face Hub reads it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from pipeline.features import INT8_FILE, FeatureSpec
from pipeline.files import write_text
from pipeline.runs.folder import Run
from pipeline.runs.names import CARD, CONFIG, METRICS, PROVENANCE, WEIGHTS

# As the Hub calls them; what it has no word for is `other`.
_VIDEO, _SOUND = "video-classification", "audio-classification"
_TEXT, _OTHER = "text-generation", "other"
_IMAGE_TASKS = ("mnist", "permuted-mnist", "digits")
_METRIC_TYPES = {
    "top-1 accuracy": "accuracy",
    "mean squared error": "mse",
    "perplexity": "perplexity",
}
_NO_FILES = ("", "random", "imagenet")
_COUNTS = ("listed", "used", "missing", "truncated", "damaged")
_MOST_LABELS = 20
_DIGITS = 4
_MARK = "<!-- Written by np-rnn, which leaves this file alone once it was changed: "


@dataclass(frozen=True)
class CardScore:
    """A score with its 95 % interval [low, high], its floor, and the sequences that it is of.

    `part` is that of the split, and which frames were read where not all were: `test-shuffled`.
    """

    part: str
    name: str
    value: float
    low: float
    high: float
    floor: float
    num_sequences: int


def write_card(run: Run, scores: Sequence[CardScore] = ()) -> bool:
    """Write the card of a run, with its scores if there are any.

    False where the card was changed by hand: it is left as it is.
    """
    path = run.folder / CARD
    if path.is_file() and not _is_unchanged(path.read_text(encoding="utf-8", errors="replace")):
        return False
    text = f"---\n{_describe_for_hub(run, scores).to_yaml()}\n---\n\n{_write_body(run, scores)}"
    write_text(path, f"{text}\n{_mark(text)}\n")
    return True


def _mark(text: str) -> str:
    """The last line, which tells whether the text above it was changed since."""
    return f"{_MARK}{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()} -->"


def _is_unchanged(card: str) -> bool:
    text, _, mark = card.rstrip("\n").rpartition("\n")
    return mark == _mark(text)


def _describe_for_hub(run: Run, scores: Sequence[CardScore]) -> ModelCardData:
    """The card's first part, in the form of the Hub. No license: it depends on the data."""
    task, data = _name_task(run), _name_data(run)
    tags = ["np-rnn", "recurrent-neural-network", run.config.net.name, run.config.task.name]
    results = [
        EvalResult(
            task_type=task,
            dataset_type=run.config.task.name,
            dataset_name=data,
            dataset_split=score.part,
            metric_type=_METRIC_TYPES.get(score.name) or re.sub(r"\W+", "_", score.name),
            metric_name=score.name,
            metric_value=_round(score.value),
            metric_args={
                "interval_95": [_round(score.low), _round(score.high)],
                "floor": _round(score.floor),
                "sequences": score.num_sequences,
            },
        )
        for score in scores
    ]
    return ModelCardData(
        library_name="np-rnn",
        pipeline_tag=None if task == _OTHER else task,
        tags=list(dict.fromkeys(tags)),
        model_name=run.config.name,
        eval_results=results or None,
    )


def _round(value: float) -> float:
    return round(value, _DIGITS)


def _name_task(run: Run) -> str:
    if run.features is not None:
        return _SOUND if run.features.is_of_speech else _VIDEO
    if run.config.net.reads_tokens:
        return _TEXT
    return "image-classification" if run.config.task.name in _IMAGE_TASKS else _OTHER


def _name_data(run: Run) -> str:
    """The feature store's name, without the folders that it lies in, or the task's."""
    place = run.provenance.places.get("features")
    return run.config.task.name if place is None else Path(place.absolute).name


def _write_body(run: Run, scores: Sequence[CardScore]) -> str:
    sections = {
        "Data": _write_data(run),
        "Net": _write_net(run),
        "Scores": _write_scores(scores),
        "How to load": _write_loading(run),
    }
    parts = [f"## {title}\n\n{text}\n" for title, text in sections.items()]
    return "\n".join([f"# {run.config.name}\n", *parts])


def _write_data(run: Run) -> str:
    task = run.config.task
    options = ", ".join(f"{key}={value}" for key, value in task.learned().items())
    lines = [f"Task `{task.name}`" + (f" ({options})." if options else ".")]
    if run.features is not None:
        lines.append(f"Features `{_name_data(run)}`: {_describe_features(run.features)}.")
    elif run.config.origin.sequences:
        told = ", ".join(f"{key}={value}" for key, value in run.config.origin.sequences.items())
        lines.append(f"Sequences: {told}.")
    if labels := run.config.labels:
        shown = ", ".join(labels[:_MOST_LABELS])
        lines.append(
            f"{len(labels)} labels: {shown}{', ...' if len(labels) > _MOST_LABELS else ''}."
        )
    if run.provenance.use:
        lines += ["", *_write_use(run.provenance.use)]
    return "\n".join(lines)


def _write_use(use: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """How many sequences of each part there were; runs of earlier versions counted less."""
    headers = [count for count in _COUNTS if any(count in counts for counts in use.values())]
    rows = [
        [part, *(f"{counts[h]:,}" if h in counts else "" for h in headers)]
        for part, counts in use.items()
    ]
    return _write_table(["part", *headers], rows)


def _describe_features(spec: FeatureSpec) -> str:
    if spec.is_of_speech:
        return f"{spec.dim:,} numbers of every frame, {spec.features} of mel filter banks"
    name = Path(spec.weights).name
    weights = f"{name} weights" if name else "weights that are not named"
    weights += " in 8 bits" if spec.is_int8 else ""
    return f"{spec.dim:,} numbers of {spec.frames}, by {spec.backbone} with {weights}"


def _write_net(run: Run) -> str:
    config, told = run.config, run.provenance
    net = ", ".join(f"{k}={v}" for k, v in asdict(config.net).items() if k != "name")
    seconds = "" if told.train_seconds is None else f", in {told.train_seconds:,.0f} s"
    lines = [
        f"`{config.net.name}` ({net}): {told.num_parameters:,} parameters, "
        f"{told.multiply_adds_per_step:,} multiply-adds a step.",
        f"Trained by {config.optimizer.name} with a learning rate of {config.optimizer.lr:g}, "
        f"{config.batch.batch_size} sequences at a time, seed {config.seed}{seconds}. "
        f"The weights are those of the {config.batch.keep} epoch.",
    ]
    if config.budget != 1:
        lines.append(f"A trial with {config.budget:g} of the training.")
    lines.append(f"All settings: `{CONFIG}`; machine and versions: `{PROVENANCE}`.")
    return "\n".join(lines)


def _write_scores(scores: Sequence[CardScore]) -> str:
    if not scores:
        return "None yet: `python -m eval --run FOLDER` adds them."
    rows = [
        [
            *(score.part, score.name, f"{score.value:.3f}"),
            *(f"[{score.low:.3f}, {score.high:.3f}]", f"{score.floor:.3f}"),
            f"{score.num_sequences:,}",
        ]
        for score in scores
    ]
    headers = ["part", "score", "value", "95 % interval", "floor", "sequences"]
    floor = "The floor is the score of the best constant answer."
    return "\n".join([*_write_table(headers, rows), "", floor])


def _write_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (headers, ["---"] * len(headers), *rows):
        yield f"| {' | '.join(cells)} |"


def _write_loading(run: Run) -> str:
    files = f"The net is `{WEIGHTS}`, beside `{CONFIG}`; its learning curves are `{METRICS}`."
    return f"```python\n{_write_program(run)}\n```\n\n{files} Loading executes nothing."


def _write_program(run: Run) -> str:
    load = 'run = load_run("FOLDER")  # this folder, or a zip of it'
    has_stream = not run.config.net.bidirectional
    if run.features is None or run.features.is_of_speech or not has_stream:
        return (
            f"from np_rnn import load_net, load_run\n\n{load}\n"
            f"net = load_net(run)  # sequences (B, T, D) and their lengths (B,) to outputs"
        )
    file = INT8_FILE if run.features.is_int8 else run.features.weights
    weights = "" if file in _NO_FILES else f', weights="{Path(file).name}"'
    return (
        "from np_rnn import Streamer, load_encoder, load_net, load_run, read_frames\n\n"
        f"{load}\n"
        f"streamer = Streamer(load_net(run), load_encoder(run.features{weights}))\n"
        'for chunk in read_frames("my.mp4"):\n'
        "    for frame in chunk:\n"
        "        outputs = streamer.push(frame)\n"
        "print(run.config.labels[outputs.argmax()])"
    )
