"""Every configuration in the repository trains for an epoch on drawn data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
OVERLAYS = {"gpu.yaml", "ddp.yaml", "nodes.yaml", "bf16.yaml"}
ON_CPU = [
    "--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.strategy", "auto",
    "--trainer.num_nodes", "1",
]  # fmt: skip


def test_overlays_are_there():
    assert {path.name for path in CONFIGS.glob("*.yaml")} >= OVERLAYS


LARGE = ("signs_resnet50_pretrained", "signs_resnet50_best", "signs_resnet50_float32")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in LARGE))
        for path in sorted(CONFIGS.rglob("*.yaml"))
    ],
)
def test_config_trains(cli, path, small_signs, small_smiles):
    """One epoch of two batches; an overlay goes over the functional model, in one CPU process."""
    config = yaml.safe_load(path.read_text())
    assert path.read_text().startswith("# python -m signs_lightning fit --config configs/")
    train, test = (
        small_smiles if (config.get("data") or {}).get("drawn") == "DrawnSmiles" else small_signs
    )
    base = ["--config", CONFIGS / "signs_functional.yaml"] if path.name in OVERLAYS else []
    model = (config.get("model") or {}).get("class_path")
    # A narrow ResNet50 shows whether the file's settings train as well as the whole one does.
    narrow = ["--model.width", 8] if model == "SignsResNet50" else []
    random = (
        ["--model.weights", "null", "--model.network_size", 32]
        if model == "PretrainedResNet50"
        else []
    )
    done = cli(
        "fit", *base, "--config", path, "--data.train_file", train, "--data.test_file", test,
        "--data.batch_size", 8, "--trainer.max_epochs", 1, "--trainer.limit_train_batches", 2,
        *ON_CPU, *random, *narrow,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "validation accuracy" in done.out


def test_a_recipe_is_remembered(cli, small_signs, tmp_path):
    """What config.yaml and the checkpoint keep of the transforms is what the recipe says: a run is
    tested, and begun again, from it.
    """
    recipe = CONFIGS / "recipes" / "signs_functional_best.yaml"
    done = cli(
        "fit", "--config", recipe, "--data.train_file", small_signs[0], "--trainer.max_epochs", 2
    )
    assert done.code == 0, done.err
    folder = tmp_path / "lightning_logs/signs_functional_best/version_0"
    expected = yaml.safe_load(recipe.read_text())["model"]["init_args"]["augmentation"]
    kept = yaml.safe_load((folder / "config.yaml").read_text())["model"]["init_args"][
        "augmentation"
    ]
    for ours, theirs in zip(kept, expected, strict=True):
        assert theirs["init_args"].items() <= ours["init_args"].items()
    (folder / "checkpoints/last.ckpt").rename(tmp_path / "kept.ckpt")
    done = cli("test", "--ckpt_path", tmp_path / "kept.ckpt", "--data.test_file", small_signs[1])
    assert done.code == 0, done.err
    done = cli("fit", "--ckpt_path", folder)  # without a checkpoint it begins anew from config.yaml
    assert done.code == 0, done.err
