"""The C++ library may be missing, stale or asked for what it has not: it says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pipeline.recurrent import fused, library

ONE = torch.ones(1, 1)


def test_an_unknown_instruction_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    if not fused.is_available():
        pytest.skip(str(fused.unavailable_reason()))
    monkeypatch.setenv("NPRNN_ISA", "mmx")
    with pytest.raises(ValueError, match="NPRNN_ISA=mmx, but here it can be: portable"):
        fused.simple_rnn(ONE[None], None, ONE, ONE, ONE[0])


@pytest.fixture
def _fresh_load() -> Iterator[None]:
    library.load.cache_clear()
    yield
    library.load.cache_clear()


@pytest.mark.usefixtures("_fresh_load")
@pytest.mark.parametrize("path", ["/nowhere/libsimple_rnn.so", "libc.so.6"])
def test_without_the_library_the_log_says_why_and_only_once(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NPRNN_LIBRARY", path)
    assert not fused.is_available()
    assert not fused.is_available()
    assert path in str(fused.unavailable_reason())
    assert len(caplog.records) == 1
    assert "C++ compiler" in caplog.text
    with pytest.raises(ValueError, match="Install again"):
        fused.simple_rnn(ONE[None], None, ONE, ONE, ONE[0])
