"""A callback that has nothing to do at the steps of an epoch."""

from __future__ import annotations

from typing import Any

import lightning as L


class EpochCallback(L.Callback):
    """A callback without hooks for single batches.

    Lightning calls the empty ones, too: six a step for each of more than a dozen callbacks, some
    0.6 ms in all. It passes over a hook that is no function.
    """

    on_train_batch_start: Any = None
    on_train_batch_end: Any = None
    on_before_zero_grad: Any = None
    on_before_backward: Any = None
    on_after_backward: Any = None
    on_before_optimizer_step: Any = None
    on_validation_batch_start: Any = None
    on_validation_batch_end: Any = None
    on_test_batch_start: Any = None
    on_test_batch_end: Any = None
    on_predict_batch_start: Any = None
    on_predict_batch_end: Any = None
