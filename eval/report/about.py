"""What a report is about: data, split, features, settings; when and with what it was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from eval.scores.rows import Result, Row

_SHOWN = 12  # of a commit's 40 digits; git finds it by these
_MOST = 3  # unlike values of a setting that are told one by one


def describe_subject(rows: Sequence[Row], part: str) -> list[tuple[str, str]]:
    """What the rows have in common, or how they differ: pairs of a name and its value.

    What is not known of files of predictions without their runs is left out.
    """
    known = [result for row in rows for result in row.results if result.config is not None]
    lines = {
        "Data": _join(_name_data(result) for result in known),
        "Split": ", ".join(filter(None, (_join(map(_name_split, known)), f"{part} part"))),
        "Features": _join(map(_name_features, known)),
        "Settings": _join(map(_name_settings, known)),
        "Seeds": _join(str(result.seed) for result in known),
        "Trained with": _join(version for result in known for version in _name_versions(result)),
        "Written": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    return [(name, value) for name, value in lines.items() if value]


def _join(values: Iterable[str]) -> str:
    """The unlike values; how many more there are beyond _MOST."""
    unlike = [value for value in dict.fromkeys(values) if value]
    rest = f" and {len(unlike) - _MOST} more" if len(unlike) > _MOST else ""
    return "; ".join(unlike[:_MOST]) + rest


def _name_data(result: Result) -> str:
    """`clips of videos-googlenet, 5 classes`: the task, the store's folder, the classes."""
    config, provenance = result.config, result.provenance
    assert config is not None
    places = {} if provenance is None else provenance.places
    name = config.task.name
    if "features" in places:
        name = f"{name} of {Path(places['features'].absolute).name}"
    return f"{name}, {len(config.labels)} classes" if config.labels else name


def _name_split(result: Result) -> str:
    split = str(result.settings.get("split", ""))
    if split != "draw":
        return split
    return f"drawn with seed {result.settings.get('task.split_seed')}"


def _name_features(result: Result) -> str:
    """`googlenet, weights random, layer pool, one frame of 2`."""
    config = result.config
    assert config is not None
    spec = config.origin.features
    if spec is None:
        return ""
    weights = f"weights {Path(spec.weights).name}" if spec.weights else ""
    layer = f"layer {spec.features}" if spec.features else ""
    return ", ".join(filter(None, (spec.backbone, weights, layer, spec.frames)))


def _name_settings(result: Result) -> str:
    """`rmsprop, learning rate 0.0002, dropout 0.1, batches of 16, 60 + 25 + 15 epochs`."""
    config = result.config
    assert config is not None
    epochs = " + ".join(map(str, config.schedule.scaled(config.budget).phase_epochs))
    return (
        f"{config.optimizer.name}, learning rate {config.optimizer.lr:g}, dropout "
        f"{config.net.dropout:g}, batches of {config.batch.batch_size}, at most {epochs} epochs, "
        f"{config.batch.keep} kept"
    )


def _name_versions(result: Result) -> list[str]:
    """`np-rnn 0.1.0, commit 0123456789ab` of each session."""
    sessions = () if result.provenance is None else result.provenance.sessions
    told = []
    for session in sessions:
        commit, _, changes = session.git_commit.partition("+")
        version = session.versions.get("np-rnn", "")
        told.append(
            ", ".join(
                filter(
                    None,
                    (
                        f"np-rnn {version}" if version else "",
                        f"commit {commit[:_SHOWN]}" if commit else "",
                        "with changes" if changes else "",
                    ),
                )
            )
        )
    return told
