"""H5DataModule: which files, which split, which batches."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any, Literal

import lightning as L
import numpy as np
from torch.utils.data import DataLoader

from signs_lightning.data.data_options import DRAWN, check_options, draw_files, remembered_options
from signs_lightning.data.dataset import H5Images, channel_moments
from signs_lightning.data.description import describe_data
from signs_lightning.data.file_roles import RoleFiles
from signs_lightning.data.fingerprints import Fingerprints, fingerprint_files, print_changes
from signs_lightning.data.layouts import Role
from signs_lightning.data.resumable_loader import make_loader
from signs_lightning.data.setup_notes import check_and_describe
from signs_lightning.data.task_labels import Task, check_same_task
from signs_lightning.data.validation import open_validation
from signs_lightning.runtime.display_table import Displayed, DisplayTable
from signs_lightning.runtime.resize_options import RESIZES, Fit, Resize
from signs_lightning.runtime.value_ranges import RunValues


class H5DataModule(Displayed, L.LightningDataModule):
    """HDF5 images for training, validation and test.

    A file argument is a path, a list of paths, or a pattern such as `shards/train_*.h5`; in Python
    also a pair of arrays (images, labels). When no file is named at all, and `drawn` is set, a
    drawn data set is written once and used.

    Validation is a stratified part of the training file where `val_fraction` is given, else
    `val_file`, else the test file, as the course does it; then no checkpoint is chosen by it.

    Args:
        train_file: images to train on.
        val_file: images to validate on.
        test_file: images to test on; enough for `test` by itself.
        val_fraction: share of the training file to validate on, in 0..1 (exclusive).
        batch_size: images in a batch, for each process.
        shuffle: a new order every epoch, from the seed; false keeps the file's order.
        num_workers: processes that read ahead of a mapped file; 0, none, is nearly always faster.
        reading: "mapped", "streamed", "resident", or "auto", which `choose_reading` explains.
        shuffle_buffer: MiB of streamed images in memory; the larger, the better they are mixed.
        image_size: height and width (pixels) that the model sees, or one number; the file's own.
        images_key: dataset of the images, where its name does not tell.
        labels_key: dataset of the labels, where its name does not tell.
        classes_key: dataset of the class names, where its name does not tell.
        drawn: data to draw where no file is named, hands of 0 to 5 fingers, or smiling faces.
        resize: filter for images of another size: Pillow's (Keras's `load_img`), or "tf-bilinear"
            as `image_dataset_from_directory`; the checkpoint's when omitted, else bilinear.
        fit: what becomes of another aspect ratio: "stretch" it, "crop" the middle, or "pad" with
            black; the checkpoint's when omitted, else crop.
        seed: of order and split; the run's own (`seed_everything`) when omitted, else 0.
        file: a file with images for several roles, such as `X_train` and `X_test`; each role that
            no other option names is taken from it.
        train_images_key: dataset of the images to train on, in place of images_key.
        train_labels_key: dataset of their labels, in place of labels_key.
        val_images_key: dataset of the images to validate on, in place of images_key.
        val_labels_key: dataset of their labels, in place of labels_key.
        test_images_key: dataset of the images to test on, in place of images_key.
        test_labels_key: dataset of their labels, in place of labels_key.
        train_labels_file: file of the training labels, HDF5 or CSV, where it is not that of the
            images; one beside it whose name differs in x/y or images/labels is found.
        val_labels_file: the same of the validation labels.
        test_labels_file: the same of the test labels.
        label_offset: added to every label; -1 where labels begin at 1.
        class_names: names of the K classes where no file lists them; its sorted words if omitted.
        axes: axes of one stored image, `H,W`, `H,W,C` or `C,H,W`, where its shape does not tell.
        row_shape: height and width (pixels) of images in flat rows; square when omitted.
        follow_links: follow HDF5's links and storage that lead out of a file.
        sha256: checksum that a file fetched from an address must have; one of several.
        channels: of pictures in folders, 1 (grey) or 3 (RGB); when omitted, 1 where all are grey.
        value_range: the numbers of files that are black and white, `LOW,HIGH`, or "minmax", the
            training files' extremes; 0,255 of bytes, or what their values show, when omitted.
        trained_on_words: set by checkpoints: whether class_names are words that no file listed.
        task: what labels are for that name no single class: the model's own when omitted.

    Batches:
        images (N, H, W, C) of the files' dtype, labels int64 (N,) in 0..K-1, or of a task float
        (N, K). The model scales, and (N, H, W, C) -> (N, C, H, W), on its device. The smaller last
        batch is kept.

    Raises:
        InputError: from `setup`, when a file or an option cannot be used.

    Examples:
        >>> import numpy as np
        >>> from signs_lightning import H5DataModule
        >>> arrays = np.zeros((20, 64, 64, 3), np.uint8), np.arange(20) % 4
        >>> data = H5DataModule(train_file=arrays, val_fraction=0.2, batch_size=8)
        >>> data.setup("fit")
        >>> data.num_classes, data.image_shape
        (4, (64, 64, 3))
        >>> next(iter(data.val_dataloader()))[0].shape
        torch.Size([4, 64, 64, 3])
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
        resize: Resize | None = None,
        fit: Fit | None = None,
        seed: int | None = None,
        file: str | None = None,
        train_images_key: str | None = None,
        train_labels_key: str | None = None,
        val_images_key: str | None = None,
        val_labels_key: str | None = None,
        test_images_key: str | None = None,
        test_labels_key: str | None = None,
        train_labels_file: str | list[str] | None = None,
        val_labels_file: str | list[str] | None = None,
        test_labels_file: str | list[str] | None = None,
        label_offset: int = 0,
        class_names: list[str] | None = None,
        axes: str | None = None,
        row_shape: tuple[int, int] | None = None,
        follow_links: bool = False,
        sha256: str | list[str] | None = None,
        channels: int | None = None,
        trained_on_words: bool = False,
        value_range: str | tuple[float, float] | None = None,
        task: Task | None = None,
    ) -> None:
        options = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        options["class_names"] = None if class_names is None else list(map(str, class_names))
        super().__init__()
        check_options(options)
        self.val_fraction, self.batch_size, self.shuffle = val_fraction, batch_size, shuffle
        self.num_workers, self.reading, self.options = num_workers, reading, options
        self.shuffle_buffer, self.resize, self.fit, self.drawn = shuffle_buffer, resize, fit, drawn
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        self.reading_message = ""  # how training images are read, printed once
        self._stage: str | None = None  # of the last `setup`
        self._files: RoleFiles | None = None  # of that stage
        self._of_model: dict[str, str | None] = {}  # options that it decides
        self._model_values: RunValues | None = None  # the numbers that it takes
        self._datasets: dict[Role, H5Images] = {}
        self.fingerprints: Fingerprints = {}  # of the files of a fit, as they were when it began

    @property
    def opened(self) -> RoleFiles:
        """The files of the stage that `setup` was called for."""
        return self.role_files if self._files is None else self._files

    @cached_property
    def role_files(self) -> RoleFiles:
        """The files by role; looks into `file` for the roles that it has."""
        return RoleFiles(self.options)

    @property
    def class_names(self) -> list[str] | None:
        """The K names where a file lists them, else None."""
        return self.opened.class_names

    @property
    def num_classes(self) -> int:
        """K: the length of the class list, or one more than the largest label."""
        return len(self.class_names or ()) or max(s.num_classes for s in self.opened.image_sets)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width (pixels) and channels that the model sees."""
        _, height, width, channels = self.opened.image_sets[0].shape
        return (*(self.image_size or (height, width)), channels)

    @property
    def resizes(self) -> bool:
        """Whether images have another size than the model sees."""
        size = self.image_shape[:2]
        return any(s.shape[1:3] != size or s.resizing for s in self.opened.image_sets)

    def adopt_resizing(self, resize: str, fit: str | None) -> None:
        """Resize pictures that are decoded here as a model does; call it before `setup`."""
        if resize in RESIZES:  # else the model does not know
            self._of_model |= {"resize": resize, "fit": fit}

    def adopt_task(self, task: str | None) -> None:
        """Read labels for a model's task; call it before `setup`, where no Trainer does."""
        check_same_task(task, self.options["task"])
        if task != self._of_model.get("task"):
            self._of_model["task"], self._stage = task, None  # labels are read anew

    def adopt_values(self, values: RunValues | None) -> None:
        """Give images in the numbers that a model was trained on, from the next `setup` on."""
        if self._stage and values not in (self._model_values, self.run_values):
            self._stage = None  # images are read anew
        self._model_values = values

    @property
    def run_values(self) -> RunValues:
        """The numbers that the images of batches have, after `setup`."""
        return self.opened.run_values or RunValues()

    def channel_moments(self) -> list[list[float]]:
        """Mean and deviation (C,) of the images to train on, in 0..1."""
        return channel_moments(self._dataset("train"), self.run_values.numbers)

    @property
    def validates_on_test_file(self) -> bool:
        """Whether validation is the test file, so that no choice may rest on it."""
        return self.role_files.files["val"] is None and self.val_fraction is None

    @property
    def draws(self) -> str | None:
        """What is drawn instead of read, such as "drawn hands", or None."""
        return DRAWN[self.drawn] if self.drawn and not self.role_files.is_any else None

    def display_parts(self) -> list[str | DisplayTable]:
        return describe_data(self, self._datasets)

    def prepare_data(self) -> None:
        if self.draws:
            draw_files(self.options)

    def setup(self, stage: str) -> None:
        model: Any = getattr(self.trainer, "lightning_module", None)
        if hasattr(model, "task_rules"):
            self.adopt_values(model.run_values)
            self.adopt_task(model.task_rules.name)
        if stage == self._stage:
            return
        options = {**(draw_files(self.options) if self.draws else self.options), **self._of_model}
        self._files, self._datasets = RoleFiles(options, self._model_values), {}
        if stage == "fit":
            self.opened.open("train")
        if stage in ("fit", "validate"):
            self._datasets = open_validation(self.opened, self.val_fraction, self.seed)
        if stage in ("test", "predict"):
            self._datasets["test"] = H5Images(self.opened.open("test"))
        check_and_describe(self, stage, self._datasets)
        if stage == "fit":
            self.fingerprints = fingerprint_files(self._datasets, self.opened.sets)
        self._stage = stage

    def state_dict(self) -> dict[str, Any]:
        return remembered_options(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a checkpoint's seed, so that files are split as they were; print what changed."""
        if before := state_dict.get("fingerprints"):
            now = self.fingerprints or fingerprint_files(self._datasets, self.opened.sets)
            print_changes(before, now)
        if self.seed != state_dict["seed"]:
            self.seed = state_dict["seed"]
            if self._stage is not None and self.val_fraction is not None:
                self._datasets = open_validation(self.opened, self.val_fraction, self.seed)

    @property
    def training_labels(self) -> np.ndarray:
        """Labels of the images to train on: int64 (N,), or of a task float (N, K)."""
        return self._dataset("train").labels

    def _dataset(self, role: Role) -> H5Images:
        """Return a role's images, also where `setup` was last called for another stage."""
        if role not in self._datasets:
            self.setup({"train": "fit", "val": "validate", "test": "test"}[role])
        return self._datasets[role]

    def _loader(self, role: Role, shuffle: bool, exact: bool) -> DataLoader:
        return make_loader(self, role, self._dataset(role), shuffle, exact)

    def train_dataloader(self) -> DataLoader:
        """Return batches of the training images."""
        return self._loader("train", self.shuffle, exact=False)

    def val_dataloader(self) -> DataLoader | list:
        """Return batches of the validation images in file order, if there are any."""
        if self._stage not in ("fit", "validate"):
            self.setup("validate")
        return self._loader("val", shuffle=False, exact=True) if "val" in self._datasets else []

    def test_dataloader(self) -> DataLoader:
        """Return batches of the test images, in file order."""
        return self._loader("test", shuffle=False, exact=True)

    predict_dataloader = test_dataloader

    def images(self, role: Role, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a role's first images (n, H, W, C) and their labels."""
        indices = np.arange(min(count, len(dataset := self._dataset(role))))
        return dataset.read_sorted(indices), dataset.labels[indices]
