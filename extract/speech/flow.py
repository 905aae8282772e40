"""The flow of an extraction of speech: plan, read, compute, label, write, account for all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from extract.claims import claim_shard, hold_plan, write_shard
from extract.leases import Leases
from extract.outcome import Outcome, Tally, conclude
from extract.plan import Shard, is_done, measure_bytes, plan_shards
from extract.progress import Progress
from extract.resume import find_todo
from extract.speech.banks import compute_banks
from extract.speech.corpus import FoundSpeech
from extract.speech.phones import (
    FRAME_SAMPLES,
    RATE,
    SHIFT_SAMPLES,
    LabelError,
    check_fit,
    label_frames,
    read_phones,
)
from pipeline.clips import Clip
from pipeline.features import (
    INDEX,
    ClipRecord,
    Failure,
    FeatureSpec,
    FeatureStore,
    ShardWriter,
    claim_store,
    join_labels,
    read_shard,
    split_labels,
    write_videos_place,
)
from pipeline.files import digest_file
from pipeline.sound import Sound, SoundError, read_sound


def extract_speech(
    found: FoundSpeech, out: Path, *, spec: FeatureSpec, label_rate: int | None
) -> Outcome:
    """Write the features and labels of these utterances into the store `out`.

    It goes on where it stopped; utterances whose sound or labels changed since are done anew.
    `label_rate`: what the labels count samples at; None: each sound's own rate.
    """
    root = found.clips.folder
    with Leases() as leases:
        with hold_plan(out, leases):
            claim_store(out, spec)
            write_videos_place(out, root)
            shards = plan_shards(out, found.clips.clips)
        left = find_todo(out, shards, root, spec=spec)
        work = _Work(found, out, spec, label_rate, leases)
        relabelled = {s.name: why for s in shards if s not in left.todo if (why := work.compare(s))}
        tally = Tally(redone={**left.redone, **relabelled})
        todo = [s for s in shards if s in left.todo or s.name in relabelled]
        if todo:
            # An index must never be older than a shard: it comes back when all shards are done.
            (out / INDEX).unlink(missing_ok=True)
            work.run(todo, tally)
    return conclude(out, spec, found.clips, shards, tally)


@dataclass(frozen=True)
class _Work:
    """What the shards of one call share."""

    found: FoundSpeech
    out: Path
    spec: FeatureSpec
    label_rate: int | None
    leases: Leases

    def run(self, todo: list[Shard], tally: Tally) -> None:
        start = time.perf_counter()
        with ExitStack() as stack:
            progress = Progress(sum(len(shard.clips) for shard in todo))
            stack.callback(progress.close)
            held = [s for s in todo if not self._claim(s, tally, progress, patiently=False)]
            left = [s for s in held if not self._claim(s, tally, progress, patiently=True)]
        tally.left_to_others += [shard.name for shard in left]
        tally.wall_seconds = time.perf_counter() - start

    def _claim(self, shard: Shard, tally: Tally, progress: Progress, *, patiently: bool) -> bool:
        """Whether no other process holds the shard; it is done then."""
        with claim_shard(self.out, shard, self.leases, patiently=patiently) as is_mine:
            if is_mine and (not is_done(self.out, shard) or shard.name in tally.redone):
                self._extract(shard, tally, progress)
            return is_mine

    def _extract(self, shard: Shard, tally: Tally, progress: Progress) -> None:
        with write_shard(self.out, shard, self.spec, self.leases) as file:
            for clip in shard.clips:
                outcome = self._read(clip, file, tally)
                if isinstance(outcome, Failure):
                    file.record_failure(outcome)
                else:
                    file.finish(outcome)
                num_steps = 0 if isinstance(outcome, Failure) else outcome.num_steps
                tally.num_clips += 1
                tally.num_frames += num_steps
                tally.num_steps += num_steps
                progress.add(num_steps)

    def _read(self, clip: Clip, file: ShardWriter, tally: Tally) -> ClipRecord | Failure:
        """What the store shall know of an utterance, whose features are appended to the file."""
        path = self.found.clips.folder / clip.path
        start = time.perf_counter()
        try:
            sound = read_sound(path, rate=RATE)
            labels = self._label(clip, sound)
        except LabelError as error:
            return Failure(
                clip, f"{Path(self._name_labels(clip)).name}: {error}", measure_bytes(path)
            )
        except (SoundError, OSError) as error:
            said = error.strerror if isinstance(error, OSError) else ""
            return Failure(clip, said or str(error), measure_bytes(path))
        read = time.perf_counter()
        features = compute_banks(sound.samples, has_energy="energy" in self.spec.features)
        computed = time.perf_counter()
        file.append(features)
        tally.decode_seconds += read - start
        tally.encode_seconds += computed - read
        tally.write_seconds += time.perf_counter() - computed
        return ClipRecord(
            clip,
            num_steps=len(features),
            num_frames=len(features),
            fps=RATE / SHIFT_SAMPLES,
            num_header_frames=count_frames(sound),
            decoder=sound.about,
            problem=_find_problem(sound),
            num_bytes=measure_bytes(path),
            digest=digest_file(path),
            labels=join_labels(labels),
        )

    def _name_labels(self, clip: Clip) -> str:
        return self.found.labels.get(clip.path, "")

    def _label(self, clip: Clip, sound: Sound) -> list[str]:
        if not (name := self._name_labels(clip)):
            raise SoundError("its labels are gone: no .PHN beside it")
        if len(sound.samples) < FRAME_SAMPLES:
            raise SoundError(f"it has {len(sound.samples)} samples, fewer than a frame's")
        phones, rate = read_phones(self.found.clips.folder / name), self.label_rate
        check_fit(phones, sound, rate=rate or sound.own_rate)
        num_frames = 1 + (len(sound.samples) - FRAME_SAMPLES) // SHIFT_SAMPLES
        labels = label_frames(phones, num_frames, rate=rate or sound.own_rate)
        if not any(labels):
            raise LabelError("no frame lies in a phone")
        return labels

    def compare(self, shard: Shard) -> str:
        """Whose labels are no longer those that were written, or ""; sounds are not read again."""
        if not is_done(self.out, shard):
            return ""
        _, records, failures = read_shard(self.out, shard.name)
        written = (self.out / f"{shard.name}.h5").stat().st_mtime
        changed = [record.clip.id for record in records if self._is_relabelled(record)]
        changed += [f.clip.id for f in failures if self._may_fit_now(f, written)]
        return f"the labels of {', '.join(changed)} changed" if changed else ""

    def _may_fit_now(self, failure: Failure, written: float) -> bool:
        path = self.found.clips.folder / self._name_labels(failure.clip)
        is_newer = path.is_file() and path.stat().st_mtime > written
        return is_newer or (self.label_rate is not None and "--label-rate" in failure.reason)

    def _is_relabelled(self, record: ClipRecord) -> bool:
        path = self.found.clips.folder / self._name_labels(record.clip)
        if not path.is_file():
            return False
        rate = self.label_rate or int(record.decoder.split(" Hz")[0].rpartition(" ")[2])
        try:
            labels = label_frames(read_phones(path), record.num_steps, rate=rate)
        except LabelError:
            return True
        return join_labels(labels) != record.labels


def count_frames(sound: Sound) -> int | None:
    """The frames that the sound's header promises."""
    if sound.num_promised is None:
        return None
    num = sound.num_promised * RATE // sound.own_rate
    return max(0, 1 + (num - FRAME_SAMPLES) // SHIFT_SAMPLES)


def _find_problem(sound: Sound) -> str:
    if sound.num_own < (sound.num_promised or 0):
        return f"truncated: {sound.num_own:,} of {sound.num_promised:,} samples are there"
    return ""


def describe_speech(found: FoundSpeech, out: Path) -> Iterator[str]:
    """Lines on what a reader of the store must know: what was left out, changed, or unlabelled."""
    if found.num_sa:
        yield f"{found.num_sa} SA sentences, which every speaker reads, were left out."
    records = FeatureStore(out).records.values()
    for about, num in Counter(record.decoder for record in records).items():
        if "," in about:
            yield f"{num} of {len(records)} sounds: {about}."
    labels = Counter(label for record in records for label in split_labels(record.labels))
    if labels[""]:
        total = sum(labels.values())
        yield f"{labels['']:,} of {total:,} frames lie in no phone: they are never scored."
    yield f"{len(labels.keys() - {''})} phones."
