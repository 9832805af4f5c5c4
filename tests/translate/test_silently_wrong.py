"""Sources whose text alone misleads: each is read as Keras runs it, or refused, never otherwise."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from signs_lightning.translate.facts import parse_facts
from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import Translation, translate

HEAD = """
import os
os.environ['KERAS_BACKEND'] = 'jax'
import keras
import numpy as np
from keras import layers
(x, y), (xt, yt) = keras.datasets.mnist.load_data()
n = 16
"""
SCALED = "x = x.reshape(-1, 28, 28, 1).astype('float32') / 255\n"
TAIL = """
model = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(n),
                          layers.Dense(10, activation='softmax')])
model.compile('sgd', 'sparse_categorical_crossentropy')
model.fit(x, y, batch_size=64, epochs=3)
"""


def made(tmp_path: Path, *cells: str, facts: Iterable[str] = ()) -> Translation:
    """Return the translation of a script, or of a notebook where there are several cells."""
    path = tmp_path / ("source.py" if len(cells) == 1 else "source.ipynb")
    entries = [{"cell_type": "code", "source": text, "outputs": []} for text in cells]
    path.write_text(cells[0] if len(cells) == 1 else json.dumps({"cells": entries}))
    told = parse_facts(facts)
    return translate(read_source(path, told), told)


def units(translation: Translation) -> Any:
    """Return the width of the first Dense layer, or None where the source is refused."""
    if not translation.is_whole:
        return None
    config = translation.fits[-1].model_config
    assert config is not None
    layers = config["config"]["layers"]
    return next(layer["config"]["units"] for layer in layers if layer["class_name"] == "Dense")


# What is run before the model is made, and the n that Python gives it; None to refuse.
WIDTHS = {
    "globals": ("globals()['n'] = 20", 20),
    "globals update": ("globals().update(n=20)", 20),
    "globals in a function": ("def f():\n    globals()['n'] = 20\nf()", 20),
    "locals of a module": ("locals()['n'] = 20", 20),
    "locals of a function": ("def f(n):\n    locals()['n'] = 20\n    return n\nn = f(5)", 5),
    "vars": ("vars()['n'] = 20", 20),
    "exec": ("exec('n = 20')", 20),
    "exec in a function": ("def f():\n    exec('n = 20')\nf()", 16),
    "exec outside a function": ("def f():\n    exec('n = 20', globals())\nf()", 20),
    "exec of a file": ("exec(open('settings.py').read())", None),
    "exec of what is compiled": ("exec(compile('n = 20', 'a', 'exec'))", None),
    "eval": ("n = eval('4 * 5')", 20),
    "eval that changes": ("eval('globals().update(n=20)')", 20),
    "exec that may run": ("if os.path.exists('a'):\n    exec('n = 20')", None),
    "a layer in the module's dict": ("layers.__dict__['Dense'] = lambda n, **k: None", None),
    "a layer by vars": ("vars(layers).update(Dense=None)", None),
    "a layer by setattr": ("setattr(layers, 'Dense', None)", None),
    "a layer by sys.modules": ("import sys\nsys.modules['keras.layers'].Dense = None", None),
    "a layer that is deleted": ("del layers.Dense", None),
    "a layer that may be replaced": ("if os.path.exists('a'):\n    layers.Dense = None", None),
    "the module itself": ("import sys\nsys.modules[__name__].n = 20", None),
    "a mock": ("from unittest import mock\nmock.patch('keras.layers.Dense').start()", None),
    "setter of a property": (
        "class C:\n    @property\n    def n(self): return self._n\n    @n.setter\n"
        "    def n(self, v): self._n = v * 2\nc = C()\nc.n = 8\nn = c.n",
        None,
    ),
    "__getattribute__": (
        "class C:\n    n = 4\n    def __getattribute__(self, k): return 12\nn = C().n", None
    ),
    "__init_subclass__": (
        "class B:\n    def __init_subclass__(cls):\n        global n\n        n = 20\n"
        "class C(B): pass", None
    ),
    "__set_name__": (
        "L = [4]\nclass D:\n    def __set_name__(self, o, k): L.append(6)\n"
        "class C:\n    a = D()\nn = sum(L)", None
    ),
    "__del__": (
        "class D:\n    def __del__(self):\n        global n\n        n = 20\nd = D()\ndel d", None
    ),
    "__exit__": (
        "L = []\nclass D:\n    def __enter__(self): L.append(6)\n"
        "    def __exit__(self, *a): L.append(7)\nwith D():\n    pass\nn = sum(L)", 13
    ),
    "__exit__ that takes an exception": (
        "class D:\n    def __enter__(self): pass\n    def __exit__(self, *a): return True\n"
        "with D():\n    n = 5\n    {}['a']\n    n = 6", 5
    ),
    "a generator up to its first value": (
        "L = [4]\ndef g():\n    L.append(1)\n    yield 1\n    L.append(2)\n    yield 2\n"
        "next(g())\nn = sum(L)", 5
    ),
    "a generator expression later": ("n = 2\ng = (n * k for k in (1, 2))\nn = 5\nn = sum(g)", 15),
    "map that nobody asks": ("L = [4]\nm = map(L.append, [1, 2])\nn = sum(L)", 4),
    "filter that nobody asks": ("L = [4]\nm = filter(L.append, [1, 2])\nn = sum(L)", 4),
    "a cached function": (
        "import functools\nL = []\n@functools.lru_cache\ndef f(k):\n    L.append(k)\n"
        "f(7), f(7)\nn = sum(L)", None
    ),
    "a cached property": (
        "import functools\nL = []\nclass C:\n    @functools.cached_property\n"
        "    def a(self):\n        L.append(7)\n        return 1\nc = C()\nc.a, c.a\nn = sum(L)", 7
    ),
    "options that are given": (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--n', type=int)\n"
        "n = p.parse_args(['--n', '14']).n", None
    ),
    "options that are added": (
        "import argparse, sys\np = argparse.ArgumentParser()\n"
        "p.add_argument('--n', type=int, default=16)\nsys.argv += ['--n', '14']\n"
        "n = p.parse_args().n", None
    ),
    "no options": (
        "import argparse, sys\nsys.argv = ['']\np = argparse.ArgumentParser()\n"
        "p.add_argument('--n', type=int, default=18)\nn = p.parse_args().n", 18
    ),
    "a name of a library": ("import keras.utils\nn = 4 if keras.utils == 'a' else 5", None),
    "an exception that ends the script": ("{}['a']\nn = 20", None),
    "!= by __eq__": (
        "class C:\n    def __eq__(self, o): return True\nn = 20 if C() != 5 else 4", 4
    ),
    "__bool__": ("class C:\n    def __bool__(self): return False\nn = 20 if C() else 4", 4),
    "__hash__": (
        "class C:\n    def __hash__(self): return 1\n    def __eq__(self, o): return True\n"
        "d = {C(): 4}\nd[C()] = 9\nn = sum(d.values())", None
    ),
    "a file that may be missing": ("try:\n    open('a')\n    n = 20\nexcept OSError: n = 4", None),
    "a function that a library calls": (
        "import timeit\ndef f():\n    global n\n    n = 20\ntimeit.timeit(f, number=1)", None
    ),
    "an array in place": ("a = np.array([4, 8])\nb = a\nb += 3\nn = int(a[0])", 7),
    "a view of an array": ("a = np.array([4, 8])\nb = a[:1]\nb[0] = 7\nn = int(a[0])", 7),
    "an array that is sorted": ("a = np.array([9, 8])\na.sort()\nn = int(a[0])", None),
    "a view that is sorted": ("a = np.array([9, 8])\nb = a[:]\nb.sort()\nn = int(a[0])", None),
    "the end of a cell": ("get_ipython().run_cell_magic('time', '', 'n = 20')", 20),
    "lines of IPython": ("get_ipython().run_line_magic('matplotlib', 'inline')", 16),
    "code that runs some times": ("get_ipython().run_line_magic('timeit', 'globals()')", None),
}  # fmt: skip


@pytest.mark.parametrize("name", WIDTHS)
def test_names_have_the_values_that_python_gives(name: str, tmp_path: Path) -> None:
    before, expected = WIDTHS[name]
    assert units(made(tmp_path, HEAD + SCALED + before + TAIL)) == expected


CELLS = {
    "%run": (["%run other.py"], 20),
    "%run without its suffix": (["%run other"], 20),
    "%run with the names": (["%run -i adding.py"], 17),
    "%run of a notebook": (["%run other.ipynb"], 24),
    "%run of what is missing": (["%run gone.py"], None),
    "%run of itself": (["%run source.ipynb"], None),
    "%time": (["%time n = 20"], 20),
    "%%time": (["%%time\nn = 20"], 20),
    "%%timeit keeps no name": (["%%timeit\nn = 20"], None),
    "%%python is another process": (["%%python\nn = 20"], 16),
    "%%writefile": (["%%writefile other.py\nn = 30", "from other import n"], 30),
    "%store": (["%store -r n"], None),
    "%reset": (["%reset -f"], None),
    "%matplotlib": (["%matplotlib inline\n!ls\nfiles = !ls"], 16),
    "sys.exit ends a cell": (["import sys\nn = 18\nsys.exit()\nn = 20"], 18),
}


@pytest.mark.parametrize("name", CELLS)
def test_magic_commands_that_run_code(name: str, tmp_path: Path) -> None:
    cells, expected = CELLS[name]
    (tmp_path / "other.py").write_text("n = 20\n")
    (tmp_path / "adding.py").write_text("n = n + 1\n")
    (tmp_path / "other.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": "n = 24", "outputs": []}]})
    )
    assert units(made(tmp_path, HEAD + SCALED, *cells, TAIL)) == expected


@pytest.mark.parametrize(
    "fit", ["%time h = model.fit", "h = %time model.fit", "%time model.fit", "model.fit"]
)
def test_fit_under_time_is_a_fit(fit: str, tmp_path: Path) -> None:
    cells = HEAD + SCALED, TAIL.replace("model.fit", fit)
    assert [f.epochs for f in made(tmp_path, *cells).fits] == [3]


# What becomes of the images, and the scale that the model is fed; None to refuse.
SCALES = {
    "a function in place": ("def f(a):\n    a /= 255\nf(x)", "/255"),
    "a function not in place": ("def f(a):\n    a = a / 255\nf(x)", "raw"),
    "a loop in place": ("for a in (x, xt):\n    a /= 255", "/255"),
    "a loop not in place": ("for a in (x, xt):\n    a = a / 255", "raw"),
    "an alias": ("z = x\nz /= 255", "/255"),
    "a copy": ("z = x.copy()\nz /= 255", "raw"),
    "another type": ("z = x.astype('float64')\nz /= 255", "raw"),
    "a view": ("z = x.reshape(-1, 784)\nz /= 255", "/255"),
    "a part": ("z = x[:10]\nz /= 255", None),
    "out=": ("np.divide(x, 255, out=x)", None),
    "whole numbers": ("x = (x / 255).astype('uint8')", None),
    "whole numbers of bytes": ("x = x.astype('uint8') / 255", "/255"),
    "bounds that cut": ("x = np.clip(x / 255, 0.2, 0.8)", None),
    "bounds that do not cut": ("x = np.clip(x / 255, 0, 1)", "/255"),
    "turned": ("x = x.transpose(0, 2, 1, 3)", None),
    "turned by a reshape": ("x = x.reshape(-1, 784).T.reshape(-1, 28, 28, 1)", None),
    "mixed by a reshape": ("x = x.reshape(-1, 14, 56).reshape(-1, 28, 28, 1)", None),
    "images in another order": ("np.random.shuffle(x)", None),
    "both in another order": ("p = np.random.permutation(len(x))\nx, y = x[p], y[p]", "raw"),
    "other rows of labels": ("x, y = x[:100], y[100:]", None),
    "labels of others": ("y = yt", None),
}


@pytest.mark.parametrize("name", SCALES)
def test_images_are_what_numpy_makes_of_them(name: str, tmp_path: Path) -> None:
    before, expected = SCALES[name]
    cast = "x = x.reshape(-1, 28, 28, 1).astype('float32')\nxt = xt.astype('float32')\n"
    found = made(tmp_path, HEAD + cast + before + TAIL)
    assert (found.fits[-1].scale if found.is_whole else None) == expected


def test_labels_that_are_not_understood_need_their_own_file(tmp_path: Path) -> None:
    found = made(tmp_path, HEAD + SCALED + "y = np.roll(y, 1)" + TAIL)
    assert "train_file" in found.missing


DATA = """
import tensorflow as tf
ds = tf.data.Dataset.from_tensor_slices((x, y))
"""
PIPELINES = {
    "apply": ("ds = ds.apply(lambda d: d.map(lambda a, b: (a * 255, b))).batch(64)", "raw"),
    "arrays that change later": ("ds = ds.batch(64)\nx *= 255", "/255"),
    "shuffled before they are paired": (
        "a, b = (tf.data.Dataset.from_tensor_slices(k) for k in (x, y))\n"
        "ds = tf.data.Dataset.zip((a.shuffle(9), b)).batch(64)", None
    ),
    "batched in a way that is not known": ("ds = ds.batch(9).rebatch(64)", None),
    "a generator whose scale changes": (
        "g = keras.preprocessing.image.ImageDataGenerator(rescale=255)\n"
        "ds = g.flow(x, y, batch_size=64)\ng.rescale = 1", None
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PIPELINES)
def test_batches_are_what_keras_is_fed(name: str, tmp_path: Path) -> None:
    before, expected = PIPELINES[name]
    tail = TAIL.replace("model.fit(x, y, batch_size=64", "model.fit(ds")
    found = made(tmp_path, HEAD + SCALED + DATA + before + tail)
    assert (found.fits[-1].scale if found.is_whole else None) == expected


WEIGHTS = (
    "model.set_weights([k * 0 for k in model.get_weights()])",
    "model.layers[1].set_weights([])",
    "model.layers[1].kernel.assign(0)",
    "model.weights[0].assign_add(1)",
    "for v in model.trainable_variables:\n    v.assign(v * 0)",
    "for a, b in zip(model.layers, keras.models.load_model('a').layers):\n"
    "    a.set_weights(b.get_weights())",
    "for s in range(3):\n    with tf.GradientTape() as t:\n        p = model(x)\n"
    "    model.optimizer.apply_gradients(zip(t.gradient(p, model.weights), model.weights))",
)


@pytest.mark.parametrize("change", WEIGHTS)
def test_weights_that_the_source_sets_are_heeded(change: str, tmp_path: Path) -> None:
    before, fit = TAIL.split("model.fit")
    source = f"{HEAD}{SCALED}{before}{change}\nmodel.fit{fit}"
    assert units(made(tmp_path, source)) is None
    after = f"{HEAD}{SCALED}{TAIL}{change}\n"
    assert len(made(tmp_path, after).fits) == 1


def test_weights_that_are_only_looked_at(tmp_path: Path) -> None:
    look = "print(len(model.weights), model.layers[1].kernel.shape)\nfor v in model.weights:\n"
    before, fit = TAIL.split("model.fit")
    source = (
        f"{HEAD}{SCALED}{before}{look}    print(v.name, v.shape, np.prod(v.shape))\nmodel.fit{fit}"
    )
    assert units(made(tmp_path, source)) == 16


@pytest.mark.parametrize(
    "optimizer",
    [
        "keras.optimizers.SGD(lambda: 0.1)",
        "keras.optimizers.SGD(layers)",
        "'sgd', keras.losses.SparseCategoricalCrossentropy(model)",
    ],
)
def test_what_no_config_holds_is_refused(optimizer: str, tmp_path: Path) -> None:
    assert units(made(tmp_path, HEAD + SCALED + TAIL.replace("'sgd'", optimizer))) is None


@pytest.mark.parametrize("body", ["def build(self, s): pass", "def call(self, a): return a[0]"])
def test_layers_that_derive_from_keras_layers(body: str, tmp_path: Path) -> None:
    head = f"{HEAD}{SCALED}class D(layers.Dense):\n    {body}\n"
    assert units(made(tmp_path, head + TAIL.replace("layers.Dense(n)", "D(n)"))) is None


TOUCH = "open('ran', 'a').write('x')"
RUNNING = f"""
import pickle, sibling
class Meta(type):
    def __call__(cls, *a): {TOUCH}
    def __prepare__(*a): {TOUCH}; return {{}}
