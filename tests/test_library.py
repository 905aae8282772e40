"""The C++ library may be missing, stale or asked for what it has not: it says so."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.recurrent import fused, library
from pipeline.recurrent.classifier import build_net
from pipeline.recurrent.spec import NetSpec

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


def make_struct(**fields: type) -> type[ctypes.Structure]:
    return type("Struct", (ctypes.Structure,), {"_fields_": list(fields.items())})


def test_another_name_order_type_or_meaning_is_another_layout() -> None:
    number, real, pointer = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
    layouts = [
        make_struct(a=number, b=number, c=pointer),
        make_struct(b=number, a=number, c=pointer),
        make_struct(a=number, b=number, d=pointer),
        make_struct(a=number, b=real, c=pointer),
        make_struct(a=number, b=number, c=number),
        make_struct(a=number, b=number),
    ]
    digests = [library.digest_layout([layout]) for layout in layouts]
    digests.append(library.digest_layout([layouts[0]], meaning=0))
    assert len(set(digests)) == len(digests)
    assert library.digest_layout([layouts[0]]) == digests[0]


def compile_stub(folder: Path, *, layout: int | None) -> Path:
    """A library that says nothing but its layout, or not even that."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    body = "" if layout is None else f"unsigned long long nprnn_layout() {{ return {layout}ull; }}"
    (folder / "stub.cpp").write_text(f'extern "C" {{ int other; {body} }}\n')
    path = folder / "libstub.so"
    subprocess.run([compiler, "-shared", "-fPIC", folder / "stub.cpp", "-o", path], check=True)
    return path


@pytest.mark.usefixtures("_fresh_load")
@pytest.mark.parametrize(
    ("change", "message"), [(1, "built from other sources"), (None, "cannot be loaded")]
)
def test_a_stale_library_is_refused_with_what_to_do_and_torch_is_used(
    change: int | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = None if change is None else library.digest_layout() ^ change
    monkeypatch.setenv("NPRNN_LIBRARY", str(compile_stub(tmp_path, layout=layout)))
    reason = str(fused.unavailable_reason())
    assert message in reason
    assert "pip install -e ." in reason
    net = build_net(NetSpec("np-rnn", 1, 1, hidden_size=2), seed=0)
    assert net(ONE[None], torch.tensor([1])).shape == (1, 1)


@pytest.mark.usefixtures("_fresh_load")
def test_a_library_of_the_same_layout_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = compile_stub(tmp_path, layout=library.digest_layout())
    monkeypatch.setenv("NPRNN_LIBRARY", str(stub))
    assert fused.is_available()


@pytest.mark.usefixtures("_fresh_load")
def test_a_library_that_lies_there_is_of_these_sources() -> None:
    if not Path(library.__file__).with_name(library.LIBRARY_NAME).exists():
        pytest.skip("no library is built here")
    assert fused.unavailable_reason() is None
