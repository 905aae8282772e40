"""Builds the library of pipeline/recurrent, and wheels of one package; the rest: pyproject.toml.

In a wheel every package lies below `np_rnn` (placing.py); an editable installation leaves them as
they are in the checkout. The library knows nothing of Python (pipeline/recurrent/fused.py calls it
through ctypes), so one build serves every version of it. Where it cannot be built, installation
goes on without it.
"""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from setuptools import Extension, find_namespace_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a build does not look beside setup.py
from placing import PLACED, ROOF, place_commands, place_imports

LIBRARY = f"{ROOF}.pipeline.recurrent.libsimple_rnn"
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
    SOURCES["kernels_avx2.cpp"] = ["-mavx2", "-mfma", "-mf16c"]
    SOURCES["kernels_avx512.cpp"] = [
        *("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma"),
        "-mprefer-vector-width=512",
    ]


def find_packages() -> list[str]:
    """The packages by their names in a wheel; the C++ sources are no package."""
    found = find_namespace_packages(include=[f"{name}*" for name in PLACED])
    placed = [name for name in found if name.split(".")[0] in PLACED and "csrc" not in name]
    return [ROOF, *(f"{ROOF}.{name}" for name in placed)]


class PlacePackages(build_py):
    """Copies the packages to their places below ROOF, and lets them say so."""

    def run(self) -> None:
        if not self.editable_mode:
            # What an earlier build left there would be in this wheel, too.
            for name in (ROOF, *PLACED):
                shutil.rmtree(Path(self.build_lib, name), ignore_errors=True)
        super().run()

    def build_module(self, module: str, module_file: str, package: str) -> tuple[str, bool]:
        copied: tuple[str, bool] = super().build_module(module, module_file, package)
        path = Path(copied[0])
        path.write_text(
            place_commands(place_imports(path.read_text(encoding="utf-8"), module_file)),
            encoding="utf-8",
        )
        return copied

    def build_package_data(self) -> None:
        super().build_package_data()
        for _, _, folder, names in self.data_files:
            for name in names:
                path = Path(folder, name)
                if path.suffix in {".html", ".yaml"}:
                    text = path.read_text(encoding="utf-8")
                    path.write_text(place_commands(text), encoding="utf-8")


class EditableWheel(editable_wheel):
    """Leaves the packages where they are, with the names that they have there."""

    def finalize_options(self) -> None:
        distribution = self.distribution
        distribution.packages = [n.removeprefix(f"{ROOF}.") for n in distribution.packages]
        distribution.package_dir = {}
        for extension in distribution.ext_modules:
            extension.name = extension.name.removeprefix(f"{ROOF}.")
        super().finalize_options()


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
    """Tags the wheel with the platform, but with no Python version: the library knows no Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    packages=find_packages(),
    package_dir={f"{ROOF}.{name}": name for name in PLACED},
    ext_modules=[
        Extension(
            LIBRARY,
            sources=[str(FOLDER / name) for name in SOURCES],
            depends=sorted(str(path) for path in FOLDER.glob("*.[hi]*")),
            language="c++",
            optional=True,  # without a compiler the nets run on torch
        )
    ],
    cmdclass={
        "build_ext": BuildLibrary,
        "build_py": PlacePackages,
        "bdist_wheel": PlatformWheel,
        "editable_wheel": EditableWheel,
    },
)
