"""Probabilities that mean what they say: one temperature, fitted on the validation part.

Guo et al. 2017, "On Calibration of Modern Neural Networks": softmax(outputs / T), T minimising the
negative log likelihood. The order of the labels stays as it is. The targets are smoothed as in
Platt 1999: a handful of validation clips, all answered rightly, would else make every later answer
certain.

Beside it stands a threshold, chosen on the same clips: a video whose likeliest label stays below it
shows none of the labels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from eval.predictions.predict import PartReader, predict
from eval.predictions.predictions import Predictions
from eval.predictions.unknown import find_threshold
from pipeline.devices import resolve_device
from pipeline.files import digest_file, write_text
from pipeline.metrics import softmax
from pipeline.runs import CALIBRATION, WEIGHTS, Run
from pipeline.seals import dump_sealed, load_sealed
from pipeline.tasks import CLASSIFICATION

BOUNDS = (0.02, 50.0)
FEW = 100
_FORMAT = "calibration 2"
_WITHOUT_THRESHOLD = "calibration 1"


@dataclass(frozen=True)
class Calibration:
    """What outputs are divided by, and how that is known.

    `num_clips` validation clips gave it, with a mean negative log likelihood of `nll_before` and
    `nll_after`; 0 clips: none did, and `reason` says why. `weights_digest` names the net. The
    likeliest label of KEPT_SHARE of the right ones among these clips reaches `threshold`, a
    probability; None where none was right, or there were none.
    """

    temperature: float = 1.0
    num_clips: int = 0
    nll_before: float = float("nan")
    nll_after: float = float("nan")
    weights_digest: str = ""
    reason: str = ""
    threshold: float | None = None

    def probabilities(self, outputs: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., C), adding up to 1, of outputs (..., C)."""
        return softmax(outputs.astype(np.float64) / self.temperature).astype(np.float64, copy=False)

    def __str__(self) -> str:
        if not self.num_clips:
            return f"Probabilities are not calibrated: {self.reason}."
        rough = " So few calibrate roughly." if self.num_clips < FEW else ""
        return (
            f"Probabilities are calibrated on {self.num_clips} validation clips (temperature "
            f"{self.temperature:.3g}).{rough}"
        )


def fit_calibration(predictions: Predictions) -> Calibration:
    """The temperature within BOUNDS that minimises the likelihood's loss on smoothed targets.

    And the threshold of the probabilities at this temperature.
    Of N clips a target has (N + 1) / (N + 2); the other labels share the rest.
    """
    outputs = predictions.outputs.astype(np.float64)
    num, num_labels = outputs.shape
    targets = np.full(outputs.shape, 1 / ((num + 2) * max(1, num_labels - 1)))
    np.put_along_axis(targets, predictions.targets[:, None], (num + 1) / (num + 2), axis=1)

    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - answers come without it
    from scipy.special import log_softmax  # noqa: PLC0415

    def loss(log_temperature: float) -> float:
        logs = log_softmax(outputs / np.exp(log_temperature), axis=1)
        return float(-(targets * logs).sum(axis=1).mean())

    low, high = np.log(BOUNDS)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    temperature = float(np.exp(found.x))
    before, after = (_nll(outputs / t, predictions.targets) for t in (1.0, temperature))
    threshold = find_threshold(softmax(outputs / temperature), predictions.targets)
    return Calibration(temperature, num, before, after, threshold=threshold)


def _nll(outputs: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    from scipy.special import log_softmax  # noqa: PLC0415

    logs = log_softmax(outputs, axis=1)
    return float(-np.take_along_axis(logs, targets[:, None], axis=1).mean())


def calibrate(run: Run, *, features: str | None = None) -> Calibration:
    """The run's calibration, from `<run>/calibration.json` or fitted and kept there.

    Where the validation clips cannot be read, outputs stay as they are, and the reason is told; one
    that was kept without a threshold stays without.
    """
    digest = digest_file(run.folder / WEIGHTS)
    kept, is_whole = _read(run)
    if kept.weights_digest != digest:
        kept, is_whole = Calibration(), False
    if is_whole:
        return kept
    try:
        predictions = predict(
            run,
            PartReader("val", features),
            batch_size=256,
            device=resolve_device("auto"),
        )
    except (ValueError, OSError) as error:
        if kept.num_clips:
            return kept
        return Calibration(reason=f"the validation part cannot be read ({_first_line(error)})")
    if predictions.kind != CLASSIFICATION:
        return Calibration(reason=f"the run's task is a {predictions.kind}")
    if predictions.num_not_finite:
        return Calibration(reason="the net's answers on the validation part are not finite")
    fitted = fit_calibration(predictions)
    calibration = Calibration(**{**asdict(fitted), "weights_digest": digest})
    _write(run, calibration)
    return calibration


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")


def _read(run: Run) -> tuple[Calibration, bool]:
    """What the run's folder keeps, and whether it says all: the first files have no threshold."""
    try:
        content = load_sealed((run.folder / CALIBRATION).read_text(encoding="utf-8"))
        form = content.pop("format")
        if form in (_FORMAT, _WITHOUT_THRESHOLD):
            return Calibration(**content), form == _FORMAT
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass  # it is fitted anew
    return Calibration(), False


def _write(run: Run, calibration: Calibration) -> None:
    content = {"format": _FORMAT, **asdict(calibration)}
    try:
        write_text(run.folder / CALIBRATION, dump_sealed(content))
    except OSError:
        return  # a run folder that cannot be written is calibrated each time
