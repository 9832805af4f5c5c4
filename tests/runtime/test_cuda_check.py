"""PyTorch looks for a GPU once where there is none, and as Lightning has it where there is one."""

from __future__ import annotations

import os

import pytest
import torch

from signs_lightning.runtime.cuda_check import VARIABLE, look_for_cuda_once


@pytest.mark.parametrize("gpus", [0, 1])
def test_lightnings_variable_stays_where_there_is_a_gpu(gpus: int, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    look_for_cuda_once()
    assert (VARIABLE in os.environ) == bool(gpus)


def test_the_drivers_library_is_not_loaded_in_every_step(monkeypatch) -> None:
    """Adam's question, with PyTorch's own function of the library counted."""
    if torch.cuda.device_count() or not torch.version.cuda:
        pytest.skip("a GPU, or a PyTorch that knows none")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv(VARIABLE, "1")
    loads = []

    def load_library() -> int:
        loads.append(1)
        return -1

    monkeypatch.setattr(torch.cuda, "_raw_device_count_nvml", load_library)
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    optimizer = torch.optim.Adam([weight], fused=True)
    optimizer.step()
    assert loads  # else the module is of no use any more
    look_for_cuda_once()
    loads.clear()
    optimizer.step()
    assert not loads
