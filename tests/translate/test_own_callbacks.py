"""Callbacks of the source's own end the training where Keras's run of them does, or are refused."""

from __future__ import annotations

import operator
from typing import Any

import keras
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from reading_data import ARRAYS, MODEL, fit_of, fits_of, problems_of, read

from signs_lightning.translate.keras_session import session
from signs_lightning.translate.own_callbacks import strict_bound

USED = "model.fit(x / 255, y, validation_split=0.1, epochs=9, callbacks=[Stop()])\n"
ENDS = "            self.model.stop_training = True\n"


def source(test: str, end: str = ENDS, before: str = "", head: str = "") -> str:
    """Return a callback that ends the training by a condition."""
    method = f"    def on_epoch_end(self, epoch, logs={{}}):\n{before}        if {test}:\n{end}"
    return f"{head}class Stop(keras.callbacks.Callback):\n{method}"


SOURCES = {
    "the usual one": source("(logs.get('accuracy')>0.95)", "            print('95%')\n" + ENDS),
    "not above": source("logs['loss'] <= 0.4"),
    "at least": source("logs.get('val_accuracy') >= 0.9"),
    "turned": source("0.3 > logs.get('val_loss')"),
    "guarded": source("logs.get('accuracy') is not None and logs.get('accuracy') > 0.99"),
    "guarded by logs": source("logs is not None and 'accuracy' in logs and logs['accuracy'] > .5"),
    "a name": source("a > 0.7", before="        a = logs.get('accuracy')\n        print(a)\n"),
    "a bound with a name": source("logs.get('loss') < BOUND / 2", head="BOUND = 0.5\n"),
    "a bound of its own": source("logs.get('loss') < self.bound").replace(
        "    def on",
        "    bound = 0.2\n    def __init__(self):\n        super().__init__()\n"
        "        self.bound = 0.35\n    def on",
    ),
    "beside a print": source(
        "logs['loss'] < 0.4", ENDS + "        else:\n            print(epoch)\n"
    ),
    "two of them": source("logs['loss'] < .2") + "        if logs['accuracy'] > .8:\n" + ENDS,
}


@pytest.mark.parametrize("name", SOURCES)
def test_training_ends_where_it_does_in_keras(name: str) -> None:
    names: dict[str, Any] = {"keras": keras}
    exec(SOURCES[name], names)
    theirs, model = names["Stop"](), keras.Sequential()
    theirs.set_model(model)
    entries = [entry["init_args"] for _, entry in fit_of(SOURCES[name] + USED).callbacks.callbacks]
    ours = [EarlyStopping(**settings) for settings in entries]
    rng = np.random.default_rng(0)
    ends = []
    for epoch, row in enumerate(rng.random((200, 4)).astype(np.float32)):
        keys = ("loss", "accuracy", "val_loss", "val_accuracy")
        logs = {key: float(value) for key, value in zip(keys, row, strict=True)}
        model.stop_training = False
        theirs.on_epoch_end(epoch, logs)
        found = [o._evaluate_stopping_criteria(torch.tensor(logs[o.monitor]))[0] for o in ours]
        assert any(found) is model.stop_training
        ends.append(model.stop_training)
    assert set(ends) == {False, True}


@pytest.mark.parametrize("sign", [">", ">=", "<", "<="])
def test_bounds_are_those_of_float64(sign: str) -> None:
    compare = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}[sign]
    bounds = [0.9, 0.95, 0.99, 0.998, 0.5, 1, 0.0, 1e-3, *np.random.default_rng(0).random(50)]
    for bound in bounds:
        written = strict_bound(float(bound), sign[0] == ">", len(sign) == 1)
        ours = EarlyStopping("loss", mode="max" if sign[0] == ">" else "min")
        ours.stopping_threshold, ours.patience = written, 10**6
        near = np.float32(bound)
        for figure in (near, *(np.nextafter(near, np.float32(k)) for k in (-9, 9))):
            found, _ = ours._evaluate_stopping_criteria(torch.tensor(figure))
            assert found is compare(float(figure), float(bound))


