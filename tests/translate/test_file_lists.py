"""Numbers of files and folders are asked for, each by its own name."""

from __future__ import annotations

import pytest
from interpreting import cell

from signs_lightning.translate.interpreter import run_cells
from signs_lightning.translate.keras_session import start_session
from signs_lightning.translate.known_libraries import KnownLibraries
from signs_lightning.translate.values import Unknown, Value

HEAD = "import os\nfrom glob import glob\nimport random\n"


def number(source: str, **facts: int) -> Value:
    """Return what a source binds to `n`."""
    start_session("2.15.0", facts)
    return run_cells([cell(HEAD + source)], KnownLibraries(), facts).namespace["n"]


@pytest.mark.parametrize(
    ("source", "fact"),
    [
        ("n = len(glob('fruits/Training/*'))", "number_of_fruits_Training_all"),
        ("n = len(glob('fruits/Training/*/*.jp*g')) // 64",
         "number_of_fruits_Training_all_all_jp_all_g"),
        ("n = len(os.listdir(os.path.join('data', 'cats')))", "number_of_data_cats"),
    ],
)  # fmt: skip
def test_only_the_data_know_how_many_files_there_are(source: str, fact: str) -> None:
    found = number(source)
    assert isinstance(found, Unknown)
    assert found.fact == fact
    expected = 640 // 64 if "//" in source else 640
    assert number(source, **{fact: 640}) == expected
    assert isinstance(number(source, classes=640), Unknown)


@pytest.mark.parametrize(
    "change",
    [
        "files.append('a')",
        "files = files[:10]",
        "files = [f for f in files if f.endswith('.png')]",
        "files += ['a']",
        "files = files + files",
        "files.remove('.DS_Store')",
        "del files[0]",
        "keep(files)",
        "files = glob(os.getcwd() + '/*')",
        "files = glob('data/**', recursive=True)",
    ],
)
def test_the_number_of_a_changed_list_is_not_known(change: str) -> None:
    source = f"from helper import keep\nfiles = os.listdir('data')\n{change}\nn = len(files)"
    found = number(source, number_of_data=640)
    assert isinstance(found, Unknown)
    assert found.fact is None
