"""A text, token by token: which word, or which character, comes next?

As Mikolov et al. 2010 and Zaremba et al. 2014 score Penn Treebank (protocol `stream`) and Chelba et
al. 2013 the 1 Billion Word benchmark (protocol `sentences`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.tasks.numbered import NumberNames
from pipeline.tasks.options import WordsOptions
from pipeline.tasks.task import LANGUAGE, Origin, PartUse
from pipeline.tasks.token_sets import StretchSet, cut_text, split_sentences
from pipeline.texts import (
    VOCABULARY,
    Stretch,
    Tokens,
    Vocabulary,
    count_tokens,
    find_parts,
    number_text,
    read_pieces,
    read_vocabulary,
)
from pipeline.texts.parts import check_parts

_TEXTS = 1
"""Of the origin: another number is another way to make tokens of a text."""
BLOCK_STEPS = 500
"""Tokens of a cut when nothing is learned: no score depends on it, as the state is carried."""


def words_task(options: WordsOptions, *, kept: Mapping[str, str] | None = None) -> WordsTask:
    """The task of these options, with the vocabulary that a run has `kept`, or that of train."""
    stretches = find_parts(options.root, held_out=options.held_out)
    if kept is None:
        check_parts(stretches, str(options.root))
        train = read_pieces(stretches["train"])
        return WordsTask(
            options, stretches, count_tokens(train, options.unit, size=options.vocabulary)
        )
    return WordsTask(options, stretches, read_vocabulary(kept[VOCABULARY]))


class WordsTask:
    """A Task whose sequences are stretches of a text (`StretchSet`); each part is read once."""

    kind = LANGUAGE
    labels = ()
    input_size = 1

    def __init__(
        self, options: WordsOptions, stretches: Mapping[str, Stretch], vocabulary: Vocabulary
    ) -> None:
        self.options = options
        self.vocabulary = vocabulary
        self._stretches = stretches
        self._tokens: dict[str, Tokens] = {}
        self._sets: dict[str, StretchSet] = {}

    @property
    def num_outputs(self) -> int:
        return len(self.vocabulary)

    def has(self, part: str) -> bool:
        """Whether there is a text of the part."""
        return part in self._stretches

    def tokens(self, part: str) -> Tokens:
        """The text of a part as numbers; ValueError where there is none, or nothing in it."""
        if part not in self._tokens:
            self._tokens[part] = self._read(part)
        return self._tokens[part]

    def _read(self, part: str) -> Tokens:
        if part not in self._stretches:
            raise ValueError(
                f"{self.options.root}: expected a {part} text, found none.\n"
                f"Put one there, as {'valid' if part == 'val' else part}.txt."
            )
        stretch = self._stretches[part]
        tokens = number_text(stretch, self.vocabulary, folder=Path(self.options.tokens))
        if not len(tokens):
            names = ", ".join(map(str, stretch.files[:3]))
            raise ValueError(f"{names}: expected a {part} text, found nothing but empty lines.")
        return tokens

    def sequences(self, part: str) -> StretchSet:
        if part not in self._sets:
            self._sets[part] = self._make_set(part)
        return self._sets[part]

    def _make_set(self, part: str) -> StretchSet:
        tokens = self.tokens(part)
        if self.options.protocol == "sentences":
            return split_sentences(tokens, name=str(self._stretches[part].files[0]))
        return cut_text(tokens, steps=self.options.steps if part == "train" else BLOCK_STEPS)

    def use(self, part: str) -> PartUse:
        names = NumberNames(len(self.sequences(part)))
        return PartUse(len(names), names)

    def sources(self, part: str) -> Sequence[str]:
        return NumberNames(len(self.sequences(part)))

    @property
    def origin(self) -> Origin:
        return Origin(sequences={
            "texts": _TEXTS, "vocabulary": self.vocabulary.digest, "size": len(self.vocabulary),
        })  # fmt: skip

    def places(self) -> Mapping[str, tuple[Path, str]]:
        return {"root": (Path(str(self.options.root)), "")}

    def kept(self) -> Mapping[str, str]:
        return {VOCABULARY: self.vocabulary.text}

    def notes(self) -> Iterator[str]:
        """What whoever trains on it should know."""
        size, asked = len(self.vocabulary), self.options.vocabulary
        yield f"{size:,} {self.options.unit}s, <unk> and a line's end among them"
        if size < asked and self.options.unit == "word":
            yield f"note: train has no more unlike words; task.vocabulary={asked} asks for more"
        for part in ("train", "val"):
            tokens = self.tokens(part)
            share = tokens.num_unknown / len(tokens)
            empty = f"; {tokens.num_empty:,} empty lines left out" if tokens.num_empty else ""
            yield f"{part}: {len(tokens):,} tokens, {share:.2%} of them <unk>{empty}"
