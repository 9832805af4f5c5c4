"""Any Keras image classifier, rebuilt from the config in its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal, cast

from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io.architecture_file import config_json, replace_architecture
from signs_lightning.keras_io.compile_config import (
    CompiledTraining,
    compile_config_json,
    parse_compile_config,
)
from signs_lightning.keras_io.graph_ends import describe_ends
from signs_lightning.keras_io.image_size import describe_row
from signs_lightning.keras_io.input_scale_inference import (
    file_weights,
    find_scale,
    resolve_scale,
    scale_conflict_message,
)
from signs_lightning.keras_io.input_scales import SCALES, Scale, check_channels, rescale_inputs
from signs_lightning.keras_io.keras_archive import parse_config
from signs_lightning.keras_io.keras_file import open_keras_file
from signs_lightning.keras_io.model_ending import check_loss, describe_output
from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.keras_io.network_plan import make_plan
from signs_lightning.keras_io.old_kernels import describe_kernels
from signs_lightning.keras_io.omissions import find_omissions
from signs_lightning.keras_io.weight_mapping import Matches, match_weights
from signs_lightning.models.classifier import Batch, ImageClassifier
from signs_lightning.models.data_compatibility import check_class_counts
from signs_lightning.models.metrics import EvaluationMetrics, counted_images
from signs_lightning.models.other_inputs import check_images_suffice
from signs_lightning.models.stored_images import standardize, standardizes
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.rank_zero_print import rank_zero_print

FILE_ARGUMENTS = ("path", "architecture", "output_layer")  # of FromKeras, about its file


class FromKeras(ImageClassifier):
    """Any Keras image classifier, from its file.

    Its network has Keras's layer names. It trains as in Keras: a layer that was frozen there stays
    frozen, regularizers of weights and of outputs and label smoothing count in the loss, in
    training and in validation, weights are constrained after each step, and random layers act on
    the training images. It trains as the file was compiled: with its optimizer, learning-rate
    schedule, cross-entropy and label smoothing, unless `optimizer`, `lr`, `lr_scheduler`,
    `schedule`, `loss` or `label_smoothing` say otherwise.

    Args:
        path: a Keras file with a config: `.keras`, or `.h5` of a whole model; one of weights only
            where `architecture` is given.
        scale: what the model was trained on: "/255" is images in 0..1, "raw" in 0..255; "tf",
            "caffe" and "torch" are the modes of `keras.applications.*.preprocess_input`. None takes
            it from the model's first layers, and prints it. "standardize" is as of ImageClassifier.
        trainable_layers: train only the last n layers that have weights; the others are frozen,
            their BatchNorm in inference mode.
        config: the model as JSON, as `to_json` of Keras gives it; a checkpoint keeps it instead of
            the file.
        num_classes: number of classes K; the file's.
        image_size: height, width and channels; needed only where the file's model takes images of
            any size.
        architecture: a JSON file of Keras's `model.to_json()`, to which the weights in `path`
            belong.
        output_layer: the layer that gives the classes, for a model that has several outputs.
        as_compiled: False trains with Adam and plain cross-entropy instead.
        label_smoothing: as of ImageClassifier; the file's when omitted.
        compile_config: optimizer and loss as JSON, as the file has them; a checkpoint keeps it
            instead of the file.
        kwargs: those of ImageClassifier.

    Shape:
        images float32 (N, C, H, W) in 0..1, and any other inputs (N, …) → logits float32 (N, K); a
        model that ended in a sigmoid gives (N, 1)

    Raises:
        InputError: the file cannot be used, is of other classes or another image size than asked
            for, or does not tell the scale.

    Examples:
        >>> from signs_lightning import FromKeras, SignsFunctional, export_keras
        >>> export_keras(SignsFunctional(), "signs.keras")
        >>> model = FromKeras(path="signs.keras", scale="/255", trainable_layers=1)
        >>> model.num_classes, model.image_size
        (6, (64, 64, 3))
    """

    network: KerasNetwork

    def __init__(
        self,
        path: str | None = None,
        scale: Scale | Literal["standardize"] | list[list[float]] | None = None,
        trainable_layers: int | None = None,
        config: str | None = None,
        num_classes: int | None = None,
        image_size: tuple[int, int, int] | None = None,
        architecture: str | None = None,
        output_layer: str | None = None,
        as_compiled: bool = True,
        label_smoothing: float | None = None,
        compile_config: str | None = None,
        **kwargs: Any,
    ) -> None:
        is_own, named = standardizes(scale), cast(Any, scale)
        if not is_own and scale not in (None, *SCALES):
            raise InputError(f"scale is '{scale}', expected one of {', '.join(SCALES)}.")
        if path is None and config is None:
            raise InputError("FromKeras needs a Keras file. Name it: --model.path FILE.")
        self.trainable_layers = trainable_layers
        with nullcontext() if path is None else open_keras_file(path) as file:
            if file is not None and architecture is not None:
                file = replace_architecture(file, architecture)
            config = config if file is None else config_json(file)
            parsed = parse_config(config or "", "the checkpoint")
            self.plan = make_plan(parsed, image_size=image_size, output_layer=output_layer)
            config = json.dumps(self.plan.config) if self.plan.config is not parsed else config
            if image_size is None and (line := describe_row(self.plan.graph, self.image_size)):
                rank_zero_print(line)
            weights: Matches = []
            if file is not None:  # of several outputs, the loss of the chosen one counts
                outputs, output = self.plan.outputs
                file = replace(file, outputs=outputs, output=output)
            compiled = parse_compile_config(compile_config) if file is None else file.compiled()[0]
            given = {"label_smoothing": label_smoothing, **kwargs}
            version = parsed.get("keras_version")
            self.compiled = CompiledTraining(compiled, self.plan, version, given, as_compiled)
            self.binary, self.independent = self.compiled.binary, self.compiled.independent
            kwargs["task"] = task = self.compiled.task
            if task == "regression" and kwargs.get("target_mean") is None:  # as in Keras
                kwargs["target_mean"] = [0.0] * self.num_classes
                kwargs["target_scale"] = [1.0] * self.num_classes
            self.omissions = []
            self.image_input = self.plan.graph.image
            if file is not None:
                if task != "regression":
                    check_loss(self.plan.ending, self.binary, self.compiled.losses)
                weights = match_weights(self.plan, file)  # checks shapes before memory is taken
                self.omissions = find_omissions(file, self.plan, self.compiled.omissions)
            if num_classes not in (None, self.num_classes):
                raise InputError(
                    f"The model in the file has {self.num_classes} classes, num_classes is "
                    f"{num_classes}."
                )
            message = None
            if not is_own and (file is not None or scale is None):
                evidence = find_scale(self.plan, file_weights(weights))
                named, message = resolve_scale(evidence, named)
                scale = named
            if not is_own:
                check_channels(named, self.image_size[2])
            self._scale_checked = file is not None or is_own
            kwargs["label_smoothing"] = self.compiled.label_smoothing
            super().__init__(num_classes=num_classes, image_size=image_size, **kwargs)
            self.optimizer = self.compiled.make_optimizer or self.optimizer
            self.lr_scheduler = self.compiled.make_schedule or self.lr_scheduler
            for layer, weight, stored in weights:
                self.network.load_keras(layer.path, weight, stored.read())
        for name in FILE_ARGUMENTS:  # a checkpoint keeps the model, not the files' paths
            self.hparams.pop(name, None)
        self.hparams.update(
            config=config, scale=scale, num_classes=self.num_classes, image_size=self.image_size,
            label_smoothing=label_smoothing, compile_config=compile_config_json(compiled),
        )  # fmt: skip
        if file is not None and self.hparams.get("resize") is None:
            self.hparams["resize"] = "unknown"
        check_class_counts(self.hparams, self.num_classes)
        lines = [describe_kernels(weights, file)]
        if file is not None:
            ending = self.plan.ending, self.binary, self.independent, task
            lines.append(describe_output(*ending))
            lines += describe_ends(self.plan.graph, (self.plan.whole or self.plan).graph)
        for line in filter(None, (message, *lines)):
            rank_zero_print(printable(line))

    @property
    def num_classes(self) -> int:
        is_single = self.plan.binary and self.compiled.task is not None
        return 1 if is_single else self.plan.num_classes

    @property
    def image_size(self) -> tuple[int, int, int]:
        return self.plan.image_size

    def build(self) -> KerasNetwork:
        network = KerasNetwork(self.plan)
        if self.trainable_layers is not None:
            network.train_last(self.trainable_layers)
        return network

    @property
    def other_inputs(self) -> dict[str, tuple[int, ...]]:
        return {given.name: given.shape for given in self.plan.graph.other_inputs}

    def forward(self, images: Tensor, *others: Tensor) -> Tensor:
        if len(others) != len(self.other_inputs):
            check_images_suffice(self, "the caller")
        scale = self.hparams["scale"]
        is_own = standardizes(scale)
        images = standardize(images, scale) if is_own else rescale_inputs(images, scale)
        return self.network(images, others=others)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        result = super().load_state_dict(state_dict, strict, assign)
        # The checkpoint's scale stays, but earlier versions took "/255" for every file.
        if not self._scale_checked:
            self._scale_checked = True
            evidence = find_scale(self.plan, self.network.layer_arrays)
            message = scale_conflict_message(
                evidence, self.hparams["scale"], "as the checkpoint has it"
            )
            if message is not None:
                rank_zero_print(printable(message))
        return result

    def prepare(self, resumed: bool = False) -> None:
        super().prepare(resumed)
        self.network.penalties.check(self.network.frozen)

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.network.penalties.check(self.network.frozen)
        super().setup(stage)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        with self.network.count_activities():
            return super().training_step(batch, batch_idx)

    def _evaluation_step(self, batch: Batch, batch_idx: int, metrics: EvaluationMetrics) -> None:
        # Images that only pad a process's share have no label.
        counted = counted_images(batch[1]) if self.trainer.world_size > 1 else None
        with self.network.count_activities(counted):
            super()._evaluation_step(batch, batch_idx, metrics)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.network.apply_constraints()

    def configure_optimizers(self) -> Any:
        configured = super().configure_optimizers()
        if self.compiled.make_schedule is not None:  # Keras's count steps
            configured["lr_scheduler"]["interval"] = "step"
        return configured

    def on_fit_start(self) -> None:
        check_images_suffice(self, "fit")
        super().on_fit_start()
        self.compiled.print_used("training", self.hparams["lr"])
        self.print_omissions()

    def print_omissions(self) -> None:
        """Print in one line what of the file is not used; nothing for a checkpoint."""
        if self.omissions:
            rank_zero_print(printable(f"not taken over: {'; '.join(self.omissions)}."))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        config = checkpoint.get("config", {})
        if "model" in config:  # the command line, less the files' paths
            arguments = dict(config["model"].get("init_args") or {})
            for name in FILE_ARGUMENTS:
                arguments.pop(name, None)
            checkpoint["config"] = config | {"model": config["model"] | {"init_args": arguments}}

    def compute_loss(self, logits: Tensor, labels: Tensor, training: bool = False) -> Tensor:
        """Return the file's loss, or the given one, plus the penalties of the regularizers.

        Those of outputs count in the steps of a Trainer, and in `network.count_activities()`.
        """
        if self.loss is not None:
            loss = super().compute_loss(logits, labels, training)
        else:
            weights = self._class_weights if training else None
            loss = self.compiled.cross_entropy(logits, labels, weights)
        return loss + self.network.regularization_loss()
