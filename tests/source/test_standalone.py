"""Source that stands alone: torch and lightning are all that it imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from signs_lightning import SignsFunctional
from signs_lightning.source.write_source import export_source

from .keras_models import COMPILED, read, trained_otherwise
from .ruff_complaints import complaints

ALONE = """
import sys
class Blocker:
    def find_spec(self, name, *args):
        if name.startswith("signs_lightning"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
import lightning, torch
from net import Net
from torch.utils.data import DataLoader, TensorDataset
net = Net(weights="net.safetensors")
images = torch.load("images.pt")
labels = torch.arange(len(images)) % net.num_classes
data = DataLoader(TensorDataset(images, labels), batch_size=2)
torch.save(net.eval()(images), "logits.pt")
plain = dict.fromkeys(("enable_progress_bar", "enable_checkpointing", "logger"), False)
trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", **plain)
trainer.fit(net, data, data)
assert trainer.callback_metrics["val_loss"].isfinite()
trainer.predict(net, data)
"""


def packages(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    found = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    found |= {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
    return {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names)


def test_imports_torch_and_lightning(tmp_path: Path):
    path = tmp_path / "net.py"
    model = read(trained_otherwise(), "caffe", COMPILED)
    assert export_source(model, path, standalone=True) <= 1e-12
    assert complaints(path) == ""
    assert packages(path) <= {"torch", "lightning", "numpy"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["signs", "compiled"])
def test_trains_where_this_package_cannot_be_imported(name: str, tmp_path: Path):
    compiled = read(trained_otherwise(), "torch", COMPILED)
    model = SignsFunctional() if name == "signs" else compiled
    export_source(model, tmp_path / "net.py", standalone=True)
    images = torch.rand(4, model.image_size[2], *model.image_size[:2])
    torch.save(images, tmp_path / "images.pt")
    (tmp_path / "alone.py").write_text(ALONE)
    subprocess.run([sys.executable, "alone.py"], cwd=tmp_path, check=True, capture_output=True)
    logits = torch.load(tmp_path / "logits.pt")
    torch.testing.assert_close(logits, model.eval()(images), atol=1e-6, rtol=0)
