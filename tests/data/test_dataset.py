"""Batches, orders and shares, against h5py, NumPy and counting."""

from __future__ import annotations

import os
import pickle
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from signs_lightning import H5DataModule
from signs_lightning.data import direct_chunk_reader
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.direct_chunk_reader import ChunkedReader
from signs_lightning.data.hdf5_image_set import check_arrays, check_file
from signs_lightning.data.hdf5_storage_readers import ContiguousReader, HDF5Reader, ImageReader
from signs_lightning.data.open_handles import HANDLES, RawFile
from signs_lightning.data.resumable_loader import BatchLoader, identity_collate
from signs_lightning.data.sampler import PAD_INDEX, EpochSampler
from signs_lightning.data.stratified_split import stratified_split

COUNT = 23
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(COUNT) % 4
STORED: dict[
    str, tuple[dict[str, Any], type]
] = {  # how HDF5 keeps the images, and what then reads them
    "contiguous": ({}, ContiguousReader),
    "chunked": ({"chunks": (4, 6, 5, 3)}, ChunkedReader),
    "gzip": ({"chunks": (4, 6, 5, 3), "compression": "gzip", "shuffle": True}, ChunkedReader),
    "chunks that cut images": ({"chunks": (7, 4, 5, 3), "compression": "gzip"}, ChunkedReader),
    "splinters": ({"chunks": (7, 4, 2, 2), "compression": "gzip"}, ChunkedReader),
    "single values": ({"chunks": (30, 1, 1, 1), "maxshape": (None, 6, 5, 3)}, ChunkedReader),
    "one chunk an image": ({"chunks": (1, 6, 5, 3), "fletcher32": True}, HDF5Reader),
    "lzf": ({"chunks": (5, 6, 5, 1), "compression": "lzf"}, HDF5Reader),
    "resizable": ({"maxshape": (None, 6, 5, 3)}, ChunkedReader),
}
WANTED = [5, 0, 22, 5, 7, 6, 1, 22]  # unsorted, with repetitions


def write(
    path: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, **options: Any
) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=images, **options)
        file["y"] = labels
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "data.h5")


@pytest.mark.parametrize("way", ["by the batch", "resident", "sorted"])
@pytest.mark.parametrize("stored", STORED)
def test_the_same_images_from_any_storage(stored: str, way: str, tmp_path: Path) -> None:
    """By the batch, from memory or in blocks: the images that NumPy indexing gives."""
    options, kind = STORED[stored]
    dataset = H5Images([check_file(write(tmp_path / "f.h5", **options))])
    if way == "resident":
        dataset.load()
    wanted = np.unique(WANTED) if way == "sorted" else np.array(WANTED)
    if way == "sorted":
        np.testing.assert_array_equal(dataset.read_sorted(wanted), IMAGES[wanted])
    else:
        images, labels = dataset.__getitems__(WANTED)
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        np.testing.assert_array_equal(images.numpy(), IMAGES[wanted])
        np.testing.assert_array_equal(labels.numpy(), LABELS[wanted])
    assert type(dataset.readers[0]._source) is kind


