"""H5DataModule: which files, which split, which batches."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader

from signs_lightning.data.dataset import H5Images
from signs_lightning.data.file_roles import (
    ARRAYS,
    Role,
    expand_paths,
    plain_paths,
    repeated_file,
    warn_of_shared_files,
)
from signs_lightning.data.fingerprints import Fingerprints, changed_files_message, fingerprint
from signs_lightning.data.image_set import ImageSet, check_arrays, check_file
from signs_lightning.data.loader import BatchLoader, identity_collate
from signs_lightning.data.reading_mode import choose_reading
from signs_lightning.data.sampler import EpochSampler, stratified_split
from signs_lightning.errors import InputError
from signs_lightning.runtime.console import rank_zero_print

DRAWN = {"DrawnSigns": "drawn hands", "DrawnSmiles": "drawn faces"}


class H5DataModule(L.LightningDataModule):
    """HDF5 images for training, validation and test.

    A file argument is a path, a list of paths, or a pattern such as `shards/train_*.h5`; in Python
    also a pair of arrays (images, labels). When no file is named at all, and `drawn` is set, a
    drawn data set is written once and used. A file that serves for two roles, by whatever names, is
    warned of.

    Validation is a stratified part of the training file where `val_fraction` is given, else
    `val_file`, else the test file, as the course does it; then no checkpoint is chosen by it.

    Args:
        train_file: images to train on.
        val_file: images to validate on.
        test_file: images to test on; enough for `test` by itself.
        val_fraction: share of the training file to validate on, in 0..1 (exclusive).
        batch_size: images in a batch, for each process.
        shuffle: a new order every epoch, from the seed; false keeps the file's order.
        num_workers: processes that read ahead of a mapped file; 0 reads in the training process,
            which is nearly always faster.
        reading: "mapped", "streamed" or "resident" forces what "auto" finds out from the file and
            the machine, see `data.reading`.
        shuffle_buffer: MiB of images in memory at a time when they are streamed; the larger, the
            better they are mixed.
        image_size: height and width (pixels) that the model sees, one number for a square; the
            file's own when omitted.
        images_key: dataset of the images, where its name does not tell.
        labels_key: dataset of the labels, where its name does not tell.
        classes_key: dataset of the class names, where its name does not tell.
        drawn: the data set to draw when no file is named: hands showing 0 to 5 fingers, or smiling
            and other faces. When it is omitted, files must be named.
        seed: of order and split; the run's own (`seed_everything`) when omitted, else 0.

    Batches:
        images uint8 (N, H, W, C) in 0..255 and labels int64 (N,) in 0..K-1; scaling and
        (N, H, W, C) -> (N, C, H, W) happen in the model, on its device. The smaller last batch is
        kept.

    Raises:
        InputError: from `setup`, when a file or an option cannot be used.
    """

    def __init__(
        self,
        train_file: str | list[str] | Any | None = None,
        val_file: str | list[str] | Any | None = None,
        test_file: str | list[str] | Any | None = None,
        val_fraction: float | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        num_workers: int = 0,
        reading: Literal["auto", "mapped", "streamed", "resident"] = "auto",
        shuffle_buffer: float = 256,
        image_size: int | tuple[int, int] | None = None,
        images_key: str | None = None,
        labels_key: str | None = None,
        classes_key: str | None = None,
        drawn: Literal["DrawnSigns", "DrawnSmiles"] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}, expected at least 1.")
        if num_workers < 0:
            raise InputError(f"num_workers is {num_workers}, expected 0 or more.")
        if shuffle_buffer <= 0:
            raise InputError(f"shuffle_buffer is {shuffle_buffer:g} MiB, expected more than 0.")
        if val_fraction is not None and not 0 < val_fraction < 1:
            raise InputError(
                f"val_fraction is {val_fraction:g}, expected a share between 0 and 1 (exclusive)."
            )
        if val_fraction is not None and val_file is not None:
            raise InputError("val_file and val_fraction are both given. Drop one of them.")
        self._settings: dict[str, Any] = {  # plain values, for checkpoints; arrays stay out
            "train_file": plain_paths(train_file),
            "val_file": plain_paths(val_file),
            "test_file": plain_paths(test_file),
            "val_fraction": val_fraction,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "num_workers": num_workers,
            "reading": reading,
            "shuffle_buffer": shuffle_buffer,
            "image_size": list(image_size) if isinstance(image_size, tuple | list) else image_size,
            "images_key": images_key,
            "labels_key": labels_key,
            "classes_key": classes_key,
            "drawn": drawn,
        }
        self.files: dict[Role, Any] = {"train": train_file, "val": val_file, "test": test_file}
        self.keys = {"images_key": images_key, "labels_key": labels_key, "classes_key": classes_key}
        self.val_fraction = val_fraction
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.num_workers = num_workers
        self.reading = reading
        self.shuffle_buffer = shuffle_buffer
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else image_size
        if self.image_size is not None and min(self.image_size) < 1:
            raise InputError(f"image_size is {image_size}, expected pixels, at least 1.")
        self.drawn = drawn
        self.seed = seed if seed is not None else int(os.environ.get("PL_GLOBAL_SEED", 0))
        self._said: str | None = None  # how training images are read, so that it is said once
        self._stage: str | None = None  # that `setup` was last called for
        self._sets: dict[Role, list[ImageSet]] = {}
        self._datasets: dict[Role, H5Images] = {}
        self.fingerprints: Fingerprints = {}  # of the files of a fit, as they were when it began

    @property
    def class_names(self) -> list[str] | None:
        """The K names where a file lists them, else None."""
        return next(
            (
                shard.class_names
                for shards in self._sets.values()
                for shard in shards
                if shard.class_names
            ),
            None,
        )

    @property
    def num_classes(self) -> int:
        """K: the length of the class list, or one more than the largest label."""
        names = self.class_names
        return (
            len(names)
            if names
            else max(shard.num_classes for shards in self._sets.values() for shard in shards)
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width (pixels) and channels that the model sees."""
        _, height, width, channels = next(iter(self._sets.values()))[0].shape
        return (*(self.image_size or (height, width)), channels)

    @property
    def validates_on_test_file(self) -> bool:
        """Whether validation is the test file, so that no choice may rest on it."""
        return self.files["val"] is None and self.val_fraction is None

    @property
    def draws(self) -> str | None:
        """What is drawn instead of read from files, such as "drawn hands"; None where files are read, or neither is said."""
        named = any(file is not None for file in self.files.values())
        return None if named or self.drawn is None else DRAWN[self.drawn]

    def prepare_data(self) -> None:
        if self.draws:
            self._drawn_files()

    def _drawn_files(self) -> dict[Role, Any]:
        from signs_lightning.data import (
            synthetic as drawn,  # draws with Pillow, which nobody else needs
        )

        train_file, test_file = getattr(drawn, str(self.drawn))().files()
        return {"train": train_file, "val": None, "test": test_file}

    def setup(self, stage: str) -> None:
        if stage == self._stage:
            return
        if stage == "fit" and self.draws:
            rank_zero_print(
                f"Training on {self.draws} (data.drawn is {self.drawn}), because no file is named."
            )
        files = self._drawn_files() if self.draws else self.files
        self._files = files
        self._sets, self._datasets = {}, {}
        if stage == "fit":
            self._require(files, "train")
            self._sets["train"] = self._check(files, "train")
        if stage in ("fit", "validate"):
            self._set_up_validation(files)
        if stage in ("test", "predict"):
            self._require(files, "test")
            self._sets["test"] = self._check(files, "test")
            self._datasets["test"] = H5Images(self._sets["test"])
        self._agree()
        warn_of_shared_files(self._files, stage, self.val_fraction is not None)
        for shards in self._sets.values():
            for shard in shards:
                if shard.note:
                    rank_zero_print(shard.note)
        if stage == "fit":
            self.fingerprints = self._fingerprints()
        self._stage = stage

    def _set_up_validation(self, files: dict[Role, Any]) -> None:
        train = self._sets.get("train")
        if self.val_fraction is not None:
            self._require(files, "train")
            train = self._sets["train"] = train or self._check(files, "train")
            everything = H5Images(train)
            first, second = stratified_split(everything.labels, self.val_fraction, self.seed)
            if len(second) == 0:
                raise InputError(
                    f"val_fraction {self.val_fraction:g} of {len(everything):,} images leaves "
                    "none to validate on. Raise it."
                )
            self._datasets["train"], self._datasets["val"] = (
                H5Images(train, first),
                H5Images(train, second),
            )
            return
        role: Role = "test" if files["val"] is None else "val"
        if train is not None:
            self._datasets["train"] = H5Images(train)
        if files[role] is None:
            if train is None:
                raise InputError(
                    "There is nothing to validate on. Name a file with --data.val_file or "
                    "--data.test_file"
                    f"{_or_drawn(files)}."
                )
            return  # training without validation
        self._sets[role] = self._check(files, role)
        self._datasets["val"] = H5Images(self._sets[role])
        if role == "test" and train is not None:
            rank_zero_print(
                "Validation is the test file, so no checkpoint is chosen by it: "
                "last.ckpt is the result."
            )

    @staticmethod
    def _require(files: dict[Role, Any], role: Role) -> None:
        if files[role] is None:
            word = {"train": "train on", "val": "validate on", "test": "test on"}[role]
            raise InputError(
                f"There is nothing to {word}. Name a file with "
                f"--data.{role}_file{_or_drawn(files)}."
            )

    def _check(self, files: dict[Role, Any], role: Role) -> list[ImageSet]:
        value = files[role]
        if isinstance(value, str | list) and not value:
            raise InputError(f"--data.{role}_file is empty. Name a file.")
        if isinstance(value, str) and value == ARRAYS:
            raise InputError(
                "The model saw arrays, which are not at hand any more. Name a file with "
                f"--data.{role}_file."
            )
        if (
            isinstance(value, Sequence)
            and len(value) == 2
            and all(hasattr(part, "shape") for part in value)
        ):
            return [check_arrays(*value)]
        paths = expand_paths(value)
        found = [check_file(path, **self.keys) for path in paths]
        if twice := repeated_file(paths):
            warnings.warn(
                f"{twice} is named twice by --data.{role}_file: its images count twice.",
                stacklevel=2,
            )
        return found

    def _agree(self) -> None:
        """All files must tell of the same images and the same classes."""
        shards = [shard for sets in self._sets.values() for shard in sets]
        first = shards[0]
        names = self.class_names
        for shard in shards:
            if shard.shape[1:] != first.shape[1:]:
                raise InputError(
                    f"{shard.name} has images of {_size(shard)}, {first.name} of {_size(first)}. "
                    "Files of one run must agree."
                )
            if shard.class_names and shard.class_names != names:
                listing = next(s for s in shards if s.class_names)
                raise InputError(
                    f"{shard.name} lists the classes {', '.join(shard.class_names)}, "
                    f"{listing.name} lists {', '.join(names or [])}. "
                    "Files of one run must agree."
                )
            if names and shard.labels.max() >= len(names):
                raise InputError(
                    f"{shard.name} holds the label {shard.labels.max()}, but there are "
                    f"{len(names)} classes."
                )

    def state_dict(self) -> dict[str, Any]:
        """The settings as plain values, with the batch size that a finder may have found, the seed of order and split, and the
        fingerprints of the files of a fit."""
        return {
            **self._settings,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "fingerprints": self.fingerprints,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the seed from a checkpoint, so that a resumed run or a later `validate` splits as the first one did.

        Says so where one of the files is no longer what the model was trained on.
        """
        if before := state_dict.get("fingerprints"):
            changed = changed_files_message(before, self.fingerprints or self._fingerprints())
            if changed is not None:
                rank_zero_print(changed)
        if self.seed != state_dict["seed"]:
            self.seed = state_dict["seed"]
            if self._stage is not None and self.val_fraction is not None:
                self._set_up_validation(self._files)

    def _fingerprints(self) -> Fingerprints:
        readers = {
            id(reader.images): reader
            for dataset in self._datasets.values()
            for reader in dataset.readers
        }
        return {
            role: [fingerprint(readers[id(shard)]) for shard in shards]
            for role, shards in self._sets.items()
        }

    def _loader(self, role: Role, shuffle: bool, exact: bool) -> DataLoader:
        dataset = self._datasets[role]
        trainer: Any = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        buffer = int(self.shuffle_buffer * 2**20)
        how = choose_reading(dataset, self.reading, device, buffer)
        if role == "train" and trainer is not None and how != self._said:
            rank_zero_print(f"Training images: {how}.")
            self._said = how
        streamed = dataset.reading == "streamed"
        sampler = EpochSampler(
            len(dataset),
            shuffle,
            self.seed,
            rank,
            world_size,
            exact,
            blocks=dataset.blocks if streamed else None,
            group_size=buffer
            // 2
            // math.prod(dataset.image_shape),  # one half is used while the other is read
        )
        if trainer is not None:
            sampler.set_epoch(trainer.current_epoch)
        workers = (
            self.num_workers if dataset.reading == "mapped" else 0
        )  # the others have their own threads, or nothing to do
        return BatchLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=identity_collate,
            pin_memory=device.type == "cuda" and dataset.reading != "resident",
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(
                self.seed
            ),  # else each epoch draws from the global one
        )

    def train_dataloader(self) -> DataLoader:
        """Batches of the training images."""
        return self._loader("train", self.shuffle, exact=False)

    def val_dataloader(self) -> DataLoader | list:
        """Batches of the validation images, in file order; nothing when there are none."""
        return self._loader("val", shuffle=False, exact=True) if "val" in self._datasets else []

    def test_dataloader(self) -> DataLoader:
        """Batches of the test images, in file order."""
        return self._loader("test", shuffle=False, exact=True)

    def predict_dataloader(self) -> DataLoader:
        """The test images again."""
        return self.test_dataloader()

    def images(self, role: Role, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first images of a role's data: uint8 (n, H, W, C) and int64 labels (n,); for pictures, after `setup`."""
        dataset = self._datasets[role]
        images, labels = dataset.__getitems__(range(min(count, len(dataset))))
        return images.numpy(), labels.numpy()


def _or_drawn(files: dict[Role, Any]) -> str:
    """The other way out, which there is as long as no file is named."""
    named = any(file is not None for file in files.values())
    return "" if named else ", or take drawn pictures with --data.drawn DrawnSigns"


def _size(shard: ImageSet) -> str:
    return "×".join(map(str, shard.shape[1:]))
