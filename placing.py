"""How the packages of a checkout become parts of one package, `np_rnn`, when a wheel is built.

In a checkout they stand side by side, and `python -m train` runs one. Names as common as `train`
and `eval` belong to nobody in site-packages: in a wheel they are `np_rnn.train` and so on, every
import of them says so, and hints say `np-rnn train`, the command. setup.py calls this.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

ROOF = "np_rnn"
STAGES = ("extract", "train", "eval")
PLACED = ("pipeline", *STAGES, "demo", "papers", "splits")
"""The folders of a checkout that lie below ROOF in a wheel."""

_MODULE_COMMAND = re.compile(rf"python -m ({'|'.join((*STAGES, 'demo', 'papers'))})\b")
# A checkout's own extra; in Python's source its quotes may be escaped.
_EXTRA = re.compile(r'-c constraints\.txt -e (\\?)"\.\[(\w+)\](\\?)"')
_SHORTER_BY = len("python -m ") - len("np-rnn ")


def place_imports(source: str, name: str) -> str:
    """The source of module `name` with its imports of PLACED packages below ROOF.

    ValueError for `import train.fit`: the code after it says `train`, which would be no name then.
    """
    lines = source.splitlines(keepends=True)
    for line, column in sorted(_find_names(source, name), reverse=True):
        # ast counts bytes.
        text = lines[line - 1].encode()
        lines[line - 1] = (text[:column] + f"{ROOF}.".encode() + text[column:]).decode()
    return "".join(lines)


def _find_names(source: str, name: str) -> Iterator[tuple[int, int]]:
    """Line, from 1, and byte within it where a PLACED package is named by an import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and _is_placed(node.module):
            if node.level:
                continue
            yield node.lineno, node.col_offset + len("from ")
        elif isinstance(node, ast.Import):
            for alias in filter(lambda alias: _is_placed(alias.name), node.names):
                if alias.asname is None:
                    raise ValueError(
                        f"{name}, line {node.lineno}: found `import {alias.name}`, which cannot "
                        f"be placed below {ROOF}.\n"
                        f"Write `from ... import ...` or `import {alias.name} as ...`."
                    )
                yield alias.lineno, alias.col_offset


def _is_placed(module: str | None) -> bool:
    return (module or "").split(".")[0] in PLACED


def place_commands(text: str) -> str:
    """The text with `np-rnn train` for `python -m train`; the columns beside it stay in line.

    Extras are those of the package, not of a checkout.
    """
    text = _EXTRA.sub(r'\1"np-rnn[\2]\3"', text)
    return "\n".join(_place_in_line(line) for line in text.split("\n"))


def _place_in_line(line: str) -> str:
    placed, number = _MODULE_COMMAND.subn(r"np-rnn \1", line)
    if not number:
        return line
    return re.sub(r"(\S)( {2,})(\S)", rf"\1\2{' ' * (_SHORTER_BY * number)}\3", placed, count=1)
