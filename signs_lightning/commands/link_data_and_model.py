"""What data and model of a run take from each other, and whether they fit together."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule

from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.data.file_roles import no_file_error
from signs_lightning.data.layouts import Role
from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.other_inputs import check_images_suffice
from signs_lightning.runtime.rank_zero_print import rank_zero_print
from signs_lightning.runtime.resize_options import describe_resizing

DRAWN_CLASSES, DRAWN_SIZE = (6, 2), (64, 64, 3)  # of DrawnSigns and DrawnSmiles
ROLES: dict[str, Role] = {"fit": "train", "validate": "val", "test": "test"}


def link_data_and_model(
    model: LightningModule, data: H5DataModule, verb: str, has_weights: bool, arguments: Any
) -> None:
    """Open the data, and give the model what it takes from them.

    Args:
        model: an `ImageClassifier` is made for the data's classes and image size; another module is
            left as it is.
        data: not opened yet.
        verb: fit, validate or test.
        has_weights: whether these come from a checkpoint.
        arguments: the model's in the configuration, which get the scale that a Keras file has.

    Raises:
        InputError: the data cannot be used, or do not fit the model.
    """
    if isinstance(model, ImageClassifier):
        check_images_suffice(model, verb)
        model.adopt_resizing(data.resize, data.fit)
        data.adopt_task(model.task_rules.name)
        data.adopt_resizing(*model.resizing)
        data.adopt_values(model.run_values)
        if not (data.role_files.is_any or data.draws or _takes_drawn(model)):
            raise no_file_error(ROLES[verb], has_others=True)
    data.prepare_data()
    data.setup(verb)
    if not isinstance(model, ImageClassifier):
        return
    model.adopt(data.num_classes, data.image_shape, data.class_names, data.opened.is_exact)
    model.adopt_resizing(data.resize, data.fit, data.resizes)
    model.adopt_values(data.run_values, data if verb == "fit" else None)
    if data.resizes:
        rank_zero_print(describe_resizing(data.image_shape, *model.resizing))
    is_package_model = type(model).__module__.startswith("signs_lightning.models.")
    if verb == "fit":
        model.prepare(resumed=has_weights)
    elif is_package_model and not has_weights:
        raise InputError(
            f"There is no trained model to {verb}. Name its checkpoint or run folder with "
            "--ckpt_path."
        )
    if "scale" in arguments and "scale" in model.hparams:  # as read from a Keras file
        arguments.scale = model.hparams["scale"]


def _takes_drawn(model: ImageClassifier) -> bool:
    """Return whether a model may be one of drawn pictures: as far as its classes and size tell."""
    classes, size = model.hparams.get("num_classes"), model.hparams.get("image_size")
    return classes in (None, *DRAWN_CLASSES) and (size is None or tuple(size) == DRAWN_SIZE)
