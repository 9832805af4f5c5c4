"""Run the notebooks and scripts in `programs` with Keras, and keep what it says of their models.

    python make_expected.py expected.json      # in an environment with TensorFlow and tf_keras
    python make_expected.py --store-outputs    # put what `summary` prints into the notebooks

Nothing trains: `fit` notes its arguments. The data are zeros. Keras 2 is tf_keras; the spelling of
Keras 1, and old places of modules, are names for it. Each file runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
KEPT = (
    *("learning_rate", "decay", "momentum", "nesterov", "rho", "beta_1", "beta_2", "epsilon"),
    *("amsgrad", "weight_decay"),
)


def programs() -> list[Path]:
    """Return the files that are run."""
    return sorted([*PROGRAMS.glob("*.*"), PROGRAMS / "lenet_package/train.py"])


def main(args: list[str]) -> None:
    """Write the results of all files, or the outputs of notebooks."""
    if args[0] == "--one":
        print("\n" + json.dumps(run(Path(args[1]), args[2] == "store")))
        return
    found = {}
    for path in programs():
        mode = "store" if args[0] == "--store-outputs" else "look"
        command = [sys.executable, __file__, "--one", str(path), mode]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(path))
        if done.returncode:
            sys.exit(f"{path.name}:\n{done.stderr[-3000:]}")
        found[str(path.relative_to(PROGRAMS))] = json.loads(
            done.stdout.rstrip().rpartition("\n")[2]
        )
    if args[0] != "--store-outputs":
        text = json.dumps(found, indent=1)
        Path(args[0]).write_text(re.sub(r"\n {3,}", " ", text) + "\n")


def environment(path: Path) -> dict[str, str]:
    """Return the variables with which Keras 2 or 3 is imported."""
    more = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    if not is_keras3(path):
        more["TF_USE_LEGACY_KERAS"] = "1"
    return {**os.environ, **more}


def is_keras3(path: Path) -> bool:
    """Return whether a file is written for Keras 3."""
    return "KERAS_BACKEND" in path.read_text()


def run(path: Path, is_stored: bool) -> dict[str, Any]:
    """Run a file and return what its last fitted model is."""
    sys.path[:0] = [str(HERE), str(path.parent)]
    import drawn_data  # beside this file

    text = path.read_text()
    cells, content = [text], None
    if path.suffix == ".ipynb":
        content = json.loads(text)
        cells = ["".join(cell["source"]) for cell in content["cells"]]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        drawn_data.write_files()
        fits = prepare(is_keras3(path), "lr=" in text or "lr =" in text)
        namespace: dict[str, Any] = {"__name__": "__main__"}
        sys.argv = [str(path)]
        for number, cell in enumerate(cells):
            printed = run_cell(cell, namespace)
            if content is not None and is_stored:
                store(content["cells"][number], printed)
    if content is not None and is_stored:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    last = fits[-1]["model"]
    phases = [
        {k: v for k, v in fit.items() if k != "model"} for fit in fits if fit["model"] is last
    ]
    shape = last.input_shape
    return {
        "total": int(last.count_params()),
        "input_shape": [int(n) for n in shape[1:]],
        "classes": int(last.output_shape[-1]),
        "fits": phases,
    }


def run_cell(cell: str, namespace: dict[str, Any]) -> str:
    """Run a cell without its lines for Jupyter and the shell; return what it printed."""
    cell = re.sub(r"^[%!].*(?<=\\)\n(?:.*\\\n)*.*$|^[%!].*$", "", cell, flags=re.MULTILINE)
    try:
        code = compile(cell, "cell", "exec")
    except SyntaxError:
        return ""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)
    return printed.getvalue()


def store(cell: dict[str, Any], printed: str) -> None:
    """Put the output of `summary` and `count_params` into a cell."""
    cell["outputs"] = []
    if re.search(r"summary\(|count_params\(", "".join(cell["source"])) and printed:
        lines = printed.splitlines(keepends=True)
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": lines}]


def prepare(keras3: bool, is_old: bool) -> list[dict[str, Any]]:
    """Make names of old versions, data and helpers importable; return the list of fits."""
    import drawn_data  # beside this file
    import old_keras

    if keras3:
        import keras
    else:
        keras = old_keras.install(is_old)
    drawn_data.install(keras)
    fits: list[dict[str, Any]] = []
    keras.Model.fit = keras.Model.fit_generator = lambda self, *a, **k: note(fits, self, a, k)
    keras.Model.evaluate = lambda self, *a, **k: [0.0, 0.0]
    keras.Model.save = lambda self, *a, **k: None
    return fits


def note(fits: list[dict[str, Any]], model: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Add the arguments of a fit; return a history."""
    names = ("x", "y", "batch_size", "epochs")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    given["epochs"] = given.get("epochs", given.get("nb_epoch", 1))
    x: Any = given.get("x", given.get("generator"))
    size = given.get("batch_size") or getattr(x, "batch_size", None)
    if not model.built:
        model.build((None, *x.shape[1:]))
    if size is None:
        is_dataset = hasattr(x, "element_spec")
        size = next(iter(x))[0].shape[0] if is_dataset else 32
    trainable = sum(int(weight.numpy().size) for weight in model.trainable_weights)
    fit = {
        "trainable": trainable,
        "optimizer": optimizer(model.optimizer),
        "loss": loss(model.loss),
        "batch_size": int(size),
        "epochs": given["epochs"],
        "initial_epoch": given.get("initial_epoch", 0),
    }
    fits.append({"model": model, **fit})
    epochs = list(range(fit["initial_epoch"], fit["epochs"]))
    figures = ("loss", "accuracy", "acc", "val_loss", "val_accuracy", "val_acc")
    history = {figure: [0.0] * len(epochs) for figure in figures}
    return type("History", (), {"epoch": epochs, "history": history})


def optimizer(made: Any) -> dict[str, Any]:
    """Return class and settings of an optimizer."""
    settings = made.get_config()
    rate = settings["learning_rate"]
    kept = {"learning_rate": rate, **{key: settings[key] for key in KEPT if settings.get(key)}}
    if isinstance(rate, dict):
        kept["learning_rate"] = {"class_name": rate["class_name"], "config": rate["config"]}
    else:
        kept["learning_rate"] = float(f"{float(rate):.7g}")  # it is kept in float32
    return {"class_name": type(made).__name__, **kept}


def loss(made: Any) -> dict[str, Any]:
    """Return name and settings of a loss."""
    if isinstance(made, str):
        return {"name": made}
    if not hasattr(made, "get_config"):
        return {"name": made.__name__}
    settings = made.get_config()
    kept = {key: settings[key] for key in ("from_logits", "label_smoothing") if settings.get(key)}
    return {"name": re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(made).__name__).lower(), **kept}


if __name__ == "__main__":
    main(sys.argv[1:])