REFUSED = {
    "another figure": source("logs.get('auc') > 0.9"),
    "a figure that Keras spells otherwise": source("logs.get('acc') > 0.9"),
    "two figures": source("logs['accuracy'] > 0.9 and logs['val_accuracy'] > 0.9"),
    "one of two figures": source("logs['accuracy'] > 0.9 or logs['val_accuracy'] > 0.9"),
    "an epoch": source("epoch > 3"),
    "a bound that changes": source("logs['loss'] < 1 / epoch"),
    "a default that is no figure": source("logs.get('accuracy', 1) > 0.9"),
    "anything else": source("logs['loss'] < 1", ENDS + "            self.model.save('a')\n"),
    "a rate": source("logs['loss'] < 1", "            self.model.optimizer.lr = 0.1\n"),
    "the other way": source("logs['loss'] < 1", "            pass\n        else:\n" + ENDS),
    "a change when it prints": source("logs['loss'] < 1", "            print(self.pop())\n" + ENDS),
    "a change in a test": source("self.pop()", "            pass\n"),
    "a change at another time": source("logs['loss'] < 1")
    + "    def on_epoch_begin(self, e, l): self.model.optimizer.lr = 1\n",
    "another hook": source("logs['loss'] < 1") + "    def on_batch_end(self, b, l): self.n = b\n",
    "a text": source("logs['loss'] < 'a'"),
    "what is not known": source("logs['loss'] < bound()", head="from elsewhere import bound\n"),
    "the same figure twice": source("logs['loss'] < .2") + "        if logs['loss'] < .3:\n" + ENDS,
    "a callback that may have changed": (
        source("logs['loss'] < 0.4", head="from elsewhere import change\n")
        + "Stop.on_epoch_end = change()\n"
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_bound_says_reaches_the_training(name: str) -> None:
    assert problems_of(REFUSED[name] + USED)


PRINTS = {
    "dots": source("epoch % 100 == 0", "            print('')\n") + "        print('.', end='')\n",
    "the time of training": source("epoch", "            pass\n")
    + "    def on_train_begin(self, logs=None):\n        print('now', str(logs))\n",
    "nothing": "class Stop(keras.callbacks.Callback):\n    pass\n",
}


@pytest.mark.parametrize("name", PRINTS)
def test_callbacks_that_only_print_are_without_effect(name: str) -> None:
    assert fit_of(PRINTS[name] + USED).callbacks.callbacks == []


@pytest.mark.parametrize(
    ("test", "version", "is_read"),
    [
        ("logs.get('acc') > 0.9", "2.2.4", True),
        ("logs.get('acc') > 0.9", "2.4.0", True),
        ("logs.get('acc') > 0.9", "2.15.0", False),
        ("logs.get('acc') > 0.9", "3.0.0", False),
        ("'acc' in logs and logs['acc'] > 0.9", "2.4.0", False),  # which never stops since 2.3
    ],
)
def test_the_accuracy_of_old_releases(test: str, version: str, is_read: bool) -> None:
    read(MODEL + ARRAYS + source(test) + USED, None, version)
    (fit,) = session().models[-1].fits
    assert (fit.all_problems == []) is is_read
    if is_read:
        assert fit.callbacks.callbacks[0][1]["init_args"]["monitor"] == "accuracy"
        assert any("as Keras before 2.3 names it" in note for _, note in fit.callbacks.notes)


def test_figures_of_a_validation_that_is_not_there() -> None:
    (fit,) = fits_of(SOURCES["at least"] + USED.replace("validation_split=0.1, ", ""))
    assert "val_accuracy" in fit.all_problems[0].reason


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("the usual one", "an epoch with accuracy > 0.95"),
        ("guarded", "an epoch with accuracy > 0.99, which is a strict bound of 0.98999"),
    ],
)
def test_the_bound_is_said(name: str, wanted: str) -> None:
    ((_, note), *_) = fit_of(SOURCES[name] + USED).callbacks.notes
    assert f"Stop ends the training after {wanted}" in note
    assert note.endswith("in float32") is ("strict" in wanted)
