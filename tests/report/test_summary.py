"""The layer table and the drawing, against Keras's own summary and Keras's own graph."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import keras
import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from keras.src.ops.function import make_node_key
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image
from rich.console import Console
from torch import nn

from signs_lightning import (
    HappySequential,
    ImageClassifier,
    InputError,
    SignsFunctional,
    SignsResNet50,
    export_keras,
    from_keras,
)
from signs_lightning.callbacks.model_summary import format_totals, layer_table, print_summary
from signs_lightning.commands.summary import main
from signs_lightning.models.layer_graph import layer_graph
from signs_lightning.report import model_drawing
from signs_lightning.report.graph_layout import Layout

OURS = {
    "Conv2dSame": "Conv2D",
    "Conv2d": "Conv2D",
    "KerasBatchNorm2d": "BatchNormalization",
    "Linear": "Dense",
} | {
    "FlattenNHWC": "Flatten",
    "MaxPool2d": "MaxPooling2D",
    "AvgPool2d": "AveragePooling2D",
}


def printed(model, **options):
    output = io.StringIO()
    print_summary(model, Console(file=output, width=140), **options)
    return output.getvalue()


def everything():
    """Skip connections, a layer and a model that are called twice, models inside models,
    operations, frozen layers.
    """
    image = keras.Input((12, 12, 4), name="photo")
    inside = keras.Input((12, 12, 4))
    hidden = layers.Conv2D(4, 3, padding="same", name="own")(inside)
    block = keras.Model(
        inside, layers.Add(name="plus")([layers.ReLU(name="r")(hidden), inside]), name="block"
    )
    again = keras.Model.from_config(block.get_config())
    chain = [
        keras.Input((12, 12, 4)),
        layers.Conv2D(4, 1, name="c"),
        layers.BatchNormalization(name="n"),
        again,
    ]
    stack = keras.Sequential(chain, name="stack")
    stack.get_layer("c").trainable = False
    twice = layers.Conv2D(4, 3, padding="same", name="twice")
    x = twice(twice(image))
    y = block(x)
    z = twice(stack(y))
    z = layers.Add(name="sum")([block(z), x, y]) * 2.0 + x
    return keras.Model(
        image, layers.Dense(3, activation="softmax", name="out")(layers.Flatten(name="flat")(z))
    )


def inception():
    x = image = keras.Input((9, 9, 3), name="photo")
    for _ in range(2):
        branch = layers.Conv2D(2, 3, padding="same")(layers.Conv2D(2, 1)(x))
        pooled = layers.AveragePooling2D(3, 1, padding="same")(x)
        x = layers.Concatenate()([layers.Conv2D(2, 1)(x), branch, pooled])
    return keras.Model(image, layers.Dense(2, activation="softmax")(layers.GlobalMaxPooling2D()(x)))


def plain():
    stack = [
        layers.Conv2D(3, 3),
        layers.BatchNormalization(),
        layers.Activation("swish"),
        layers.Dropout(0.5),
    ]
    head = [layers.GlobalAveragePooling2D(), layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([keras.Input((8, 10, 3), name="photo"), *stack, *head])


MODELS = {"everything": everything, "inception": inception, "plain": plain}


@pytest.fixture(scope="module", autouse=True)
def kernels_of_zeros():
    """Keras compiles a random generator for every shape of a kernel, which takes a minute; nothing
    here looks at the values.
    """
    with pytest.MonkeyPatch.context() as patch:
        zeros = keras.initializers.Zeros()
        patch.setattr(
            keras.initializers.GlorotUniform,
            "__call__",
            lambda self, shape, dtype=None: zeros(shape, dtype),
        )
        yield


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    """A Keras model, and what we read from its file."""
    model = MODELS[request.param]()
    path = tmp_path_factory.mktemp("models") / "model.keras"
    model.save(path)
    return model, from_keras(path)


def is_model(layer):
    return isinstance(layer, keras.Model)


def keras_rows(model, expand, path=()):
    """(path, class, shape, parameters) of every row of Keras's summary but the input's."""
    for layer in model._operations if not isinstance(model, keras.Sequential) else model.layers:
        if isinstance(layer, layers.InputLayer):
            continue
        shape = layer._inbound_nodes[-1].output_tensors[0].shape
        size = layer.count_params() if isinstance(layer, layers.Layer) else 0
        yield (*path, layer.name), type(layer).__name__, str(tuple(shape)), size
        if expand and is_model(layer):
            yield from keras_rows(layer, expand, (*path, layer.name))


def keras_graph(model, expand, path=()):
    """Keras's graph of operations, read from its nodes as `model_to_dot` reads them; inner input
    layers joined through.
    """
    model = model._functional if isinstance(model, keras.Sequential) else model
    graph = networkx.DiGraph()
    paths = {}
    for operation in model._operations:
        paths[operation] = (*path, operation.name)
        graph.add_node(paths[operation])
        if expand and is_model(operation):
            graph.update(keras_graph(operation, expand, paths[operation]))

    def enters(operation):
        if not (expand and is_model(operation)):
            return paths[operation]
        inner = operation._functional if isinstance(operation, keras.Sequential) else operation
        return (*paths[operation], "input of", inner.inputs[0]._keras_history.operation.name)

    def leaves(operation, where):
        while expand and is_model(operation):
            inner = operation._functional if isinstance(operation, keras.Sequential) else operation
            operation = inner.outputs[0]._keras_history.operation
            where = (*where, operation.name)
        return where

    for operation in model._operations:
        for number, node in enumerate(operation._inbound_nodes):
            if make_node_key(operation, number) in model._nodes:
                for tensor in node.input_tensors:
                    source = tensor._keras_history.operation
                    graph.add_edge(leaves(source, paths[source]), enters(operation))
    for operation in model._operations:
        if expand and is_model(operation):
            graph.remove_node(paths[operation])
    if path:  # what enters a model inside goes on to whatever its input layer leads to
        entry = model.inputs[0]._keras_history.operation.name
        networkx.relabel_nodes(graph, {(*path, entry): (*path, "input of", entry)}, copy=False)
    else:
        for node in [node for node in graph if "input of" in node]:
            graph.add_edges_from(
                [(a, b) for a in graph.predecessors(node) for b in graph.successors(node)]
            )
            graph.remove_node(node)
    return graph


@pytest.mark.parametrize("expand", [False, True])
def test_rows_and_totals_are_those_of_keras(pair, expand):
    model, ours = pair
    rows = [
        (row.path, row.kind, row.keras_shape, row.parameters) for row in layer_table(ours, expand)
    ]
    assert rows == list(keras_rows(model, expand))
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert format_totals(ours) == (trainable, model.count_params() - trainable)
    assert f"Parameters: {model.count_params():,} in all, {trainable:,} trainable, " in printed(
        ours
    )


def test_printed_table_has_the_lines_of_keras(pair, monkeypatch):
    """Name, class, shape and grouped number of every row that Keras itself prints, nested ones
    moved in below their model.
    """
    model, ours = pair
    monkeypatch.setenv("COLUMNS", "240")  # Keras asks the terminal how wide it is
    lines: list[str] = []
    model.summary(line_length=230, expand_nested=True, print_fn=lines.append)
    shown = [line for line in "\n".join(lines).splitlines() if line.startswith("│")]
    theirs = [[cell.strip() for cell in line.split("│")[1:4]] for line in shown]
    theirs = [cells for cells in theirs if cells[0] and "InputLayer" not in cells[0]]
    table = printed(ours, expand=True).partition("──\n")[2].partition("\nParameters:")[0]
    found = [re.split(" {2,}", line.strip()) for line in table.splitlines()]
    mine = [[f"{a} ({b})", c, d] for a, b, c, d in found]
    assert mine == theirs


def test_the_functional_model_has_the_course_s_numbers():
    """Layers, shapes and parameters of `summary()` in Keras."""
    rows = [
        (row.path, row.kind, row.keras_shape, row.parameters)
        for row in layer_table(SignsFunctional())
    ]
    assert rows == [
        (("conv1",), "Conv2dSame", "(None, 64, 64, 8)", 392),
        (("relu1",), "ReLU", "(None, 64, 64, 8)", 0),
        (("pool1",), "MaxPool2dSame", "(None, 8, 8, 8)", 0),
        (("conv2",), "Conv2dSame", "(None, 8, 8, 16)", 528),
        (("relu2",), "ReLU", "(None, 8, 8, 16)", 0),
        (("pool2",), "MaxPool2dSame", "(None, 2, 2, 16)", 0),
        (("flatten",), "FlattenNHWC", "(None, 64)", 0),
        (("fc",), "Linear", "(None, 6)", 390),
    ]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            SignsFunctional,
            [
                "64×64×3 → 6 classes",
                "(None, 64, 64, 8)",
                "Parameters: 1,310 in all, 1,310 trainable, 0 not",
            ],
        ),
        (
            HappySequential,
            ["32,769", "(None, 32768)", "37,633 in all, 37,569 trainable, 64 not trainable"],
        ),
        (
            SignsResNet50,
            ["Bottleneck", "23,600,006 in all, 23,546,886 trainable, 53,120 not trainable"],
        ),
    ],
    ids=["functional", "sequential", "resnet50"],
)
def test_totals_are_the_course_s(model, expected):
    text = printed(model())
    for part in expected:
        assert part in text


@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize(
    "model", [SignsFunctional, HappySequential, lambda: SignsResNet50(width=4)]
)
def test_the_table_adds_up_and_leaves_the_model_as_it_was(model, expand):
    """All state but the counters, counted from the state dict; modes, averages and hooks stay."""
    model = model().train()
    model.network[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    counted = sum(
        value.numel() for name, value in before.items() if "num_batches_tracked" not in name
    )
    rows = layer_table(model, expand)
    blocks = {row.path[:1] for row in rows if len(row.path) > 1}
    assert sum(row.parameters for row in rows if row.path not in blocks) == counted
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_compiled_network_is_shown_as_it_is_written():
    model = SignsFunctional()
    model.network.compile(dynamic=False)
    assert [row.kind for row in layer_table(model)] == [
        row.kind for row in layer_table(SignsFunctional())
    ]


@pytest.mark.parametrize("expand", [False, True])
def test_graph_is_that_of_keras(pair, expand):
    model, ours = pair
    opened = layer_graph(ours)
    graph = opened if expand else opened.folded()
    theirs = keras_graph(model, expand)
    assert set(graph.nodes) == set(theirs.nodes)
    assert set(graph.edges) == set(theirs.edges)
    assert len(graph.edges) == len(set(graph.edges))


def test_resnet50_is_the_graph_that_keras_has_of_it(tmp_path):
    """Exported to Keras and read from its nodes; the same up to names, and to the padding that has
    a layer of its own there.
    """
    model = SignsResNet50(width=4)
    export_keras(model, tmp_path / "model.keras", "keras")
    theirs = keras.saving.load_model(tmp_path / "model.keras")
    reference = networkx.DiGraph()
    for path, kind, shape, size in keras_rows(theirs, expand=False):
        reference.add_node(path, label=str((kind, shape, size)))
    reference.add_edges_from(keras_graph(theirs, expand=False).edges)
    reference.nodes["image",]["label"] = "input"
    networkx.contracted_nodes(
        reference, ("image",), ("zero_padding2d",), self_loops=False, copy=False
    )
    graph = layer_graph(model)
    found = networkx.DiGraph(graph.edges)
    for path, node in graph.nodes.items():
        found.nodes[path]["label"] = str(
            (OURS.get(node.kind, node.kind), node.keras_shape, node.parameters)
        )
    found.nodes["image",]["label"] = "input"
    assert len(found) == len(reference) == 1 + 4 + 4 * 12 + 12 * 10 + 3
    same = networkx.isomorphism.DiGraphMatcher(
        found, reference, lambda a, b: a["label"] == b["label"]
    )
    assert same.is_isomorphic()
    assert len(graph.folded().nodes) == 1 + 4 + 16 + 3


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True))
        self.shortcut = nn.Identity()

    def forward(self, x, scale=None):
        y = self.conv(x.clone())
        y += self.shortcut(x)
        return y * scale if scale is not None else y


class Custom(nn.Module):
    """What `nn.Sequential` is not: functions, keywords, branches on values, a layer called twice,
    parts of a block called alone.
    """

    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.block = Block()
        self.parts = Block()
        self.norm = nn.BatchNorm2d(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, classes)

    def forward(self, images):
        x = self.stem(images)
        x = self.block(x, scale=torch.ones(1)) if x.isfinite().all() else x
        x = torch.cat([x, self.parts.conv(x)], dim=1)
        x = self.norm(self.norm(x)).mean((2, 3))
        x, _ = self.attention(x[:, None], x[:, None], x[:, None])
        return self.head(x.squeeze(1))


class CustomClassifier(ImageClassifier):
    def build(self):
        return Custom(self.num_classes)


def test_any_network_is_traced():
    graph = layer_graph(CustomClassifier(image_size=(5, 6, 3)))
    edges = {(graph.name(a), graph.name(b)) for a, b in graph.edges}
    expected = {
        ("image", "stem"), ("stem", "block.conv.0"), ("block.conv.0", "block.conv.1"),
        ("block.conv.1", "block.add"), ("stem", "block.add"), ("block.add", "block.mul"),
        ("block.mul", "cat"), ("block.mul", "parts.conv.0"), ("parts.conv.0", "parts.conv.1"),
        ("parts.conv.1", "cat"), ("cat", "norm"), ("norm", "norm"), ("norm", "mean"),
        ("squeeze", "head"),
    }  # fmt: skip
    assert expected <= edges
    assert {a for a, b in edges if b == "attention"} == {"getitem", "getitem_1", "getitem_2"}
    kinds = {graph.name(path): (node.kind, node.keras_shape) for path, node in graph.nodes.items()}
    assert kinds["block.add"] == ("Add", "(None, 5, 6, 4)")
    assert kinds["cat"] == ("Concatenate", "(None, 5, 6, 8)")
    assert kinds["attention"] == ("MultiheadAttention", "(None, 1, 8)")
    folded = graph.folded()
    names = {folded.name(path) for path in folded.nodes}
    assert "block" in names
    assert {"parts.conv.0", "parts.conv.1"} <= names, "a block that never ran whole is none"
    assert {("stem",), ("block.mul",)} & {b for _, b in folded.edges} == {("stem",)}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_layout_of_any_graph_has_no_overlap(data):
    """No two boxes in one place, no arrow through a box or along another, downwards unless a layer
    is called again.
    """
    count = data.draw(st.integers(2, 24))
    tree = {(max(0, k - data.draw(st.integers(1, 6))), k) for k in range(1, count)}
    further = st.tuples(st.integers(0, count - 1), st.integers(1, count - 1))
    edges = sorted(tree | set(data.draw(st.lists(further, max_size=12))))
    layout = Layout(range(count), edges)
    layout.break_into_columns(data.draw(st.integers(1, 5)))
    rank = layout.rank
    boxes = {(rank[k], layout.slot[k]) for k in range(count)}
    assert len(boxes) == count
    assert {(k, (0, 0)) for k in range(layout.ranks)} <= boxes, "the longest path is straight"
    assert all(track == 0 for _, track in layout.slot.values())
    ways: Counter = Counter()
    for a, b in edges:
        low, high = rank[a], rank[b]
        assert low < high or a >= b
        span = layout.spans.get((a, b))
        assert (span is None) == (high - low == 1) == ((a, b) not in layout.tracks)
        if span is not None:
            assert span == ((low + 1, high - 1) if low < high else (high, low))
            ways.update((k, layout.tracks[a, b]) for k in range(span[0], span[1] + 1))
    assert not ways.keys() & boxes
    assert max(ways.values(), default=1) == 1
    assert layout.columns()[0][0] == 0
    assert layout.columns()[-1][1] == layout.ranks
    assert all(first < end for first, end in layout.columns())
    assert [layout.column(k) for k in range(layout.ranks)] == [
        number for number, column in enumerate(layout.columns()) for _ in range(*column)
    ]
    for start in layout.starts[1:]:  # one box above a cut feeds everything below
        across = [(a, b) for a, b in edges if (rank[a] < start) != (rank[b] < start)]
        assert len({a for a, _ in across}) == 1
        assert all((rank[a], layout.slot[a]) == (start - 1, (0, 0)) for a, _ in across)


def test_a_chain_is_broken_into_columns_of_equal_height():
    layout = Layout(range(30), list(pairwise(range(30))))
    layout.break_into_columns(3, [(8, 12)])
    assert layout.starts == [0, 8, 20]  # the third of ten would cut what stays together
    assert set(layout.slot.values()) == {(0, 0)}


def check_geometry(axes):
    """Boxes lie apart, and arrows lead to the upper side of one and through none."""
    patches = [p for p in axes.patches if isinstance(p, FancyBboxPatch)]
    places = [p.get_bbox() for p in patches if p.get_height() == model_drawing.BOX]
    boxes = [place for place in places if place.width > 0.1]  # the others are their coloured strips
    assert len(boxes) == len(places) / 2
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    inner = [box.padded(-0.01) for box in boxes]
    for arrow in axes.patches:
        if isinstance(arrow, FancyArrowPatch):
            *line, head = arrow.get_path().to_polygons(closed_only=False)
            assert not any(box.contains(*point) for box in inner for point in np.concatenate(line))
            x, y = max(np.asarray(head).tolist(), key=lambda point: point[1])
            assert any(box.x0 < x < box.x1 and abs(box.y0 - y) < 0.02 for box in boxes)


@pytest.fixture
def drawn(monkeypatch):
    """Draws a model without writing it, and gives the texts and the number of arrows."""

    def draw(model, expand, tmp_path):
        @contextlib.contextmanager
        def keep(path, *args, **kwargs):
            with original(path, *args, **kwargs) as figure:
                yield figure
                figures.append(figure)

        figures: list[Figure] = []
        original = model_drawing.new_figure
        monkeypatch.setattr(model_drawing, "new_figure", keep)
        model_drawing.draw_model(model, tmp_path / "model.png", expand)
        monkeypatch.undo()
        (figure,) = figures
        axes = figure.axes[0]
        check_geometry(axes)
        legend = axes.get_legend()
        assert legend is not None
        texts = [*axes.texts, *legend.get_texts()]
        assert not any(text.get_parse_math() for text in texts)
        arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
        return [text.get_text() for text in texts], len(arrows)

    return draw


@pytest.mark.parametrize("expand", [False, True])
def test_drawing_has_a_box_a_layer_and_an_arrow_a_call(pair, drawn, tmp_path, expand):
    model, ours = pair
    reference = keras_graph(model, expand)
    texts, arrows = drawn(ours, expand, tmp_path)
    assert arrows == len(reference.edges)
    rows = [row for row in keras_rows(model, expand) if row[0] in reference.nodes]
    shown = Counter(texts)
    for path, kind, shape, _ in rows:
        assert shown[f"{kind}  {shape}"] > 0, path
    assert sum("(None, " in text for text in texts) == len(rows) + 1  # and the image
    with Image.open(tmp_path / "model.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    assert all((edge == 255).all() for edge in edges), "nothing is cut off"


def test_blocks_are_framed_and_opened(drawn, tmp_path):
    texts, arrows = drawn(SignsResNet50(width=4, identity_blocks=(1, 0, 0, 0)), True, tmp_path)
    assert {"stage2.0  Bottleneck", "stage2.1  Bottleneck"} <= set(texts)
    assert texts.count("add") == 5
    assert texts.count("shortcut.0") == 4
    assert "merge" in texts
    # The image's; 4 blocks with a projection, one without; the head's.
    assert arrows == 5 + 4 * (8 + 3 + 2) + (8 + 2 + 1) + 2


def test_names_out_of_a_file_are_shown_literally(tmp_path, drawn):
    """No control character reaches the terminal or the picture, no markup and no formula is made of
    a name.
    """
    name = "a\x1b]0;own\x07[red]$x_1$"
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(name=name), layers.Dense(2, activation="softmax")]
    )
    model.save(tmp_path / "model.keras")
    ours = from_keras(tmp_path / "model.keras")
    text = printed(ours)
    assert r"a\x1b]0;own\x07[red]$x_1$" in text
    assert "\x1b" not in text
    texts, _ = drawn(ours, False, tmp_path)
    assert r"a\x1b]0;own\x07[red]$x_1$" in texts


@pytest.fixture
def summary(tmp_path, monkeypatch, capfd):
    """Runs the verb in an empty folder; what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*args):
        assert main("summary", [str(arg) for arg in args]) == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out

    return run


