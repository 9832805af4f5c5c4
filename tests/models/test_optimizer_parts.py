"""Weights that are updated piece by piece become what they become as a whole, to the last bit."""

from __future__ import annotations

import pytest
import torch

from signs_lightning.models import keras_adam_variants, keras_optimizers, optimizer_parts

KINDS = [
    *(keras_optimizers.KerasRMSprop, keras_optimizers.KerasAdagrad, keras_optimizers.KerasSGD),
    *(keras_adam_variants.KerasAdamax, keras_adam_variants.KerasLion),
]


def trained(kind: type, memory_format: torch.memory_format) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3,), (40, 8, 3, 3), (5, 2), (7,)]
    weights = [torch.randn(shape, generator=generator) for shape in shapes]
    weights[1] = weights[1].contiguous(memory_format=memory_format)
    weights = [torch.nn.Parameter(weight) for weight in weights]
    optimizer = kind(weights, lr=0.1)
    for _ in range(3):
        for weight in weights[:3]:  # the last one has no gradient
            gradient = torch.randn(weight.shape, generator=generator)
            kept = memory_format if weight.ndim == 4 else torch.contiguous_format
            weight.grad = gradient.contiguous(memory_format=kept)
        optimizer.step()
    return [weight.detach() for weight in weights]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pieces_give_the_same(
    kind: type, memory_format: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(kind, memory_format)
    monkeypatch.setattr(optimizer_parts, "PART", 12)
    monkeypatch.setattr(optimizer_parts, "PIECE", 100)
    in_pieces = trained(kind, memory_format)
    assert all(torch.equal(a, b) for a, b in zip(whole, in_pieces, strict=True))


def test_nothing_to_update() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    keras_adam_variants.KerasAdamax([weight]).step()
    assert torch.equal(weight, torch.ones(3))
