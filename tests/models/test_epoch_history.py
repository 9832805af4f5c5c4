"""`model.history`: a list of dicts that shows and plots itself."""

from __future__ import annotations

import copy
import json
import pickle
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from signs_lightning import InputError
from signs_lightning.models.epoch_history import History

ROWS = [
    {"epoch": 0, "loss": 1.79176, "accuracy": 0.5},
    {"epoch": 1, "loss": 0.25, "accuracy": 0.75, "val_loss": 0.5, "val_accuracy": 1.0},
]


def test_it_is_a_list_of_dicts_for_all_that_reads_it():
    """Equality, copies, pickle and JSON are those of the list."""
    history = History(ROWS)
    assert history == ROWS
    assert isinstance(history, list)
    assert [copy.deepcopy(history), pickle.loads(pickle.dumps(history))] == [ROWS, ROWS]
    assert json.loads(json.dumps(history)) == ROWS
    history.append(ROWS[0])
    assert history[-1] is ROWS[0]


def test_its_table_counts_epochs_from_one_and_leaves_a_cell_empty():
    lines = [line.split() for line in repr(History(ROWS)).splitlines()]
    assert lines[0] == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert lines[2:] == [
        ["1", "1.7918", "0.5000"],
        ["2", "0.2500", "0.7500", "0.5000", "1.0000"],
    ]
    assert "<td" in History(ROWS)._repr_html_()
    assert repr(History()) == "No epoch has been trained yet."
    edited = History([{"epoch": "<b>", "loss": None, "accuracy": float("nan")}])  # type: ignore[dict-item]
    assert repr(edited).splitlines()[-1].split() == ["<b>", "nan"]
    assert "<b>" not in edited._repr_html_()


def test_it_plots_two_metrics_or_those_that_are_named():
    """The second figure has one pair of axes and the points of the history."""
    with Image.open(BytesIO(History(ROWS).plot()._repr_png_())) as picture:
        assert picture.size == (900, 310)  # 9 × 3.1 inches at 100 dpi
    (axes,) = History(ROWS).plot("loss").axes
    lines = [np.asarray(line.get_xydata()).tolist() for line in axes.lines]
    assert lines == [[[1, 1.79176], [2, 0.25]], [[2, 0.5]]]


def test_what_cannot_be_plotted_is_refused():
    with pytest.raises(InputError, match="no epoch has been trained"):
        History().plot()
    with pytest.raises(InputError, match="no 'f1', only accuracy, loss"):
        History(ROWS).plot("f1")
