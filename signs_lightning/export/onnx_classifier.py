"""An exported ONNX file as a model that predicts, on onnxruntime."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.export.onnx_metadata import import_onnx, onnx_error, read_onnx_metadata
from signs_lightning.models.data_compatibility import check_data_compatibility
from signs_lightning.runtime.escaping import printable


class OnnxClassifier:
    """What `export --format onnx` wrote, as a model that predicts; on the CPU.

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
        contents, description = read_onnx_metadata(self.path)
        self.image_size, self.num_classes = description.image_size, description.num_classes
        self.binary, self.model_name = description.binary, description.model_name
        self._names, self._input = description.class_names, description.input_name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = (
            torch.get_num_threads()
        )  # as many as the checkpoint would take
        options.log_severity_level = 4  # what is wrong comes as an exception
        try:
            self._session = onnxruntime.InferenceSession(
                contents, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )  # a second attempt, which it would announce on the screen, is no use
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            raise onnx_error(
                self.path, f"holds what onnxruntime cannot run ({_reason(error)})"
            ) from error

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
        """Compares the model with data, and takes their class names where it has none.

        Raises:
            InputError: the model was made for other classes or another image size.
        """
        if class_names is None and num_classes < self.num_classes:
            num_classes = self.num_classes  # data without a class list need not show every class
        given = {
            "num_classes": self.num_classes,
            "class_names": self._names,
            "image_size": self.image_size,
        }
        check_data_compatibility(given, num_classes, image_size, class_names)
        self._names = list(class_names) if class_names else self._names

    def predict(self, images: Tensor | np.ndarray, batch_size: int = 256) -> Tensor:
        """Class probabilities, as the checkpoint gives them.

        Args:
            images: uint8 (N, H, W, C) in 0..255; of another height or width, they are `resize_images`.
            batch_size: images that go through the network at a time.

        Returns:
            float32 (N, K).

        Raises:
            InputError: the images are not such, or the network fails.
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
                probabilities[start : start + batch_size] = self._session.run(
                    None, {self._input: part}
                )[0]
            except Exception as error:  # as above
                raise onnx_error(self.path, f"fails while it runs ({_reason(error)})") from error
        return torch.from_numpy(probabilities)


def resize_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images at a model's size, as bytes: what an exported file takes.

    Args:
        images: uint8 (N, H, W, C) in 0..255.
        size: height and width that are wanted, pixels.

    Returns:
        uint8 (N, height, width, C), scaled as `ImageClassifier.preprocess` does and then rounded;
        the images themselves if they fit.
    """
    if images.shape[1:3] == size:
        return images
    values = (
        torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    )  # (N, H, W, C) -> (N, C, H, W)
    values = F.interpolate(values, size, mode="bilinear", antialias=True).clamp_(0, 255).round_()
    return values.byte().permute(0, 2, 3, 1).numpy()  # (N, C, H, W) -> (N, H, W, C)


def _reason(error: Exception) -> str:
    """What onnxruntime says, on one line and without its codes."""
    text = re.sub(
        r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", printable(" ".join(str(error).split()))
    ).rstrip(". ")
    return text if len(text) <= 200 else f"{text[:200]} …"
