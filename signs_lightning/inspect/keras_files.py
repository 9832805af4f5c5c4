"""Keras files, described by their layers without running them."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from signs_lightning.errors import InputError
from signs_lightning.inspect.file_report import FileReport
from signs_lightning.runtime.escaping import format_shape, quote_path

if TYPE_CHECKING:
    from signs_lightning.keras_io.keras_file import KerasFile

KERAS_KINDS = {
    "h5": "Keras model (.h5)",
    "keras": "Keras 3 model (.keras)",
    "weights.h5": "Keras 3 weights",
}
COLUMNS = ("layer", "type", "output shape>", "parameters>")
MAX_NEIGHBOURS = 20  # files that are tried for the weights of an architecture
ANY_SIZE = 224  # pixels for which a model of images of any size is listed


def describe_keras_file(path: Path, report: FileReport) -> None:
    """Describe a Keras file by its layers, or by its arrays where it has no config.

    Raises:
        InputError: `import-keras` cannot use the file.
    """
    from signs_lightning.keras_io.keras_file import open_keras_file  # start-up time

    report.what = "Keras file"
    with open_keras_file(path) as file:
        has_config = file.config is not None
        is_weights = file.kind == "h5" and not has_config
        report.what = "Keras weights (.h5)" if is_weights else KERAS_KINDS[file.kind]
        report.add_fact("Keras", file.keras_version or "the file does not say")
        options = _list_layers(file, report) if has_config else _list_arrays(file, report)
        if not report.problem:
            report.suggest(f"import-keras {quote_path(path)} --output model.ckpt{options}")


def describe_architecture(path: Path, report: FileReport) -> None:
    """Describe the JSON of Keras's `to_json` by its layers, and name the weights beside it.

    Raises:
        InputError: it is no model.
    """
    from signs_lightning.keras_io.architecture_file import read_architecture  # start-up time
    from signs_lightning.keras_io.keras_file import KerasFile

    report.what = "Keras architecture without weights (JSON)"
    config = read_architecture(path)
    version = config.get("keras_version")
    spelling = "3" if "module" in config else "the file does not say"
    report.add_fact("Keras", version or spelling)
    file = KerasFile(path, "h5", config, version, None, architecture=path.name)
    options = _list_layers(file, report)
    if report.problem:
        return
    weights = _find_weights(path)
    report.add_fact("weights", f"{weights} fits" if weights else "none beside it that fit")
    name = quote_path(weights) if weights else "WEIGHTS.h5"
    command = f"import-keras {name} --architecture {quote_path(path)} --output model.ckpt"
    report.suggest(f"{command}{options}")


def _find_weights(architecture: Path) -> Path | None:
    """Return the only file beside an architecture whose weights fit it."""
    from signs_lightning.keras_io.architecture_file import replace_architecture  # start-up time
    from signs_lightning.keras_io.keras_file import open_keras_file
    from signs_lightning.keras_io.network_plan import make_plan
    from signs_lightning.keras_io.weight_mapping import match_weights

    fitting = []
    files = [p for p in architecture.parent.glob("*") if p.suffix in (".h5", ".hdf5", ".keras")]
    for path in sorted(files)[:MAX_NEIGHBOURS]:
        with contextlib.suppress(InputError), open_keras_file(path) as stored:
            file = replace_architecture(stored, architecture)
            config = file.config or {}
            match_weights(make_plan(config, file.keras_version), file)
            fitting.append(path)
    return fitting[0] if len(fitting) == 1 else None


def _list_layers(file: KerasFile, report: FileReport) -> str:
    """List the layers of the config; return options that `import-keras` needs."""
    from signs_lightning.keras_io.compile_config import loss_names  # start-up time: brings torch
    from signs_lightning.keras_io.graph_parser import read_graph
    from signs_lightning.keras_io.input_scale_inference import (
        file_weights,
        find_scale,
        resolve_scale,
    )
    from signs_lightning.keras_io.model_ending import (
        check_loss,
        has_independent_outputs,
        task_of_loss,
    )
    from signs_lightning.keras_io.network_plan import make_plan
    from signs_lightning.keras_io.weight_mapping import match_weights

    assert file.config is not None  # for the type checker
    graph = read_graph(file.config, file.keras_version)
    height, width, channels = graph.image_size
    is_row = len(graph.input_shape) == 1
    is_any_size = not is_row and None in (height, width)
    size = (height or ANY_SIZE, width or ANY_SIZE, channels or 3)
    outputs = list(graph.outputs)
    shown = outputs[0] if len(outputs) > 1 else None
    try:
        plan = make_plan(file.config, file.keras_version, None if is_row else size, shown)
        losses = loss_names(file.compiled()[0], plan.ending)
        task = task_of_loss(plan.ending, losses)
        if task is None:
            check_loss(plan.ending, plan.binary, losses)
        matches = [] if file.architecture else match_weights(plan, file)  # a config has none
        finding = find_scale(plan, file_weights(matches))
    except InputError as error:  # the layers are still worth seeing
        report.problem = f"{file.path}: {error}"
        layers = graph.layers.values()
        report.add_table(COLUMNS, [("/".join(v.path), v.class_name, "", "") for v in layers])
        return ""
    whole = plan.whole or plan
    steps = [*whole.steps, *plan.steps]
    shapes = {step.path: format_shape(step.shape) for step in reversed(steps)}
    rows, total = [], 0
    for layer, weights in whole.layers():
        count = sum(math.prod(weight.shape) for weight in weights)
        total += count
        name = "/".join(layer.path)
        rows.append((name, layer.class_name, shapes.get(layer.path, ""), f"{count:,}"))
    pixels = f"{size[0]}×{size[1]}"
    pixels = f"any size; listed for {pixels}" if is_any_size else f"{pixels} pixels"
    color = {1: "grey", 3: "RGB"}.get(size[2], f"{size[2]} channels")
    report.add_fact("images", f"{pixels}, {color}")
    output = plan.ending.kind if not plan.binary else f"one {plan.ending.kind.rstrip('s')}"
    if has_independent_outputs(plan.ending, plan.binary, losses):
        output = "sigmoids"
    if shown is not None:
        report.add_fact("outputs", f"{', '.join(outputs)}; the facts here are of {shown}")
    if task is None:
        report.add_fact("classes", f"{plan.num_classes}, {output}")
    else:
        report.add_fact("targets", f"{1 if plan.binary else plan.num_classes}, values")
    report.add_fact("parameters", f"{total:,}")
    report.add_table(COLUMNS, rows)
    options = f" --image_size {ANY_SIZE}" if is_any_size else ""
    options += "" if shown is None else f" --output_layer {quote_path(shown)}"
    if finding.scale is None and finding.likely:
        report.add_fact("scale", f"not told, because {finding.because}".rstrip("."))
        return f"{options} --scale {finding.likely[0]}"
    line = str(resolve_scale(finding, None)[1])
    report.add_fact("scale", line.removeprefix("scale: ").rstrip("."))
    return options


def _list_arrays(file: KerasFile, report: FileReport) -> str:
    """List the arrays of a file without a config; return the fitting option."""
    from signs_lightning.keras_io.weights_only import (  # start-up time: brings torch
        ARCHITECTURES,
        load_into_architecture,
    )

    if file.kind == "h5":
        layers = file.legacy_layers()
    else:
        root = "layers" if file.children("layers") else "_layer_checkpoint_dependencies"
        layers = {name: file.variables(f"{root}/{name}")[1] for name in sorted(file.children(root))}
    rows, total = [], 0
    for name, weights in layers.items():
        for weight in weights:
            rows.append((name, weight.name.rpartition("/")[2], format_shape(weight.shape)))
            total += math.prod(weight.shape)
    report.add_fact("parameters", f"{total:,}")
    report.add_table(("layer", "array", "shape>"), rows)
    try:
        model = load_into_architecture(file)
    except InputError as error:
        report.problem = str(error)
        return ""
    name = next(name for name, kind in ARCHITECTURES.items() if type(model) is kind)
    report.add_fact("fits", f"{type(model).__name__}, {model.num_classes} classes")
    return f" --architecture {name}"
