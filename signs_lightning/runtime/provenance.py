"""What a run was made with: the versions of its packages, and the git commits."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import signs_lightning

PACKAGES = ("torch", "torchvision", "lightning", "h5py", "numpy")
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
MAX_BYTES = 2**24  # of one of git's files


def made_with() -> dict[str, dict[str, str]]:
    """Return versions and commits as plain values for a checkpoint.

    Returns:
        versions of python, signs_lightning and the packages that figures depend on, as far as they
        are installed; and commits: of signs_lightning where it is imported from a clone, and of
        working_directory where that lies in a repository. Files that differ from their commit are
        not looked for.
    """
    versions = {"python": platform.python_version(), "signs_lightning": signs_lightning.__version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    clone = Path(signs_lightning.__file__).parents[1]  # a repository above it is somebody else's
    commits = {"signs_lightning": _commit(clone), "working_directory": _commit_around(Path.cwd())}
    return {"versions": versions, "commits": {name: c for name, c in commits.items() if c}}


def append_made_with(earlier: Any) -> list[dict[str, Any]]:
    """Return what all runs were made with, without a repetition at the end."""
    before = [x for x in earlier if isinstance(x, dict)] if isinstance(earlier, list) else []
    now = made_with()
    return before if before and before[-1] == now else [*before, now]


def _commit_around(folder: Path) -> str | None:
    """Return the commit of the repository that a folder lies in."""
    parents = (folder, *folder.parents)
    return next((_commit(parent) for parent in parents if (parent / ".git").exists()), None)


def _commit(root: Path) -> str | None:
    """Return the commit at the root of a repository from git's own files, or None."""
    try:
        git = root / ".git"
        if git.is_file():  # of a worktree or a submodule
            git = root / _text(git).removeprefix("gitdir: ")
        head = _text(git / "HEAD")
        if not head.startswith("ref: "):
            return _hash(head)
        branch = head.removeprefix("ref: ")
        common = git / _text(git / "commondir") if (git / "commondir").is_file() else git
        for folder in (git, common):
            if (folder / branch).is_file():
                return _hash(_text(folder / branch))
        lines = _text(common / "packed-refs").splitlines()
        return next((_hash(line.split()[0]) for line in lines if line.endswith(f" {branch}")), None)
    except (OSError, ValueError, IndexError):
        return None


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(path)
    return path.read_text(encoding="utf-8").strip()


def _hash(text: str) -> str | None:
    return text if COMMIT.fullmatch(text) else None
