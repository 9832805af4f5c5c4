"""A class that keeps its settings and builds the model."""
import numpy as np
from tensorflow import keras
from tensorflow.keras.layers import Conv2D, Dense, Flatten, Input, MaxPool2D


class DigitNet(object):
    KERNEL = (5, 5)

    def __init__(self, shape, classes=10, filters=(6, 16)):
        self.shape = shape
        self.classes = classes
        self.filters = filters
        self.model = None

    def conv_pool(self, x, n):
        x = Conv2D(n, self.KERNEL, activation='tanh', padding='same')(x)
        return MaxPool2D()(x)

    def build(self):
        inputs = Input(self.shape, name='pixels')
        x = inputs
        for n in self.filters:
            x = self.conv_pool(x, n)
        x = Flatten()(x)
        for units in [120, 84]:
            x = Dense(units, activation='tanh')(x)
        outputs = Dense(self.classes, activation='softmax', name='digit')(x)
        self.model = keras.Model(inputs, outputs, name=self.__class__.__name__.lower())
        return self.model

    def compile(self, lr):
        self.model.compile(keras.optimizers.SGD(learning_rate=lr), loss='sparse_categorical_crossentropy')
        return self


(x_train, y_train), _ = keras.datasets.mnist.load_data()
x_train = x_train[..., np.newaxis] / 255.0

net = DigitNet((28, 28, 1))
net.build()
net.compile(0.05).model.fit(x_train, y_train, batch_size=256, epochs=8)
