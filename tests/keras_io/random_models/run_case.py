"""Runs a case: Keras builds and saves its model, we read it, both see the same images.

Then we write it for Keras, and both sides train it for a step.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import cast

import keras
import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.to_keras import ENDINGS, Format, export_keras

from . import our_side, training_step
from .differences import TOLERANCE, agree, differences
from .draw_case import Case
from .keras_side import Outputs, Reference, images_of, is_finite, run, save

FORMATS: tuple[Format, ...] = ("keras", "keras-h5")
PARTS = ("outputs", "keras", "keras-h5", "training")
OUTCOMES = ("right", "refused", "wrong", "crash", "void")
EXACT = 1e-7  # of the largest value, in float64: some constants are float32 here
ROUNDING = 10.0  # how many times Keras's own rounding, or that of images and weights, is explained
PERTURBATION = 2e-7  # of images and weights: what rounding them to float32 may change
SHORT = dict.fromkeys(("float16", "mixed_float16", "mixed_bfloat16"), 3e4)  # digits fewer
CONSTANTS = 6e-8  # what rounding a layer's constants to float32 may change
GRADIENTS, TRAINED = 1e-6, 1e-4  # of each tensor's largest value, in float64 and in float32


@dataclass(frozen=True)
class Result:
    """What a part of a case came to: one of `OUTCOMES`, and what was said or how far it is off."""

    outcome: str
    detail: str = ""
    is_settled: bool = False  # whether float64 had to decide


class KerasError(Exception):
    """Keras itself does not build, run or save the model."""


def run_case(case: Case, parts: tuple[str, ...] = PARTS) -> dict[str, Result]:
    """Run a case; parts that need one that failed are missing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            prepared = Prepared(case, folder)
        except Exception as error:
            return {"outputs": Result("void", _describe(error))}
        results = {"outputs": attempt(prepared.compare_outputs)}
        if results["outputs"].outcome != "right":
            return results
        for format in FORMATS:
            if format in parts:
                results[format] = attempt(partial(prepared.compare_export, format))
        if "training" in parts:
            results["training"] = attempt(prepared.compare_training)
        return results


def attempt(compare: Callable[[], Result]) -> Result:
    try:
        with redirect_stdout(StringIO()):
            return compare()
    except InputError as error:
        return Result("refused", str(error))
    except KerasError as error:
        return Result("void", str(error))
    except Exception as error:
        return Result("crash", _describe(error))


