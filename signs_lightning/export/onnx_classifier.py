"""An exported ONNX file as a model that predicts, on onnxruntime."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.export.onnx_checks import import_onnx, onnx_error, read_onnx_metadata
from signs_lightning.models.data_compatibility import check_data_compatibility
from signs_lightning.runtime.escaping import shorten


class OnnxClassifier:
    """A file of `export --format onnx` as a model that predicts, on the CPU.

    Args:
        path: the ONNX file.

    Attributes:
        class_names: names of the K classes; their numbers when the model had none.
        image_size: height, width (pixels) and channels of the images.
        num_classes: number of classes K.
        binary: whether the model had one logit and a sigmoid.
        model_name: class of the model that was exported.

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
        self._names, self._input = metadata.class_names, metadata.input_name
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
    ) -> None:
        """Compare the model with data, and take their class names where it has none.

        Raises:
            InputError: the model was made for other classes or another image size.
        """
        if class_names is None:  # data without a class list need not show every class
            num_classes = max(num_classes, self.num_classes)
        expected: dict[str, Any] = {"num_classes": self.num_classes, "class_names": self._names}
        expected["image_size"] = self.image_size
        check_data_compatibility(expected, num_classes, image_size, class_names)
        self._names = list(class_names) if class_names else self._names

    def predict(self, images: Tensor | np.ndarray, batch_size: int = 256) -> Tensor:
        """Return class probabilities, as the checkpoint gives them.

        Args:
            images: uint8 (N, H, W, C) in 0..255, resized by `resize_images` where they are of
                another height or width.
            batch_size: images that go through the network at a time.

        Returns:
            float32 (N, K).

        Raises:
            InputError: the images are of another type or shape, or the network fails.
        """
        pixels = images.cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != self.image_size[2]:
            raise InputError(
                f"The images are {pixels.dtype} ({', '.join(map(str, pixels.shape))}), "
                f"expected uint8 (N, height, width, {self.image_size[2]})."
            )
        probabilities = np.empty((len(pixels), self.num_classes), np.float32)
        for start in range(0, len(pixels), batch_size):
            part = resize_images(pixels[start : start + batch_size], self.image_size[:2])
            try:
                (outputs,) = self._session.run(None, {self._input: part})
                probabilities[start : start + batch_size] = outputs
            except Exception as error:  # as above
                raise onnx_error(self.path, f"fails while it runs ({_reason(error)})") from error
        return torch.from_numpy(probabilities)


def resize_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return images of a model's size, as bytes: what an exported file takes.

    Args:
        images: uint8 (N, H, W, C) in 0..255.
        size: height and width of the result, pixels.

    Returns:
        uint8 (N, height, width, C), resized as by `ImageClassifier.preprocess` and then rounded;
        the images themselves if they fit.
    """
    if images.shape[1:3] == size:
        return images
    values = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()  # (N, C, H, W)
    values = F.interpolate(values, size, mode="bilinear", antialias=True).clamp_(0, 255).round_()
    return values.byte().permute(0, 2, 3, 1).numpy()  # (N, C, H, W) -> (N, H, W, C)


def _reason(error: Exception) -> str:
    """Return onnxruntime's message on one line, without its codes."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return shorten(text.rstrip(". "), 200)
