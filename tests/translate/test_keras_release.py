"""The version of Keras is told from a source's spelling."""

from __future__ import annotations

import pytest

from signs_lightning.translate.keras_release import guess_release

LINE = "_" * 65
OLD_SUMMARY = f"""
# {LINE}
# Layer (type)                 Output Shape              Param #
# {"=" * 65}
# vgg16 (Model)                (None, 7, 7, 512)         14714688
# {LINE}
# global_average_pooling2d (Gl (None, 512)               0
# {"=" * 65}
"""
NEW_SUMMARY = f"""
{LINE}
 Layer (type)                Output Shape              Param #
{"=" * 65}
 vgg16 (Functional)          (None, 7, 7, 512)         14714688

 dense (Dense)               (None, 5)                 2565
{"=" * 65}
Total params: 14717253
{LINE}
"""


@pytest.mark.parametrize(
    ("text", "outputs", "version"),
    [
        ("model.add(Convolution2D(32, 3, 3, border_mode='same'))", "", "1.2.2"),
        ("from keras.models import Sequential\nmodel.fit(x, y, nb_epoch=3)", "", "1.2.2"),
        ("from keras.optimizers import Adam\nAdam(lr=0.1)", "", "2.2.4"),
        ("from keras.models import Sequential\nmodel.fit(x, y, epochs=3)", "", "2.2.4"),
        ("import keras\nfrom keras import ops", "", "3.0.0"),
        ("import keras\nkeras.optimizers.Adam(learning_rate=0.1)", "", "3.0.0"),
        ("import keras\nlr = 0.1\nkeras.optimizers.Adam(learning_rate=lr)", "", "3.0.0"),
        ("import keras\nfrom keras import ops\nmodel.optimizer.lr = 0.1", "", "3.0.0"),
        ("os.environ['KERAS_BACKEND'] = 'jax'\nimport keras\nf(lr=0.1)", "", "3.0.0"),
        ("os.environ['KERAS_BACKEND'] = 'theano'\nimport keras\nf(lr=0.1)", "", "2.2.4"),
        ("import tensorflow as tf\ntf.keras.Sequential()", "", "2.15.0"),
        ("from tensorflow import keras\nmodel.save('m.keras')", "", "2.15.0"),
        ("from tensorflow.keras.optimizers import SGD\nSGD(lr=0.1, decay=1e-6)", "", "2.4.0"),
        ("import tensorflow as tf\ntf.keras.Sequential()", "Total params: 1,026 (4 KB)", "3.0.0"),
        ("import tensorflow as tf\ntf.keras.Sequential()", "Total params: 26", "2.15.0"),
        ("import tensorflow as tf\ntf.keras.Sequential()", OLD_SUMMARY, "2.4.0"),
        (f"from tensorflow import keras\n{OLD_SUMMARY}", "", "2.4.0"),
        ("import keras\nkeras.optimizers.Adam(learning_rate=0.1)", OLD_SUMMARY, "2.4.0"),
        ("from keras.models import Sequential", OLD_SUMMARY, "2.2.4"),
        ("from keras.layers import Convolution2D\nfit(nb_epoch=3)", OLD_SUMMARY, "1.2.2"),
        ("import tensorflow as tf\ntf.keras.Sequential()", NEW_SUMMARY, "2.15.0"),
    ],
)
def test_version(text: str, outputs: str, version: str) -> None:
    release = guess_release(text, outputs)
    assert release.version == version
    assert release.reason
