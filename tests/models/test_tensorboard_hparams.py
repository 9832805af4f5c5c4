"""TensorBoard's page HPARAMS, as its own server makes it of a folder of runs."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from signs_lightning import H5DataModule, SignsFunctional

SETTINGS = ("model", "optimizer", "lr", "batch_size", "seed", "schedule")
NOTEBOOK = ("SignsFunctional", "KerasAdam", 0.02, 8.0, 7.0, "none")
SGD = ("SignsFunctional", "SGD", 0.1, 32.0, 5.0, "one_cycle")


def read_page(folder: Path) -> tuple[list[str], dict[str, dict[str, object]]]:
    """Return the columns of figures, and what stands in each run's row."""
    runs = plugin_event_multiplexer.EventMultiplexer()
    runs.AddRunsFromDirectory(str(folder))
    runs.Reload()
    provider = data_provider.MultiplexerDataProvider(runs, str(folder))
    context, request = Context(TBContext(data_provider=provider)), RequestContext()
    asked = api_pb2.GetExperimentRequest(include_metrics=True)
    experiment = get_experiment.Handler(request, context, "", asked).run()
    columns = [info.name.tag for info in experiment.metric_infos]
    wanted = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        col_params=[api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos],
        slice_size=100,
        include_metrics=True,
    )
    found = list_session_groups.Handler(request, context, "", wanted).run()
    rows: dict[str, dict[str, object]] = {}
    for group in found.session_groups:
        values = {k: getattr(v, str(v.WhichOneof("kind"))) for k, v in group.hparams.items()}
        figures = {value.name.tag: value.value for value in group.metric_values}
        rows[group.sessions[0].name] = values | figures
    return columns, rows


def test_runs_of_the_command_line_and_of_notebooks(cli, small_signs, tmp_path):
    """A notebook's run, with Lightning's own logger, beside one of the command line: the columns
    are the same whichever comes first, and each row holds its run's settings and last figures.
    """
    base = ["fit", "--data.train_file", small_signs[0], "--data.val_fraction", 0.2]
    base += ["--trainer.max_epochs", 1, "--trainer.accelerator", "cpu"]
    sgd = ["--model.optimizer", "torch.optim.SGD", "--model.schedule", "one_cycle"]
    assert cli(*base, *sgd, "--model.lr", 0.1, "--seed_everything", 5, "--name", "sgd").code == 0
    L.seed_everything(7)
    model = SignsFunctional(lr=0.02)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=TensorBoardLogger(tmp_path / "lightning_logs", name="a_notebook"),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(model, H5DataModule(str(small_signs[0]), val_fraction=0.2, batch_size=8))

    columns, rows = read_page(tmp_path / "lightning_logs")
    names = ("val_accuracy", "accuracy", "val_loss", "loss")
    assert columns == [f"final/{name}" for name in names]
    settings = {name: {k: row.get(k) for k in SETTINGS} for name, row in rows.items()}
    assert settings == {
        "a_notebook/version_0": dict(zip(SETTINGS, NOTEBOOK, strict=True)),
        "sgd/version_0/train": dict(zip(SETTINGS, SGD, strict=True)),
    }
    for name in names:
        shown = rows["a_notebook/version_0"][f"final/{name}"]
        assert shown == pytest.approx(model.history[-1][name], rel=1e-6)
