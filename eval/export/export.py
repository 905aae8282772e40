"""From a run to ONNX files that other devices run: checked before they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx

from eval.export.encoder_graph import build_encoder
from eval.export.exported import TOLERANCE, compare_steps, compare_whole
from eval.export.graphs import build_step, build_whole, state_names
from eval.export.quantise import Loss, measure_loss, quantise
from eval.predictions.calibration import Calibration, calibrate
from eval.predictions.predict import PartReader
from pipeline.files import replacing, write_text
from pipeline.recurrent.classifier import SequenceNet
from pipeline.runs import Run, find_encoder_weights, load_net
from pipeline.sequences import SequenceBatch, make_loader
from pipeline.tasks import CLASSIFICATION

OUT = "export"
REPORT = "export.json"
_CHECKED_CLIPS = 16
_BATCH_SIZE = 16


@dataclass(frozen=True)
class Export:
    """What was written to `folder`, by file name with its bytes, and how it was checked.

    `excess` is the largest difference from torch over the allowed one, TOLERANCE of the largest
    number. `loss` is None where there are no test clips: then there is no 8-bit net either.
    """

    folder: Path
    num_bytes: Mapping[str, int]
    num_checked: int
    excess: float
    calibration: Calibration
    loss: Loss | None
    reason: str = ""
    """Why there is no 8-bit net, or ""."""

    def __str__(self) -> str:
        files = [f"  {size / 1000:10,.1f} kB  {name}" for name, size in self.num_bytes.items()]
        eight = f"8-bit step net: {self.loss or f'not written, {self.reason}'}"
        checked = (
            f"checked in ONNX Runtime {metadata.version('onnxruntime')} against torch on "
            f"{self.num_checked} clips: the largest difference is {self.excess * TOLERANCE:.1e} of "
            f"the largest number (allowed: {TOLERANCE:.0e})"
        )
        return "\n".join([str(self.folder), *files, checked, eight, str(self.calibration)])


def export_run(
    run: Run,
    *,
    out: Path | None = None,
    features: str | None = None,
    with_backbone: bool = False,
    weights: str | Path | None = None,
) -> Export:
    """Write step.onnx, clip.onnx, step-int8.onnx and, if asked, backbone.onnx; and export.json.

    Of a bidirectional net, which has no step, clip.onnx alone.
    Each is first compared with torch: the nets on validation clips of the run's features
    (`features` stands in for the store they were in), the backbone, of `weights`, on drawn frames.
    Raises ValueError where they differ, and writes nothing then.
    """
    _refuse_no_single_answer(run)
    net, notes = load_net(run), calibrate(run, features=features)
    batch = _read_some(run, features)
    whole = build_whole(net)
    excess = compare_whole(whole, net, batch)
    models, loss, reason = {"clip.onnx": whole}, None, "a bidirectional net has no step"
    if not net.spec.bidirectional:
        models["step.onnx"] = build_step(net)
        excess = max(excess, compare_steps(models["step.onnx"], net, batch))
        test, reason = _read_test(run, features)
        if test:
            models["step-int8.onnx"] = quantise(models["step.onnx"])
            loss = measure_loss(whole, models["step-int8.onnx"], net, test)
    if with_backbone:
        models["backbone.onnx"], of_backbone = build_encoder(
            run.features, weights=weights or find_encoder_weights(run)
        )
        excess = max(excess, of_backbone)
    _refuse_different(run, excess)
    for name, model in models.items():
        onnx.helper.set_model_props(model, describe(run, net, notes, name))
    num_bytes = _write(out or run.folder / OUT, models)
    export = Export(
        out or run.folder / OUT, num_bytes, len(batch.lengths), excess, notes, loss, reason
    )
    _write_report(export, run)
    return export


def _read_test(run: Run, features: str | None) -> tuple[list[SequenceBatch], str]:
    """The test clips, or none and why the loss of 8 bits cannot be measured."""
    try:
        return read_test(run, features), ""
    except ValueError as error:
        return [], f"its loss cannot be measured: {str(error).splitlines()[0]}"


def describe(run: Run, net: SequenceNet, calibration: Calibration, file: str) -> dict[str, str]:
    """What a file says of itself: all that is needed to feed it and to read its outputs."""
    told = {
        "np_rnn_graph": file.removesuffix(".onnx"),
        "run": run.folder.resolve().name,
        "net": net.spec.name,
        "labels": json.dumps(run.config.labels),
        "temperature": repr(calibration.temperature),
        "calibrated_on_clips": str(calibration.num_clips),
    }
    if not net.spec.bidirectional:
        told["initial_state"] = json.dumps(_initial_state(net))
    if (spec := run.features) is not None:
        for name in ("backbone", "weights", "weights_digest", "preprocessing", "features"):
            told[name] = str(getattr(spec, name))
        told["stride"] = str(spec.stride)
    return told


def _initial_state(net: SequenceNet) -> dict[str, Any]:
    """Of each component of the state `zeros`, or the numbers that were learned."""
    start = net.initial_state(1)
    components = {name: getattr(start, name)[0].tolist() for name in state_names(net.spec)}
    return {
        name: value if isinstance(value, list) and any(value) else "zeros"
        for name, value in components.items()
    }


def _refuse_no_single_answer(run: Run) -> None:
    if run.config.net.readout == "all" or not run.config.labels:
        raise ValueError(
            f"{run.folder}: expected a net that gives a sequence one class, found the task "
            f"{run.config.task.name} with readout={run.config.net.readout}.\nExport another run."
        )


def _refuse_different(run: Run, excess: float) -> None:
    if not excess <= 1:
        raise ValueError(
            f"{run.folder}: the exported net gives other outputs than torch: they differ by "
            f"{excess * TOLERANCE:.1e} of the largest, {TOLERANCE:.0e} is allowed. Nothing was "
            f"written.\nONNX Runtime {metadata.version('onnxruntime')} may be at fault: install "
            f"the version of constraints.txt."
        )


def _read_some(run: Run, features: str | None) -> SequenceBatch:
    _, sequences = PartReader("val", features).read(run)
    return sequences[list(range(min(len(sequences), _CHECKED_CLIPS)))]


def read_test(run: Run, features: str | None = None) -> list[SequenceBatch]:
    task, sequences = PartReader("test", features).read(run)
    assert task.kind == CLASSIFICATION
    return list(make_loader(sequences, _BATCH_SIZE, seed=None))


def _write(folder: Path, models: Mapping[str, onnx.ModelProto]) -> dict[str, int]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        with replacing(folder / name) as unfinished:
            onnx.save(model, unfinished)
    return {name: (folder / name).stat().st_size for name in models}


def _write_report(export: Export, run: Run) -> None:
    content = {
        "run": str(run.folder),
        "num_bytes": dict(export.num_bytes),
        "num_checked": export.num_checked,
        "largest_difference_of_largest_number": export.excess * TOLERANCE,
        "allowed": TOLERANCE,
        "temperature": export.calibration.temperature,
        "loss_of_8_bits": asdict(export.loss) if export.loss else export.reason,
        "versions": {name: metadata.version(name) for name in ("onnx", "onnxruntime", "torch")},
    }
    write_text(export.folder / REPORT, json.dumps(content, indent=1) + "\n")
