"""Models of a user's own: layers made in `build`, or in `__init__` as everyone writes them."""

from __future__ import annotations

import functools
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

from signs_lightning import H5DataModule, ImageClassifier, InputError, SignsFunctional
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.models.fused_conv_pool import FusedConvPool
from signs_lightning.models.layer_graph import layer_graph
from signs_lightning.models.layers import KerasBatchNorm2d
from signs_lightning.models.run_callbacks import RUN_CALLBACKS


class LayersInInit(ImageClassifier):
    """Calls `super().__init__` first and makes its layers after it."""

    def __init__(self, width: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        height, _, channels = self.image_size
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            KerasBatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(height // 4),
        )
        self.dropout = nn.Dropout(0.1)
        self.dense = nn.Linear(16 * width, self.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.dense(self.dropout(self.features(images).flatten(1)))


class NetworkInInit(ImageClassifier):
    """Makes its network after `super().__init__`, without a `build` or a `forward`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pixels = self.image_size[0] * self.image_size[1] * self.image_size[2]
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(pixels, self.num_classes))


class SettingsInHparams(ImageClassifier):
    """Its `build` reads an argument of its own from `hparams`."""

    def __init__(self, width: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build(self) -> nn.Module:
        conv = nn.Conv2d(self.image_size[2], self.hparams["width"], 3)
        pool = nn.AdaptiveAvgPool2d(1)
        return nn.Sequential(conv, pool, nn.Flatten(), nn.Linear(conv.out_channels, 6))


def make_trainer(folder: Path, epochs: int = 1, callbacks: tuple = (), **kwargs: Any) -> L.Trainer:
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **kwargs,
    )


def data(files: Any) -> H5DataModule:
    return H5DataModule(str(files[0]), test_file=str(files[1]), batch_size=15)


@pytest.mark.parametrize("kind", [LayersInInit, NetworkInInit, SettingsInHparams])
def test_a_model_fits_and_loads_back(kind, tmp_path: Path, small_signs) -> None:
    """An epoch, its checkpoint, the same predictions; resumed it ends as an unbroken run."""
    options = {} if kind is NetworkInInit else {"width": 3}
    runs = {}
    for epochs in (1, 2):
        L.seed_everything(3)
        runs[epochs] = kind(**options)
        folder = tmp_path / str(epochs)
        make_trainer(folder, epochs, (RunCheckpoint(),)).fit(runs[epochs], data(small_signs))
    path = tmp_path / "1/checkpoints/last.ckpt"
    loaded = kind.load_from_checkpoint(path, weights_only=True)
    images = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)
    assert torch.equal(loaded.predict(images), runs[1].predict(images))
    assert loaded.hparams.get("width") == options.get("width")
    assert loaded.history == runs[1].history
    assert len(loaded.history) == 1
    L.seed_everything(3)
    resumed, trainer = kind(**options), make_trainer(tmp_path / "1", 2, (RunCheckpoint(),))
    trainer.fit(resumed, data(small_signs), ckpt_path=path, weights_only=True)
    assert resumed.history == runs[2].history
    pairs = zip(resumed.parameters(), runs[2].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_layers_made_in_init_are_the_network(tmp_path: Path, small_signs) -> None:
    """They are drawn, tested and fused as those of `build` are, and get the model's settings."""
    model = LayersInInit(biased_variance=True)
    assert model.network is model
    assert not [name for name in model.state_dict() if name.startswith("network")]
    graph = layer_graph(model)
    names = [graph.name(path) for path in graph.nodes]
    assert [name for name in names if name != "flatten"] == [
        *("image", "features.0", "features.1", "features.2", "features.3", "dropout", "dense")
    ]
    trainer = make_trainer(tmp_path, enable_checkpointing=False)
    trainer.fit(model, data(small_signs))
    assert type(model.features) is FusedConvPool
    assert model.features[1].biased_variance
    trainer.test(model, data(small_signs), verbose=False)
    assert model.evaluation is not None


def test_layers_made_in_init_fit_the_data_or_a_sentence_says_so(tmp_path: Path, small_smiles):
    """They cannot be made anew for other classes; told of these they fit."""
    with pytest.raises(InputError) as error:
        make_trainer(tmp_path).fit(LayersInInit(), data(small_smiles))
    assert str(error.value) == (
        "LayersInInit makes its layers in __init__, before the data are known. Give it "
        "num_classes=2 and image_size=(64, 64, 3), or make them in `build`."
    )
    model = LayersInInit(num_classes=2)
    make_trainer(tmp_path, enable_checkpointing=False).fit(model, data(small_smiles))
    assert len(model.history) == 1


def test_a_model_without_a_network(tmp_path: Path, small_signs) -> None:
    with pytest.raises(InputError, match=r"ImageClassifier has no network\. Name a model that has"):
        ImageClassifier()(torch.rand(1, 3, 64, 64))
    with pytest.raises(InputError, match="ImageClassifier has no network"):
        make_trainer(tmp_path).fit(ImageClassifier(), data(small_signs))


class EndsEarly(SignsFunctional):
    """Brings a callback of its own, beside those that training needs."""

    def configure_callbacks(self) -> list[L.Callback]:
        return [*super().configure_callbacks(), EarlyStopping("val_loss")]


class ForgetsCallbacks(SignsFunctional):
    """Brings a callback of its own, instead of those that training needs."""

    def configure_callbacks(self) -> list[L.Callback]:
        return [EarlyStopping("val_loss")]


def kinds(trainer: L.Trainer) -> list[type]:
    return [type(callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]


def test_every_run_has_its_callbacks_once(tmp_path: Path, small_signs, capfd) -> None:
    """In a Trainer of a notebook's, in their order, also where it fits, tests and fits again."""
    given = RUN_CALLBACKS[-2]()
    trainer = make_trainer(tmp_path, callbacks=(given,), enable_checkpointing=False)
    model = SignsFunctional()
    trainer.fit(model, data(small_signs))
    trainer.test(model, data(small_signs), verbose=False)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, data(small_signs))
    assert [row["epoch"] for row in model.history] == [0, 1]
    assert [kind for kind in kinds(trainer) if kind in RUN_CALLBACKS] == list(RUN_CALLBACKS)
    assert "override" not in capfd.readouterr().err


def test_callbacks_of_a_model_s_own(tmp_path: Path, small_signs) -> None:
    """They come beside those that training needs; a model that leaves these out is refused."""
    trainer = make_trainer(tmp_path, enable_checkpointing=False)
    trainer.fit(EndsEarly(), data(small_signs))
    assert kinds(trainer)[-len(RUN_CALLBACKS) - 1 :] == [*RUN_CALLBACKS, EarlyStopping]
    with pytest.raises(InputError, match=r"Return \[\*super\(\).configure_callbacks\(\), ...\]"):
        make_trainer(tmp_path).fit(ForgetsCallbacks(), data(small_signs))


def small_network(num_classes: int, width: int = 2) -> nn.Sequential:
    conv, pool = nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(conv, pool, nn.Flatten(), nn.Linear(width, num_classes))


@pytest.mark.parametrize("kind", ["module", "partial"])
def test_a_given_network_fits_and_loads_back(kind: str, tmp_path: Path, small_smiles) -> None:
    """A network, or what makes one, which gets the number of classes of the data; a checkpoint
    holds no code, and the network is given again.
    """
    made: dict[str, dict[str, Any]] = {
        "module": {"network": small_network(2, 3)},
        "partial": {"network": functools.partial(small_network, width=3)},
    }
    model, trainer = ImageClassifier(lr=0.01, **made[kind]), make_trainer(tmp_path)
    before = deepcopy(model.network.state_dict()) if kind == "module" else {}
    trainer.fit(model, data(small_smiles))
    if kind == "module":
        assert model.network is made[kind]["network"]
        assert not torch.equal(before["0.weight"], model.network.state_dict()["0.weight"])
    assert model.network.state_dict()["3.weight"].shape == (2, 3)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    with pytest.raises(InputError, match="which is not imported: a checkpoint may say anything"):
        ImageClassifier.load_from_checkpoint(tmp_path / "own.ckpt", weights_only=True)
    again = {"module": small_network(2, 3)}.get(kind, small_network)
    loaded = ImageClassifier.load_from_checkpoint(
        tmp_path / "own.ckpt", weights_only=True, network=again
    )
    images = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)
    assert torch.equal(loaded.predict(images), model.predict(images))


def test_what_a_network_gives_is_checked_before_training(tmp_path: Path, small_signs) -> None:
    """As many logits as classes, and no probabilities; what the network itself raises is the
    user's, with a note on what it was given.
    """
    cases = {
        r"gives the shape \(2, 4\) for 2 images, expected \(2, 6\)": small_network(4),
        "ends in a softmax, expected logits": nn.Sequential(small_network(6), nn.Softmax(1)),
    }
    for message, network in cases.items():
        with pytest.raises(InputError, match=message):
            make_trainer(tmp_path).fit(ImageClassifier(network=network), data(small_signs))
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten())
    with pytest.raises(RuntimeError, match="to have 1 channels") as error:
        make_trainer(tmp_path).fit(ImageClassifier(network=grey), data(small_signs))
    assert "(2, 3, 64, 64), (N, C, H, W), in 0..1" in error.value.__notes__[0]
    frozen: Any = small_network(6).eval()
    model = ImageClassifier(network=frozen)
    model.adopt(6, (64, 64, 3), list("abcdef"))
    assert not any(layer.training for layer in frozen)  # trying it leaves modes as they were


