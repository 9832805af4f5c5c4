"""Links, virtual datasets and external storage, against what h5py itself reads of a sound file."""

from __future__ import annotations

import os
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from signs_lightning.data.dataset import H5Images
from signs_lightning.data.direct_chunk_reader import ChunkedReader
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_links import linked_datasets, list_external_links, open_dataset
from signs_lightning.data.hdf5_storage_readers import AssembledReader, ContiguousReader
from signs_lightning.errors import InputError

N = 24
SHAPE = (N, 6, 5, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
LABELS = np.arange(N) % 4
CLASSES = np.array([b"ant", b"bee", b"cat", b"dog"])
WANTED = [5, 0, 22, 5, 7, 6, 1, 23]


def write(path: Path, x: Any = IMAGES, y: Any = LABELS, **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=x, **options)
        file["y"] = y
    return path


def write_virtual(path: Path, fill: Callable[[h5py.VirtualLayout], None], **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    layout = h5py.VirtualLayout(SHAPE, np.uint8)
    fill(layout)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout, **options)
        file["y"] = LABELS
    return path


def reads_like_h5py(path: Path, **options: Any) -> H5Images:
    """By the batch, in blocks and from a copy, a data set gives what h5py reads."""
    with h5py.File(path) as file:
        images = file["x"][()].reshape(SHAPE)
    dataset = pickle.loads(pickle.dumps(H5Images([check_file(path, **options)])))
    np.testing.assert_array_equal(dataset.__getitems__(WANTED)[0].numpy(), images[WANTED])
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(N)), images)
    np.testing.assert_array_equal(dataset.readers[0].read(3, 17), images[3:17])
    return dataset


def in_shards(layout: h5py.VirtualLayout) -> None:
    for k in range(3):
        layout[8 * k : 8 * k + 8] = h5py.VirtualSource(f"part_{k}.h5", "x", (8, 6, 5, 3))


def interleaved(layout: h5py.VirtualLayout) -> None:
    for k in range(3):
        layout[k::3] = h5py.VirtualSource(f"part_{k}.h5", "x", (8, 6, 5, 3))


def every_second(layout: h5py.VirtualLayout) -> None:
    layout[4:16] = h5py.VirtualSource("whole.h5", "x", SHAPE)[1::2]


def in_strips(layout: h5py.VirtualLayout) -> None:
    layout[:, :4] = h5py.VirtualSource("whole.h5", "x", SHAPE)[:, 2:]
    layout[:, 4:, 1:] = h5py.VirtualSource("whole.h5", "x", SHAPE)[:, :2, 1:]


def image_by_image(layout: h5py.VirtualLayout) -> None:
    for k in range(N):
        layout[k] = h5py.VirtualSource("whole.h5", "x", SHAPE)[N - 1 - k]


def from_rows(layout: h5py.VirtualLayout) -> None:
    layout[:] = h5py.VirtualSource("rows.h5", "x", (N, 90))


def overlapping(layout: h5py.VirtualLayout) -> None:
    layout[:] = h5py.VirtualSource("whole.h5", "x", SHAPE)
    layout[6:14] = h5py.VirtualSource("part_0.h5", "x", (8, 6, 5, 3))


