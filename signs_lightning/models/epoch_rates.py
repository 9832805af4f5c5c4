"""A learning rate for each epoch, from a table."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class EpochRates(LRScheduler):
    """Set the learning rate of each epoch to a number of a list, as Keras's LearningRateScheduler.

    Args:
        optimizer: whose learning rate is set, in all of its groups.
        rates: that of each epoch; the last one stays.
        last_epoch: as of every scheduler of PyTorch.

    Examples:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> scheduler = EpochRates(optimizer, [0.1, 0.01])
        >>> scheduler.get_last_lr()
        [0.1]
    """

    def __init__(self, optimizer: Optimizer, rates: Sequence[float], last_epoch: int = -1) -> None:
        if not rates:
            raise ValueError("rates is empty, expected a learning rate for each epoch")
        self.rates = list(map(float, rates))
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of the current epoch, for each group."""
        rate = self.rates[min(self.last_epoch, len(self.rates) - 1)]
        return [rate] * len(self.optimizer.param_groups)
