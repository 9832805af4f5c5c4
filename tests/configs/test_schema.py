"""configs/schema.json is what the parser takes: up to date, and true of every configuration."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import get_loader

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "configs/schema.json"
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
MODELINE = re.compile(r"^# yaml-language-server: \$schema=(\S+)$", re.MULTILINE)
WRONG: list[dict[str, Any]] = [  # each with one thing misspelt, or of another type
    {"modell": {}},
    {"data": {"batchsize": 32}},
    {"data": {"batch_size": "many"}},
    {"data": {"drawn": "DrawnCats"}},
    {"trainer": {"epochs": 5}},
    {"trainer": {"callbacks": [{"class": "EarlyStopping"}]}},
    {"trainer": {"callbacks": [{"class_path": "EarlyStopping", "init_arg": {}}]}},
    {"checkpoint": {"mode": "maximum"}},
    {"model": {"class_path": "SignsResNet50", "init_args": {"widht": 8}}},
    {"model": {"class_path": "signs_lightning.SignsFunctional", "init_args": {"lrr": 0.1}}},
    {"model": {"class_path": "SignsFunctional", "init_args": {"schedule": "linear"}}},
    {"model": {"init_arg": {"lr": 0.1}}},
]
RIGHT: list[dict[str, Any]] = [
    {"model": "SignsResNet50"},
    {"model": {"class_path": "model.Net", "init_args": {"anything": 1}}},
    {"model": {"init_args": {"lr": 0.1, "optimizer": {"class_path": "torch.optim.SGD"}}}},
    {"trainer": {"logger": "CSVLogger", "callbacks": "EarlyStopping", "devices": [0, 1]}},
    {"data": {"train_file": ["a.h5", "b.h5"], "image_size": [64, 48]}},
    {"data": "data.yaml", "seed_everything": 3, "name": "mine"},
]


@pytest.fixture(scope="module")
def schema() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def read(text: str) -> Any:
    """Read YAML as editors do, with dates and the like as texts."""
    return get_loader("yaml")(text)


def test_it_is_a_schema(schema: Any) -> None:
    """Draft 7, which editors know."""
    schema.check_schema(schema.schema)


def test_every_configuration_is_valid(schema: Any) -> None:
    """Those in configs/, and each names the schema for editors."""
    for path in CONFIGS:
        text = path.read_text(encoding="utf-8")
        assert not list(schema.iter_errors(read(text))), path
        (where,) = MODELINE.findall(text)
        assert (path.parent / where).resolve() == SCHEMA


def test_configurations_of_the_documentation_are_valid(schema: Any) -> None:
    """Every block of YAML in docs/ and in the README."""
    blocks = [
        block
        for page in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md")
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    ]
    assert blocks
    for block in blocks:
        if block.startswith("# space.yaml"):  # of scripts/sweep.py
            continue
        assert not list(schema.iter_errors(read(block))), block


@pytest.mark.parametrize("config", WRONG, ids=str)
def test_what_is_misspelt_is_refused(config: dict[str, Any], schema: Any) -> None:
    """An editor underlines it."""
    assert list(schema.iter_errors(config))


@pytest.mark.parametrize("config", RIGHT, ids=str)
def test_what_the_parser_takes_is_valid(config: dict[str, Any], schema: Any) -> None:
    """Classes of the user's own, short forms, and configurations laid over others."""
    assert not list(schema.iter_errors(config))


def test_a_run_writes_a_valid_configuration(schema: Any, cli: Any) -> None:
    """The whole configuration, with all defaults, is valid; with one key misspelt it is not."""
    done = cli(
        "fit", "--config", ROOT / "configs/recipes/signs_resnet50_best.yaml", "--print_config"
    )
    assert done.code == 0, done.err
    config = yaml.safe_load(done.out)
    assert not list(schema.iter_errors(config))
    for name in ("trainer", "data", "checkpoint"):
        other = copy.deepcopy(config)
        other[name]["misspelt"] = None
        assert list(schema.iter_errors(other))


@pytest.mark.slow
def test_the_configuration_in_a_run_folder_is_valid(
    schema: Any, cli: Any, small_signs: tuple[Path, Path], tmp_path: Path
) -> None:
    """As `fit` writes it, with the number of its format."""
    recipe = ROOT / "configs/recipes/signs_functional_best.yaml"
    args = ("--data.train_file", small_signs[0], "--trainer.max_epochs", 1)
    done = cli("fit", "--config", recipe, *args)
    assert done.code == 0, done.err
    (written,) = tmp_path.rglob("config.yaml")
    config = read(written.read_text(encoding="utf-8"))
    assert "format_version" in config
    assert not list(schema.iter_errors(config))


def test_it_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python scripts/config_schema.py` writes what is there; with another Lightning, its own."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from config_schema import build_schema

    written, built = json.loads(SCHEMA.read_text(encoding="utf-8")), build_schema()
    if written.pop("$comment") != built.pop("$comment"):
        for one in (written, built):
            one["properties"].pop("trainer")
            one["definitions"] = one["definitions"]["arguments"]
    assert built == written, "run `python scripts/config_schema.py`"


def test_it_is_printed(cli: Any) -> None:
    """For configurations that lie elsewhere."""
    done = cli("fit", "--print_schema")
    assert (done.code, done.out) == (0, SCHEMA.read_text(encoding="utf-8"))