def _describe(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    return f"{place}: {str(error)[:500]}"


class Prepared:
    """A case that Keras has built, run and saved.

    Raises:
        Exception: whatever Keras raises, or its outputs are not finite.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.images = images_of(case)
        # Those for which no probability is 0 or 1.
        self.calibrated = self.images[:2] if case.seed % 2 else self.images[2:]
        self.reference = Reference(case)
        self.reference.randomize(self.calibrated)
        saved = self.reference
        if case.policy != "float32":
            saved = Reference(case, case.policy)
            saved.set_weights(self.reference.weights())
            self.reference.set_weights(saved.weights())
        with saved.scope():
            self.files = save(case, saved.model, folder)
        self.theirs = self.reference(self.images)
        if not is_finite(self.theirs):
            raise ValueError("values that are not finite")

    def compare_outputs(self) -> Result:
        self.model = our_side.read(self.case, *self.files)
        ours = our_side.run(self.case, self.model, self.images)
        if ours.logits is None:
            self.theirs = replace(self.theirs, logits=None)
        if agree(ours, self.theirs):
            return Result("right")
        return settle(self, our_side.read(self.case, *self.files), ours)

    def compare_export(self, format: str) -> Result:
        """Keras reads what we write of our model."""
        path = self.folder / f"export{ENDINGS[format]}"
        export_keras(self.model, path, cast(Format, format), check=False)  # which is done here
        try:
            loaded = keras.models.load_model(path, compile=False)
        except Exception as error:
            self.reload()
            return Result("wrong", f"Keras does not load it: {_describe(error)}")
        values = run(loaded, self.images)
        original = self.theirs.logits if self.theirs.values is None else self.theirs.values
        assert original is not None
        if original.shape != values.shape:
            return Result("wrong", f"gives {values.shape}, expected {original.shape}")
        if not np.isfinite(values).all() and self.case.policy != "float32":
            saved = Reference(self.case, self.case.policy)
            saved.set_weights(self.reference.weights())
            if not np.isfinite(run(saved.model, self.images)).all():
                raise KerasError("values that are not finite in 16 bits")
        scale = max(1.0, np.abs(original).max())
        if self.case.policy != "float32":  # which Keras computes with then
            scale *= SHORT.get(self.case.policy, 1.0)
        if np.abs(values - original).max() <= TOLERANCE * scale:
            return Result("right")
        exact = self.exact()
        off, rounding = (float(np.abs(v - exact).max()) for v in (values, original))
        is_right = off <= ROUNDING * max(rounding, TOLERANCE * scale)
        return Result("right" if is_right else "wrong", f"off by {off:.2g}", is_settled=True)

    def reload(self) -> None:
        """Let Keras read what it writes itself of its model.

        Raises:
            KerasError: it does not.
        """
        try:
            keras.models.model_from_json(self.reference.model.to_json())
        except Exception as error:
            raise KerasError(f"Keras does not read its own model: {_describe(error)}") from error

    def exact(self) -> np.ndarray:
        """What Keras's own model gives in float64."""
        exact = Reference(self.case, "float64")
        exact.set_weights(self.reference.weights())
        outputs = exact(self.images.astype("float64"))
        values = outputs.logits if outputs.values is None else outputs.values
        assert values is not None
        return values

    def compare_training(self) -> Result:
        """One step of SGD, Keras's in float64."""
        case = training_step.without_randomness(self.case)
        try:
            reference, files = self.reference, self.files
            if case != self.case:
                reference = Reference(case)
                reference.randomize(self.calibrated)
                with reference.scope():
                    files = save(case, reference.model, self.folder)
            labels = training_step.labels_of(reference(self.calibrated))
            exact = Reference(case, "float64")
            exact.set_weights(reference.weights())
            images = self.calibrated.astype("float64")
            loss, gradients, weights = training_step.keras_step(exact, images, labels)
            if not all(np.isfinite(gradient).all() for gradient in gradients.values()):
                raise ValueError("gradients that are not finite")
        except Exception as error:
            raise KerasError(_describe(error)) from error
        model = our_side.read(case, *files)
        network = model.double().network
        ours = training_step.our_step(case, model, images, labels)
        theirs = [training_step.by_layer(exact, network, v) for v in (gradients, weights)]
        rng = np.random.default_rng(0)
        (shifted,) = training_step.moved([images], CONSTANTS, rng)
        doubled = our_side.read(case, *files).double()
        our_side.perturb(doubled, CONSTANTS, rng)
        shaken = training_step.our_step(case, doubled, shifted, labels)
        single = our_side.read(case, *files)
        stepped = training_step.our_step(case, single, self.calibrated, labels)
        differences = {
            "loss": (_off_loss(ours.loss, loss), ""),
            "gradient": _off(ours.gradients, theirs[0], GRADIENTS),
            "weight": _off(ours.weights, theirs[1], GRADIENTS),
            "float32 weight": _off(stepped.weights, theirs[1], TRAINED),
        }
        limits = {
            "loss": ROUNDING * _off_loss(shaken.loss, ours.loss),
            "gradient": ROUNDING * _off(shaken.gradients, ours.gradients, GRADIENTS)[0],
            "weight": ROUNDING * _off(shaken.weights, ours.weights, GRADIENTS)[0],
        }
        if not all(differences[key][0] <= max(1.0, limit) for key, limit in limits.items()):
            # A gradient that is 0 but for rounding: as far off as Keras's own moves, too.
            near = Reference(case, "float64")
            near.set_weights(training_step.moved(reference.weights(), CONSTANTS, rng))
            near_loss, *steps = training_step.keras_step(near, shifted, labels)
            limits["loss"] = max(limits["loss"], ROUNDING * _off_loss(near_loss, loss))
            for key, before, values in zip(("gradient", "weight"), theirs, steps, strict=True):
                off = _off(training_step.by_layer(near, network, values), before, GRADIENTS)[0]
                limits[key] = max(limits[key], ROUNDING * off)
        for key, limit in limits.items():
            off, place = differences[key]
            differences[key] = off / (max(1.0, limit) if np.isfinite(limit) else 1.0), place
        if not differences["float32 weight"][0] <= 1:  # or as far off as Keras in float32
            _, _, rounded = training_step.keras_step(reference, self.calibrated, labels)
            if not all(np.isfinite(w).all() for w in rounded.values() if w is not None):
                raise KerasError("weights that are not finite in float32")
            own = training_step.by_layer(reference, network, rounded)
            off, place = differences["float32 weight"]
            limit = max(1.0, ROUNDING * _off(own, theirs[1], TRAINED)[0])
            differences["float32 weight"] = off / limit, place
        bad = [
            f"{k} {place} is off by {off:.2g}"
            for k, (off, place) in differences.items()
            if not off <= 1  # also if it is NaN
        ]
        return (
            Result("wrong", f"{'; '.join(bad)} times what is allowed") if bad else Result("right")
        )


def _off_loss(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / max(abs(theirs), 1e-3) / GRADIENTS


def _off(
    ours: training_step.Arrays, theirs: training_step.Arrays, allowed: float
) -> tuple[float, str]:
    off, place = training_step.largest_difference(ours, theirs)
    return off / allowed, place


def settle(prepared: Prepared, model: FromKeras, ours: Outputs) -> Result:
    """Decide with float64 on both sides whether a difference is one of rounding."""
    case, images, theirs = prepared.case, prepared.images, prepared.theirs
    exact = Reference(case, "float64")
    exact.set_weights(prepared.reference.weights())
    right = exact(images.astype("float64"))
    model = model.double()
    doubled = our_side.run(case, model, images.astype("float64"))
    rng = np.random.default_rng(0)
    moved = images * (1 + PERTURBATION * rng.choice([-1.0, 1.0], images.shape))
    our_side.perturb(model, PERTURBATION, rng)
    shaken = our_side.run(case, model, moved)
    if right.values is None:
        doubled.values = None
    if theirs.logits is None:
        right.logits = doubled.logits = None
    limits = [
        max(1.0, ROUNDING * max(keras, shake))
        for keras, shake in zip(
            differences(theirs, right, TOLERANCE),
            differences(shaken, doubled, TOLERANCE),
            strict=True,
        )
    ]
    off = differences(ours, right, TOLERANCE)
    off_doubled = differences(doubled, right, TOLERANCE)
    exactness = EXACT / TOLERANCE
    is_right = all(
        single <= limit and double <= max(exactness, limit * exactness)
        for single, double, limit in zip(off, off_doubled, limits, strict=True)
    )
    detail = f"off by {max(off) * TOLERANCE:.2g}, in float64 by {max(off_doubled) * TOLERANCE:.2g}"
    return Result("right" if is_right else "wrong", detail, is_settled=True)