@pytest.mark.parametrize("stored", ["chunks that cut images", "splinters"])
def test_pieces_of_one_block_are_unpacked_at_once(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block of images in several chunks keeps more than one thread busy, and stays what it is."""
    dataset = H5Images([check_file(write(tmp_path / "f.h5", **STORED[stored][0]))])
    original = ChunkedReader._unpack
    together = threading.Barrier(2, timeout=30)

    def wait_for_another(self: ChunkedReader, handle: RawFile, *place: int) -> Any:
        together.wait()
        return original(self, handle, *place)

    monkeypatch.setattr(direct_chunk_reader, "count_cores", lambda: 2)
    monkeypatch.setattr(ChunkedReader, "_unpack", wait_for_another)
    direct_chunk_reader._piece_threads.cache_clear()
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(7)), IMAGES[:7])
    direct_chunk_reader._piece_threads.cache_clear()


@pytest.mark.parametrize("stored", ["contiguous", "gzip", "chunks that cut images", "splinters"])
@pytest.mark.parametrize("dtype", ["u1", ">i2", ">f4", "f8"])
def test_other_types_and_byte_orders(stored: str, dtype: str, tmp_path: Path) -> None:
    """Also mapped files of the other byte order give the right values."""
    path = write(tmp_path / "f.h5", IMAGES.astype(dtype), **STORED[stored][0])
    images, _ = H5Images([check_file(path)]).__getitems__(WANTED)
    np.testing.assert_array_equal(images.numpy(), IMAGES[WANTED])


@pytest.mark.parametrize("userblock", [0, 512])
def test_a_dataset_that_was_never_written(userblock: int, tmp_path: Path) -> None:
    """Its values are the fill value; behind a user block HDF5 reports an offset for it, where other
    bytes lie.
    """
    with h5py.File(tmp_path / "f.h5", "w", userblock_size=userblock) as file:
        file.create_dataset("x", (COUNT, 6, 5, 3), np.uint8, fillvalue=7)
        file["y"] = LABELS
        file["noise"] = np.full(5000, 255, np.uint8)
    with h5py.File(tmp_path / "f.h5") as file:
        assert (file["x"].id.get_offset() is None) == (userblock == 0), (
            "the case that this test is about"
        )
    images, _ = H5Images([check_file(tmp_path / "f.h5")]).__getitems__(WANTED)
    assert set(np.unique(images)) == {7}


@pytest.mark.parametrize("chunks", [(4, 6, 5, 3), (4, 4, 5, 3), (4, 4, 2, 2)])
def test_chunks_that_were_never_written(chunks: tuple[int, ...], tmp_path: Path) -> None:
    """Images 8 to 15 were written in part; everything else has the fill value."""
    expected = np.full(IMAGES.shape, 7, np.uint8)
    expected[8:16, :4] = IMAGES[8:16, :4]
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("x", IMAGES.shape, np.uint8, chunks=chunks, fillvalue=7)[8:16, :4] = (
            IMAGES[8:16, :4]
        )
        file["y"] = LABELS
    dataset = H5Images([check_file(tmp_path / "f.h5")])
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(COUNT)), expected)
    assert isinstance(dataset.readers[0]._source, ChunkedReader)


def test_a_file_with_a_user_block(tmp_path: Path) -> None:
    """Bytes of the user's own before the HDF5 content shift what is mapped."""
    with h5py.File(tmp_path / "f.h5", "w", userblock_size=1024) as file:
        file["x"], file["y"] = IMAGES, LABELS
    dataset = H5Images([check_file(tmp_path / "f.h5")])
    np.testing.assert_array_equal(dataset.__getitems__(WANTED)[0].numpy(), IMAGES[WANTED])
    assert isinstance(dataset.readers[0]._source, ContiguousReader)


def test_a_subset_and_single_images(path: Path) -> None:
    """Indices count within the subset."""
    subset = np.array([20, 3, 4, 9])
    dataset = H5Images([check_file(path)], subset)
    assert len(dataset) == 4
    np.testing.assert_array_equal(dataset.labels, LABELS[subset])
    np.testing.assert_array_equal(dataset.__getitems__([3, 0])[0].numpy(), IMAGES[[9, 20]])
    image, label = dataset[1]
    np.testing.assert_array_equal(image.numpy(), IMAGES[3])
    assert (label.shape, int(label)) == ((), LABELS[3])


def test_a_filler_is_no_image(path: Path) -> None:
    """It has an image, so that batches are equal in size, and the label -1."""
    images, labels = H5Images([check_file(path)]).__getitems__([4, PAD_INDEX])
    assert labels.tolist() == [LABELS[4], -1]
    assert images.shape == (2, 6, 5, 3)


@pytest.mark.parametrize("form", ["list", "reversed list", "pattern", "list of patterns"])
def test_shards(form: str, tmp_path: Path) -> None:
    """Shards follow each other as listed, or sorted by name where a pattern names them."""
    cuts = {"a_0.h5": slice(0, 10), "a_1.h5": slice(10, 11), "b_0.h5": slice(11, 23)}
    paths = [str(write(tmp_path / name, IMAGES[cut], LABELS[cut])) for name, cut in cuts.items()]
    order = np.arange(COUNT)
    if form == "reversed list":
        paths, order = paths[::-1], np.concatenate([order[cut] for cut in reversed(cuts.values())])
    files = {
        "pattern": str(tmp_path / "*.h5"),
        "list of patterns": [str(tmp_path / f"{k}_*.h5") for k in "ab"],
    }
    module = H5DataModule(test_file=files.get(form, paths), batch_size=9)
    module.setup("test")
    found = list(module.test_dataloader())
    np.testing.assert_array_equal(np.concatenate([images for images, _ in found]), IMAGES[order])
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), LABELS[order])
    # A batch out of several shards.
    mixed = module._datasets["test"].__getitems__(WANTED)[0].numpy()
    np.testing.assert_array_equal(mixed, IMAGES[order][WANTED])


