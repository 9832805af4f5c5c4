"""Operators on tensors inside the model."""
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

inputs = keras.Input(shape=(32, 32, 3))
x = inputs / 255.0
x = x - 0.5
x = layers.Conv2D(16, 3, padding="same")(x)
x = tf.nn.relu(x)
shortcut = x
y = layers.Conv2D(16, 3, padding="same")(x)
x = y + shortcut
x = layers.MaxPooling2D()(tf.keras.activations.relu(x))
x = tf.concat([x, x * 2.0], axis=-1)
x = layers.Flatten()(x)
outputs = layers.Dense(10, activation="softmax")(x)
model = keras.Model(inputs, outputs)

(x_train, y_train), _ = keras.datasets.cifar10.load_data()
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=64, epochs=10)
