"""An exported ONNX file as a model that predicts, on onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.export.onnx_checks import import_onnx, onnx_error, read_onnx_metadata
from signs_lightning.models.data_compatibility import check_data_compatibility
from signs_lightning.models.other_inputs import split_inputs
from signs_lightning.models.tasks import find_task
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.resize import resize_images, resize_legacy
from signs_lightning.runtime.resize_options import (
    Fit,
    RememberedResize,
    Resize,
    choose_resizing,
    unknown_resize,
)
from signs_lightning.runtime.value_ranges import RunValues


class OnnxClassifier:
    """A file of `export --format onnx` as a model that predicts, on the CPU.

    Args:
        path: the ONNX file.

    Attributes:
        class_names: names of the K classes; their numbers when the model had none.
        image_size: height, width (pixels) and channels of the images.
        num_classes: number of classes K.
        binary: whether the model had one logit and a sigmoid.
        independent: whether each class has a probability of its own.
        task_rules: what is done with outputs, of which the name is that of the task.
        hparams: thresholds, or target_mean and target_scale, of a task.
        model_name: class of the model that was exported.
        resizing: how images of another size are resized, and what becomes of another aspect ratio.
        run_values: the numbers that the file takes; "legacy" of bytes, to which floats are rounded.
        image_input: name of the images.
        other_inputs: shape of one value of each input beside them, by its name.

    Raises:
        InputError: the extra `onnx` is not installed, or the file is missing, damaged, malicious or
            of another kind.
    """

    def __init__(self, path: str | Path) -> None:
        (onnxruntime,) = import_onnx("onnxruntime")
        self.path = Path(path)
        contents, metadata = read_onnx_metadata(self.path)
        self.image_size, self.num_classes = metadata.image_size, metadata.num_classes
        self.binary, self.model_name = metadata.binary, metadata.model_name
        self.independent = metadata.independent
        self.task_rules, self.hparams = find_task(metadata.task), dict(metadata.of_task)
        self._names, self.image_input = metadata.class_names, metadata.input_name
        self.other_inputs = metadata.other_inputs
        self.resizing: tuple[RememberedResize, Fit | None] = metadata.resizing
        self.run_values = metadata.run_values
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # as many as a checkpoint takes
        options.log_severity_level = 4  # errors are raised, too
        # A second attempt would be announced on the screen, and fail, too.
        settings: Any = {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}
        try:
            self._session = onnxruntime.InferenceSession(contents, options, **settings)
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise onnx_error(
                self.path, f"holds what onnxruntime cannot run ({_reason(error)})"
            ) from error

    @property
    def known_class_names(self) -> list[str] | None:
        """Names of the K classes; None when the model had none."""
        return self._names or None

    @property
    def class_names(self) -> list[str]:
        """Names of the K classes; their numbers when the model had none."""
        return self._names or [str(k) for k in range(self.num_classes)]

    def adopt(
        self,
        num_classes: int,
        image_size: tuple[int, int, int],
        class_names: list[str] | None = None,
        is_exact: bool = False,
    ) -> None:
        """Compare the model with data, and take their class names where it has none.

        Raises:
            InputError: the model was made for other classes or another image size.
        """
        if class_names is None and not (
            is_exact or self.task_rules.name
        ):  # such data need not show every class
            num_classes = max(num_classes, self.num_classes)
        expected: dict[str, Any] = {"num_classes": self.num_classes, "class_names": self._names}
        expected["image_size"] = self.image_size
        check_data_compatibility(expected, num_classes, image_size, class_names)
        self._names = list(class_names) if class_names else self._names

    def adopt_resizing(
        self, resize: Resize | None, fit: Fit | None, is_needed: bool = False
    ) -> None:
        """Take from options how images are resized, as a checkpoint's model does.

        Raises:
            InputError: the model is from Keras, and nothing tells how images are resized.
        """
        now, fit_now = choose_resizing(self.resizing, resize, fit)
        if now is not None:
            self.resizing = now, fit_now
        if is_needed and now == "unknown":
            height, width, _ = self.image_size
            raise unknown_resize(f"The images are to be resized to {height}×{width}")

    def adopt_values(self, values: RunValues | None) -> None:
        """Take nothing from data: the file tells which numbers it takes."""

    def predict(
        self,
        images: Tensor | np.ndarray | Mapping[str, Any],
        batch_size: int = 256,
        stored: bool = True,
    ) -> Tensor:
        """Return class probabilities, as the checkpoint gives them.

        Args:
            images: uint8 (N, H, W, C) in 0..255, resized where they are of another height or
                width, or the numbers that the model was trained on, of its size; for a network with
                other inputs a dict of all by their names.
            batch_size: images that go through the network at a time.
            stored: as of a checkpoint's model; there is no other way.

        Returns:
            float32 (N, K).

        Raises:
            InputError: the inputs are of another type or shape, or the network fails.
        """
        images, others = split_inputs(self, images)
        pixels = images.cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
        dtype = self.run_values.dtype
        if pixels.dtype != dtype or pixels.ndim != 4 or pixels.shape[3] != self.image_size[2]:
            raise InputError(
                f"The images are {pixels.dtype} ({', '.join(map(str, pixels.shape))}), "
                f"expected {dtype} (N, height, width, {self.image_size[2]})."
            )
        if dtype != "uint8" and pixels.shape[1:3] != self.image_size[:2]:
            height, width = pixels.shape[1:3]
            raise InputError(
                f"The images have {height}×{width} pixels, and {self.path} takes {dtype} of "
                f"{self.image_size[0]}×{self.image_size[1]}, which are not resized here. Predict "
                "with the checkpoint."
            )
        probabilities = np.empty((len(pixels), self.num_classes), np.float32)
        for start in range(0, len(pixels), batch_size):
            part = resize_batch(
                pixels[start : start + batch_size], self.image_size[:2], *self.resizing
            )
            try:
                rest = [values[start : start + batch_size].astype(np.float32) for values in others]
                values = dict(zip(self.other_inputs, rest, strict=True))
                (outputs,) = self._session.run(None, {self.image_input: part} | values)
                probabilities[start : start + batch_size] = outputs
            except Exception as error:  # as above
                raise onnx_error(self.path, f"fails while it runs ({_reason(error)})") from error
        return torch.from_numpy(probabilities)


def resize_batch(
    images: np.ndarray, size: tuple[int, int], resize: RememberedResize, fit: Fit | None
) -> np.ndarray:
    """Return images of a model's size, as bytes: what an exported file takes.

    Args:
        images: uint8 (N, H, W, C) in 0..255.
        size: height and width of the result, pixels.
        resize: what the model remembers.
        fit: what it remembers of another aspect ratio.

    Returns:
        uint8 (N, height, width, C), resized as by `ImageClassifier.preprocess`; the images
        themselves if they fit.

    Raises:
        InputError: nothing tells how they are resized.
    """
    if images.shape[1:3] == size:
        return images
    values = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)  # (N, C, H, W)
    if resize == "legacy":
        values = resize_legacy(values.float(), size).byte()
    elif resize == "unknown" or fit is None:
        found, expected = (f"{h}×{w}" for h, w in (images.shape[1:3], size))
        raise unknown_resize(f"The images have {found} pixels, the model takes {expected}")
    else:
        values = resize_images(values, size, resize, fit)
    return values.permute(0, 2, 3, 1).numpy()  # (N, C, H, W) -> (N, H, W, C)


def _reason(error: Exception) -> str:
    """Return onnxruntime's message on one line, without its codes."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return shorten(text.rstrip(". "), 200)
