"""A network for images, with the way from bytes to probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.models import stored_images
from signs_lightning.models.data_compatibility import (
    check_class_counts,
    check_data_compatibility,
    check_image_size,
)
from signs_lightning.models.full_float32 import full_float32
from signs_lightning.models.given_network import GivenNetwork
from signs_lightning.models.predict_inputs import read_inputs
from signs_lightning.models.ready_network import check_binary, check_logits, prepare_network
from signs_lightning.models.single_label import SingleLabel
from signs_lightning.models.tasks import TaskRules
from signs_lightning.models.tta import augmented_views, check_views
from signs_lightning.runtime.resize_options import (
    DEFAULT_FIT,
    DEFAULT_RESIZE,
    Fit,
    RememberedResize,
    Resize,
    check_resizing,
    choose_resizing,
    unknown_resize,
)
from signs_lightning.runtime.value_ranges import RunValues


class ImageModel(L.LightningModule):
    """A network with its preprocessing; `ImageClassifier` adds the training.

    A subclass makes the network in `build`. One without `build` makes its layers in `__init__`,
    after `super().__init__(**kwargs)`, and calls them in `forward`: it is its own network.

    What it was made for lies in `hparams`: num_classes, image_size, class_names, class_weights,
    resize, fit, value_range, value_type, test_time_augmentation, biased_variance and fuse, as
    `ImageClassifier` describes them.

    Shape:
        images float32 (N, C, H, W) in 0..1 → logits float32 (N, K); a binary model gives (N, 1)
    """

    network: nn.Module
    binary: bool = False  # one logit and a sigmoid instead of K and a softmax
    independent: bool = False  # K sigmoids: each class has a probability of its own
    image_input: str = "image"  # name of the images, where there are other inputs
    given_network: GivenNetwork | None = None  # instead of `build`
    _target_mean: Tensor  # float64 (D,), of regression, as the scale
    _target_scale: Tensor
    task_rules: TaskRules = SingleLabel()  # what is done with logits

    @property
    def other_inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of one value of each input beside the image, by its name, as Keras orders axes."""
        return {}

    def build(self) -> nn.Module:
        """Make the network for `self.num_classes` classes of `self.image_size` images."""
        if self.given_network is None:
            raise NotImplementedError
        return self.given_network.build(self.num_classes)

    @property
    def has_build(self) -> bool:
        """Whether `build` makes a network."""
        return type(self).build is not ImageModel.build or self.given_network is not None

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return self.hparams.get("num_classes") or (2 if self.binary else 6)

    @property
    def image_size(self) -> tuple[int, int, int]:
        """Height, width (pixels) and channels of the images that the network takes."""
        return tuple(self.hparams.get("image_size") or (64, 64, 3))

    @property
    def class_names(self) -> list[str]:
        """Names of the K classes; their numbers when none were given."""
        return self.hparams.get("class_names") or [str(k) for k in range(self.num_classes)]

    @property
    def known_class_names(self) -> list[str] | None:
        """Names of the K classes; None when none were given."""
        return self.hparams.get("class_names") or None

    @property
    def resizing(self) -> tuple[RememberedResize, Fit | None]:
        """How images of another size are resized, and what becomes of another aspect ratio."""
        if self.hparams.get("resize") in ("legacy", "unknown"):
            return self.hparams["resize"], None
        return self.hparams.get("resize") or DEFAULT_RESIZE, self.hparams.get("fit") or DEFAULT_FIT

    def _build(self) -> None:
        """Make all that depends on the number of classes and the size of the images."""
        check_resizing(self.hparams.get("resize"), self.hparams.get("fit"))
        check_views(self.hparams.get("test_time_augmentation"))
        check_image_size(self.hparams.get("image_size"))
        RunValues.remembered(self.hparams)  # which checks them
        check_binary(self)
        if self.binary or self.hparams.get("num_classes") is not None:  # else the data tell
            check_class_counts(self.hparams, self.num_classes)
        if not self.has_build:
            self.__dict__["network"] = self  # no submodule; `self.network = …` takes its place
            return
        self.network = self.build()
        self._prepare_network()

    def _prepare_network(self) -> None:
        options = self.hparams.get("fuse", True), self.hparams.get("biased_variance")
        prepare_network(self.network, self.image_size, *options)

    def _check_network(self) -> None:
        if self.network is self and type(self).forward is ImageModel.forward:
            raise InputError(
                f"{type(self).__name__} has no network. Name a model that has one, give it a "
                "network, or name a subclass with `build` or `forward`."
            )

    def adopt(
        self,
        num_classes: int,
        image_size: tuple[int, int, int],
        class_names: list[str] | None = None,
        is_exact: bool = False,
    ) -> None:
        """Take from the data what was not given, and build the network for it.

        Args:
            num_classes: number of classes K of the data.
            image_size: height, width (pixels) and channels of the data.
            class_names: the K names, where the data list them.
            is_exact: whether K is known without names, as of one-hot labels.

        Raises:
            InputError: the model was made (or its checkpoint was) for other classes or another
                image size, or has no network.
        """
        self._check_network()
        given, image_size = self.hparams, (image_size[0], image_size[1], image_size[2])
        if class_names is None and not (
            is_exact or self.task_rules.name is not None
        ):  # such data need not show every class
            num_classes = max(num_classes, given["num_classes"] or 0)
        check_data_compatibility(given, num_classes, image_size, class_names)
        before = dict(given)
        is_same_shape = (self.num_classes, self.image_size) == (num_classes, image_size)
        given.update(num_classes=num_classes, image_size=image_size)
        if class_names:
            given["class_names"] = list(class_names)
        try:
            check_class_counts(given, num_classes)
            if not is_same_shape and not self.has_build:
                raise InputError(
                    f"{type(self).__name__} makes its layers in __init__, before the data are "
                    f"known. Give it num_classes={num_classes} and image_size={image_size}, or "
                    "make them in `build`."
                )
            if not is_same_shape:
                self._build()
            if not type(self).__module__.startswith("signs_lightning.") or self.given_network:
                check_logits(self)
        except InputError:
            given.update(before)
            raise

    def adopt_resizing(
        self, resize: Resize | None, fit: Fit | None, is_needed: bool = False
    ) -> None:
        """Take from options how images are resized; what is not given stays as remembered.

        Args:
            resize: filter, see `resize_images`.
            fit: what becomes of another aspect ratio, see there.
            is_needed: whether there are images of another size.

        Raises:
            InputError: the model is from Keras, and nothing tells how images are resized.
        """
        before = self.hparams.get("resize"), self.hparams.get("fit")
        resize_now, fit_now = choose_resizing(before, resize, fit)
        self.hparams.update(resize=resize_now, fit=fit_now)
        if is_needed and resize_now == "unknown":
            height, width, _ = self.image_size
            raise unknown_resize(f"The images are to be resized to {height}×{width}")

    @property
    def run_values(self) -> RunValues | None:
        """The numbers that the model was trained on, if any."""
        return RunValues.remembered(self.hparams)

    def adopt_values(self, values: RunValues | None, train_data: Any = None) -> None:
        """Take from data their numbers, and of those to train on mean and deviation."""
        stored_images.adopt_from_data(self, values, train_data)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        result = super().load_state_dict(state_dict, strict, assign)
        # Weights fix the shape: data of another one no longer replace the network.
        self.hparams.update(num_classes=self.num_classes, image_size=self.image_size)
        return result

    def preprocess(self, images: Tensor) -> Tensor:
        """Turn the numbers of an image file into what the network takes.

        Args:
            images: (N, H, W, C) as files have them: uint8, or the numbers of the training files.

        Returns:
            float (N, C, H, W) of the model's size, 0 for black, 1 for white; resized bytes are
            rounded.

        Raises:
            InputError: they have other axes; nothing tells how they are resized; or they are bytes,
                and the model was trained on other numbers.
        """
        how = self.image_size, self.resizing, cast(torch.dtype, self.dtype)
        return stored_images.prepare_stored(images, self.run_values or RunValues(), *how)

    def batch_images(self, images: Tensor) -> Tensor:
        """Return what the network takes of the images of a batch, which are as files have them.

        Floats of a plain DataLoader are prepared already: (N, C, H, W) in 0..1.
        """
        if images.is_floating_point() and not stored_images.reads_files(self):
            return images.to(self.dtype)
        return self.preprocess(images)

    def forward(self, images: Tensor) -> Tensor:
        """float (N, C, H, W) in 0..1 → logits (N, K); a binary model gives (N, 1)."""
        self._check_network()
        return self.network(stored_images.standardize(images, self.hparams.get("scale")))

    def averaged_logits(self, images: Tensor, *others: Tensor) -> Tensor:
        """Return logits as of `forward`, or those of the views' mean probabilities.

        Args:
            images: float (N, C, H, W) in 0..1; with test-time augmentation each is seen in several
                views.
            others: float (N, …), the inputs beside the images.
        """
        kinds = self.hparams.get("test_time_augmentation")
        with full_float32(images.device):
            if not kinds:
                return self(images, *others)
            views = augmented_views(images, kinds)
            return self.task_rules.mean_logits(self, [self(view, *others) for view in views])

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (N, K), or (N, 1) of a binary model → float32 (N, K).

        They sum to 1, unless the model is `independent`; of a regression they are the values.
        """
        return self.task_rules.outputs(self, logits.float())

    @torch.inference_mode()
    def predict(self, images: Any, batch_size: int = 256, stored: bool = False) -> Any:
        """Return class probabilities, as `predict` of Keras does.

        Args:
            images: one image or N: an array or tensor of uint8 in 0..255, of any height and width,
                of floats in 0..1, or of the numbers that the model was trained on, with the
                channels last or first as only one reading makes sense; pictures of Pillow or their
                paths; or a list of these. For a model with inputs beside the image a dict of all by
                their names, the others as arrays (N, …) that Keras's `predict` would take.
            batch_size: images that go through the network at a time.
            stored: whether they are images (N, H, W, C) as an `H5DataModule` gives them.

        Returns:
            float32 (N, K), also of one image; K is 2 for a binary model. A tensor on the CPU where
            the images are tensors, else a NumPy array.

        Raises:
            InputError: images are of another shape, type or range, or an input is missing.
        """
        read, others = read_inputs(self, images, stored)
        training, found = self.training, []
        self.eval()
        try:
            for start in range(0, len(read), batch_size):
                part = slice(start, start + batch_size)
                vectors = [torch.tensor(v[part]).to(self.device).to(self.dtype) for v in others]
                logits = self.averaged_logits(read.batch(part), *vectors)
                found.append(self.probabilities(logits).cpu())
        finally:
            self.train(training)
        probabilities = torch.cat(found or [torch.empty(0, self.num_classes)])
        return probabilities if read.answers_tensor else probabilities.numpy()