def order(sampler: EpochSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_order_depends_on_seed_and_epoch_alone() -> None:
    """Every image once, anew in each epoch, and the same again for the same seed and epoch,
    whatever torch drew meanwhile.
    """
    first = [order(EpochSampler(50, True, seed=3), epoch) for epoch in range(4)]
    torch.rand(17)
    again = EpochSampler(50, True, seed=3)
    assert [order(again, epoch) for epoch in (3, 1)] == [first[3], first[1]]
    assert all(sorted(indices) == list(range(50)) for indices in first)
    assert len({tuple(indices) for indices in first}) == 4
    assert order(EpochSampler(50, True, seed=4), 0) != first[0]
    assert all(
        order(EpochSampler(50, False, seed=3), epoch) == list(range(50)) for epoch in range(3)
    )


SIZES = [1, 2, 7, 33, 120, 121]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("processes", range(1, 6))
@pytest.mark.parametrize("shuffle", [True, False])
def test_training_shares(size: int, processes: int, shuffle: bool) -> None:
    """Equal in length, each image somewhere, none more often than filling up needs, and together as
    shuffled as one process is.
    """
    shares = [
        order(EpochSampler(size, shuffle, 5, rank, processes), 2) for rank in range(processes)
    ]
    assert {len(share) for share in shares} == {-(-size // processes)}
    counts = Counter(index for share in shares for index in share)
    assert set(counts) == set(range(size))
    assert max(counts.values()) <= -(-processes * -(-size // processes) // size)
    together = [shares[k % processes][k // processes] for k in range(size)]
    assert together == order(EpochSampler(size, shuffle, 5), 2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("processes", range(1, 6))
def test_exact_shares(size: int, processes: int) -> None:
    """Each image exactly once in all shares together; the rest is fillers, and the shares are equal
    in length.
    """
    shares = [
        order(EpochSampler(size, False, 0, rank, processes, exact=True), 0)
        for rank in range(processes)
    ]
    assert {len(share) for share in shares} == {-(-size // processes)}
    everything = [index for share in shares for index in share]
    assert sorted(index for index in everything if index != PAD_INDEX) == list(range(size))
    assert everything.count(PAD_INDEX) == -size % processes


def loader(path: Path, workers: int = 0, seed: int = 1, context: str | None = None) -> BatchLoader:
    dataset = H5Images([check_file(path)])
    return BatchLoader(
        dataset,
        batch_size=5,
        sampler=EpochSampler(len(dataset), True, seed),
        num_workers=workers,
        collate_fn=identity_collate,
        multiprocessing_context=context,
    )


def labels_of(found: list) -> list[list[int]]:
    return [labels.tolist() for _, labels in found]


def test_the_smaller_last_batch_is_kept(path: Path) -> None:
    """23 images by fives, as the sampler orders them."""
    batch_loader = loader(path)
    assert isinstance(batch_loader.sampler, EpochSampler)
    indices = order(batch_loader.sampler, 0)
    found = list(batch_loader)
    assert [len(labels) for _, labels in found] == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(np.concatenate([images for images, _ in found]), IMAGES[indices])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_an_interrupted_epoch_goes_on_where_it_stopped(path: Path, workers: int, stop: int) -> None:
    """The state after some batches, in a new loader: the remaining batches of that epoch, then
    whole epochs.
    """
    whole = list(loader(path))
    first = loader(path, workers)
    iterator = iter(first)
    seen = [next(iterator) for _ in range(stop)]
    state = pickle.loads(pickle.dumps(first.state_dict()))
    del iterator
    second = loader(path, workers)
    second.load_state_dict(state)
    rest = list(second)
    assert labels_of(seen + rest) == labels_of(whole)
    for (ours, _), (theirs, _) in zip(seen + rest, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert second.state_dict() == {"batches": 5}
    assert labels_of(list(second)) == labels_of(whole)


def test_a_complete_epoch_is_not_resumed(path: Path) -> None:
    """The state at an epoch's end: the next epoch is a whole one."""
    first, second = loader(path), loader(path)
    assert len(list(first)) == 5
    second.load_state_dict(first.state_dict())
    assert len(list(second)) == 5


def opened(path: Path) -> H5Images:
    """A data set that this process has already read from."""
    dataset = H5Images([check_file(path)])
    dataset.__getitems__([0])
    assert dataset.readers[0]._source is not None
    return dataset


@pytest.mark.parametrize(
    ("context", "stored"),
    [
        *(
            pytest.param(context, stored, marks=pytest.mark.slow)
            for context in ("spawn", "forkserver")
            for stored in ("gzip", "lzf")
        ),
        ("fork", "gzip"),
        ("fork", "lzf"),
    ],
)
def test_workers(context: str, stored: str, tmp_path: Path) -> None:
    """Workers of any start method read a data set that is already open in this process, also
    through h5py.
    """
    dataset = opened(write(tmp_path / "f.h5", **STORED[stored][0]))
    assert isinstance(dataset.readers[0]._source, STORED[stored][1])
    found = list(
        DataLoader(
            dataset,
            batch_size=10,
            num_workers=1,
            collate_fn=identity_collate,
            multiprocessing_context=context,
        )
    )
    np.testing.assert_array_equal(np.concatenate([images for images, _ in found]), IMAGES)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), LABELS)


@pytest.mark.parametrize("stored", STORED)
def test_after_a_fork_the_file_is_opened_again(stored: str, tmp_path: Path) -> None:
    """A handle of the parent is not used in the child, which reads the right images; nor does the
    child disturb the parent.
    """
    dataset = opened(write(tmp_path / "f.h5", **STORED[stored][0]))
    reader = dataset.readers[0]
    inherited = HANDLES.get(reader, reader._open)
    child = os.fork()
    if child == 0:
        right = np.array_equal(dataset.__getitems__(WANTED)[0].numpy(), IMAGES[WANTED])
        os._exit(0 if right and HANDLES.get(reader, reader._open) is not inherited else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert HANDLES.get(reader, reader._open) is inherited
    np.testing.assert_array_equal(dataset.__getitems__(WANTED)[0].numpy(), IMAGES[WANTED])


@pytest.mark.parametrize("stored", STORED)
def test_a_pickled_data_set_holds_neither_handle_nor_images(stored: str, tmp_path: Path) -> None:
    """It is small, whatever the file's size and however often it was read from, and reads the same
    images.
    """
    images = np.random.default_rng(1).integers(0, 256, (40, 60, 50, 3), dtype=np.uint8)
    options = {} if stored == "contiguous" else {"compression": "gzip"}
    path = write(tmp_path / "f.h5", images, np.arange(40) % 4, **options)
    dataset = opened(path)
    text = pickle.dumps(dataset)
    assert len(text) < 5000 < images.nbytes
    copy = pickle.loads(text)
    assert copy.readers[0]._source is None
    np.testing.assert_array_equal(copy.__getitems__(WANTED)[0].numpy(), images[WANTED])


@pytest.mark.filterwarnings("ignore:.* serves for training and for the test")
@pytest.mark.parametrize("stage", [None, "fit", "test"])
def test_a_data_module_pickles(path: Path, stage: str | None) -> None:
    """Before and after `setup` and reading; the copy gives the same batches."""
    module = H5DataModule(
        train_file=str(path), test_file=str(path), val_fraction=0.3, batch_size=8, seed=2
    )
    if stage is not None:
        module.setup(stage)
        list(module.test_dataloader() if stage == "test" else module.train_dataloader())
    text = pickle.dumps(module)
    copy = pickle.loads(text)
    for each in (module, copy):
        each.setup("fit")
    ours, theirs = list(copy.train_dataloader()), list(module.train_dataloader())
    assert labels_of(ours) == labels_of(theirs)
    assert b"h5py" not in text


def test_a_contiguous_file_is_read_in_place(path: Path) -> None:
    """Image by image out of the file, at the offset that HDF5 names; nothing is kept."""
    reader = ImageReader(check_file(path))
    reader.take(np.array([0]))
    with h5py.File(path) as file:
        offset = file["x"].id.get_offset()
    assert isinstance(reader._source, ContiguousReader)
    assert reader._source.offset == offset
    assert path.read_bytes()[offset : offset + 90] == IMAGES[0].tobytes()


def test_arrays_give_the_same_batches() -> None:
    """Arrays in place of a file."""
    images, labels = H5Images([check_arrays(IMAGES, LABELS)]).__getitems__(WANTED)
    np.testing.assert_array_equal(images.numpy(), IMAGES[WANTED])
    np.testing.assert_array_equal(labels.numpy(), LABELS[WANTED])


@pytest.mark.parametrize("fraction", [0.05, 0.2, 1 / 3, 0.5, 0.9])
@pytest.mark.parametrize("counts", [(180,) * 6, (7, 1, 30), (1, 1, 1), (3, 500), (2, 5, 11, 23)])
def test_stratified_split(counts: tuple[int, ...], fraction: float) -> None:
    """Disjoint, complete, every class its share to within one image, none without training images,
    and the same again.
    """
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(len(counts)), counts))
    first, second = stratified_split(labels, fraction, seed=4)
    assert sorted([*first, *second]) == list(range(len(labels)))
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) > 0).all()
    for label, count in enumerate(counts):
        assert abs((labels[second] == label).sum() - count * fraction) <= 1
        assert (labels[first] == label).any()
    for ours, theirs in zip(
        (first, second), stratified_split(labels, fraction, seed=4), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_another_seed_splits_otherwise() -> None:
    """The seed chooses which images, not how many of each class."""
    labels = np.repeat(np.arange(3), 40)
    splits = [stratified_split(labels, 0.25, seed)[1] for seed in range(3)]
    assert len({tuple(split) for split in splits}) == 3
    assert {tuple(np.bincount(labels[split])) for split in splits} == {(10, 10, 10)}
