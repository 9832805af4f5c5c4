"""The benchmark measures what it says: its rivals are the same networks, its readers read
everything, its ratios are right.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PARAMETERS = {"functional": 1_310, "sequential": 37_633, "resnet50": 23_600_006}
ALL = ("signs_lightning", "keras_jax", "keras_torch", "lightning_port", "hand_written")


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


@pytest.mark.slow
@pytest.mark.parametrize("model", PARAMETERS)
def test_training(tmp_path, model):
    """Everybody takes part, trains the right network, and the loss falls; in bfloat16, too, where
    that is measured.
    """
    known = ALL[::2] if model == "resnet50" else ALL
    contestants = f"--contestants={','.join(known)}"
    found, page = run(tmp_path, "--parts=training", f"--models={model}", contestants)
    assert {row["contestant"] for row in found} == set(known)
    precisions = {"fp32", "bf16"} if model == "resnet50" else {"fp32"}
    assert {row["precision"] for row in found} == precisions
    for row in found:
        assert row["parameters"] == PARAMETERS[model]
        assert min(row["losses"][1:]) < row["losses"][0], row
        assert 0 < sum(row["epoch_seconds"]) < row["process_seconds"]
        assert row["peak_bytes"] > 2**20 or sys.platform != "linux"
    assert "| signs_lightning |" in page
    assert (tmp_path / "docs" / "images" / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]  # nothing is left behind


@pytest.mark.slow
def test_reading(tmp_path):
    """Readers in processes of their own, with workers of theirs, and the page that they give."""
    names = {"signs_lightning", "per_sample_2", "sorted_batches_2", "inflate_all"}
    found, page = run(
        tmp_path, "--parts=reading", "--layout=gzip", f"--contestants={','.join(names)}"
    )
    assert {row["contestant"] for row in found} == names
    for words in ("by the sample, 2", "by sorted batches, 2", "ours to decompression", ", cold"):
        assert words in page


@pytest.mark.slow
@pytest.mark.parametrize("cause", ["classes", "shards", "processes"])
def test_growth(tmp_path, cause):
    """Time and memory of every value, and the slope between the last two."""
    found, page = run(tmp_path, "--parts=growth", f"--contestants={cause}")
    assert {row["subject"] for row in found} == {cause}
    words = "| processes: 2 processes of 16 |" if cause == "processes" else f"{cause}: slope**"
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
            full = {"uint8": 1, "uint16": 257, "float32": np.float32(1 / 255)}[str(images.dtype)]
            stored.append(np.rint(images[()] / full).astype(np.uint8))
            np.testing.assert_array_equal(stored[-1], stored[0])
    assert len(np.unique(stored[0], axis=0)) == 130


def test_a_sparse_file_takes_no_room(tmp_path):
    """It has a place for every image, and so can be mapped."""
    from benchmarks import files

    path = tmp_path / "file.h5"
    files.write_sparse(path, 10_000, 64, classes=20)
    with h5py.File(path) as file:
        images = file["train_set_x"]
        assert images.id.get_offset() > 0
        assert images.id.get_storage_size() == images.nbytes < path.stat().st_size
        assert len(np.unique(file["train_set_y"])) == 20
    assert path.stat().st_blocks * 512 < 2**20


@pytest.mark.parametrize(
    "layout", [pytest.param("contiguous", marks=pytest.mark.slow), "gzip, 64 images"]
)
def test_readers_read_everything(tmp_path, layout):
    """Each reader hands out as many images as the file has."""
    from benchmarks import files, reading

    path = tmp_path / "file.h5"
    files.write(path, 200, 16, layout)
    for name, reader in reading.READERS.items():
        if not name.endswith("_2") and ("inflate" not in name or "gzip" in layout):
            first, *rest = reader(str(path))
            assert (first, sum(rest)) == (0, 200), name


def test_rivals_give_the_right_images_at_their_best(tmp_path, monkeypatch):
    """They open file and dataset once and have the labels at hand; batches come in their order."""
    from benchmarks import files, reading

    path = tmp_path / "file.h5"
    files.write(path, 20, 16, "contiguous")
    with h5py.File(path) as file:
        expected = file["train_set_x"][()]
    looked_up, find, wanted = [], h5py.Group.__getitem__, [3, 0, 19, 3]
    kinds = (reading.Images, reading.SortedBatches, reading.Memory)
    datasets = [kind(str(path)) for kind in kinds]

    def look_up(group, name):
        looked_up.append(name)
        return find(group, name)

    monkeypatch.setattr(h5py.Group, "__getitem__", look_up)
    for dataset in datasets:
        for _ in range(2):
            if hasattr(dataset, "__getitems__"):
                images, labels = dataset.__getitems__(wanted)
            else:
                images, labels = map(list, zip(*map(dataset.__getitem__, wanted), strict=True))
            np.testing.assert_array_equal(np.stack(list(images)), expected[wanted])
            assert list(map(int, labels)) == [index % 6 for index in wanted]
    assert looked_up == ["train_set_x"] * 3


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


def begin(path: Path, **machine: object):
    """A bench that records into a folder, with a run begun."""
    from benchmarks.process import Bench

    known = {"processor": "P", "instructions": [], "cores": 2, "memory_gib": 1, "system": "S"}
    bench = Bench(path / "benchmarks.json", path, threads=1, repeats=2)
    bench.begin(
        command="c", commit="abc", quick=False, repeats=3, threads=2, machine=known | machine,
        versions={"this": {"python": "3"}, "keras": {"keras": "3"}},
    )  # fmt: skip
    return bench


def test_table_has_medians_ranges_and_ratios_of_the_latest_run(tmp_path):
    """Medians by hand: Keras at its best 0.3 s an epoch, ours 0.2 (the first epochs left out), the
    loop 0.16; a failure doesn't count. The processor on which the advantage is least comes first.
    """
    from benchmark import main

    bench = begin(tmp_path)
    bench.add(measurement("signs_lightning", [9.0, 9.0], 99.0))  # of an earlier run
    bench.record["runs"][-1]["run"] = bench.record["measurements"][-1]["run"] = "2000-01-01 00:00"
    bench.add(measurement("hand_written", [1.0, 0.16], 5.0))  # which the later one lacks
    bench = begin(tmp_path)
    for first, epoch, process in ((5.0, 0.2, 20.0), (5.0, 0.1, 10.0), (5.0, 0.7, 30.0)):
        bench.add(measurement("signs_lightning", [first, epoch, epoch], process))
    bench.add({**measurement("signs_lightning", [], 0.0), "failed": "exit code 1"})
    bench.add(measurement("keras_tensorflow_no_jit", [1.0, 0.3], 1.0, kind="epoch"))
    bench.add(measurement("keras_tensorflow", [1.0, 0.5], 50.0, kind="process"))
    bench.add(measurement("keras_tensorflow", [1.0, 0.6], 50.0, kind="epoch"))
    bench = begin(tmp_path, processor="Q")
    bench.record["runs"][-1]["run"] = "2001-01-01 00:00"
    for name, seconds in (("signs_lightning", 2.0), ("keras_torch", 2.2)):
        bench.add(measurement(name, [1.0, seconds], 9.0))
    page = tmp_path / "benchmarks.md"
    for before in ("", "# Mine\n\nAbove.\n\n"):
        if before:
            text = page.read_text()
            page.write_text(before + text[text.index("<!-- figures") :] + "\nBelow.\n")
        main(["--from_json", f"--output={tmp_path}"])
        text = page.read_text()
        assert text.startswith(before)
        assert (
            "| signs_lightning | 0.200 (0.100–0.700) | 1.50× | 1.25× | 20.0 (10.0–30.0) | 2.50× |"
            in text
        )
        assert "| Keras on TensorFlow | 0.500 | 0.60× | 3.12× | 50.0 | 1.00× |" in text
        assert text.index("### Q") < text.index("### P")
    assert page.read_text().endswith("\nBelow.\n")


def test_slopes_are_powers_of_what_grows(tmp_path):
    """Ten times the images took 100 times as long: the second power; memory stays."""
    from benchmarks import tables

    bench = begin(tmp_path)
    for images, seconds in ((10, 7.0), (100, 0.1), (1_000, 10.0)):
        labels = {"part": "growth", "subject": "images", "value": images, "images": images}
        found = {"images_read": images, "seconds": seconds, "peak_bytes": 2**20}
        bench.add({**labels, "contestant": "reading", **found})
    (text,) = tables.growth(bench.record)
    assert "| images: 1,000 | 10.0 | 10,000 | 1.00 | – | – | – |" in text
    assert "| **images: slope** | **2.00** | **1.00** | **0.00** | – | – | – |" in text


def test_the_recorded_figures_stay_readable(tmp_path):
    """What docs/benchmarks.json holds gives the page that stands in docs."""
    from benchmark import main

    docs = SCRIPTS.parent / "docs"
    for name in ("benchmarks.json", "benchmarks.md"):
        shutil.copy(docs / name, tmp_path)
    main(["--from_json", f"--output={tmp_path}"])
    assert (tmp_path / "benchmarks.md").read_text() == (docs / "benchmarks.md").read_text()


def test_a_failed_process_is_recorded(tmp_path):
    """Its last line is kept, and the others are still measured."""
    from benchmarks.process import Task

    bench = begin(tmp_path)
    code = "import benchmarks.marks as m; m.hand_over({'images_read': 3})"
    bench.in_turn([
        Task({"contestant": "bad"}, [sys.executable, "-c", "raise SystemExit('no such thing')"]),
        Task({"contestant": "good"}, [sys.executable, "-c", code]),
    ])  # fmt: skip
    kept = json.loads((tmp_path / "benchmarks.json").read_text())["measurements"]
    order = [("bad", 0), ("good", 0), ("bad", 1), ("good", 1)]
    assert [(row["contestant"], row["repeat"]) for row in kept] == order
    assert kept[0]["failed"] == "exit code 1: no such thing"
    assert kept[1]["images_read"] == 3
