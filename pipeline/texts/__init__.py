"""Texts: the files of their parts, read in pieces; vocabularies; texts as token numbers."""

from pipeline.texts.parts import Stretch, find_parts
from pipeline.texts.reading import Piece, read_pieces
from pipeline.texts.tokens import Tokens, number_text
from pipeline.texts.vocabulary import (
    END,
    UNITS,
    UNKNOWN,
    VOCABULARY,
    Vocabulary,
    count_tokens,
    read_vocabulary,
)

__all__ = [
    "END",
    "UNITS",
    "UNKNOWN",
    "VOCABULARY",
    "Piece",
    "Stretch",
    "Tokens",
    "Vocabulary",
    "count_tokens",
    "find_parts",
    "number_text",
    "read_pieces",
    "read_vocabulary",
]
