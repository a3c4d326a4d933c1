"""What code does, as a checksum: comments, docstrings and layout of a file change nothing.

A step runs again when the code that it uses changes: its module, and what that imports of this
package, however deep. Modules that only speak to a person are left out.
A module whose import only makes names known to a library is left out too where it is imported as
such: what a name stands for never changes, and what trains a network of that name tracks it. So is
a decorator that leads new names to modules of their own and leaves all else to what it decorates.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# These reach a result through parameters alone, which are tracked by value, or not at all.
PASSED_OVER = ("params", "errors", "progress", "layout", "fingerprint", "watching", "screen")
# A network's name is a parameter, and the module that it leads to has a checksum of its own.
LOOKED_UP = PACKAGE / "networks" / "names.py"

REGISTERING = ("medlabel.teacher.five_blocks", "medlabel.teacher.three_layers")
# What it decorates does the same as without it for all names that were there before.
LEADING = "medlabel.training.apart"


def of(*modules: str) -> str:
    """Return a checksum of what modules of this package, such as ``"training.run"``, do.

    Raises
    ------
    ModuleNotFoundError
        When there is no such module.
    """
    reached: set[Path] = set()
    for module in modules:
        file = _file_of(f"medlabel.{module}")
        if file is None:
            raise ModuleNotFoundError(f"medlabel.{module}")
        reached |= closure(file)
    state = hashlib.sha256()
    for file in sorted(reached):
        state.update(file.relative_to(PACKAGE).as_posix().encode())
        state.update(_read(file)[0])
    return state.hexdigest()[:16]


def closure(file: Path) -> set[Path]:
    """Return a file and all files of this package that it imports, directly or not."""
    reached: set[Path] = set()
    waiting = [file]
    while waiting:
        one = waiting.pop()
        spoken = one.relative_to(PACKAGE).with_suffix("").parts[0] in PASSED_OVER
        if one in reached or spoken or one == LOOKED_UP:
            continue
        reached.add(one)
        waiting.extend(_read(one)[1])
        waiting.extend(one.parent.glob(f"{one.stem}.*.j2"))
    return reached


@cache
def _read(file: Path) -> tuple[bytes, tuple[Path, ...]]:
    """Return the checksum of what a file does, and the files that it imports."""
    content = file.read_bytes()
    if file.suffix != ".py":
        return hashlib.sha256(content).digest(), ()
    tree = ast.parse(content)
    bare = _bare(tree)
    imports = (_file_of(name) for node in ast.walk(bare) for name in _names(node))
    found = tuple(path for path in imports if path is not None)
    return hashlib.sha256(ast.dump(bare).encode()).digest(), found


def _bare(tree: ast.Module) -> ast.Module:
    """Take docstrings, and what only makes names known, away, in place."""
    leading = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == LEADING
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = [
                one
                for one in node.decorator_list
                if not (isinstance(one, ast.Name) and one.id in leading)
            ]
        if isinstance(node, DOCUMENTED):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
            node.body = [one for one in node.body if not _registers(one)]
    return tree


def _registers(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == LEADING
    return isinstance(node, ast.Import) and all(one.name in REGISTERING for one in node.names)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)


def _file_of(name: str) -> Path | None:
    """Find the file of a module of this package; None for other names."""
    package, *parts = name.split(".")
    if package != "medlabel" or not parts:
        return None
    path = PACKAGE.joinpath(*parts)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
