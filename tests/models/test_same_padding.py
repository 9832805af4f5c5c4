"""Layers with 'same' padding pad inside the operation where PyTorch can, and lose nothing by it."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from signs_lightning.models.layers import (
    AvgPool2dSame,
    Conv2dSame,
    MaxPool2dSame,
    pair,
    same_padding,
)

SIZES = [(1, 1), (1, 2), (8, 8), (9, 5), (6, 13), (15, 15)]
KERNELS = [1, 2, 3, (2, 5), 8]
STRIDES = [1, 2, 3, (1, 2)]
CASES = list(itertools.product(KERNELS, STRIDES, [1, 2, 3]))


class Operations(TorchDispatchMode):
    """Keeps the names of the operations that are run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def padded(images, kernel, stride, dilation=1, value=0.0):
    """A copy of (N, C, H, W), padded as Keras's 'same' does."""
    sizes = zip(images.shape[-2:], pair(kernel), pair(stride), pair(dilation), strict=True)
    (top, bottom), (left, right) = (same_padding(*size) for size in sizes)
    return F.pad(images, (left, right, top, bottom), value=value)


def images(size, memory_format):
    x = torch.randn(2, 3, *size, dtype=torch.float64).contiguous(memory_format=memory_format)
    return x.requires_grad_()


def assert_same(layer, reference, x, weights=(), atol=1e-12):
    """Outputs and gradients of a layer and of one operation on a padded copy."""
    expected = reference(x)
    actual = layer(x)
    towards = torch.randn_like(expected)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)
    wanted = torch.autograd.grad(expected, (x, *weights), towards)
    found = torch.autograd.grad(actual, (x, *weights), towards)
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=10 * atol)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), CASES)
def test_layers_are_operations_on_a_padded_copy(kernel, stride, dilation, memory_format):
    for size in SIZES:
        x = images(size, memory_format)
        conv = Conv2dSame(3, 4, kernel, stride, dilation).double()
        assert_same(
            conv,
            lambda x, conv=conv: F.conv2d(
                padded(x, kernel, stride, dilation), conv.weight, conv.bias, stride, 0, dilation
            ),
            x,
            (conv.weight, conv.bias),
        )
        assert_same(
            MaxPool2dSame(kernel, stride, dilation),
            lambda x: F.max_pool2d(
                padded(x, kernel, stride, dilation, -math.inf), kernel, stride, dilation=dilation
            ),
            x,
            atol=0,
        )
        if dilation != 1:
            continue
        pixels = torch.ones(1, 1, *size, dtype=torch.float64)
        shares = F.avg_pool2d(padded(pixels, kernel, stride), kernel, stride)
        assert_same(
            AvgPool2dSame(kernel, stride),
            lambda x, s=shares: F.avg_pool2d(padded(x, kernel, stride), kernel, stride) / s,
            x,
        )


@pytest.mark.parametrize(
    ("layer", "copies"),
    [
        (Conv2dSame(3, 4, 3), False),
        (Conv2dSame(3, 4, 5, dilation=2), False),
        (Conv2dSame(3, 4, 3, stride=2), True),  # one row below, none above
        (Conv2dSame(3, 4, 4), True),
        (MaxPool2dSame(3, 1), False),
        (MaxPool2dSame(3, 2), False),
        (MaxPool2dSame(2, 1), True),
        (AvgPool2dSame(3, 1), False),
        (AvgPool2dSame(3, 2), False),
        (AvgPool2dSame(2, 1), True),
    ],
    ids=str,
)
def test_only_what_is_uneven_is_copied(layer, copies):
    with torch.no_grad(), Operations() as seen:
        layer(torch.zeros(1, 3, 8, 8))
    assert any("pad" in name for name in seen.names) == copies


def test_a_dilated_pooling_whose_taps_all_lie_outside_is_minus_infinity():
    """PyTorch's own padded pooling writes outside the image in its backward pass there."""
    x = torch.zeros(1, 1, 1, 1, requires_grad=True)
    layer = MaxPool2dSame(2, 1, 3)
    assert layer(x).item() == -math.inf
    assert not torch.autograd.grad(layer(x).sum(), x)[0].any()
