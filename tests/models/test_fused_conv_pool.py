"""The fused step through convolution and pooling, against PyTorch's own layers in float64."""

from __future__ import annotations

from collections import OrderedDict

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from signs_lightning import (
    H5DataModule,
    HappySequential,
    ImageClassifier,
    SignsFunctional,
    SignsResNet50,
    first_difference,
)
from signs_lightning.models import fused_conv_pool
from signs_lightning.models.fused_conv_pool import (
    ConvMaxPoolFunction,
    FusedConvPool,
    fuse_layers,
    unfused,
)
from signs_lightning.models.layers import Conv2dSame, MaxPool2dSame


def fused_network(
    kernel_size: int | tuple,
    pool: int | tuple,
    channels: int = 3,
    bias: bool = True,
    relu_first: bool = True,
    **options: object,
) -> nn.Sequential:
    """Conv → ReLU → pool → conv, or conv → pool → ReLU → conv; both are fused."""
    torch.manual_seed(0)
    layers = OrderedDict[str, nn.Module](
        conv=Conv2dSame(channels, 5, kernel_size, bias=bias, **options),  # type: ignore[arg-type]
        relu=nn.ReLU(),
        pool=MaxPool2dSame(pool),
        last=nn.Conv2d(5, 2, 1),
    )
    if not relu_first:
        layers.move_to_end("relu")
        layers.move_to_end("last")
    network = nn.Sequential(layers).double()
    fuse_layers(network)
    assert type(network) is FusedConvPool
    return network


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each use of the fused step."""
    seen: list[int] = []
    original = ConvMaxPoolFunction.apply

    def counted(*args):
        seen.append(1)
        return original(*args)

    monkeypatch.setattr(fused_conv_pool.ConvMaxPoolFunction, "apply", counted)
    return seen


def gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    """The output and the gradients of all parameters."""
    network.zero_grad(set_to_none=True)
    output = network(images)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype)
    (output * weights.view_as(output)).sum().backward()
    return [output.detach(), *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


def plain_gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    """The same by PyTorch's own layers, one after the other as they are written."""
    with unfused(network):
        assert type(network) is nn.Sequential
        return gradients(network, images)


@pytest.mark.parametrize("relu_first", [True, False])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel_size", "pool", "size", "channels"),
    [
        (4, 8, (16, 24), 3),
        (2, 4, (8, 8), 1),
        ((3, 5), (2, 3), (6, 9), 3),
        (1, 2, (4, 4), 2),
        (7, 1, (5, 5), 3),
    ],
)
def test_the_same_output_and_gradients(
    kernel_size: int,
    pool: int,
    size: tuple[int, int],
    channels: int,
    bias: bool,
    memory_format: torch.memory_format,
    relu_first: bool,
    calls: list,
) -> None:
    """Every kernel and window in both memory formats equals the plain layers, to rounding."""
    network = fused_network(kernel_size, pool, channels, bias, relu_first)
    images = torch.rand(3, channels, *size, dtype=torch.float64).to(memory_format=memory_format)
    ours = gradients(network, images)
    assert len(calls) == 1
    theirs = plain_gradients(network, images)
    assert len(calls) == 1
    assert len(ours) == len(theirs) == 1 + len(list(network.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_tie_goes_to_the_same_pixel() -> None:
    """A flat picture is all ties; both ways take the window's first pixel."""
    network = fused_network(3, 2)
    images = torch.full((2, 3, 8, 8), 0.3, dtype=torch.float64)
    pairs = zip(gradients(network, images), plain_gradients(network, images), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_where_the_fused_step_does_not_hold(calls: list) -> None:
    """The plain layers run, and give their output, in every case that the step does not cover."""
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)

    def plain(network: nn.Sequential, images: Tensor = images) -> None:
        torch.testing.assert_close(network(images), nn.Sequential.forward(network, images))
        assert not calls

    plain(fused_network(3, 5))  # 16 is no multiple of 5
    plain(fused_network(3, 4, stride=2))
    plain(fused_network(3, 4, dilation=2))
    frozen = fused_network(3, 4)
    frozen.conv.requires_grad_(False)
    plain(frozen)
    inputs = images.clone().requires_grad_()
    fused_network(3, 4)(inputs).sum().backward()
    assert not calls
    assert inputs.grad is not None
    hooked, seen = fused_network(3, 4), []
    hooked.get_submodule("conv").register_forward_hook(lambda *_: seen.append(1))
    plain(hooked)
    assert seen
    with torch.no_grad():
        plain(fused_network(3, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain(fused_network(3, 4).float(), images.float())
    fused_network(3, 4)(images)
    assert calls


def test_which_networks_are_fused() -> None:
    """Sequentials with ReLU → max pooling, or conv → max pooling first; keys and names stay."""
    relu_pool = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2))
    others = nn.Sequential(nn.ReLU(), nn.AvgPool2d(2), nn.MaxPool2d(2), nn.ReLU())
    indices = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, return_indices=True))
    network = nn.ModuleDict({"block": nn.Sequential(relu_pool), "others": others, "i": indices})
    keys = list(network.state_dict())
    fuse_layers(network)
    assert type(relu_pool) is FusedConvPool
    assert type(network["block"]) is type(others) is type(indices) is nn.Sequential
    assert list(network.state_dict()) == keys
    images = torch.randn(2, 3, 9, 9)
    fused = relu_pool(images)
    with unfused(network):
        relu_pool.eval()
        relu_pool.train()
        assert torch.equal(relu_pool(images), fused)
    assert type(relu_pool) is FusedConvPool


@pytest.mark.parametrize("model", [SignsFunctional, HappySequential])
def test_a_run_is_the_same_within_float_noise(model, small_signs, small_smiles) -> None:
    """An epoch with and without `fuse`: losses and weights agree to a few units of float32."""
    files = small_signs if model is SignsFunctional else small_smiles
    runs = []
    for fuse in (True, False):
        L.seed_everything(3)
        classifier = model(fuse=fuse)
        assert (type(classifier.network) is FusedConvPool) is fuse
        trainer = L.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        data = H5DataModule(str(files[0]), str(files[1]), batch_size=6)
        trainer.fit(classifier, data)
        runs.append(classifier)
    fused, plain = runs
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(fused.history[0][name], plain.history[0][name], rtol=1e-4)
    for a, b in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    images = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    plain.load_state_dict(fused.state_dict())
    assert torch.equal(fused.predict(images), plain.predict(images))


@pytest.mark.parametrize(
    "model",
    [SignsFunctional(), HappySequential(), SignsResNet50(width=4, identity_blocks=(1, 0, 0, 0))],
    ids=["functional", "sequential", "resnet50"],
)
def test_layers_are_compared_as_they_are_written(model: ImageClassifier) -> None:
    """`first_difference` finds none beside the model's layers, run one after the other."""
    model.eval()
    images = torch.rand(2, 3, 64, 64)
    value, outputs = images, {}
    with torch.inference_mode():
        for name, layer in model.network.named_children():
            value = layer(value.clone())  # a ReLU may change it in place
            # (N, C, H, W) -> (N, H, W, C)
            outputs[name] = (value.permute(0, 2, 3, 1) if value.dim() == 4 else value).numpy()
    assert first_difference(model, outputs, images) is None
