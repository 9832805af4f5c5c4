"""Streams: the order they visit images in, how well they mix, and the batches they give; and the
choice of how to read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from signs_lightning import H5DataModule
from signs_lightning.data import reading_mode
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.direct_chunk_reader import ChunkedReader
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.open_handles import RawFile
from signs_lightning.data.reading_mode import choose_reading
from signs_lightning.data.resumable_loader import BatchLoader
from signs_lightning.data.sampler import PAD_INDEX, EpochSampler, shuffle_blocks
from signs_lightning.errors import InputError

COUNT, CHUNK = 203, 10  # the last chunk is cut short
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 5, 3), dtype=np.uint8)
LABELS = np.sort(np.arange(COUNT) % 7)  # sorted by class, as many files are
IMAGE_BYTES = 60
BUFFER = 2 * 30 * IMAGE_BYTES / 2**20  # MiB: groups of three chunks


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One chunk a block, as with images of a usual size."""
    monkeypatch.setattr("signs_lightning.data.storage_layout.BLOCK_BYTES", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("x", data=IMAGES, chunks=(CHUNK, 4, 5, 3), compression="gzip")
        file["y"] = LABELS
    return tmp_path / "data.h5"


def streamed(path: Path | list[str], batch_size: int = 8, **options: Any) -> H5DataModule:
    options |= {"batch_size": batch_size, "reading": "streamed", "shuffle_buffer": BUFFER}
    module = H5DataModule(str(path) if isinstance(path, Path) else path, **options)
    module.setup("fit")
    return module


def everything(batches: Iterable) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.mark.parametrize("batch_size", [1, 8, 30, 64, 500])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_stream_gives_the_images_of_its_order(path: Path, batch_size: int, shuffle: bool) -> None:
    """Batches over the ends of groups, batches larger than groups: the images and labels that NumPy
    picks in that order.
    """
    loader = streamed(path, batch_size, shuffle=shuffle).train_dataloader()
    order = np.array(list(loader.sampler))
    batches = list(loader)
    assert [len(labels) for _, labels in batches[:-1]] == [batch_size] * (len(loader) - 1)
    images, labels = everything(batches)
    np.testing.assert_array_equal(images, IMAGES[order])
    np.testing.assert_array_equal(labels, LABELS[order])
    assert sorted(order) == list(range(COUNT))
    assert (order.tolist() == list(range(COUNT))) != shuffle


def test_a_split_of_several_shards(path: Path, tmp_path: Path) -> None:
    """Part of each file, and files of different kinds after each other."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"], file["y"] = IMAGES[::-1], LABELS[::-1]
    module = streamed([str(path), str(tmp_path / "other.h5")], val_fraction=0.3, seed=3)
    both = np.concatenate([IMAGES, IMAGES[::-1]])
    found = []
    for loader in (module.train_dataloader(), module.val_dataloader()):
        assert isinstance(loader, DataLoader)
        assert isinstance(loader.dataset, H5Images)
        order = loader.dataset.subset[np.array(list(loader.sampler))]
        np.testing.assert_array_equal(everything(loader)[0], both[order])
        found += order.tolist()
    assert sorted(found) == list(range(2 * COUNT))


@pytest.mark.parametrize("stop", [1, 3, 4, 7, 25])
def test_an_interrupted_stream_goes_on_where_it_stopped(path: Path, stop: int) -> None:
    """Inside a group, at its end and in the last batch."""
    whole = everything(streamed(path).train_dataloader())
    first, second = (streamed(path).train_dataloader() for _ in range(2))
    assert isinstance(first, BatchLoader)
    assert isinstance(second, BatchLoader)
    iterator: Any = iter(first)
    seen = [next(iterator) for _ in range(stop)]
    second.load_state_dict(first.state_dict())
    iterator.close()
    for ours, theirs in zip(everything([*seen, *second]), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("size", [1, 5, COUNT])
def test_shares(processes: int, exact: bool, size: int, path: Path) -> None:
    """Equal in length; all images once, and fillers, or repetitions to fill up; each process reads
    blocks of its own.
    """
    dataset = H5Images([check_file(path)], np.arange(size))
    dataset.reading = "streamed"
    found, fetched = [], []
    for rank in range(processes):
        sampler = EpochSampler(size, not exact, 3, rank, processes, exact, dataset.blocks, 30)
        order = np.array(list(sampler))
        assert len(order) == -(-size // processes)
        _, labels = everything(BatchLoader(dataset, batch_size=8, sampler=sampler))
        np.testing.assert_array_equal(
            labels, np.where(order == PAD_INDEX, PAD_INDEX, LABELS[order])
        )
        found += order.tolist()
        fetched.append(len({index // CHUNK for index in order.tolist() if index != PAD_INDEX}))
    real = [index for index in found if index != PAD_INDEX]
    assert set(real) == set(range(size))
    if exact:
        assert len(real) == size
    # a block that two shares divide is read by both, and images that fill up come from one more
    assert sum(fetched) <= -(-size // CHUNK) + processes


def test_every_block_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch unpacks each chunk a single time, although the order is shuffled."""
    unpacked = []
    original = ChunkedReader._unpack
    loader = streamed(path).train_dataloader()  # whose setup has looked at some images

    def counted(self: ChunkedReader, handle: RawFile, *place: int) -> Any:
        unpacked.append(place)
        return original(self, handle, *place)

    monkeypatch.setattr(ChunkedReader, "_unpack", counted)
    everything(loader)
    assert len(unpacked) == len(set(unpacked)) == -(-COUNT // CHUNK)


def test_one_group_of_everything_is_a_uniform_shuffle() -> None:
    """Every image comes to every place equally often (chi-squared over 4,000 epochs, 8 images,
    99.99% quantile).
    """
    generator = torch.Generator().manual_seed(0)
    counts = np.zeros((8, 8))
    for _ in range(4000):
        order, _ = shuffle_blocks(np.array([0, 3, 6, 8]), 3, generator)
        counts[np.arange(8), order.numpy()] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 98.0  # 49 degrees of freedom


def test_an_image_may_come_anywhere_in_the_epoch() -> None:
    """Also with small groups: place in the file says nothing about place in the epoch (mean
    correlation over epochs).
    """
    starts = np.append(np.arange(0, 2000, 20), 2000)
    generator = torch.Generator().manual_seed(1)
    places = np.array(
        [np.argsort(shuffle_blocks(starts, 5, generator)[0].numpy()) for _ in range(200)]
    )
    correlation = [np.corrcoef(np.arange(2000), place)[0, 1] for place in places]
    # 100 blocks: each epoch's is about ±0.1
    assert abs(np.mean(correlation)) < 3 * 0.1 / np.sqrt(200)
    assert places.min(axis=0).max() < 300  # the least lucky image still came early once,
    assert places.max(axis=0).min() > 1700  # and late once


@pytest.mark.parametrize("blocks", [2, 8, 32])
def test_how_a_batch_of_a_sorted_file_is_mixed(blocks: int) -> None:
    """Ten classes in file order: a batch holds as many classes as a draw from that many random
    blocks does, no fewer.
    """
    starts = np.append(np.arange(0, 3200, 10), 3200)
    labels = np.arange(3200) * 10 // 3200
    generator = torch.Generator().manual_seed(2)
    rng = np.random.default_rng(3)
    found, expected = [], []
    for _ in range(30):
        order, ends = shuffle_blocks(starts, blocks, generator)
        for low, high in zip([0, *ends], ends, strict=False):
            found.append(len(np.unique(labels[order[low:high].numpy()][:32])))
        drawn = labels[
            starts[rng.choice(320, blocks, replace=False)][:, None] + np.arange(10)
        ].ravel()
        expected.append(len(np.unique(rng.permutation(drawn)[:32])))
    assert abs(np.mean(found) - np.mean(expected)) < 0.5


def test_what_is_chosen_on_the_cpu(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contiguous images are held where they are few, else mapped where the machine is large enough;
    others are held where they fit into the buffer, else streamed.
    """
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["x"], file["y"] = IMAGES, LABELS
    cpu = torch.device("cpu")

    def chosen(file: Path, buffer: int) -> str:
        dataset = H5Images([check_file(file)])
        choose_reading(dataset, "auto", cpu, buffer)
        return dataset.reading

    assert chosen(tmp_path / "plain.h5", 1) == "resident"
    monkeypatch.setattr(reading_mode, "SMALL", IMAGES.nbytes - 1)
    assert chosen(tmp_path / "plain.h5", 1) == "mapped"
    assert chosen(path, IMAGES.nbytes) == "resident"
    assert chosen(path, IMAGES.nbytes - 1) == "streamed"
    monkeypatch.setattr(reading_mode, "total_memory", lambda: IMAGES.nbytes - 1)
    assert chosen(tmp_path / "plain.h5", 1) == "streamed"


@pytest.mark.parametrize("wish", ["mapped", "streamed", "resident"])
def test_a_wish_is_granted_with_the_same_images(wish: Any, tmp_path: Path) -> None:
    """Test images come in file order however they are read, and mapped and resident training images
    in the same shuffled order.
    """
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["x"], file["y"] = IMAGES, LABELS
    plain, wished = (
        H5DataModule(
            train_file=str(tmp_path / "plain.h5"),
            test_file=str(tmp_path / "plain.h5"),
            val_fraction=0.3,
            reading=how,
            seed=4,
        )
        for how in ("auto", wish)
    )
    for module in (plain, wished):
        with pytest.warns(UserWarning, match="serves for training and for the test"):
            module.setup("test")
    np.testing.assert_array_equal(everything(wished.test_dataloader())[0], IMAGES)
    dataset = wished.test_dataloader().dataset
    assert isinstance(dataset, H5Images)
    assert dataset.reading == wish
    for module in (plain, wished):
        with pytest.warns(UserWarning, match="serves for training and for the test"):
            module.setup("fit")
    first, second = (list(module.train_dataloader().sampler) for module in (plain, wished))
    assert (first == second) == (wish != "streamed")
    assert sorted(first) == sorted(second)


def test_images_that_are_held_already_take_no_further_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loader that is made again, as with a schedule, finds them; the room that is left is less
    than they are by then.
    """
    dataset = H5Images([check_file(path)])
    for room in (2 * dataset.nbytes, dataset.nbytes - 1):
        monkeypatch.setattr(reading_mode, "free_memory", lambda room=room: room)
        choose_reading(dataset, "resident", torch.device("cpu"), 1)
        assert dataset.reading == "resident"
    choose_reading(dataset, "auto", torch.device("cpu"), 1)
    assert dataset.reading == "resident"


def test_wishes_that_cannot_be_granted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for, why not, and what to do."""
    dataset = H5Images([check_file(path)])
    with pytest.raises(
        InputError,
        match=r"in chunks of 10×4×5×3, gzip, so they cannot be mapped\. Drop --data\.reading",
    ):
        choose_reading(dataset, "mapped", torch.device("cpu"), 1)
    monkeypatch.setattr(reading_mode, "free_memory", lambda: 1000)
    with pytest.raises(
        InputError, match=r"203 images, 0 MB do not fit into the 0 MB that are free on cpu"
    ):
        choose_reading(dataset, "resident", torch.device("cpu"), 1)
    with pytest.raises(InputError, match="shuffle_buffer is 0 MiB, expected more than 0"):
        H5DataModule(shuffle_buffer=0)


def test_a_chunk_that_cannot_be_unpacked(path: Path) -> None:
    """Bytes that are not gzip's, found in the reading thread, end in a sentence."""
    with h5py.File(path) as file:
        chunk = file["x"].id.get_chunk_info(5)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 20] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"'x' in .*data\.h5 is damaged: .*\. Fetch or write it again\."
    ):
        everything(streamed(path).train_dataloader())


def test_a_chunk_that_holds_too_little(tmp_path: Path) -> None:
    """A chunk whose gzip stream ends early is not filled up silently."""
    import zlib

    with h5py.File(tmp_path / "f.h5", "w") as file:
        images = file.create_dataset(
            "x", (20, 4, 5, 3), "u1", chunks=(10, 4, 5, 3), compression="gzip"
        )
        images.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(b"\1" * 599))
        images.id.write_direct_chunk((10, 0, 0, 0), zlib.compress(b"\1" * 600))
        file["y"] = np.arange(20) % 2
    dataset = H5Images([check_file(tmp_path / "f.h5")])
    assert (dataset.read_sorted(np.arange(10, 20)) == 1).all()
    with pytest.raises(InputError, match="a chunk has 599 bytes instead of 600"):
        dataset.read_sorted(np.arange(20))


def test_a_chunk_that_was_never_written(tmp_path: Path) -> None:
    """It holds the fill value, as HDF5 has it."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        images = file.create_dataset("x", (20, 4, 5, 3), "u1", chunks=(10, 4, 5, 3), fillvalue=9)
        images[10:] = 1
        file["y"] = np.arange(20) % 2
    found = H5Images([check_file(tmp_path / "f.h5")]).read_sorted(np.arange(20))
    assert (found[:10] == 9).all()
    assert (found[10:] == 1).all()
