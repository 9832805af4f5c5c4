"""`scripts/same_as.py` names what differs between two trees: the column, the tensor, the figure,
the file.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
HISTORY = "epoch,loss,accuracy\n0,1.75,0.25\n1,1.5,0.5\n"
PRINTED = "accuracy 7/12 = 0.583 (95%: 0.32 to 0.81), loss 1.2345\n"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's modules can be imported."""
    monkeypatch.syspath_prepend(str(SCRIPTS))


def checkpoint(**changes: object) -> dict:
    """A small checkpoint, with Adam's state of the first tensor."""
    weights = {"network.0.weight": torch.ones(2, 3), "network.0.bias": torch.zeros(3)}
    adam = {"state": {0: {"exp_avg": torch.full((2, 3), 0.5), "step": torch.tensor(4.0)}}}
    return {
        "state_dict": weights,
        "optimizer_states": [adam],
        "callbacks": {"RunFiles": {}},
        **changes,
    }


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the same files in them."""
    for side in ("base", "here"):
        run = tmp_path / side / "run"
        run.mkdir(parents=True)
        (run / "history.csv").write_text(HISTORY)
        (run / "1-test.out").write_text(PRINTED)
        torch.save(checkpoint(), run / "last.ckpt")
        np.save(run / "probabilities.npy", np.full((2, 3), 0.25, np.float32))
    return tmp_path / "base", tmp_path / "here"


def found(sides: tuple[Path, Path], *renamed: tuple[str, str]) -> list[str]:
    from sameness.compare import differences

    return differences(*sides, list(renamed))


def test_equal_folders(sides: tuple[Path, Path], tmp_path: Path) -> None:
    """Nothing is found where nothing differs, but two empty folders prove nothing."""
    assert found(sides) == []
    (tmp_path / "empty").mkdir()
    assert found((tmp_path / "empty", tmp_path / "empty")) == [
        "nothing was written that could be compared"
    ]


def test_a_figure_of_the_history(sides: tuple[Path, Path]) -> None:
    """The epoch and the column, with both values; one byte is enough."""
    (sides[1] / "run/history.csv").write_text(HISTORY.replace("1.5,", "1.5000001,"))
    assert found(sides) == ["run/history.csv: epoch 1, column loss: 1.5 in BASE, 1.5000001 here"]
    (sides[1] / "run/history.csv").write_text(HISTORY + "2,1.25,0.75\n")
    assert found(sides) == ["run/history.csv: 3 lines in BASE, 4 here"]
    (sides[1] / "run/history.csv").write_text(HISTORY.replace("loss", "cost"))
    assert found(sides) == [
        "run/history.csv: columns epoch,loss,accuracy in BASE, epoch,cost,accuracy here"
    ]
    (sides[1] / "run/history.csv").write_text(HISTORY.rstrip("\n"))
    assert found(sides) == ["run/history.csv: other bytes, the same values"]


def test_a_tensor_of_a_checkpoint(sides: tuple[Path, Path]) -> None:
    """Its name and the largest difference, down to the last bit, of weights and of the optimizer's
    state; NaN is like itself.
    """
    changed = checkpoint()
    changed["state_dict"]["network.0.weight"][1, 2] += 1e-3
    changed["optimizer_states"][0]["state"][0]["exp_avg"][0, 0] = torch.nextafter(
        torch.tensor(0.5), torch.tensor(1.0)
    )
    torch.save(changed, sides[1] / "run/last.ckpt")
    assert found(sides) == [
        "run/last.ckpt: 2 of 4 tensors, the first state_dict/network.0.weight, most "
        "state_dict/network.0.weight: "
        "largest difference 0.001"
    ]
    changed["state_dict"]["network.0.weight"] = torch.ones(2, 3)
    torch.save(changed, sides[1] / "run/last.ckpt")
    assert "1 of 4 tensors, the first optimizer_states/0/state/0/exp_avg, most" in found(sides)[0]
    assert "largest difference 5.96e-08" in found(sides)[0]
    for side in sides:
        changed["state_dict"]["network.0.weight"][0, 0] = float("nan")
        torch.save(changed, side / "run/last.ckpt")
    assert found(sides) == []


def test_what_a_checkpoint_lacks(sides: tuple[Path, Path]) -> None:
    """A callback's state under another key is lost at resume; a tensor of another name is told of,
    unless the renaming is known.
    """
    torch.save(checkpoint(callbacks={"HistoryFiles": {}}), sides[1] / "run/last.ckpt")
    assert found(sides) == ["run/last.ckpt: the callback 'RunFiles' of BASE has no state here"]
    weights = {
        key.replace("network", "net"): value for key, value in checkpoint()["state_dict"].items()
    }
    torch.save(checkpoint(state_dict=weights), sides[1] / "run/last.ckpt")
    assert found(sides) == [
        "run/last.ckpt: state_dict/net.0.bias is only in what is here (4 such tensors)"
    ]
    assert found(sides, ("state_dict/network", "state_dict/net")) == []


@pytest.mark.parametrize(
    ("loss", "difference"),
    [
        ("1.234", []),
        ("1.235", []),
        ("1.236", ["run/1-test.out: printed 1.2345 in BASE, 1.236 here"]),
    ],
)
def test_a_figure_with_fewer_digits(
    sides: tuple[Path, Path], loss: str, difference: list[str]
) -> None:
    """The same as far as they go; the line on where the images are is not compared."""
    where = "Testing on 12 images in test.h5 (8×8×3, 2 classes; images x, labels y).\n"
    (sides[1] / "run/1-test.out").write_text(where + PRINTED.replace("1.2345", loss))
    assert found(sides) == difference


def test_arrays_figures_and_files(sides: tuple[Path, Path]) -> None:
    """Outputs by their largest difference, printed results by their numbers alone; and a file that
    one side has not written.
    """
    base, here = sides
    np.save(here / "run/probabilities.npy", np.full((2, 3), 0.5, np.float32))
    (here / "run/1-test.out").write_text(
        PRINTED.replace("accuracy", "share of right answers").replace("1.2345", "1.2346")
    )
    (here / "run/history.csv").unlink()
    assert found(sides) == [
        "run/history.csv: missing in what is here",
        "run/probabilities.npy: largest difference 0.25",
        "run/1-test.out: printed 1.2345 in BASE, 1.2346 here",
    ]
    np.save(here / "run/probabilities.npy", np.full((2, 3), 0.25))
    assert "run/probabilities.npy: float32 (2, 3) in BASE, float64 (2, 3) here" in found(
        (base, here)
    )


def test_cases(tmp_path: Path) -> None:
    """Each goes on from one before it, and has a folder of its own; a part of them brings what it
    needs; the layouts hold the images.
    """
    from same_as import chosen
    from sameness.cases import all_cases, write_data

    configs = {
        "configs/a.yaml": "class_path: SignsFunctional",
        "configs/recipes/b.yaml": "drawn: DrawnSmiles",
    }
    cases = all_cases(configs, ["signs/trained.keras"], True)
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    assert all(case.after in names[:number] for number, case in enumerate(cases) if case.after)
    assert [case.name for case in chosen(cases, False, "cycle, averaging: resumed")] == [
        "drawn pictures",
        "one cycle, averaging: SIGKILL inside an epoch",
        "one cycle, averaging: resumed",
    ]
    quick = chosen(cases, True, "")
    assert 0 < len(quick) < len(cases)
    rng = np.random.default_rng(0)
    for name in ("signs", "smiles"):
        for part in ("train", "test"):
            np.save(
                tmp_path / f"{name}_{part}_set_x.npy",
                rng.integers(0, 256, (9, 8, 8, 3), dtype=np.uint8),
            )
            np.save(tmp_path / f"{name}_{part}_set_y.npy", np.arange(9) % 2)
        np.save(tmp_path / f"{name}_list_classes.npy", np.arange(2))
    write_data(tmp_path, tmp_path / "data")
    images = np.load(tmp_path / "signs_train_set_x.npy")
    mirrored = [images, images[:, :, ::-1], images[:, ::-1], images[:, ::-1, ::-1]]
    for layout, chunks, kind in (
        ("", None, "u1"),
        ("_packed", (7, 8, 8, 3), "u1"),
        ("_float", None, "f4"),
    ):
        with h5py.File(tmp_path / f"data/signs_train{layout}.h5") as file:
            stored = file["train_set_x"]
            assert (stored.chunks, stored.dtype) == (chunks, kind)
            if kind == "u1":
                assert np.array_equal(stored[()], np.concatenate(mirrored) if chunks else images)
    assert len(list((tmp_path / "data/pictures").iterdir())) == 9


def test_base_is_checked_out_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Ctrl-C ends it: git keeps no work tree; a commit that is none is a sentence."""
    import same_as

    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(same_as, "ROOT", tmp_path)
    tree = tmp_path / "tree"

    def interrupted() -> None:
        with same_as.checked_out("HEAD", tree):
            assert (tree / ".git").is_file()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not tree.exists()
    assert len(subprocess.check_output([*git, "worktree", "list"]).splitlines()) == 1
    with (
        pytest.raises(SystemExit, match="git cannot check out no_commit"),
        same_as.checked_out("no_commit", tree),
    ):
        pass


def test_a_command_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said last is told, with its exit code; later commands are left out."""
    from sameness.side import run

    def verbs(words: list[str]) -> int:
        os.write(2, b"There is no\nsuch file.")  # past pytest's own sys.stderr
        return 2

    job = {
        "folder": str(tmp_path),
        "commands": [["test"], ["predict"]],
        "stop": None,
        "processes": False,
    }
    monkeypatch.chdir(tmp_path)  # and back at the end, wherever the job went
    assert run(verbs, job) == "test ended with 2, expected 0: There is no such file."
    assert [path.name for path in tmp_path.iterdir() if "predict" in path.name] == []
