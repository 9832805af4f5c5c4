"""The LightningModule that all models share: loss, metrics, steps, optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Literal

from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import Metric

from signs_lightning.models.checkpoint_metadata import load_training_state, training_state
from signs_lightning.models.data_compatibility import check_class_counts
from signs_lightning.models.epoch_history import History
from signs_lightning.models.given_network import Network, take_network
from signs_lightning.models.lightning_callbacks import renew_callbacks
from signs_lightning.models.losses import check_loss_arguments
from signs_lightning.models.lr_schedules import Schedule, check_schedule_arguments, make_optimizers
from signs_lightning.models.metrics import EpochTotals, Evaluation, counted_images, may_hold_padding
from signs_lightning.models.model_with_preprocessing import ImageModel
from signs_lightning.models.plain_arguments import plain_arguments
from signs_lightning.models.run_callbacks import check_run_callbacks, new_run_callbacks
from signs_lightning.models.step_seeding import seed_step
from signs_lightning.models.tasks import Task, find_task
from signs_lightning.models.tta import View
from signs_lightning.runtime.provenance import append_made_with
from signs_lightning.runtime.resize_options import Fit, RememberedResize

Batch = tuple[Tensor, Tensor]
OptimizerCallable = Callable[[Iterable], Optimizer]
LRSchedulerCallable = Callable[[Optimizer], LRScheduler]
OBJECTS = ["optimizer", "lr_scheduler", "loss", "metrics", "augmentation"]  # no plain values


class ImageClassifier(ImageModel):
    """An image classifier, of which a subclass only makes the network, in `build`.

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
            model calls it with logits (N,) and float labels (N,), a task with float32 (N, K), which
            are standardised targets in a regression.
        class_weights: K factors on each class's share of the loss, as Keras's `class_weight`;
            "balanced" is n / (K · n_k) for a class of n_k of the n training images.
        label_smoothing: share of each label that is spread over all classes while training, as
            Keras's `label_smoothing`, none when omitted; that of validation stays the plain one.
        augmentation: transforms of torchvision.transforms.v2 for the training images, each image
            with parameters of its own.
        test_time_augmentation: what validation, test and predictions see besides the image itself,
            probabilities averaged: "hflip" and "vflip" mirror it, "shifts" moves it by a sixteenth
            in four directions.
        metrics: further torchmetrics of evaluations; they see probabilities (N, K), or binary (N,).
        compile: train through torch.compile; on a GPU with CUDA graphs, where small networks gain.
        biased_variance: feed BatchNorm's moving variance with the biased batch variance, at the
            price of a copy per step; when omitted, a Keras file's own way, else the unbiased one.
        resize: how images of another size are resized, see `H5DataModule`; "legacy" as the first
            checkpoints, "unknown" for a Keras file, which does not tell.
        fit: what becomes of another aspect ratio, see there.
        value_range: numbers of the data that are black and white; "legacy" rounds to bytes.
        value_type: dtype of the data, such as "uint16".
        scale: "standardize" by each channel's mean and deviation in the images to train on.
        network: the network, where no subclass makes it: an `nn.Module`, or what makes one from its
            number of classes, as torchvision's and timm's functions do.
        network_args: by which `network` is called, besides `num_classes`; plain values.
        task: "multilabel" for labels of rows of 0 and 1, "regression" for numbers; else classes.
        thresholds: of multilabel, probabilities above which a class is predicted, one for all or K;
            0.5 when omitted. They are not tuned.
        target_mean: of regression, what is taken from each target in training; the mean of the
            training images when omitted.
        target_scale: by which it is divided then; their standard deviation when omitted.
        fuse: pool before ReLU, train a first convolution and its max pooling as one step, see
            `FusedConvPool`, and 1×1 convolutions as products, see `PointwiseConv2d`, which these
            layers become in place; the same numbers up to the order of summation, in less time.

    Shape:
        images float32 (N, C, H, W) in 0..1 → logits float32 (N, K); a binary model gives (N, 1)

    Attributes:
        history: one row per epoch with Keras's names, shown as a table; `history.plot()` draws it.
        evaluation: the result of the latest `test`, or None.
        validated_images: how many images the latest validation was of.
        learning_rate: that of the latest epoch when it began.

    Examples:
        >>> import numpy as np
        >>> from torch import nn
        >>> from signs_lightning import ImageClassifier
        >>> class OneLayer(ImageClassifier):
        ...     def build(self):
        ...         height, width, channels = self.image_size
        ...         return nn.Sequential(
        ...             nn.Flatten(), nn.Linear(height * width * channels, self.num_classes)
        ...         )
        >>> model = OneLayer(num_classes=3, image_size=(8, 8, 1), lr=0.01)
        >>> model.predict(np.zeros((2, 8, 8, 1), np.uint8)).shape
        (2, 3)
    """

    _class_weights: Tensor | None
    train_totals: EpochTotals
    val_metrics: Any  # EvaluationMetrics, or TaskMetrics of a task, as the test's
    test_metrics: Any
    _thresholds: Tensor  # float32 (K,), of multilabel

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
        class_weights: list[float] | Literal["balanced"] | None = None,
        label_smoothing: float | None = None,
        augmentation: list[nn.Module] | None = None,
        test_time_augmentation: list[View] | None = None,
        metrics: list[Metric] | None = None,
        compile: bool = False,
        biased_variance: bool | None = None,
        resize: RememberedResize | None = None,
        fit: Fit | None = None,
        value_range: tuple[float, float] | Literal["legacy"] | None = None,
        value_type: str | None = None,
        scale: Literal["standardize"] | list[list[float]] | None = None,
        fuse: bool = True,
        network: Network | None = None,
        network_args: dict[str, Any] | None = None,
        task: Task | None = None,
        thresholds: list[float] | None = None,
        target_mean: list[float] | None = None,
        target_scale: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=OBJECTS if network is None else [*OBJECTS, "network"])
        self.given_network = take_network(self, network, network_args)
        # Only plain values, so that a checkpoint loads without running code.
        self.hparams.update(plain_arguments(self.hparams, type(self).__name__))
        check_loss_arguments(loss, class_weights, label_smoothing)
        check_schedule_arguments(schedule, lr_scheduler, warmup)
        self.optimizer, self.lr_scheduler, self.loss = optimizer, lr_scheduler, loss
        self.task_rules = find_task(task)
        self.task_rules.prepare(self)
        self.metrics = list(metrics or [])
        self.augmentation = list(augmentation or [])
        self.history = History()
        self.evaluation: Evaluation | None = None
        self.validation_metrics: dict[str, float] = {}  # of the epoch that is under way
        self.validated_images = 0
        self.learning_rate = float("nan")
        self.schedule_steps: float | None = None
        self.training_settings: dict[str, Any] = {}  # of the run that is under way
        self.earlier_made_with: Any = None  # by the checkpoint
        self._augment: Callable[[Tensor, Tensor], Batch] | None = None
        self._build()

    def _build(self) -> None:
        super()._build()
        self.task_rules.build(self)

    def prepare(self, resumed: bool = False) -> None:
        """Fetch what a training run needs besides data, before anything is written.

        Args:
            resumed: whether the weights come from a checkpoint.
        """

    def setup(self, stage: str) -> None:
        trainer: Any = self.trainer
        if stage == "fit":
            check_run_callbacks(trainer, self)
        data: Any = getattr(trainer, "datamodule", None)
        network = self.network
        if hasattr(data, "image_shape"):
            self.adopt(data.num_classes, data.image_shape, data.class_names)
            self.adopt_resizing(getattr(data, "resize", None), getattr(data, "fit", None))
            self.adopt_values(getattr(data, "run_values", None), data if stage == "fit" else None)
        else:  # plain DataLoaders do not say what they hold
            check_class_counts(self.hparams, self.num_classes)
        if stage == "fit":
            self.task_rules.learn(self, getattr(data, "training_labels", None))
        if not self.has_build:
            self._prepare_network()
        if self.network is not network:
            renew_callbacks(trainer, self, stage)
        if self.augmentation and stage == "fit":
            from signs_lightning.models.augmentation import Augmentation  # torchvision is slow

            self._augment = Augmentation(self.augmentation, self.num_classes, self.task_rules.name)
        if self.hparams.get("compile") and stage == "fit":
            # In place, so that the keys of the state_dict stay; the smaller last batch becomes a
            # second program of fixed sizes.
            on_gpu = trainer.strategy.root_device.type == "cuda"
            self.network.compile(mode="reduce-overhead" if on_gpu else None, dynamic=False)

    def configure_callbacks(self) -> list[Callback]:
        return new_run_callbacks(self.trainer)

    def compute_loss(self, logits: Tensor, labels: Tensor, training: bool = False) -> Tensor:
        """Return the mean loss () of a batch: cross-entropy, or the loss that was given.

        Args:
            logits: float (N, K), or (N, 1) of a binary model.
            labels: int64 (N,), or probabilities float (N, K); of a task its targets float (N, K).
            training: whether class weights and label smoothing count, as in Keras.
        """
        return self.task_rules.loss(self, logits, labels, training)

    def predicted_classes(self, logits: Tensor) -> Tensor:
        """Logits → int64 (N,), the most probable class; of a task float (N, K)."""
        return self.task_rules.decided(self, logits)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = self.batch_images(batch[0]), batch[1]
        targets = self.task_rules.targets(self, labels)
        if self._augment is not None:
            images, targets = self._augment(images, targets)
        logits = self(images)
        loss = self.compute_loss(logits, targets, training=True)
        predicted = self.predicted_classes(logits.detach())
        self.train_totals.update(loss.detach(), predicted, labels, self.global_step)
        return loss

    def _evaluation_step(self, batch: Batch, batch_idx: int, metrics: Any) -> None:
        images, labels = batch
        logits = self.averaged_logits(self.batch_images(images))
        if may_hold_padding(self.trainer, len(labels), batch_idx):
            counted = counted_images(labels)
            logits, labels = logits[counted], labels[counted]
        outputs = self.task_rules.seen_by_metrics(self, logits)
        loss = self.compute_loss(logits, self.task_rules.targets(self, labels))
        metrics.update(loss, self.predicted_classes(logits), labels, outputs)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluation_step(batch, batch_idx, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluation_step(batch, batch_idx, self.test_metrics)

    def predict_step(self, batch: Batch | Tensor, batch_idx: int) -> Tensor:
        """A batch → float32 probabilities (N, K), or values of a regression."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        return self.probabilities(self.averaged_logits(self.batch_images(images)))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        seed_step(self, batch_idx)  # no callback: finders train without those

    def on_validation_epoch_end(self) -> None:
        evaluation, metrics = self.val_metrics.result(self.class_names)
        self.validated_images = evaluation.count
        self.log_dict(metrics, prog_bar=True)
        if not self.trainer.sanity_checking:
            self.validation_metrics = metrics

    def on_test_epoch_end(self) -> None:
        self.evaluation, metrics = self.test_metrics.result(self.class_names)
        self.log_dict(metrics)

    def configure_optimizers(self) -> Any:
        return make_optimizers(self)

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        if not isinstance(scheduler, ReduceLROnPlateau):  # `PlateauStepper` has stepped it
            super().lr_scheduler_step(scheduler, metric)

    @cached_property
    def made_with(self) -> list[dict[str, Any]]:
        """Versions and commits of earlier runs and this one, see `provenance.made_with`."""
        return append_made_with(self.earlier_made_with)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["signs_lightning"] = training_state(self)
        resize, fit = self.resizing  # today's defaults, where nothing else was said
        checkpoint["hyper_parameters"] |= {"resize": resize, "fit": fit}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        load_training_state(self, checkpoint)
