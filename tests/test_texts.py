"""Texts: which files are which part, what of them is read, vocabularies, token numbers."""

from __future__ import annotations

import gzip
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.texts import (
    Stretch,
    count_tokens,
    find_parts,
    number_text,
    parts,
    read_pieces,
    read_vocabulary,
    reading,
    tokens,
)
from pipeline.texts.parts import find_part, split_files
from tests.tiny_texts import draw_text, write_texts


def write(path: Path, content: bytes | str) -> Stretch:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return Stretch((path,))


def read(stretch: Stretch) -> bytes:
    return b"".join(piece.text for piece in read_pieces(stretch))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("ptb.train.txt", "train"), ("ptb.valid.txt", "val"), ("ptb.test.txt", "test"),
        ("train.txt.gz", "train"), ("dev.txt", "val"), ("heldout.txt", "val"),
        ("wiki.train.tokens", "train"), ("valid", "val"), ("test.txt", "test"),
        ("news.en-00001-of-00100", "train"), ("news.en-00099-of-00100.gz", "train"),
        ("news.en.heldout-00000-of-00050", "test"), ("news.en.heldout-00001-of-00050", "val"),
        ("news.en.heldout-00002-of-00050", ""), ("README", ""), ("latest.txt", ""),
        ("constraint.txt", ""),
    ],
)  # fmt: skip
def test_a_file_s_name_tells_its_part(name: str, part: str) -> None:
    assert find_part(name) == part


def test_shards_are_read_in_their_order_from_the_folders_of_the_benchmark(tmp_path: Path) -> None:
    for folder, names in {
        "training-monolingual": ["news.en-00002-of-00100", "news.en-00001-of-00100"],
        "heldout-monolingual": [f"news.en.heldout-0000{n}-of-00050" for n in range(3)],
    }.items():
        (tmp_path / folder).mkdir()
        for name in names:
            write(tmp_path / folder / name, f"{name} .\n")
    found = find_parts(str(tmp_path), held_out=None)
    assert [path.name[8:13] for path in found["train"].files] == ["00001", "00002"]
    assert read(found["val"]) == b"news.en.heldout-00001-of-00050 .\n"
    assert read(found["test"]) == b"news.en.heldout-00000-of-00050 .\n"


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_one_file_is_cut_at_lines_into_three_that_are_the_whole(
    tmp_path: Path, ending: str
) -> None:
    text = draw_text(200, 0)
    write(tmp_path / f"book.txt{ending}", text)
    found = find_parts(str(tmp_path / f"book.txt{ending}"), held_out=0.1)
    read_parts = [read(found[part]).decode() for part in ("train", "val", "test")]
    assert "".join(read_parts) == text
    assert all(part.endswith("\n") for part in read_parts)
    shares = [len(part.encode()) / len(text.encode()) for part in read_parts]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_a_text_without_spaces_is_cut_between_characters(tmp_path: Path) -> None:
    text = "日本語" * 333
    write(tmp_path / "a.txt", text)
    found = find_parts(str(tmp_path / "a.txt"), held_out=0.1)
    read_parts = [read(found[part]).decode().rstrip("\n") for part in ("train", "val", "test")]
    assert "".join(read_parts) == text


def test_validation_is_cut_off_train_where_it_has_no_file(tmp_path: Path) -> None:
    first, second = draw_text(100, 0), draw_text(100, 1)
    for number, text in enumerate((first, second), start=1):
        write(tmp_path / f"news.en-0000{number}-of-00002", text)
    write(tmp_path / "test.txt", "a\n")
    found = find_parts(str(tmp_path), held_out=0.3)
    assert (read(found["train"]) + read(found["val"])).decode() == first + second
    assert len(list(split_files(found["train"]))) == 2
    assert read(found["test"]) == b"a\n"


def test_a_share_that_cuts_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="held_out is 0.1, which has no effect"):
        find_parts(str(write_texts(tmp_path)), held_out=0.1)