def below(layout: h5py.VirtualLayout) -> None:
    layout[:] = h5py.VirtualSource("folder/100%%.h5", "group/x", SHAPE)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with sound files that virtual datasets are put together from."""
    for k in range(3):
        options = {"chunks": (3, 6, 5, 3), "compression": "gzip"} if k else {}
        write(tmp_path / f"part_{k}.h5", IMAGES[8 * k : 8 * k + 8], LABELS[:8], **options)
    write(tmp_path / "whole.h5")
    write(tmp_path / "rows.h5", IMAGES.reshape(N, -1))
    write(tmp_path / "folder" / "100%.h5")
    with h5py.File(tmp_path / "folder" / "100%.h5", "a") as file:
        file["group/x"] = h5py.SoftLink("/x")
    return tmp_path


@pytest.mark.parametrize(
    "fill",
    [
        in_shards, interleaved, every_second, in_strips, image_by_image, from_rows, overlapping,
        below, lambda layout: None,
    ],
)  # fmt: skip
def test_virtual_datasets(fill: Callable[[h5py.VirtualLayout], None], parts: Path) -> None:
    """Sources that lie beside the file are laid together as HDF5 does it."""
    path = write_virtual(parts / "f.h5", fill, fillvalue=7)
    dataset = reads_like_h5py(path)
    assert isinstance(dataset.readers[0]._source, AssembledReader)


def test_a_virtual_dataset_of_virtual_datasets(parts: Path) -> None:
    """Also with a step, and of datasets of the same file."""
    write_virtual(parts / "inner.h5", in_shards)

    def fill(layout: h5py.VirtualLayout) -> None:
        layout[0::2] = h5py.VirtualSource("inner.h5", "x", SHAPE)[0:24:2]
        layout[1::2] = h5py.VirtualSource(".", "own", (12, 6, 5, 3))

    path = write_virtual(parts / "f.h5", fill)
    with h5py.File(path, "a") as file:
        file["own"] = IMAGES[:12]
    reads_like_h5py(path, images_key="x")


def test_a_virtual_dataset_of_itself(tmp_path: Path) -> None:
    """It does not go round in circles."""

    def fill(layout: h5py.VirtualLayout) -> None:
        layout[:] = h5py.VirtualSource("f.h5", "x", SHAPE)

    path = write_virtual(tmp_path / "f.h5", fill)
    with pytest.raises(InputError, match="leads from link to link more than 3 times"):
        check_file(path)


def test_labels_and_classes_may_be_virtual(parts: Path) -> None:
    """They are put together in the same way, also from values of another width."""
    with h5py.File(parts / "words.h5", "w") as file:
        file["y"], file["classes"] = LABELS.astype(">i2"), CLASSES
    with h5py.File(parts / "f.h5", "w") as file:
        file["x"] = IMAGES
        for name, values in (("y", LABELS), ("classes", CLASSES)):
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            layout[:] = h5py.VirtualSource("words.h5", name, values.shape)
            file.create_virtual_dataset(name, layout)
    images = check_file(parts / "f.h5")
    np.testing.assert_array_equal(images.labels, LABELS)
    assert images.class_names == ["ant", "bee", "cat", "dog"]


@pytest.mark.parametrize("name", ["f.h5", "link.h5"])
def test_sources_beside_the_file_itself(name: str, parts: Path, tmp_path: Path) -> None:
    """Beside the file that a symbolic link leads to, or where the file of an absolute path is not
    found any more.
    """

    def fill(layout: h5py.VirtualLayout) -> None:
        layout[:8] = h5py.VirtualSource("part_0.h5", "x", (8, 6, 5, 3))
        layout[8:] = h5py.VirtualSource("/gone/whole.h5", "x", SHAPE)[8:]

    write_virtual(parts / "f.h5", fill)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link.h5").symlink_to(parts / "f.h5")
    path = parts / name if name == "f.h5" else elsewhere / name
    read = H5Images([check_file(path)]).read_sorted(np.arange(N))
    np.testing.assert_array_equal(read, IMAGES)


@pytest.mark.parametrize("source", ["../whole.h5", "absolute", "symbolic link"])
def test_sources_elsewhere(source: str, parts: Path) -> None:
    """They are read only where the user says so."""
    folder = parts / "here"
    folder.mkdir()
    (folder / "symbolic link").symlink_to(parts / "whole.h5")
    name = str(parts / "whole.h5") if source == "absolute" else source

    def fill(layout: h5py.VirtualLayout) -> None:
        layout[:] = h5py.VirtualSource(name, "x", SHAPE)

    path = write_virtual(folder / "f.h5", fill)
    with pytest.raises(InputError) as error:
        check_file(path)
    assert str(error.value) == (
        f"'x' in {path} lies in {(parts / 'whole.h5').resolve()}, which is not in the folder of "
        f"{path}. Follow it with `--data.follow_links true`, or copy the file there."
    )
    reads_like_h5py(path, follow_links=True)


def test_a_missing_source(parts: Path) -> None:
    """HDF5 would give fill values for it, without a word; copying it there helps."""
    path = write_virtual(parts / "f.h5", in_shards)
    os.rename(parts / "part_1.h5", parts / "away.h5")
    with h5py.File(path) as file:
        assert not file["x"][8:16].any()
    with pytest.raises(InputError) as error:
        check_file(path)
    assert str(error.value) == (
        f"'x' in {path} lies in the file part_1.h5, which is missing. Copy it to "
        f"{parts / 'part_1.h5'}."
    )
    os.rename(parts / "away.h5", parts / "part_1.h5")
    reads_like_h5py(path)


def test_sources_that_cannot_be_used(parts: Path) -> None:
    """What is wrong with a source is said of the source."""
    path = write_virtual(parts / "f.h5", in_shards)
    source = parts / "part_1.h5"
    source.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n")
    with pytest.raises(InputError, match=r"part_1\.h5 is not an HDF5 file but a git-lfs pointer"):
        check_file(path)
    write(source, IMAGES[:7], LABELS[:7])
    with pytest.raises(InputError, match=r"expects 720 values of '/x' in .*part_1.h5, which has"):
        check_file(path)
    with h5py.File(source, "w") as file:
        file["z"] = IMAGES[:8]
    with pytest.raises(InputError, match=r"'x' in .*part_1\.h5 is no dataset, or is not there"):
        check_file(path)
    with h5py.File(source, "w") as file:
        file["x"] = np.full((8, 6, 5, 3), b"a")
    with pytest.raises(InputError, match=r"values of type uint8, '/x' in .* of type \|S1"):
        check_file(path)


@pytest.mark.parametrize("name", ["whole.h5", "part_%b.h5"])
def test_virtual_datasets_that_grow_are_refused(name: str, parts: Path) -> None:
    """With their sources, or with the number of files, as HDF5 alone knows to do."""
    no_end = h5py.h5s.UNLIMITED
    layout = h5py.VirtualLayout(SHAPE, np.uint8, maxshape=(None, *SHAPE[1:]))
    source = h5py.VirtualSource(name, "x", SHAPE, maxshape=(None, *SHAPE[1:]))
    if name == "whole.h5":
        layout[:no_end] = source[:no_end]
    else:
        layout[:no_end:24] = h5py.VirtualSource(name, "x", (1, *SHAPE[1:]))
    with h5py.File(parts / "f.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
        file["y"] = LABELS
    with pytest.raises(InputError, match="put together from more than plain slices"):
        check_file(parts / "f.h5")


@pytest.mark.parametrize("change", ["written to", "replaced", "gone"])
def test_a_source_that_changes_under_a_run(change: str, parts: Path) -> None:
    """It is noticed when it is read."""
    dataset = reads_like_h5py(write_virtual(parts / "f.h5", in_shards))
    source = parts / "part_2.h5"
    if change == "replaced":
        os.replace(parts / "whole.h5", source)
    elif change == "gone":
        source.unlink()
    else:
        with h5py.File(source, "a") as file:
            file["more"] = np.arange(100)
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(16)), IMAGES[:16])
    with pytest.raises(InputError, match=r"part_2\.h5 was changed or replaced while this run"):
        dataset.read_sorted(np.arange(N))


def test_more_sources_than_may_be_open(tmp_path: Path) -> None:
    """HDF5 keeps them all open, and gives fill values for those that it cannot open any more."""
    count = 120

    def fill(layout: h5py.VirtualLayout) -> None:
        for k in range(count):
            layout[k] = h5py.VirtualSource(f"{k}.h5", "x", (2, 2, 1))

    for k in range(count):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file["x"] = np.full((2, 2, 1), k, np.uint8)
    layout = h5py.VirtualLayout((count, 2, 2, 1), np.uint8)
    fill(layout)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_virtual_dataset("x", layout, fillvalue=255)
        file["y"] = np.arange(count) % 2
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 60, hard))
    try:
        with h5py.File(tmp_path / "f.h5") as file:
            assert (file["x"][:, 0, 0, 0] == 255).any(), "the case that this test is about"
        images = H5Images([check_file(tmp_path / "f.h5")]).read_sorted(np.arange(count))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert images[:, 0, 0, 0].tolist() == list(range(count))


def link(path: Path, **links: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, target in links.items():
            file[name.replace("__", "/")] = target
    return path


def test_soft_links_inside_a_file(tmp_path: Path) -> None:
    """They are names like any others: of a dataset, of a group, and of each other."""
    path = link(
        tmp_path / "f.h5", raw__a=IMAGES, raw__b=LABELS, x=h5py.SoftLink("/raw/a"),
        y=h5py.SoftLink("again"), again=h5py.SoftLink("/raw/b"), train=h5py.SoftLink("raw"),
        nowhere=h5py.SoftLink("/gone"), round=h5py.SoftLink("round"),
    )  # fmt: skip
    reads_like_h5py(path)
    with h5py.File(path) as file:
        assert set(linked_datasets(file)) == {"x", "y", "again", "train/a", "train/b"}
        np.testing.assert_array_equal(open_dataset(file, "train/a")[()], IMAGES)
        with pytest.raises(InputError, match="leads from link to link more than 3 times"):
            open_dataset(file, "round")
        with pytest.raises(InputError, match="is no dataset, or is not there"):
            open_dataset(file, "nowhere")
    read = H5Images([check_file(path, "train/a", "train/b")]).read_sorted(np.arange(N))
    np.testing.assert_array_equal(read, IMAGES)


def test_two_names_of_one_dataset_are_no_choice(tmp_path: Path) -> None:
    """A link beside what it leads to is not a second candidate."""
    path = link(
        tmp_path / "f.h5", images=IMAGES, y=LABELS, x=h5py.SoftLink("images"), up=h5py.SoftLink("/")
    )
    assert check_file(path).images_key == "images"


def test_external_links(parts: Path) -> None:
    """Refused with the option that follows them; then read in place, from the file they lead to."""
    path = link(
        parts / "f.h5", x=h5py.ExternalLink("whole.h5", "/x"),
        far=h5py.ExternalLink("part_1.h5", "/"), y=LABELS,
    )  # fmt: skip
    with pytest.raises(InputError, match="has no images of its own, and links to other files"):
        check_file(path)
    with h5py.File(path) as file:
        assert list_external_links(file) == ["far", "x"]
        assert set(linked_datasets(file)) == set()
        assert set(linked_datasets(file, True)) == {"x", "far/x", "far/y"}
        with pytest.raises(InputError, match=r"Follow it with `--data\.follow_links true`"):
            open_dataset(file, "x")
    dataset = reads_like_h5py(path, images_key="x", labels_key="y", follow_links=True)
    assert isinstance(dataset.readers[0]._source, ContiguousReader)
    far = H5Images([check_file(path, "far/x", "far/y", follow_links=True)])
    np.testing.assert_array_equal(far.read_sorted(np.arange(8)), IMAGES[8:16])
    assert isinstance(far.readers[0]._source, ChunkedReader)
    os.utime(parts / "whole.h5", (1, 1))
    with pytest.raises(InputError, match="was changed or replaced"):
        dataset.__getitems__([0])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (("gone.h5", "/x"), r"lies in the file gone\.h5, which is missing\. Copy it to .*gone\.h5"),
        (("whole.h5", "/z"), r"is a link to '/z' in .*whole\.h5, where it leads nowhere"),
        (("text.h5", "/x"), r"text\.h5 is not an HDF5 file"),
    ],
)
def test_external_links_to_nothing(target: tuple[str, str], words: str, parts: Path) -> None:
    """Where links are to be followed, one that cannot be is named."""
    (parts / "text.h5").write_text("text")
    path = link(parts / "f.h5", x=h5py.ExternalLink(*target), y=LABELS)
    with pytest.raises(InputError, match=words):
        check_file(path, follow_links=True)


def external(path: Path, size: int | None = None) -> Path:
    """The second half of the images lies before the first."""
    content = IMAGES[12:].tobytes() + IMAGES[:12].tobytes()
    path.with_name("x.raw").write_bytes(b"head" + content[:size])
    with h5py.File(path, "w") as file:
        pieces = [("x.raw", 1084, 1080), ("x.raw", 4, h5py.h5f.UNLIMITED)]
        file.create_dataset("x", SHAPE, np.uint8, external=pieces)
        file["y"] = LABELS
    return path


def test_external_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes in a file beside it, whatever the current folder is; also a file that changes."""
    path = external(tmp_path / "f.h5")
    with pytest.raises(InputError, match=r"another file, x\.raw\. Follow it with `--data\.follow"):
        check_file(path)
    dataset = H5Images([check_file(path, follow_links=True)])
    np.testing.assert_array_equal(dataset.__getitems__(WANTED)[0].numpy(), IMAGES[WANTED])
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(N)), IMAGES)
    monkeypatch.chdir(tmp_path)
    reads_like_h5py(path, follow_links=True)
    (tmp_path / "x.raw").write_bytes(b"head" + bytes(IMAGES.nbytes + 1))
    with pytest.raises(InputError, match=r"x\.raw was changed or replaced"):
        dataset.__getitems__([0])


@pytest.mark.parametrize("size", [IMAGES.nbytes - 1, 1000, 0])
def test_external_storage_that_is_too_short(size: int, tmp_path: Path) -> None:
    """HDF5 would give zeros for what is missing."""
    path = external(tmp_path / "f.h5", size)
    with pytest.raises(InputError, match=r"needs 1,080 bytes of .*x\.raw from byte [\d,]+ on, wh"):
        check_file(path, follow_links=True)
    path.with_name("x.raw").unlink()
    with pytest.raises(InputError, match=r"needs 1,080 bytes of .*x\.raw from byte 1,084 on, wh"):
        check_file(path, follow_links=True)
