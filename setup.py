"""Builds the optional C++ library of pipeline/recurrent; everything else is in pyproject.toml.

The library knows nothing of Python (pipeline/recurrent/fused.py calls it through ctypes), so one
build serves every Python version. Where it cannot be built, installation goes on without it.
"""

from __future__ import annotations

import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FOLDER = Path("pipeline/recurrent/csrc")
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    # Fused multiply-add; no trap or errno is read. NaN and infinity keep their meaning.
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-g0",
    "-fopenmp-simd",  # the pragma alone: no OpenMP library is linked
    "-Wno-psabi",
]
IS_X86 = platform.machine() in {"x86_64", "AMD64"}
# The same source once for each instruction set; the best one is chosen at run time.
SOURCES: dict[str, list[str]] = {"simple_rnn.cpp": [], "kernels_portable.cpp": []}
if IS_X86:
    SOURCES["kernels_avx2.cpp"] = ["-mavx2", "-mfma"]
    SOURCES["kernels_avx512.cpp"] = [
        *("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma"),
        "-mprefer-vector-width=512",
    ]


class BuildLibrary(build_ext):
    """Compiles each source with its own flags, to a plain shared library."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split(".")).with_suffix(".so"))

    def build_extension(self, ext: Extension) -> None:
        objects = []
        for source in ext.sources:
            objects += self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                depends=ext.depends,
                extra_postargs=FLAGS + SOURCES[Path(source).name],
            )
        self.compiler.link_shared_object(
            objects, self.get_ext_fullpath(ext.name), extra_postargs=["-pthread"], target_lang="c++"
        )


class PlatformWheel(bdist_wheel):
    """Tags the wheel with the platform, but with no Python version."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[
        Extension(
            "pipeline.recurrent.libsimple_rnn",
            sources=[str(FOLDER / name) for name in SOURCES],
            depends=sorted(str(path) for path in FOLDER.glob("*.[hi]*")),
            language="c++",
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": PlatformWheel},
)
