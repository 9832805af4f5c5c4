"""Source of this package's own models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from signs_lightning import (
    HappySequential,
    ImageClassifier,
    PretrainedResNet50,
    SignsFunctional,
    SignsResNet50,
    export_keras,
    from_keras,
)
from signs_lightning.models.fused_conv_pool import FusedConvPool
from signs_lightning.source import check
from signs_lightning.source.check import evidence, load_class
from signs_lightning.source.write_source import export_source, write_text

from .keras_models import page_snippets
from .ruff_complaints import complaints

MODELS = {
    "signs": lambda: SignsFunctional(num_classes=4, class_names=["a", "b", "c", 'd"'], lr=0.01),
    "happy": lambda: HappySequential(image_size=(20, 20, 3)),
    "resnet50": lambda: SignsResNet50(width=4, bn_momentum=0.9, initializer="he_normal"),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_classics(name: str, tmp_path: Path):
    model: ImageClassifier = MODELS[name]()
    path = tmp_path / "net.py"
    assert export_source(model, path) <= 1e-12
    assert complaints(path) == ""
    assert len(path.read_text().splitlines()) < 120
    net = load_class(str(path))(weights=str(tmp_path / "net.safetensors"))
    assert net.class_names == model.class_names
    assert net.hparams["lr"] == model.hparams["lr"]
    assert isinstance(net.network, FusedConvPool) == (name != "resnet50")
    if not model.binary:
        wider = load_class(str(path))(num_classes=9, class_names=None)
        assert wider.eval()(torch.rand(1, 3, *model.image_size[:2])).shape == (1, 9)
    images = torch.rand(2, model.image_size[2], *model.image_size[:2])
    torch.testing.assert_close(net.eval()(images), model.eval()(images), atol=0, rtol=0)


@pytest.mark.slow
def test_torchvision(tmp_path: Path):
    model = PretrainedResNet50(weights=None, network_size=32, num_classes=3)
    assert export_source(model, tmp_path / "net.py") <= 1e-9
    assert complaints(tmp_path / "net.py") == ""


def test_the_page_shows_what_is_written(tmp_path: Path):
    export_keras(SignsFunctional(), tmp_path / "signs.keras", check=False)
    model = from_keras(tmp_path / "signs.keras", scale="/255")
    assert page_snippets()[0] in write_text(model).text


def test_both_are_computed_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several add up in another order than the child's one, which deep networks amplify."""
    threads: list[int] = []

    def watched(*args: Any) -> Any:
        threads.append(torch.get_num_threads())
        return evidence(*args)

    monkeypatch.setattr(check, "evidence", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        export_source(SignsFunctional(), tmp_path / "net.py")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1}