def test_of_a_configuration_without_its_data(summary, tmp_path):
    """The bundled ones name files that are not there; options win over the file; only the picture
    is written.
    """
    out = summary("--config", "configs/signs_functional.yaml", "--data.train_file", "nowhere.h5")
    assert "Parameters: 1,310 in all" in out
    out = summary("--config", "configs/happy_sequential.yaml", "--plot", "model.png")
    assert "37,633 in all, 37,569 trainable" in out
    assert "Wrote model.png." in out
    assert "12 classes" in summary("--config", "configs/quickstart.yaml", "--model.num_classes", 12)
    out = summary(
        "--expand", "--model", "SignsResNet50", "--model.num_classes", 10, "--model.width", 4
    )
    assert "└ shortcut.1" in out
    assert "SignsResNet50 · 64×64×3 → 10 classes" in out
    assert "48×32×3" in summary("--model", "SignsFunctional", "--data.image_size", "[48,32]")
    assert [path.name for path in tmp_path.iterdir()] == ["model.png"]


def test_of_a_run_and_of_a_keras_file(summary, cli, small_signs, pair):
    files = ("--data.train_file", small_signs[0], "--data.test_file", small_signs[1])
    done = cli("fit", *files, "--trainer.max_epochs", 1, "--data.image_size", 32)
    assert done.code == 0, done.err
    table = summary("--ckpt_path", "lightning_logs/signs_functional/version_0")
    assert "SignsFunctional · 32×32×3 → 6 classes" in table
    assert table == summary(
        "--ckpt_path", "lightning_logs/signs_functional/version_0/checkpoints/last.ckpt"
    )
    assert table.splitlines()[3] in done.out, "what fit printed"
    pair[0].save("model.keras")
    assert f"{pair[0].count_params():,} in all" in summary(
        "--ckpt_path", "model.keras", "--plot", "model.PNG"
    )
    assert Path("model.PNG").is_file()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "There is no model to show. Name one: --config F, --model NAME or --ckpt_path F."),
        (["--exapnd"], "Unknown option '--exapnd'; see --help. Did you mean '--expand'?"),
        (["--modle", "SignsFunctional"], "Did you mean '--model'?"),
        (
            ["--model", "SignsFunctoinal"],
            "Unknown model 'SignsFunctoinal'; .* Did you mean 'SignsFunctional'?",
        ),
        (["--model.lrr", "1"], "Unknown option '--model.lrr'. Did you mean --model.lr 1?"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--ckpt_path", "missing.ckpt"], "No such checkpoint: missing.ckpt"),
        (
            ["--ckpt_path", "x.ckpt", "--config", "x.yaml"],
            "--ckpt_path brings its own model, so --config has no",
        ),
        (
            ["--ckpt_path", "model.onnx"],
            "model.onnx is an ONNX file, which keeps operations and no layers",
        ),
        (
            ["--model", "SignsFunctional", "--plot", "model.svg"],
            "--plot is model.svg, expected the name of a PNG",
        ),
        (["--model", "SignsFunctional", "--plot", "no/model.png"], "The folder no does not exist"),
        (
            ["--model", "SignsResNet50", "--model.image_size", "[8,8,3]"],
            "at least 37×37 pixels, these have 8×8",
        ),
        (
            ["--model", "HappySequential", "--model.image_size", "[9999999,9999999,3]"],
            "does not fit into memory",
        ),
    ],
)
def test_what_cannot_be_shown_is_said(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message.replace("?", r"\?").replace("[", r"\[")):
        main("summary", args)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"PK\x03\x04 broken"])
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.ckpt"])
def test_a_file_that_cannot_be_used_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        main(
            "summary", ["--ckpt_path", str(tmp_path / name), "--plot", str(tmp_path / "model.png")]
        )
    assert not (tmp_path / "model.png").exists()


def test_a_former_picture_stays_when_drawing_fails(tmp_path, monkeypatch):
    picture = tmp_path / "model.png"
    picture.write_bytes(b"before")

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(InputError, match="disk full"):
        model_drawing.draw_model(SignsFunctional(), picture)
    assert picture.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["model.png"]


def test_help_needs_no_torch():
    code = (
        "import sys; from signs_lightning.commands.summary import main\ntry: main('summary', "
        "['--help'])\nexcept SystemExit: pass\n"
    )
    check = "assert not {'torch', 'matplotlib', 'lightning'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code + check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--plot" in done.stdout
