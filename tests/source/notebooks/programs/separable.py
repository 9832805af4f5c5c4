import tensorflow as tf
from tensorflow.keras import layers as kl

def separable(x, filters, stride=1):
    x = kl.DepthwiseConv2D(3, strides=stride, padding='same', use_bias=False)(x)
    x = kl.BatchNormalization(momentum=0.9, epsilon=1e-3)(x)
    x = kl.ReLU(6.)(x)
    x = kl.Conv2D(filters, 1, use_bias=False)(x)
    x = kl.BatchNormalization(momentum=0.9, epsilon=1e-3)(x)
    return kl.Activation(tf.nn.relu6)(x)

alpha = 0.5
inp = tf.keras.Input((64, 64, 3))
x = kl.SeparableConv2D(int(32 * alpha), (3, 3), (2, 2), 'same')(inp)
for f, s in zip([64, 128, 128], [1, 2, 1]):
    x = separable(x, int(f * alpha), s)
x = kl.GlobalAveragePooling2D()(x)
x = kl.Dropout(1e-3)(x)
model = tf.keras.Model(inp, kl.Dense(6, activation=tf.nn.softmax)(x))

import h5py
import numpy as np
with h5py.File('datasets/train_signs.h5', 'r') as f:
    images = np.array(f['train_set_x'])
    labels = np.array(f['train_set_y'])
model.compile(optimizer=tf.keras.optimizers.Adam(1e-3, beta_1=0.95), loss='sparse_categorical_crossentropy')
model.fit(images / 255., labels, epochs=12, batch_size=16)
