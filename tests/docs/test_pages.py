"""The pages of the documentation beside the code, file by file and line by line."""

from __future__ import annotations

import re
import tomllib

from blocks import DOCS, PAGES, ROOT, blocks


def test_every_block_is_run_or_parsed() -> None:
    """No command and no Python on the site goes untested."""
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("bash", "python", "sh", "console"):
                assert block.marker in ("run", "parse", "file"), f"{page}: {block.text}"
            assert (block.language, block.marker) != ("python", "parse")


def test_dependencies_have_reasons() -> None:
    """The page lists what pyproject.toml lists, no more and no less, each with a reason."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    names = {re.split(r"[\[>=<]", one)[0] for one in needed} - {"signs-lightning"}
    rows = re.findall(
        r"^\|(?:[^|]*\|)? `([\w-]+)` \| ([^|]+) \|$",
        (DOCS / "dependencies.md").read_text(),
        re.MULTILINE,
    )
    assert {name for name, reason in rows if reason.strip()} == names
    assert len(rows) == len(names)


def test_architecture_lists_every_file() -> None:
    """The page has one line for every file of the package, and names no file that is gone."""
    package = ROOT / "signs_lightning"
    files = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    files.append(package / "__init__.py")
    text = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| `([\w/]+\.py)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(str(path.relative_to(package)) for path in files)
    for name in re.findall(r"`([\w/]+\.(?:py|md))`", text):
        folders = (package, DOCS, ROOT)
        assert "NAME" in name or any((folder / name).is_file() for folder in folders), name


def test_terminal_blocks_end_at_80() -> None:
    """As a terminal of 80 columns shows them, but for what programs write into pages."""
    generated = ("benchmarks.md", "commands.md", "own-your-model.md", "trust.md")
    for path in [*DOCS.rglob("*.md"), ROOT / "README.md"]:
        blocks = re.findall(r"^```text\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
        for line in "".join(blocks).splitlines():
            assert len(line) <= 80 or path.name in generated, f"{path.name}: {line}"


def test_lines_end_at_100() -> None:
    """Prose and code of the documentation; rows of tables may be longer."""
    pages = [*DOCS.rglob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING"))]
    for path in [*pages, ROOT / "SECURITY.md"]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert len(line) <= 100 or line.startswith("|"), f"{path.name}:{number}"
