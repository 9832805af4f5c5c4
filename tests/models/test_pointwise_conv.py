"""1×1 convolutions as products of matrices: the same numbers, only where they are faster."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from signs_lightning import SignsResNet50
from signs_lightning.models.fused_conv_pool import fuse_layers, unfused
from signs_lightning.models.pointwise_conv import PointwiseConv2d


def layer(channels=24, filters=64, **options) -> PointwiseConv2d:
    network = nn.Sequential(nn.Conv2d(channels, filters, 1, **options))
    fuse_layers(network)
    assert type(network[0]) is PointwiseConv2d
    return network[0].double()


def channels_last(*size: int) -> torch.Tensor:
    x = torch.randn(*size, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_()


@pytest.mark.parametrize("stride", [1, 2, (2, 3)])
@pytest.mark.parametrize("size", [(2, 2), (3, 1), (1, 1), (2, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_a_convolution_s(stride, size, bias):
    conv, x = layer(stride=stride, bias=bias), channels_last(2, 24, *size)
    assert conv._is_product(x)
    actual, expected = conv(x), F.conv2d(x, conv.weight, conv.bias, stride)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    towards = torch.randn_like(expected)
    inputs = (x, *conv.parameters())
    found = torch.autograd.grad(actual, inputs, towards)
    for one, two in zip(found, torch.autograd.grad(expected, inputs, towards), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-11)


def test_where_it_stays_a_convolution():
    conv, few = layer(), channels_last(2, 24, 2, 2)
    assert conv._is_product(few)
    assert not conv._is_product(channels_last(8, 24, 8, 8))  # many pixels
    assert not conv._is_product(few.detach().contiguous())
    assert not conv._is_product(few[0])
    with torch.no_grad():
        assert not conv._is_product(few)
    more = channels_last(4, 24, 2, 3)  # 24 pixels: 64 filters outweigh them in bf16 alone
    assert not conv._is_product(more)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv._is_product(more)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_tracers_see_a_convolution():
    """torch.fx, and with it torchvision's feature extractors, and torch.jit's tracing."""
    conv, few = layer().float(), channels_last(2, 24, 2, 2).detach().float()
    assert conv._is_product(few)
    for traced in (torch.fx.symbolic_trace(conv), torch.jit.trace(conv, few)):
        assert "conv" in str(traced.graph)
        torch.testing.assert_close(traced(few), conv(few))


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 1, padding=1), nn.Conv2d(4, 8, 1, groups=2)],
    ids=["3×3", "padded", "grouped"],
)
def test_other_convolutions_are_left_alone(conv):
    network = nn.Sequential(conv)
    fuse_layers(network)
    assert type(network[0]) is nn.Conv2d


def test_a_network_is_written_with_plain_convolutions():
    network = SignsResNet50(width=4, num_classes=3).network
    kinds = {type(layer) for layer in network.modules()}
    assert PointwiseConv2d in kinds
    with unfused(network):
        assert PointwiseConv2d not in {type(layer) for layer in network.modules()}
    assert {type(layer) for layer in network.modules()} == kinds