def wrap(f): {TOUCH}; return f
@wrap
def decorated(a={TOUCH}, *, b: {TOUCH} = {TOUCH}) -> {TOUCH}: return f"{{ {TOUCH} }}"
class Made(metaclass=Meta):
    {TOUCH}
    def __init__(self): {TOUCH}
    def __class_getitem__(cls, k): {TOUCH}
class Plain:
    def __init__(self): {TOUCH}
    def __del__(self): {TOUCH}
    def __reduce__(self): return (exec, ("{TOUCH}",))
Made(), Made[1], Plain(), decorated(), f'{{Plain()}}'
exec("{TOUCH}"), eval("{TOUCH}"), __import__('sibling'), pickle.load(open('made.pkl', 'rb'))
__import__('os').system('touch ran')
get_ipython().system('touch ran')
np.load('made.npy', allow_pickle=True)
lambda: {TOUCH}
[{TOUCH} for _ in range(3)]
"""


def test_nothing_of_a_source_runs(tmp_path: Path, cli: Callable, guarded_forks: None) -> None:
    """In the folder of the source, where each of these would leave a file."""
    ast.parse(RUNNING)
    pickled = b"cposix\nsystem\n(S'touch ran'\ntR."
    for name in ("made.pkl", "made.npy"):
        (tmp_path / name).write_bytes(pickled)
    (tmp_path / "sibling.py").write_text(f"{TOUCH}\nimport source\n")
    (tmp_path / "other.py").write_text(TOUCH)
    cells = ["import numpy as np\n", RUNNING, "%run other.py", "!touch ran"]
    cells += ["%%bash\ntouch ran", "%%writefile ran\nx", "%time " + TOUCH, HEAD + SCALED + TAIL]
    entries = [{"cell_type": "code", "source": text, "outputs": []} for text in cells]
    (tmp_path / "source.ipynb").write_text(json.dumps({"cells": entries}))
    before = {path.name for path in tmp_path.iterdir()}
    done = cli("translate", "source.ipynb", "--output", "out")
    assert "Traceback" not in done.err
    assert {path.name for path in tmp_path.iterdir()} - before <= {"out"}