def test_two_texts_of_one_part_are_refused_and_the_packed_one_beside_its_own_is_not(
    tmp_path: Path,
) -> None:
    write_texts(tmp_path)
    write(tmp_path / "train.txt.gz", draw_text(60, 0))
    assert find_parts(str(tmp_path), held_out=None)["train"].files == (tmp_path / "train.txt",)
    write(tmp_path / "ptb.train.txt", "a b\n")
    with pytest.raises(ValueError, match=r"one train text, .* found ptb.train.txt and train.txt"):
        find_parts(str(tmp_path), held_out=None)


MESSY = b"\xef\xbb\xbf \n\n one  two\t \r\n\n \n three\xc2\xa0four \nfive"


@pytest.mark.parametrize("block_bytes", [3, 4, 5, 7, 11, 1 << 20])
def test_empty_lines_and_blanks_around_lines_are_left_out_wherever_a_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(parts, "_BLOCK_BYTES", block_bytes)
    stretch = write(tmp_path / "a.txt", MESSY)
    pieces = list(read_pieces(stretch))
    text = b"".join(piece.text for piece in pieces)
    assert text.split(b"\n") == [b"one  two", b"three\xc2\xa0four", b"five", b""]
    assert sum(piece.num_empty for piece in pieces) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("naïve\n".encode("latin-1"), "expected UTF-8, found other bytes at byte 2"),
        (b"good\n" * 9 + b"\xff\xfe", "expected UTF-8, found other bytes at byte 45"),
        ("a b\n".encode("utf-16"), "expected UTF-8, found UTF-16"),
        ("a b\n".encode("utf-16-le"), "a byte of zero at byte 1"),
        (b"a b\n\0\0", "a byte of zero at byte 4"),
    ],
)
def test_what_is_no_text_in_utf_8_is_refused_with_the_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"train.txt: .*{message}(.|\n)*iconv -f"):
        read(write(tmp_path / "train.txt", content))