class WithLayer(ImageClassifier):
    def __init__(self, activation: Any = "relu", **kwargs: Any) -> None:
        super().__init__(**kwargs)


@pytest.mark.filterwarnings("ignore:Attribute 'activation' is an instance")
def test_arguments_that_no_checkpoint_holds_are_refused_at_once() -> None:
    """Every other one loads with weights_only: numbers of NumPy become Python's."""
    for value in (nn.ReLU(), nn.ReLU, Path("here"), [torch.float32], {1: 2}):
        with pytest.raises(InputError, match=r"WithLayer is made with activation=\w+, which no"):
            WithLayer(activation=value)
    model = WithLayer(activation=[np.float64(0.5), (1, "a")], num_classes=np.int64(3))
    assert model.hparams["activation"] == [0.5, (1, "a")]
    assert [type(model.hparams["activation"][0]), type(model.hparams["num_classes"])] == [
        float,
        int,
    ]


def test_layers_that_learn_their_size_from_an_image(tmp_path: Path, small_smiles) -> None:
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    model = ImageClassifier(network=network)
    make_trainer(tmp_path, enable_checkpointing=False).fit(model, data(small_smiles))
    assert network[1].weight.shape == (2, 64 * 64 * 3)


def test_networks_that_cannot_be_told(small_signs) -> None:
    """The sentence says what is wrong, and what to do."""
    with pytest.raises(InputError, match="SignsFunctional makes its own network"):
        SignsFunctional(network=small_network)
    wrong: list[Any] = [lambda model_name: None, lambda: None]
    with pytest.raises(InputError, match="missing a required argument: 'model_name'"):
        ImageClassifier(network=wrong[0])
    with pytest.raises(InputError, match="makes a NoneType, expected a network"):
        ImageClassifier(network=wrong[1])
    with pytest.raises(InputError, match="made already, and network_args are given"):
        ImageClassifier(network=small_network(6), network_args={"width": 3})
