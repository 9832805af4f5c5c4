"""Names of libraries have one spelling, whichever release or path they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from interpreting import interpret

from signs_lightning.translate.library_names import canonical, is_installed_package, star_name
from signs_lightning.translate.values import LibraryName


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tensorflow.keras.layers.Conv2D", "keras.layers.Conv2D"),
        ("tensorflow.python.keras.layers.Conv2D", "keras.layers.Conv2D"),
        ("tensorflow.python.keras.layers.convolutional.Conv2D", "keras.layers.Conv2D"),
        ("tensorflow.compat.v1.keras.layers.Dense", "keras.layers.Dense"),
        ("tensorflow.optimizers.SGD", "keras.optimizers.SGD"),
        ("tensorflow.optimizers.schedules.CosineDecay", "keras.optimizers.schedules.CosineDecay"),
        ("tensorflow.losses.BinaryCrossentropy", "keras.losses.BinaryCrossentropy"),
        ("tensorflow.losses.softmax_cross_entropy", "tensorflow.losses.softmax_cross_entropy"),
        ("tensorflow.metrics.AUC", "keras.metrics.AUC"),
        ("tensorflow.contrib.keras.api.keras.layers.Dense", "keras.layers.Dense"),
        ("keras.layers.convolutional.Convolution2D", "keras.layers.Convolution2D"),
        ("keras.layers.normalization.batch_normalization.BatchNormalization",
         "keras.layers.BatchNormalization"),
        ("keras.layers.experimental.preprocessing.RandomFlip", "keras.layers.RandomFlip"),
        ("keras.layers.advanced_activations.LeakyReLU", "keras.layers.LeakyReLU"),
        ("keras.engine.topology.Layer", "keras.layers.Layer"),
        ("keras.engine.training.Model", "keras.models.Model"),
        ("keras.engine.Model", "keras.models.Model"),
        ("keras.Model", "keras.models.Model"),
        ("keras.Sequential", "keras.models.Sequential"),
        ("keras.Input", "keras.layers.Input"),
        ("keras.models.Input", "keras.layers.Input"),
        ("keras.utils.np_utils.to_categorical", "keras.utils.to_categorical"),
        ("keras.optimizers.adam_v2.Adam", "keras.optimizers.Adam"),
        ("tensorflow.keras.optimizers.schedules.ExponentialDecay",
         "keras.optimizers.schedules.ExponentialDecay"),
        ("keras.applications.vgg16.VGG16", "keras.applications.VGG16"),
        ("keras.applications.vgg16.preprocess_input", "keras.applications.vgg16.preprocess_input"),
        ("keras.preprocessing.image.ImageDataGenerator",
         "keras.preprocessing.image.ImageDataGenerator"),
        ("keras.preprocessing.image_dataset_from_directory",
         "keras.utils.image_dataset_from_directory"),
        ("keras.datasets.mnist.load_data", "keras.datasets.mnist.load_data"),
        ("keras.layers.Conv2D", "keras.layers.Conv2D"),
        ("numpy.eye", "numpy.eye"),
    ],
)  # fmt: skip
def test_has_one_spelling(name: str, expected: str) -> None:
    assert canonical(name) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        ("keras.layers", "Conv2D", "keras.layers.Conv2D"),
        ("keras.layers", "Conv2DTranspose", "keras.layers.Conv2DTranspose"),
        ("keras.layers", "GRU", "keras.layers.GRU"),
        ("keras.layers", "concatenate", "keras.layers.concatenate"),
        ("keras.layers", "Sequential", None),
        ("keras.layers", "X_train", None),
        ("keras.layers", "IMG_SIZE", None),
        ("keras.models", "Sequential", "keras.models.Sequential"),
        ("keras.optimizers", "SGD", "keras.optimizers.SGD"),
        ("keras.datasets", "cifar10", "keras.datasets.cifar10"),
        ("keras.datasets", "Conv2D", None),
        ("keras.constraints", "max_norm", "keras.constraints.max_norm"),
        ("keras.constraints", "Dense", None),
        ("numpy", "zeros", "numpy.zeros"),
    ],
)
def test_star_imports_bind_what_the_module_has(
    module: str, name: str, expected: str | None
) -> None:
    found = star_name(module, name)
    assert found == (None if expected is None else LibraryName(expected))


def test_published_packages_are_no_missing_files() -> None:
    assert is_installed_package("tensorflow.keras.layers")
    assert is_installed_package("os.path")
    assert not is_installed_package("my_utils")


def test_star_imports_of_several_modules_in_one_source() -> None:
    found = interpret(
        """
        from keras.layers import *
        from keras.models import *
        from keras.optimizers import *
        from course_utils import *
        a, b, c, d, e = Dense, Sequential, Adam, load_dataset, len
        """
    ).namespace
    spelled = [found[name].name for name in "abcde"]
    assert spelled == [
        "keras.layers.Dense",
        "keras.models.Sequential",
        "keras.optimizers.Adam",
        "course_utils.load_dataset",
        "builtins.len",
    ]


def test_a_module_beside_the_source_is_read(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("SIZE = 3\ndef double(n):\n    return n * SIZE * 2\n")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "blocks.py").write_text("from helpers import SIZE\nWIDE = SIZE + 1\n")
    (tmp_path / "loop_a.py").write_text("import loop_b\nx = 1\n")
    (tmp_path / "loop_b.py").write_text("import loop_a\n")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w').write('x')\nY = 2\n")
    found = interpret(
        """
        import helpers
        from helpers import double as twice
        from helpers import *
        import nets.blocks as blocks
        from nets.blocks import WIDE
        import loop_a
        from evil import Y
        a, b, c, d = helpers.SIZE, twice(2), SIZE, (blocks.WIDE, WIDE)
        """,
        folder=tmp_path,
    ).namespace
    assert [found[name] for name in "abcd"] == [3, 12, 3, (4, 4)]
    assert found["Y"] == 2
    assert not (tmp_path / "made").exists()