def test_a_packed_text_that_is_cut_is_refused(tmp_path: Path) -> None:
    stretch = write(tmp_path / "train.txt.gz", draw_text(5000, 0))
    whole = stretch.files[0].read_bytes()
    for cut in (whole[:-9], whole[: len(whole) // 2], b"no gzip at all"):
        stretch.files[0].write_bytes(cut)
        with pytest.raises(ValueError, match=r"train.txt.gz is damaged .*: get it again"):
            read(stretch)


def test_counts_are_those_of_a_plain_count_and_the_rest_is_unknown(tmp_path: Path) -> None:
    text = draw_text(200, 0)
    vocabulary = count_tokens(read_pieces(write(tmp_path / "a", text)), "word", size=6)
    counts = Counter(text.split())
    kept = sorted(counts, key=lambda word: (-counts[word], word))[:4]
    assert vocabulary.tokens == ("<unk>", "<eos>", *kept)
    assert vocabulary.counts.tolist() == [
        sum(counts.values()) - sum(counts[word] for word in kept), 200,
        *(counts[word] for word in kept),
    ]  # fmt: skip


@pytest.mark.parametrize("unit", ["word", "character"])
def test_numbers_read_back_are_the_text(tmp_path: Path, unit: str) -> None:
    text = draw_text(50, 0)
    stretch = write(tmp_path / "a", text)
    vocabulary = count_tokens(read_pieces(stretch), unit, size=10_000)
    found = number_text(stretch, vocabulary, folder=tmp_path)
    names = [vocabulary.tokens[number] for number in found.numbers]
    joined = (" " if unit == "word" else "").join(names)
    assert (
        joined.replace(" <eos> " if unit == "word" else "<eos>", "\n").replace(" <eos>", "\n")
        == text
    )
    assert found.num_unknown == 0
    assert found.find_ends().tolist() == np.flatnonzero(found.numbers == 1).tolist()


@pytest.mark.parametrize("unit", ["word", "character"])
def test_a_vocabulary_reads_back_and_damage_is_told(tmp_path: Path, unit: str) -> None:
    stretch = write(tmp_path / "a", draw_text(50, 0) + "tab\there \x85 nel\n")
    vocabulary = count_tokens(read_pieces(stretch), unit, size=10_000)
    again = read_vocabulary(vocabulary.text)
    assert (again.unit, again.tokens) == (unit, vocabulary.tokens)
    assert again.counts.tolist() == vocabulary.counts.tolist()
    assert again.digest == vocabulary.digest
    with pytest.raises(ValueError, match="checksum"):
        read_vocabulary(vocabulary.text.replace("the", "tha").replace("t", "u"))


def test_words_that_train_never_saw_are_unknown_and_counted(tmp_path: Path) -> None:
    vocabulary = count_tokens(read_pieces(write(tmp_path / "a", "a b\n")), "word", size=10)
    found = number_text(write(tmp_path / "b", "b zebra <unk> a\n"), vocabulary, folder=tmp_path)
    assert found.numbers.tolist() == [3, 0, 0, 2, 1]
    assert found.num_unknown == 2


def test_a_large_text_is_kept_on_disk_whole_and_made_anew_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stretch, folder = write(tmp_path / "a", draw_text(300, 0) + "\n\n"), tmp_path / "kept"
    vocabulary = count_tokens(read_pieces(stretch), "word", size=7)
    in_memory = number_text(stretch, vocabulary, folder=folder)
    assert in_memory.is_in_memory
    assert not folder.exists()
    monkeypatch.setattr(tokens, "MOST_BYTES_IN_MEMORY", 100)
    on_disk = number_text(stretch, vocabulary, folder=folder)
    assert not on_disk.is_in_memory
    kept, about = (next(folder.glob(f"*.{ending}")) for ending in ("tokens", "json"))
    for damage in (lambda: None, lambda: kept.write_bytes(b"1234"), about.unlink):
        damage()
        found = number_text(stretch, vocabulary, folder=folder)
        np.testing.assert_array_equal(found.numbers, in_memory.numbers)
        assert (found.num_unknown, found.num_empty) == (in_memory.num_unknown, 2)
    assert len(list(folder.iterdir())) == 2
    write(tmp_path / "a", draw_text(300, 1))
    assert len(number_text(stretch, vocabulary, folder=folder)) != len(in_memory)


def test_a_stop_while_numbers_are_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, stretch = tmp_path / "kept", write(tmp_path / "a", b"a b\n" * 100 + b"\xff\n")
    vocabulary = count_tokens(read_pieces(write(tmp_path / "b", "a\n")), "word", size=7)
    monkeypatch.setattr(tokens, "MOST_BYTES_IN_MEMORY", 100)
    monkeypatch.setattr(parts, "_BLOCK_BYTES", 16)
    with pytest.raises(ValueError, match="found other bytes"):
        number_text(stretch, vocabulary, folder=folder)
    assert list(folder.iterdir()) == []


def test_memory_grows_with_no_length_of_a_text_or_of_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_BYTES_IN_MEMORY", 100)
    monkeypatch.setattr(parts, "_BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(reading, "_MOST_WORD_BYTES", 1 << 12)
    lines, one_line, one_word = "der die das und\n", "der die das und ", "ü"
    for number, of in enumerate((lines, one_line, one_word)):
        peaks = []
        for num_bytes in (50_000, 300_000):
            stretch = write(tmp_path / f"{number}.txt", of * (num_bytes // len(of)))
            tracemalloc.start()
            unit = "character" if of == one_word else "word"
            vocabulary = count_tokens(read_pieces(stretch), unit, size=9)
            number_text(stretch, vocabulary, folder=tmp_path / f"{number}-{num_bytes}")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.2 * peaks[0]


def test_penn_treebank_has_the_counts_that_are_known(data_root: Path) -> None:
    found = find_parts(str(data_root / "text" / "ptb"), held_out=None)
    vocabulary = count_tokens(read_pieces(found["train"]), "word", size=10_000)
    assert len(vocabulary) == 10_000
    numbers = {
        part: number_text(found[part], vocabulary, folder=Path("unused"))
        for part in ("train", "val", "test")
    }
    assert {part: len(of_part) for part, of_part in numbers.items()} == {
        "train": 929_589, "val": 73_760, "test": 82_430
    }  # fmt: skip
    assert numbers["test"].num_unknown == 4794
