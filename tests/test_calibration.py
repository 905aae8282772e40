"""Calibration: the temperature is found, kept with its net, and never makes few answers certain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.predictions import calibration
from eval.predictions.calibration import calibrate, fit_calibration
from eval.predictions.predictions import Predictions
from pipeline.runs import CALIBRATION, load_run
from pipeline.seals import dump_sealed, load_sealed
from pipeline.tasks import PartUse
from tests.tiny_runs import write_run, write_store


def make_predictions(num: int, *, temperature: float, seed: int = 0) -> Predictions:
    """Targets drawn from softmax(outputs / temperature)."""
    generator = np.random.default_rng(seed)
    outputs = 2 * generator.normal(size=(num, 4))
    noise = generator.gumbel(size=outputs.shape)
    ids = tuple(str(i) for i in range(num))
    return Predictions(
        ("a", "b", "c", "d"), outputs.astype(np.float32),
        (outputs / temperature + noise).argmax(axis=1), ids, PartUse(num, ids),
    )  # fmt: skip


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_drew_the_targets_is_found(temperature: float) -> None:
    fitted = fit_calibration(make_predictions(20_000, temperature=temperature))
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)  # three standard errors
    assert fitted.nll_after <= fitted.nll_before + 1e-9


def test_a_few_right_answers_do_not_make_every_answer_certain() -> None:
    predictions = make_predictions(10, temperature=1e-6)
    fitted = fit_calibration(predictions)
    confidence = fitted.probabilities(predictions.outputs).max(axis=1).mean()
    assert 0.7 < confidence < 0.97
    assert "roughly" in str(fitted)


def test_a_calibration_is_kept_until_the_net_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_store(tmp_path / "store")
    write_run(tmp_path / "run", store)
    first = calibrate(load_run(tmp_path / "run"))
    assert first.num_clips == 12
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "predict", lambda *a, **k: pytest.fail("fitted twice"))
        assert calibrate(load_run(tmp_path / "run")) == first
    write_run(tmp_path / "run", store, seed=1)
    assert calibrate(load_run(tmp_path / "run")) != first


def test_a_calibration_of_before_thresholds_is_fitted_anew_where_it_can_be(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    write_run(tmp_path / "run", store)
    run, path = load_run(tmp_path / "run"), tmp_path / "run" / CALIBRATION
    whole = calibrate(run)
    assert whole.threshold is not None
    content = load_sealed(path.read_text())
    content = {k: v for k, v in content.items() if k != "threshold"}
    path.write_text(dump_sealed({**content, "format": "calibration 1"}))
    without = calibrate(run, features=str(tmp_path / "nowhere"))
    assert without == replace(whole, threshold=None)
    assert calibrate(run) == whole


def test_the_threshold_is_kept_with_the_temperature(tmp_path: Path) -> None:
    predictions = make_predictions(500, temperature=2.0)
    fitted = fit_calibration(predictions)
    shares = fitted.probabilities(predictions.outputs)
    is_right = shares.argmax(axis=1) == predictions.targets
    assert fitted.threshold is not None
    kept = (shares.max(axis=1) >= fitted.threshold)[is_right].mean()
    assert 0.95 <= kept < 0.95 + 2 / is_right.sum()


def test_without_a_validation_part_the_reason_is_told(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    write_run(tmp_path / "run", store)
    found = calibrate(load_run(tmp_path / "run"), features=str(tmp_path / "nowhere"))
    assert found.temperature == 1.0
    assert "not calibrated: the validation part cannot be read" in str(found)
    assert not (tmp_path / "run" / CALIBRATION).exists()
