"""Blocks that concatenate, sized by what came before."""
from tensorflow.keras import Input, Model
from tensorflow.keras import backend as K
from tensorflow.keras.datasets import cifar10
from tensorflow.keras.layers import (AveragePooling2D, BatchNormalization, Concatenate, Conv2D,
                                     Dense, GlobalAveragePooling2D, ReLU)
from tensorflow.keras.utils import to_categorical


def bn_relu_conv(x, filters, kernel=1, strides=1):
    x = BatchNormalization(epsilon=1.001e-5)(x)
    x = ReLU()(x)
    return Conv2D(filters, kernel, strides=strides, padding='same', use_bias=False)(x)


def dense_block(tensor, repeat, growth=12):
    for _ in range(repeat):
        y = bn_relu_conv(tensor, 4 * growth)
        y = bn_relu_conv(y, growth, 3)
        tensor = Concatenate()([y, tensor])
    return tensor


def transition(x):
    x = bn_relu_conv(x, K.int_shape(x)[-1] // 2)
    return AveragePooling2D(2, strides=2, padding='same')(x)


def tiny_densenet(shape, n_classes, repeats=(2, 3)):
    inputs = Input(shape)
    x = Conv2D(24, 3, strides=2, padding='same')(inputs)
    for repeat in repeats:
        d = dense_block(x, repeat)
        x = transition(d)
    x = GlobalAveragePooling2D()(d)
    return Model(inputs, Dense(n_classes, activation='softmax')(x))


(x, y), (x_test, y_test) = cifar10.load_data()
model = tiny_densenet(x.shape[1:], 10)
model.compile(optimizer='nadam', loss='categorical_crossentropy', metrics=['accuracy'])
model.fit(x / 255, to_categorical(y), batch_size=64, epochs=30,
          validation_data=(x_test / 255, to_categorical(y_test)))
