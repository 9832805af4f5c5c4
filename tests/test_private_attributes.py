"""Private attributes of other packages that are used: the first test to fail when one moves.

Read in Lightning 2.6.6, PyTorch 2.15, jsonargparse 4.53 and Python 3.11.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelPruning, StochasticWeightAveraging
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import signs_lightning

PACKAGE = Path(signs_lightning.__file__).parent
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

FOREACH = (
    "_foreach_abs",
    "_foreach_add",
    "_foreach_add_",
    "_foreach_addcdiv_",
    "_foreach_addcmul",
    "_foreach_addcmul_",
    "_foreach_clamp_max_",
    "_foreach_clamp_min_",
    "_foreach_div_",
    "_foreach_lerp",
    "_foreach_lerp_",
    "_foreach_maximum_",
    "_foreach_mul_",
    "_foreach_norm",
    "_foreach_reciprocal_",
    "_foreach_sign_",
    "_foreach_sqrt",
    "_foreach_sqrt_",
    "_foreach_sub_",
)

PRIVATE: list[tuple[str, Callable[[], Any]]] = [  # attribute, how to get what has it
    ("_parse_ckpt_path", lambda: LightningCLI),
    ("_run_subcommand", lambda: LightningCLI),
    ("_get_next_version", lambda: TensorBoardLogger),
    ("_version", lambda: TensorBoardLogger("logs")),
    ("_version", lambda: CSVLogger("logs")),
    ("_get_file_writer", lambda: SummaryWriter),
    ("_combined_loader", lambda: Trainer(logger=False, enable_checkpointing=False).fit_loop),
    ("_default_hp_metric", lambda: TensorBoardLogger("logs")),
    ("_scheduler_state", lambda: StochasticWeightAveraging(0.1)),
    ("_make_pruning_permanent", lambda: ModelPruning("l1_unstructured")),
    ("_parameters_to_prune", lambda: ModelPruning("l1_unstructured")),
    *((hooks, nn.ReLU) for hooks in HOOKS),
    *((name, lambda: torch) for name in FOREACH),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "build"), PRIVATE, ids=[name for name, _ in PRIVATE])
def test_it_is_there(name: str, build: Callable[[], Any]) -> None:
    """Hidden attributes may go without notice; what uses this one has to change then."""
    assert hasattr(build(), name)


def test_these_are_used_and_no_others() -> None:
    """Every private attribute in the package is its own or stands in the list above."""
    own: set[str] = set()
    used: set[str] = set()
    source = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert [name for name, _ in PRIVATE if name not in source] == []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
                (own if is_self and isinstance(node.ctx, ast.Store) else used).add(node.attr)
    foreign = {name for name in used - own if not name.startswith("__")}
    assert foreign <= {name for name, _ in PRIVATE}
