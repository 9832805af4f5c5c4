"""The short way through convolution and pooling, against PyTorch's own layers and its automatic
gradients in float64.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from signs_lightning.models import fused_conv_pool
from signs_lightning.models.fused_conv_pool import ConvMaxPoolFunction, FusedConvPool
from signs_lightning.models.layers import Conv2dSame, MaxPool2dSame


def network(
    kernel_size: int | tuple,
    pool: int | tuple,
    channels: int = 3,
    bias: bool = True,
    **options: object,
) -> FusedConvPool:
    torch.manual_seed(0)
    layers = OrderedDict[str, nn.Module](
        conv=Conv2dSame(channels, 5, kernel_size, bias=bias, **options),  # type: ignore[arg-type]
        pool=MaxPool2dSame(pool),
        relu=nn.ReLU(),
        last=nn.Conv2d(5, 2, 1),
    )
    return FusedConvPool(layers).double()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each use of the short way."""
    found: list[int] = []
    original = ConvMaxPoolFunction.apply
    monkeypatch.setattr(
        fused_conv_pool.ConvMaxPoolFunction,
        "apply",
        lambda *args: found.append(1) or original(*args),
    )
    return found


def gradients(
    forward: Callable[[Tensor], Tensor], layers: nn.Module, images: Tensor
) -> list[Tensor]:
    layers.zero_grad(set_to_none=True)
    output = forward(images)
    (
        output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    ).sum().backward()
    return [output.detach(), *(p.grad.clone() for p in layers.parameters() if p.grad is not None)]


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
    calls: list,
) -> None:
    """Every kernel and window, in both memory formats: as the layers one after the other, to
    rounding.
    """
    layers = network(kernel_size, pool, channels, bias)
    images = torch.rand(3, channels, *size, dtype=torch.float64).to(memory_format=memory_format)
    ours = gradients(layers, layers, images)
    assert calls
    theirs = gradients(lambda x: nn.Sequential.forward(layers, x), layers, images)
    assert len(ours) == len(theirs) == 1 + len(list(layers.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_tie_goes_to_the_same_pixel() -> None:
    """A flat picture is all ties; both ways take the window's first pixel."""
    layers = network(3, 2)
    images = torch.full((2, 3, 8, 8), 0.3, dtype=torch.float64)
    for a, b in zip(
        gradients(layers, layers, images),
        gradients(lambda x: nn.Sequential.forward(layers, x), layers, images),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_where_the_short_way_does_not_hold(calls: list) -> None:
    """The plain way is taken, and right, in every case that the short one does not cover."""
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)

    def plain(layers: FusedConvPool, images: Tensor = images) -> None:
        torch.testing.assert_close(layers(images), nn.Sequential.forward(layers, images))
        assert not calls

    plain(network(3, 5))  # 16 is no multiple of 5
    plain(network(3, 4, stride=2))
    plain(network(3, 4, dilation=2))
    frozen = network(3, 4)
    frozen.conv.requires_grad_(False)
    plain(frozen)
    wanted = images.clone().requires_grad_()
    network(3, 4)(wanted).sum().backward()
    assert not calls
    assert wanted.grad is not None
    hooked, seen = network(3, 4), []
    hooked.conv.register_forward_hook(lambda *_: seen.append(1))
    plain(hooked)
    assert seen
    with torch.no_grad():
        plain(network(3, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain(network(3, 4).float(), images.float())
    network(3, 4)(images)
    assert calls
