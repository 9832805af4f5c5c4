"""The benchmark measures what it says: its rivals are the same networks, its readers read
everything, its ratios are right.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PARAMETERS = {"functional": 1_310, "sequential": 37_633, "resnet50": 23_600_006}
OF_LIGHTNING = ("signs_lightning", "lightning_port", "hand_written")
ALL = ("keras_torch", *OF_LIGHTNING)


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The benchmark's modules can be imported."""
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.parametrize("model", PARAMETERS)
def test_rivals_in_pytorch_are_our_networks(model):
    """With our weights, the loop's and the port's networks give our logits; parameters are counted
    as Keras counts them.
    """
    from benchmarks.marks import count
    from benchmarks.rivals import hand_written, lightning_port

    from signs_lightning import HappySequential, SignsFunctional, SignsResNet50

    torch.manual_seed(0)
    ours = {
        "functional": SignsFunctional,
        "sequential": HappySequential,
        "resnet50": SignsResNet50,
    }[model]().eval()
    images = torch.rand(3, 3, 64, 64)
    for rival in (hand_written.build(model), lightning_port.build(model)):
        assert isinstance(rival, nn.Sequential)
        assert count(rival) == PARAMETERS[model]
        for theirs, mine in zip(rival.parameters(), ours.network.parameters(), strict=True):
            theirs.data.copy_(mine)
        if not any(isinstance(layer, hand_written.FlattenInPlace) for layer in rival):
            # It flattens (N, C, H, W).
            dense = rival[-1].get_parameter("weight").data
            channels = {"functional": 16, "sequential": 32, "resnet50": 2048}[model]
            side = int((dense.shape[1] // channels) ** 0.5)
            dense.copy_(dense.unflatten(1, (side, side, channels)).permute(0, 3, 1, 2).flatten(1))
        with torch.inference_mode():
            torch.testing.assert_close(rival.eval()(images), ours(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "model", ["functional", "sequential", pytest.param("resnet50", marks=pytest.mark.slow)]
)
def test_keras_trains_the_course_s_networks(model):
    """Keras itself counts the parameters of its rival."""
    from benchmarks.rivals import keras_fit

    assert keras_fit.build(model).count_params() == PARAMETERS[model]


def run(tmp_path: Path, *args: str) -> tuple[list[dict], str]:
    """A quick benchmark: its measurements, and the page that it wrote."""
    from benchmark import main

    main(
        ["--quick", "--threads=1", f"--scratch={tmp_path}", f"--output={tmp_path / 'docs'}", *args]
    )
    measured = json.loads((tmp_path / "docs" / "benchmarks.json").read_text())["measurements"]
    assert [row for row in measured if "failed" in row] == []
    return measured, (tmp_path / "docs" / "benchmarks.md").read_text()


def check_training(measured: list[dict], model: str, contestants: tuple[str, ...]) -> None:
    """Everybody took part, trained the right network, and its loss fell."""
    assert {row["contestant"] for row in measured} == set(contestants)
    for row in measured:
        assert row["parameters"] == PARAMETERS[model]
        assert min(row["losses"][1:]) < row["losses"][0], row
        assert 0 < sum(row["epoch_seconds"]) < row["process_seconds"]
        assert row["peak_bytes"] > 2**20 or sys.platform != "linux"


@pytest.mark.slow
def test_training_of_the_functional_model(tmp_path):
    """From the command line to the page, in processes of their own."""
    measured, page = run(
        tmp_path,
        "--parts=training",
        "--models=functional",
        f"--contestants={','.join(OF_LIGHTNING)}",
    )
    check_training(measured, "functional", OF_LIGHTNING)
    assert "| signs_lightning |" in page
    assert (tmp_path / "docs" / "images" / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]  # nothing is left behind


@pytest.mark.slow
@pytest.mark.parametrize("model", PARAMETERS)
def test_training_with_keras_on_torch(tmp_path, model):
    """The same of all models, with Keras; in bfloat16, too, where that is measured."""
    measured, _ = run(
        tmp_path, "--parts=training", f"--models={model}", f"--contestants={','.join(ALL)}"
    )
    check_training(measured, model, ALL)
    assert {row["precision"] for row in measured} == (
        {"fp32", "bf16"} if model == "resnet50" else {"fp32"}
    )


@pytest.mark.slow
def test_reading_and_growth(tmp_path):
    """Both parts run, with two processes as well, and their tables stand on the page."""
    measured, page = run(tmp_path, "--parts=reading,growth")
    assert {row["part"] for row in measured} == {"reading", "growth"}
    for words in ("| contiguous |", "decompression alone", "RssAnon", "| 2 processes of 16 |"):
        assert words in page


@pytest.mark.slow
def test_files_differ_in_layout_only(tmp_path):
    """Every layout stores the same images, as its name says."""
    from benchmarks import files

    stored = []
    for layout in files.LAYOUTS:
        path = tmp_path / "file.h5"
        files.write(path, 130, 16, layout)
        with h5py.File(path) as file:
            images = file["train_set_x"]
            assert (images.chunks is None) == layout.startswith("contiguous")
            assert images.compression == ("gzip" if "gzip" in layout else None)
            assert ("64 images" in layout) == (images.chunks == (64, 16, 16, 3))
            full = {"u1": 1, "u2": 257, "f4": np.float32(1 / 255)}[files.DTYPES.get(layout, "u1")]
            stored.append(np.rint(images[()] / full).astype(np.uint8))
            np.testing.assert_array_equal(stored[-1], stored[0])
    assert len(np.unique(stored[0], axis=0)) == 130


@pytest.mark.parametrize(
    "layout", [pytest.param("contiguous", marks=pytest.mark.slow), "gzip, 64 images"]
)
def test_readers_read_everything(tmp_path, layout):
    """Each reader hands out as many images as the file has."""
    from benchmarks import files, readers

    path = tmp_path / "file.h5"
    files.write(path, 200, 16, layout)
    options = Namespace(seconds=3)
    found = [
        readers.signs_lightning(str(path), options),
        readers.per_sample(str(path), options, 0),
        readers.blocks(str(path), options),
        *([readers.inflate(str(path), options, 2)] if "gzip" in layout else []),
    ]
    for reader in found:
        first, *rest = reader
        assert first == 0
        assert sum(rest) == 200


def test_the_rival_by_the_sample_is_at_its_best(tmp_path, monkeypatch):
    """It opens file and dataset once and has the labels at hand; all that it asks HDF5 for
    afterwards is images.
    """
    from benchmarks import files, readers

    path = tmp_path / "file.h5"
    files.write(path, 20, 16, "contiguous")
    images, looked_up = readers.Images(str(path)), []
    found = h5py.Group.__getitem__

    def look_up(group, name):
        looked_up.append(name)
        return found(group, name)

    monkeypatch.setattr(h5py.Group, "__getitem__", look_up)
    with h5py.File(path) as file:
        expected = found(file, "train_set_x")[()]
    for index in (3, 0, 19):
        image, label = images[index]
        np.testing.assert_array_equal(image, expected[index])
        assert label == index % 6
    assert looked_up == ["train_set_x"]


def measurement(contestant: str, epochs: list[float], process: float, **more: object) -> dict:
    """One row of a record."""
    labels = {
        "part": "training",
        "subject": "functional",
        "precision": "fp32",
        "contestant": contestant,
    }
    times = {"epoch_seconds": epochs, "process_seconds": process, "training_starts_seconds": 1.0}
    return {**labels, "kind": "both", **times, "peak_bytes": 2**20, "busy_before": 0.0, **more}


def test_table_has_medians_and_ratios_of_the_latest_run(tmp_path):
    """Medians by hand: Keras 0.3 s an epoch, ours 0.2 (the first epochs left out), the loop 0.16; a
    failure doesn't count.
    """
    from benchmark import main
    from benchmarks.measure import Record

    about = {"command": "c", "commit": "abc", "quick": False, "repeats": 3, "threads": 2}
    about["machine"] = {
        "processor": "P",
        "instructions": [],
        "cores": 2,
        "memory_gib": 1,
        "system": "S",
    }
    about["versions"] = {"this": {"python": "3"}, "keras": {"keras": "3"}}
    record = Record(tmp_path / "benchmarks.json")
    record.begin(**about)
    record.add(measurement("signs_lightning", [9.0, 9.0], 99.0))  # of an earlier run
    record.runs[-1]["run"] = record.measurements[-1]["run"] = "2000-01-01 00:00:00"
    record.begin(**about)
    for first, epoch, process in ((5.0, 0.2, 20.0), (5.0, 0.1, 10.0), (5.0, 0.7, 30.0)):
        record.add(measurement("signs_lightning", [first, epoch, epoch], process))
    record.add({**measurement("signs_lightning", [], 0.0), "failed": "exit code 1"})
    record.add(measurement("keras_tensorflow", [1.0, 0.3], 1.0, kind="epoch"))
    record.add(measurement("keras_tensorflow", [1.0, 0.9], 50.0, kind="process"))
    record.add(measurement("hand_written", [1.0, 0.16], 5.0))
    page = tmp_path / "benchmarks.md"
    for before in ("", "# Mine\n\nAbove.\n\n"):
        if before:
            text = page.read_text()
            page.write_text(before + text[text.index("<!-- figures") :] + "\nBelow.\n")
        main(["--from_json", f"--output={tmp_path}"])
        assert page.read_text().startswith(before)
        row = "| signs_lightning | 0.200 | 1.50× | 1.25× | 20.0 | 2.50× | 1.00 | 1.00 |"
        assert row in page.read_text()
        assert "| Keras on TensorFlow | 0.300 | 1.00× | 1.88× | 50.0 | 1.00× |" in page.read_text()
        assert "Not measured: no GPU" in page.read_text()
    assert page.read_text().endswith("\nBelow.\n")


def test_a_failed_process_is_recorded(tmp_path):
    """Its last line is kept, and the others are still measured."""
    from benchmarks.measure import Bench, Record, Task

    record = Record(tmp_path / "benchmarks.json")
    record.begin()
    code = "import benchmarks.marks as m; m.hand_over({'images_read': 3})"
    tasks = [
        Task({"contestant": "bad"}, [sys.executable, "-c", "raise SystemExit('no such thing')"]),
        Task({"contestant": "good"}, [sys.executable, "-c", code]),
    ]
    Bench(record, tmp_path, threads=1, repeats=2).interleaved(tasks, lambda row: "fine")
    kept = json.loads((tmp_path / "benchmarks.json").read_text())["measurements"]
    assert [(row["contestant"], row["repeat"]) for row in kept] == [
        ("bad", 0),
        ("good", 0),
        ("bad", 1),
        ("good", 1),
    ]
    assert kept[0]["failed"] == "exit code 1: no such thing"
    assert kept[1]["images_read"] == 3
