"""A learning rate for each epoch, from a table."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from signs_lightning.models.epoch_rates import EpochRates


def test_each_epoch_has_its_rate_and_the_last_one_stays() -> None:
    groups: list[dict[str, Any]] = [
        {"params": [torch.zeros(1)]},
        {"params": [torch.zeros(1)], "lr": 5.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    scheduler = EpochRates(optimizer, [0.3, 0.2, 0.1])
    seen = []
    for _ in range(5):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert seen == [[0.3] * 2, [0.2] * 2, [0.1] * 2, [0.1] * 2, [0.1] * 2]


def test_a_state_goes_on_where_it_was() -> None:
    first, second = (torch.optim.SGD([torch.zeros(1)], lr=1.0) for _ in range(2))
    before, after = EpochRates(first, [0.3, 0.2, 0.1]), EpochRates(second, [0.3, 0.2, 0.1])
    first.step()
    before.step()
    after.load_state_dict(before.state_dict())
    second.step()
    after.step()
    assert second.param_groups[0]["lr"] == 0.1


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        EpochRates(torch.optim.SGD([torch.zeros(1)], lr=1.0), [])
