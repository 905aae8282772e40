"""Speech to a store: filter banks, the phone of each frame, and what is wrong with a corpus."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extract.__main__ import main
from extract.speech.banks import compute_banks, find_differences
from extract.speech.corpus import find_utterances
from extract.speech.phones import LabelError, Phone, label_frames, read_phones
from pipeline.clips import Problem
from pipeline.features import FeatureStore, split_labels
from pipeline.features.spec import join_labels
from tests.tiny_speech import (
    RATE,
    SPEAKERS,
    TONES,
    draw_phones,
    make_samples,
    write_corpus,
    write_phones,
    write_riff,
    write_sphere,
)

BANKS, ENERGY = slice(0, 40), 40
CENTRES = np.linspace(31.7, 2840, 42)[1:-1]
"""Of the banks, in mel."""
SHORTEN = "-s26 pcm,embedded-shorten-v2.00"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("speech") / "corpus")


@pytest.fixture
def own_corpus(corpus: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(corpus, tmp_path / "corpus"))


def extract(corpus: Path, out: Path, *more: str) -> int:
    return main(["--speech", str(corpus), "--out", str(out), *more])


def to_mel(hertz: Any) -> Any:
    return 1127 * np.log(1 + hertz / 700)


def compute_power_banks(samples: np.ndarray) -> np.ndarray:
    """Log mel powers by the books (HTK's and Kaldi's), in float64, frame by frame."""
    length, shift, size = 400, 160, 512
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(length) / (length - 1))
    corners = np.linspace(to_mel(20), to_mel(RATE / 2), 42)
    bins = to_mel(np.arange(size // 2) * RATE / size)
    rise = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    fall = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    triangles = np.maximum(np.minimum(rise, fall), 0)  # (40, 256)
    rows = []
    for start in range(0, len(samples) - length + 1, shift):
        frame = samples[start : start + length] - samples[start : start + length].mean()
        energy = np.log(max((frame**2).sum(), 2.0**-23))
        # The sample before the first is taken to be the first.
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, size)[: size // 2]) ** 2
        rows.append([*np.log(np.maximum(triangles @ power, 2.0**-23)), energy])
    return np.array(rows)


def test_filter_banks_are_those_of_the_books() -> None:
    samples = (make_samples(draw_phones(3)) / 2**15).astype(np.float32)
    expected = compute_power_banks(samples.astype(np.float64))
    found = compute_banks(samples, has_energy=True)
    assert found.shape == (len(expected), 123)
    # float32 transforms, whose quiet bands lie 60 dB under the loud ones.
    np.testing.assert_allclose(found[:, :41], expected, atol=2e-3)
    without = compute_banks(samples, has_energy=False)
    assert without.shape == (len(expected), 120)
    np.testing.assert_array_equal(without[:, BANKS], found[:, BANKS])
    np.testing.assert_array_equal(without[:, 40:80], found[:, 41:81])


def test_differences_of_a_line_are_its_slope_and_those_of_a_parabola_its_curvature() -> None:
    steps = np.arange(20, dtype=np.float32)[:, None]
    slopes = find_differences(3 * steps - 7)
    np.testing.assert_allclose(slopes[2:-2], 3, rtol=1e-6)
    second = find_differences(find_differences(steps * steps))
    np.testing.assert_allclose(second[4:-4], 2, rtol=1e-5)


def test_a_frame_has_the_phone_at_its_middle() -> None:
    generator = np.random.default_rng(0)
    ends = np.cumsum(generator.integers(50, 900, size=30))
    of_sample = np.repeat([f"p{i}" for i in range(30)], np.diff(ends, prepend=0))
    starts = [0, *ends[:-1]]
    phones = read_lines(
        [(int(s), int(e), f"p{i}") for i, (s, e) in enumerate(zip(starts, ends, strict=True))]
    )
    num = 1 + (len(of_sample) - 400) // 160
    expected = [of_sample[160 * t + 200] for t in range(num)]
    assert label_frames(phones, num, rate=RATE) == expected
    # At half the rate the middles lie at whole samples too.
    halved = read_lines([(p.start // 2, p.end // 2, p.name) for p in phones])
    same = [
        a == b for a, b in zip(label_frames(halved, num, rate=RATE // 2), expected, strict=True)
    ]
    assert np.mean(same) > 0.98  # but for ends that were rounded onto a middle


def read_lines(lines: list[tuple[int, int, str]]) -> tuple[Phone, ...]:
    return tuple(Phone(*line) for line in lines)


def test_a_gap_between_phones_and_the_time_after_them_have_no_label() -> None:
    phones = read_lines([(0, 800, "a"), (1600, 2400, "b")])
    middles = [160 * t + 200 for t in range(20)]
    expected = ["a" if m < 800 else "b" if 1600 <= m < 2400 else "" for m in middles]
    assert label_frames(phones, 20, rate=RATE) == expected


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "a", "", "b*2", "", "", "h#"]])
def test_labels_in_one_line_read_back(labels: list[str]) -> None:
    assert split_labels(join_labels(labels)) == labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "it is empty"),
        ("0 100 a\n90 200 b\n", "b begins at sample 90, within a, which ends at 100"),
        ("0 100\n", "line 1: expected `start end phone`"),
        ("0 100 a\nx 200 b\n", "line 2: expected `start end phone`"),
        ("100 50 a\n", "a ends at 50, before it begins"),
    ],
)
def test_labels_that_are_none_are_refused_with_the_reason(
    tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "a.PHN").write_text(text)
    with pytest.raises(LabelError, match=expected):
        read_phones(tmp_path / "a.PHN")


def test_a_corpus_becomes_a_store_with_a_phone_for_each_frame(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract(corpus, tmp_path / "store") == 0
    assert "5 SA sentences" in capsys.readouterr().out
    store = FeatureStore(tmp_path / "store")
    assert {r.clip.group for r in store.records.values()} == {
        s for p in SPEAKERS.values() for s in p
    }
    assert len(store.records) == 15
    # Each tone is loudest in the bank around it, wherever a frame is within one phone.
    for record in store.records.values():
        features = store.read(record.clip.id).astype(np.float32)
        labels = split_labels(record.labels)
        assert len(labels) == len(features) == record.num_steps
        for label, hertz in TONES.items():
            inner = [t for t in range(2, len(labels) - 2) if set(labels[t - 2 : t + 3]) == {label}]
            if hertz and inner:
                place = np.argmin(abs(to_mel(hertz) - CENTRES))
                assert set(features[inner, BANKS].argmax(axis=1)) <= {place - 1, place, place + 1}
            elif inner:
                assert features[inner, ENERGY].max() < -4


def test_riff_and_lower_case_names_give_the_features_of_sphere_and_upper_case(
    corpus: Path, tmp_path: Path
) -> None:
    lower = tmp_path / "lower"
    for path in corpus.rglob("*.*"):
        to = lower / str(path.relative_to(corpus)).lower()
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".WAV":
            samples = np.frombuffer(path.read_bytes()[1024:], "<i2")
            write_riff(to, samples)
        else:
            to.write_bytes(path.read_bytes())
    assert extract(corpus, tmp_path / "a") == extract(lower, tmp_path / "b") == 0
    upper, of_lower = FeatureStore(tmp_path / "a"), FeatureStore(tmp_path / "b")
    assert {name.lower() for name in upper.records} == set(of_lower.records)
    for name, record in upper.records.items():
        other = of_lower.records[name.lower()]
        assert (record.checksum, record.labels) == (other.checksum, other.labels)


def test_an_extraction_goes_on_with_what_changed_and_is_complete_the_second_time(
    own_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract(own_corpus, tmp_path / "store") == 0
    capsys.readouterr()
    assert extract(own_corpus, tmp_path / "store") == 0
    assert "Nothing was left to do" in capsys.readouterr().out
    path = own_corpus / "TRAIN" / "DR1" / "FAAA0" / "SX0.PHN"
    path.write_text(path.read_text().replace("h#", "pau"))
    assert extract(own_corpus, tmp_path / "store") == 0
    assert "the labels of FAAA0-SX0 changed" in capsys.readouterr().out
    labels = split_labels(FeatureStore(tmp_path / "store").records["FAAA0-SX0"].labels)
    assert labels[0] == labels[-1] == "pau"
    assert main(["verify", str(tmp_path / "store")]) == 0


def spoil(corpus: Path, fault: str) -> None:
    """Something is wrong with one utterance of the corpus."""
    folder = corpus / "TRAIN" / "DR1" / "FAAA0"
    sound, labels = folder / "SX0.WAV", folder / "SX0.PHN"
    phones = draw_phones(2)
    if fault == "sound without labels":
        labels.unlink()
    elif fault == "labels without a sound":
        sound.unlink()
    elif fault == "runs past the sound":
        write_phones(labels, [*phones, (phones[-1][1], phones[-1][1] + 4000, "aa")])
    elif fault == "Pass --label-rate 8000":
        write_phones(labels, [(s // 2, e // 2, name) for s, e, name in phones])
    elif fault == "within":
        write_phones(labels, [*phones[:2], (phones[1][1] - 9, phones[2][1], "aa"), *phones[3:]])
    elif fault == "it is empty":
        sound.write_bytes(b"")
    elif fault == "w_decode":
        write_sphere(sound, make_samples(phones), fields={"sample_coding": SHORTEN})
    elif fault == "fewer than a frame":
        write_sphere(sound, make_samples(phones)[:300])
    elif fault == "no frame lies in a phone":
        write_phones(labels, [(0, 1, "h#")])


@pytest.mark.parametrize(
    "fault",
    [
        "sound without labels", "labels without a sound", "runs past the sound",
        "Pass --label-rate 8000", "within", "it is empty", "w_decode", "fewer than a frame",
        "no frame lies in a phone",
    ],
)  # fmt: skip
def test_an_utterance_that_cannot_be_taken_is_named_with_the_reason_and_the_rest_is_taken(
    own_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    spoil(own_corpus, fault)
    assert extract(own_corpus, tmp_path / "store") == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "SX0." in line)
    assert line.startswith("  TRAIN/DR1/FAAA0/SX0.")
    assert fault in line
    assert len(FeatureStore(tmp_path / "store").records) == 14
    # Put right, it is taken.
    folder = Path("TRAIN") / "DR1" / "FAAA0"
    phones = draw_phones(2)
    write_sphere(own_corpus / folder / "SX0.WAV", make_samples(phones, seed=2))
    write_phones(own_corpus / folder / "SX0.PHN", phones)
    assert extract(own_corpus, tmp_path / "store") == 0
    assert len(FeatureStore(tmp_path / "store").records) == 15


def test_a_resampled_copy_reads_with_labels_at_the_first_rate_when_that_is_said(
    own_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in own_corpus.rglob("*.WAV"):
        samples = np.frombuffer(path.read_bytes()[1024:], "<i2")
        write_sphere(path, samples[::2], rate=8000)
    assert extract(own_corpus, tmp_path / "store") == 2
    assert "these look like times at 16000 Hz. Pass --label-rate 16000" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
    assert extract(own_corpus, tmp_path / "store", "--label-rate", "16000") == 0
    assert "15 of 15 sounds: nistsphere pcm_s16le 8000 Hz, resampled." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (("TEST", ""), "expected the folders TRAIN and TEST, found no TEST among TRAIN"),
        (("TEST", "Train"), "found both TRAIN and Train"),
        (("", "inner"), r"found no TRAIN among inner.\nPass --speech .*inner"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused(
    own_corpus: Path, wrong: tuple[str, str], expected: str
) -> None:
    before, after = wrong
    if not before:
        own_corpus.rename(own_corpus.with_name("x"))
        own_corpus.mkdir()
        own_corpus.with_name("x").rename(own_corpus / after)
    elif after:
        (own_corpus / before).rename(own_corpus / after)
    else:
        shutil.rmtree(own_corpus / before)
    with pytest.raises(ValueError, match=expected):
        find_utterances(own_corpus)


def test_a_second_form_of_a_sound_is_passed_over_and_taken_where_it_is_alone(
    own_corpus: Path,
) -> None:
    folder = own_corpus / "TRAIN" / "DR1" / "FAAA0"
    shutil.copy(folder / "SX0.WAV", folder / "SX0.WAV.wav")
    (folder / "SX1.WAV").rename(folder / "SX1.WAV.wav")
    found = find_utterances(own_corpus)
    paths = {clip.id: clip.path for clip in found.clips.clips}
    assert not found.clips.problems
    assert paths["FAAA0-SX0"] == "TRAIN/DR1/FAAA0/SX0.WAV"
    assert paths["FAAA0-SX1"] == "TRAIN/DR1/FAAA0/SX1.WAV.wav"


def test_a_name_that_two_sounds_have_in_unlike_case_is_a_problem(own_corpus: Path) -> None:
    folder = own_corpus / "TRAIN" / "DR1" / "FAAA0"
    shutil.copy(folder / "SX0.WAV", folder / "sx0.wav")
    if len(list(folder.glob("*0.*"))) < 3:
        pytest.skip("this file system takes names of unlike case for one")
    (problem,) = find_utterances(own_corpus).clips.problems
    assert isinstance(problem, Problem)
    assert "expected one sound and one .PHN" in problem.reason


def test_options_without_effect_on_what_is_extracted_are_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract(corpus, tmp_path / "store", "--stride", "2") == 2
    assert "--stride has no effect with --speech" in capsys.readouterr().err
    assert main(["--videos", str(tmp_path), "--without-energy"]) == 2
    assert "--without-energy has no effect with --videos" in capsys.readouterr().err


def test_spoken_sentences_have_loud_vowels_and_quiet_pauses(
    data_root: Path, tmp_path: Path
) -> None:
    corpus = data_root / "speech" / "flite-timit"
    if not corpus.is_dir():
        pytest.skip(f"no speech in {data_root}")
    assert extract(corpus, tmp_path / "store", "--limit", "12") == 0
    store = FeatureStore(tmp_path / "store")
    assert len({record.clip.group for record in store.records.values()}) == 12
    energies: dict[str, list[float]] = {"ae": [], "h#": []}
    for record in store.records.values():
        for label, row in zip(split_labels(record.labels), store.read(record.clip.id), strict=True):
            energies.get(label, []).append(float(row[ENERGY]))
    loud, quiet = (np.mean(energies[label]) for label in ("ae", "h#"))
    assert loud > quiet + 4  # of the natural logarithm of power: 17 dB
