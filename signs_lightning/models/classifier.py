"""The LightningModule that every model here is: steps, loss, metrics, optimizer, and what a checkpoint remembers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.utilities.distributed import gather_all_tensors

from signs_lightning.models.compatibility import (
    apply_learning_rate,
    apply_optimizer_settings,
    apply_scheduler_settings,
    check_arguments,
    check_class_counts,
    check_finite_loss,
    check_resume_compatibility,
    optimizer_settings,
    scheduler_settings,
)
from signs_lightning.models.image_model import ImageModel
from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.losses import cross_entropy, custom_loss
from signs_lightning.models.lr_finder import (
    is_finder_checkpoint,
    remove_finders,
    remove_trainer_finders,
)
from signs_lightning.models.lr_schedules import (
    Schedule,
    make_annealing,
    make_schedule,
    rising_rate_message,
)
from signs_lightning.models.metrics import TOTALS, EpochTotals, Evaluation
from signs_lightning.models.plateau import check_monitored_metric, monitored_metric, step_plateau
from signs_lightning.models.tta import View
from signs_lightning.runtime.format_version import FORMAT_VERSION, migrate_checkpoint
from signs_lightning.runtime.provenance import append_made_with

Batch = tuple[Tensor, Tensor]
OptimizerCallable = Callable[[Iterable], Optimizer]
LRSchedulerCallable = Callable[[Optimizer], LRScheduler]


class ImageClassifier(ImageModel):
    """An image classifier: a subclass only builds the network.

    What is not given comes from the data as soon as a Trainer joins the two; until then it is six
    classes (two for a binary model) of 64×64 RGB images.

    Args:
        num_classes: number of classes K.
        image_size: height, width (pixels) and channels of the images.
        class_names: names of the K classes, in label order.
        lr: learning rate per step, the peak of a schedule; the optimizer's own default when
            omitted, which is Keras's 1e-3 for Adam.
        optimizer: makes the optimizer from the parameters; Adam with Keras's defaults when omitted.
        lr_scheduler: makes a learning-rate scheduler from the optimizer; torch's ReduceLROnPlateau
            watches the validation loss, or the training loss where nothing is validated, and
            Lightning's the column of the history that is its `monitor`.
        lr_interval: whether the scheduler steps after every "epoch" or every "step".
        schedule: a learning rate that falls until the run ends: "one_cycle" and "cosine" rise to
            `lr` first and change it step by step, "cosine_annealing" begins there and changes it
            epoch by epoch.
        warmup: share of the steps on which a schedule rises; 0.3 for one_cycle and 0.05 for cosine
            when omitted, none for cosine_annealing.
        loss: another loss on logits, called with logits (N, K) and int64 labels (N,); a binary
            model calls it with logits (N,) and float labels (N,).
        class_weights: K factors on each class's share of the loss, as Keras's `class_weight`.
        label_smoothing: share of each label that is spread over all classes while training, as
            Keras's `label_smoothing`; the loss of validation and test stays the plain one.
        augmentation: transforms of torchvision.transforms.v2 for the training images, each image
            with parameters of its own.
        test_time_augmentation: what validation, test and predictions see besides the image itself,
            probabilities averaged: "hflip" and "vflip" mirror it, "shifts" moves it by a sixteenth
            in four directions.
        metrics: further torchmetrics for validation and test; they see probabilities (N, K), a
            binary model's see (N,).
        compile: run the network through torch.compile in training; on a GPU with CUDA graphs, which
            is where small networks gain.
        biased_variance: feed BatchNorm's moving variance with the biased batch variance, as Keras 3
            does, at the price of a copy a step; tf.keras 2 and PyTorch take the unbiased one.
        fuse: pool before ReLU, and train a first convolution and its max pooling as one step,
            see `FusedConvPool`; the same numbers up to the order of summation, in less time.

    Shape:
        images float32 (N, C, H, W) in 0..1 → logits float32 (N, K); a binary model gives (N, 1)

    Attributes:
        history: one row an epoch with Keras's names: epoch, loss, accuracy, val_loss, val_accuracy.
        evaluation: what the latest `test` found, or None.
        learning_rate: that of the latest epoch when it began.
    """

    _class_weights: Tensor | None

    def __init__(
        self,
        num_classes: int | None = None,
        image_size: tuple[int, int, int] | None = None,
        class_names: list[str] | None = None,
        lr: float | None = None,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        schedule: Schedule | None = None,
        warmup: float | None = None,
        loss: nn.Module | None = None,
        class_weights: list[float] | None = None,
        label_smoothing: float = 0.0,
        augmentation: list[nn.Module] | None = None,
        test_time_augmentation: list[View] | None = None,
        metrics: list[Metric] | None = None,
        compile: bool = False,
        biased_variance: bool = False,
        fuse: bool = True,
    ) -> None:
        super().__init__()
        # Objects stay out: what a checkpoint remembers is primitive, so that it loads without
        # running code.
        self.save_hyperparameters(
            ignore=["optimizer", "lr_scheduler", "loss", "metrics", "augmentation"]
        )
        check_arguments(loss, class_weights, label_smoothing, schedule, lr_scheduler, warmup)
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.loss = loss
        self.metrics = list(metrics or [])
        self.augmentation = list(augmentation or [])
        self.history: list[dict[str, float | int]] = []
        self.evaluation: Evaluation | None = None
        self.validated_images = 0  # that the last figures of validation are of
        self.learning_rate = float("nan")
        self._schedule_steps: float | None = None
        self._scheduler: dict[str, Any] = {"lr_scheduler": None, "scheduler_settings": {}}
        self._made_with: list[dict[str, Any]] = []
        self._made_with_before: Any = None  # what a checkpoint remembers of it
        self._resumed: dict[str, Any] = {}  # the checkpoint of the run that goes on, until it does
        self._augment: Callable[[Tensor, Tensor], Batch] | None = None
        self._validation: dict[str, float] = {}
        self._build()

    def _build(self) -> None:
        super()._build()
        weights = self.hparams.get("class_weights")
        self.register_buffer(
            "_class_weights",
            None if weights is None else torch.tensor(weights, dtype=torch.float),
            persistent=False,
        )
        self.train_totals, self.val_totals, self.test_totals = (
            EpochTotals(),
            EpochTotals(),
            EpochTotals(),
        )
        self.confusion = MulticlassConfusionMatrix(self.num_classes, validate_args=False)
        self.val_metrics = MetricCollection(self.metrics).clone(prefix="val_")
        self.test_metrics = MetricCollection(self.metrics).clone(prefix="test_")

    def prepare(self, resumed: bool = False) -> None:
        """Fetches what a training run needs besides data, before anything is written; nothing, unless a subclass does.

        Args:
            resumed: whether the weights come from a checkpoint.
        """

    def setup(self, stage: str) -> None:
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "image_shape"):
            network = self.network
            self.adopt(data.num_classes, data.image_shape, data.class_names)
            if self.network is not network:
                # Callbacks are set up before their module: these have copied the network that is
                # gone.
                trainer: Any = self.trainer
                for callback in trainer.callbacks:
                    if isinstance(callback, WeightAveraging):
                        callback.setup(self.trainer, self, stage)
        else:  # plain DataLoaders tell nothing
            check_class_counts(self.hparams, self.num_classes)
        if self.augmentation and stage == "fit":
            from signs_lightning.models.augmentation import (
                Augmentation,
            )  # torchvision takes its time to import

            self._augment = Augmentation(self.augmentation, self.num_classes)
        if self.hparams.get("compile") and stage == "fit":
            # In place, so that the keys of the state_dict stay; the smaller last batch becomes a
            # second program of fixed sizes.
            on_gpu = self.trainer.strategy.root_device.type == "cuda"
            self.network.compile(mode="reduce-overhead" if on_gpu else None, dynamic=False)

    def compute_loss(self, logits: Tensor, labels: Tensor, training: bool = False) -> Tensor:
        """Mean loss () of a batch: cross-entropy of logits (N, K), sigmoid cross-entropy of (N, 1), or the given loss.

        Labels are int64 (N,) or probabilities float (N, K). Class weights and label smoothing count
        while training only, as Keras's `class_weight` does.
        """
        if self.loss is not None:
            return custom_loss(self.loss, logits, labels, self.binary)
        weights, smoothing = (
            (self._class_weights, self.hparams.get("label_smoothing", 0.0))
            if training
            else (None, 0.0)
        )
        return cross_entropy(logits, labels, self.binary, weights, smoothing)

    def predicted_classes(self, logits: Tensor) -> Tensor:
        """logits → int64 (N,): the most probable class; class 1 of a binary model needs more than one half."""
        return (logits.squeeze(1) > 0).long() if self.binary else logits.argmax(dim=1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = self.preprocess(batch[0]), batch[1]
        images, targets = (
            (images, labels) if self._augment is None else self._augment(images, labels)
        )
        logits = self(images)
        loss = self.compute_loss(logits, targets, training=True)
        self.train_totals.update(
            loss.detach(), self.predicted_classes(logits.detach()), labels, self.global_step
        )
        return loss

    def _may_hold_fillers(self, images: int, batch_idx: int) -> bool:
        """Shares are filled up to equal length with images labelled -1, which nobody counts. They come last, so that only the last
        batches need to be looked at: looking makes a GPU wait."""
        trainer = self.trainer
        batches = sum(
            (trainer.num_test_batches if trainer.testing else trainer.num_val_batches)[:1]
        )
        return trainer.world_size > 1 and (batches - batch_idx - 2) * images < trainer.world_size

    def _evaluation_step(
        self, batch: Batch, batch_idx: int, totals: EpochTotals, metrics: MetricCollection
    ) -> tuple[Tensor, Tensor]:
        images, labels = batch
        logits = self.averaged_logits(self.preprocess(images))
        if self._may_hold_fillers(len(labels), batch_idx):
            logits, labels = logits[labels >= 0], labels[labels >= 0]
        predicted = self.predicted_classes(logits)
        totals.update(self.compute_loss(logits, labels), predicted, labels)
        if len(metrics):
            probabilities = self.probabilities(logits)
            metrics.update(probabilities[:, 1] if self.binary else probabilities, labels)
        return predicted, labels

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluation_step(batch, batch_idx, self.val_totals, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        predicted, labels = self._evaluation_step(
            batch, batch_idx, self.test_totals, self.test_metrics
        )
        self.confusion.update(predicted, labels)

    def predict_step(self, batch: Batch | Tensor, batch_idx: int) -> Tensor:
        """A batch → float32 probabilities (N, K)."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        return self.probabilities(self.averaged_logits(self.preprocess(images)))

    def on_fit_start(self) -> None:
        trainer: Any = self.trainer
        if (
            remove_finders(trainer.callbacks) != trainer.callbacks
        ):  # a schedule was made before they changed rate or batch size
            trainer.strategy.setup_optimizers(trainer)
        # Now, before the states of optimizer and schedule are loaded, which only their own kind can
        # take.
        checkpoint, self._resumed = self._resumed, {}
        before, now = checkpoint.get("signs_lightning", {}).get("training"), self._training()
        if before:
            check_resume_compatibility(before, now)
            apply_optimizer_settings(before.get("settings", {}), now["settings"], checkpoint)
            apply_scheduler_settings(
                before.get("scheduler_settings", {}), now["scheduler_settings"], checkpoint
            )

    def on_train_start(self) -> None:
        names = ["loss", "accuracy"]
        names += (
            []
            if self._never_validates()
            else ["val_loss", "val_accuracy", *map(str, self.val_metrics)]
        )
        for scheduler in self._plateau_schedulers():
            check_monitored_metric(scheduler, names)
        for config in self.trainer.lr_scheduler_configs:
            sentence = (
                rising_rate_message(config.scheduler, self.trainer.max_epochs)
                if config.interval == "epoch"
                else None
            )
            if sentence is not None and self.trainer.is_global_zero:
                print(sentence, flush=True)

    def on_train_epoch_start(self) -> None:
        self.learning_rate = self.trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # A step's random numbers depend on seed, epoch, step and process alone, so that a run that
        # is resumed draws the same ones as one that was never interrupted.
        if seed := os.environ.get("PL_GLOBAL_SEED"):
            place = 0
            for number in (int(seed), self.current_epoch, batch_idx, self.global_rank):
                place = place * 1_000_003 + number
            # a hundredth of the time of torch.manual_seed, which asks every kind of device
            torch.default_generator.manual_seed(place % 2**63)
            if self.device.type == "cuda":
                torch.cuda.manual_seed(place % 2**63)

    def on_train_epoch_end(self) -> None:
        totals = self.train_totals.compute()
        self.train_totals.reset()
        check_finite_loss(totals, self.trainer)
        values = {"loss": totals["loss"].item(), "accuracy": totals["accuracy"].item()}
        self.log_dict(values, prog_bar=True)
        self.log("learning_rate", self.learning_rate)
        self.history.append({"epoch": self.current_epoch, **values, **self._validation})
        figures, validates, self._validation = (
            values | self._validation,
            not self._never_validates(),
            {},
        )
        # Before the checkpoint of this epoch, which Lightning would step them after.
        for scheduler in self._plateau_schedulers():
            step_plateau(scheduler, figures, validates)

    def _never_validates(self) -> bool:
        """Whether a run is known to have no validation; with `check_val_every_n_epoch` that is not known at first."""
        known = self.trainer.val_dataloaders is not None or not self.trainer.enable_validation
        return known and sum(self.trainer.num_val_batches) == 0

    def _plateau_schedulers(self) -> list[ReduceLROnPlateau]:
        configs = self.trainer.lr_scheduler_configs
        return [
            config.scheduler
            for config in configs
            if isinstance(config.scheduler, ReduceLROnPlateau)
        ]

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Lightning's step of a scheduler; those that watch a figure have had theirs in `on_train_epoch_end`."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_validation_epoch_end(self) -> None:
        totals = self.val_totals.compute()
        self.val_totals.reset()
        self.validated_images = int(totals["count"])
        values = {"val_loss": totals["loss"].item(), "val_accuracy": totals["accuracy"].item()}
        values |= {name: value.item() for name, value in self.val_metrics.compute().items()}
        self.val_metrics.reset()
        self.log_dict(values, prog_bar=True)
        if not self.trainer.sanity_checking:
            self._validation = values

    def on_test_epoch_end(self) -> None:
        totals = self.test_totals.compute()
        self.evaluation = Evaluation(
            loss=totals["loss"].item(),
            correct=int(totals["correct"]),
            count=int(totals["count"]),
            class_names=self.class_names,
            confusion=self.confusion.compute().cpu(),
        )
        values = {"test_loss": self.evaluation.loss, "test_accuracy": totals["accuracy"].item()}
        for row in self.evaluation.per_class():
            values |= {
                f"test_{figure}/{row['class']}": float(row[figure])
                for figure in ("precision", "recall", "f1")
            }
        values |= {name: value.item() for name, value in self.test_metrics.compute().items()}
        self.log_dict(values)
        for metric in (self.test_totals, self.confusion, self.test_metrics):
            metric.reset()

    def configure_optimizers(self) -> Any:
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = KerasAdam(parameters) if self.optimizer is None else self.optimizer(parameters)
        if self.hparams["lr"] is not None:
            for group in optimizer.param_groups:
                group["lr"] = self.hparams["lr"]
        if self.hparams.get("schedule") == "cosine_annealing":
            self._schedule_steps = self.trainer.max_epochs
            annealing = make_annealing(optimizer, self.trainer.max_epochs)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": annealing, "interval": "epoch"},
            }
        if self.hparams.get("schedule") is not None:
            steps = self._schedule_steps = self.trainer.estimated_stepping_batches
            # Counting them has made the DataLoader. One made again after a checkpoint is loaded
            # goes on where that stopped.
            self.trainer.fit_loop._combined_loader = None
            scheduler = make_schedule(
                self.hparams["schedule"], optimizer, steps, self.hparams["warmup"]
            )
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
            }
        if self.lr_scheduler is None:
            return optimizer
        scheduler = self.lr_scheduler(optimizer)
        self._scheduler = {
            "lr_scheduler": type(scheduler).__name__,
            "scheduler_settings": scheduler_settings(scheduler)
            | {"watched": monitored_metric(scheduler)},
        }
        schedule = {"scheduler": scheduler, "interval": self.hparams["lr_interval"]}
        return {"optimizer": optimizer, "lr_scheduler": schedule | {"monitor": "loss"}}

    def _training(self) -> dict[str, Any]:
        """What a run that goes on must have in common with the one before; nothing of a model that was not trained here."""
        if self._trainer is None or not self.trainer.optimizers:
            return {}
        optimizer, schedule = self.trainer.optimizers[0], self.hparams.get("schedule")
        return {
            "optimizer": type(optimizer).__name__,
            "settings": optimizer_settings(optimizer, self.hparams["lr"]),
            **self._scheduler,
            "schedule": schedule,
            "warmup": None if schedule is None else self.hparams.get("warmup"),
            "schedule_steps": self._schedule_steps,
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["signs_lightning"] = {
            "format_version": FORMAT_VERSION,
            "model": type(self).__name__,
            "history": [dict(row) for row in self.history],
            "learning_rate": self.learning_rate,
            "training": self._training(),
            "validated_images": self.validated_images,
            "made_with": self.made_with,
            # of an epoch that is not over yet, (world_size,): the running means of each process go
            # on where they stopped
            "totals": {
                name: _of_all_processes(getattr(self.train_totals, name)).cpu() for name in TOTALS
            },
        }

    @property
    def made_with(self) -> list[dict[str, Any]]:
        """Versions and commits as of `provenance.made_with`: of the runs before this one, and its own where these differ."""
        if not self._made_with:
            self._made_with = append_made_with(self._made_with_before)
        return self._made_with

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Before data module and callbacks get their states, which may have had other names.
        migrate_checkpoint(checkpoint, "The checkpoint")
        remembered = checkpoint.get("signs_lightning", {})
        self.history = [dict(row) for row in remembered.get("history", [])]
        self.learning_rate = remembered.get("learning_rate", self.learning_rate)
        self.validated_images = int(remembered.get("validated_images", 0))
        self._made_with, self._made_with_before = [], remembered.get("made_with")
        for name, value in remembered.get("totals", {}).items():
            value = value.reshape(-1)
            rank = self.global_rank if self.global_rank < len(value) else 0
            setattr(self.train_totals, name, value[rank].to(self.device))
        apply_learning_rate(self.hparams["lr"], checkpoint)
        trainer: Any = self._trainer
        if (
            trainer is not None
            and trainer.training
            and trainer.ckpt_path
            and not is_finder_checkpoint(trainer.ckpt_path)
        ):
            self._resumed = checkpoint
            remove_trainer_finders(trainer, checkpoint)


def _of_all_processes(value: Tensor) -> Tensor:
    """A figure () of each process → (world_size,)."""
    return torch.stack(gather_all_tensors(value) if torch.distributed.is_initialized() else [value])
