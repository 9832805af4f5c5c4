"""torchvision's ResNet50: the same numbers as torchvision's own code, its weights from disk, and a
sentence where there are none.
"""

from __future__ import annotations

import urllib.error
from typing import Any

import lightning as L
import pytest
import torch
from torchvision.models import ResNet50_Weights, resnet50

from signs_lightning import H5DataModule, PretrainedResNet50, SignsFunctional
from signs_lightning.errors import InputError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty folder for downloads, and no network."""

    def refused(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", refused)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_images_that_are_neither_grey_nor_rgb_are_refused():
    """The message's suggestion takes them."""
    kind = "1 or 3 channels, these have 13. Use SignsFunctional"
    with pytest.raises(InputError, match=kind):
        PretrainedResNet50(weights=None, image_size=(32, 32, 13), num_classes=2)
    model = SignsFunctional(image_size=(32, 32, 13), num_classes=2)
    assert model(torch.zeros(1, 13, 32, 32)).shape == (1, 2)


def test_it_is_torchvisions_network():
    """The same weights behind torchvision's own preset for ImageNet: the same logits."""
    torch.manual_seed(0)
    model = PretrainedResNet50(weights=None, network_size=64).eval()
    theirs = resnet50(num_classes=6).eval()
    theirs.load_state_dict(model.network.get_submodule("resnet").state_dict())
    images = torch.rand(2, 3, 64, 64)
    preset = ResNet50_Weights.IMAGENET1K_V2.transforms(resize_size=64, crop_size=64)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), theirs(preset(images)), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_run_begins_with_the_weights(cli, hub, small_signs, tmp_path):
    """The file of the weights is here of random numbers; after a run with a learning rate of 0 they
    are in the checkpoint.
    """
    torch.manual_seed(1)
    state = resnet50(num_classes=1000).state_dict()
    torch.save(state, hub / "resnet50-11ad3fa6.pth")
    done = cli(
        "fit", "--model", "PretrainedResNet50", "--model.network_size", 32, "--model.lr", 0.0,
        "--data.train_file", small_signs[0], "--data.batch_size", 4, "--trainer.max_epochs", 1,
        "--trainer.limit_train_batches", 1,
    )  # fmt: skip
    assert done.code == 0, done.err
    found = torch.load(next((tmp_path / "lightning_logs").rglob("last.ckpt")), weights_only=True)[
        "state_dict"
    ]
    assert torch.equal(found["network.resnet.conv1.weight"], state["conv1.weight"])
    assert torch.equal(
        found["network.resnet.layer4.2.conv3.weight"], state["layer4.2.conv3.weight"]
    )
    assert found["network.resnet.fc.weight"].shape == (6, 2048)
    (hub / "resnet50-11ad3fa6.pth").unlink()
    folder = next((tmp_path / "lightning_logs").rglob("version_0"))
    # Nor does a run that goes on.
    assert cli("fit", "--ckpt_path", folder, "--trainer.max_epochs", 2).code == 0
    done = cli(
        "test",
        "--ckpt_path",
        next((tmp_path / "lightning_logs").rglob("version_0")),
        "--data.test_file",
        small_signs[1],
    )
    assert done.code == 0, done.err  # a checkpoint needs no download


def test_a_second_fit_goes_on_with_what_the_first_one_learned(hub, small_signs):
    """The weights' file is of zeros; after a first fit the model holds others, and a second fit at
    a rate of 0 keeps them.
    """
    zeros = {
        key: torch.zeros_like(value)
        for key, value in resnet50(num_classes=1000).state_dict().items()
    }
    torch.save(zeros, hub / "resnet50-11ad3fa6.pth")
    model = PretrainedResNet50(network_size=32, lr=0.0)
    data = H5DataModule(str(small_signs[0]), batch_size=4)
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary"), False)
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, **quiet}
    options |= {"max_epochs": 1, "limit_train_batches": 1, "enable_checkpointing": False}
    L.Trainer(**options).fit(model, data)
    kernel = model.network.get_parameter("resnet.conv1.weight")
    assert not kernel.any()
    torch.nn.init.ones_(kernel)  # as if it had learned
    L.Trainer(**options).fit(model, data)
    assert model.network.get_parameter("resnet.conv1.weight").eq(1).all()


def test_no_network_is_a_sentence(cli, hub, small_signs, tmp_path):
    done = cli("fit", "--model", "PretrainedResNet50", "--data.train_file", small_signs[0])
    assert done.code == 2
    sentence = (
        "The weights resnet50-11ad3fa6.pth cannot be downloaded (<urlopen error no route to host>)."
    )
    assert sentence in done.err
    assert "--model.weights null" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network_size": 16}, "network_size is 16"),
        ({"image_size": (64, 64, 2)}, "1 or 3 channels"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        PretrainedResNet50(weights=None, **settings)
