from tensorflow.keras import Model
from tensorflow.keras.datasets import cifar10
from tensorflow.keras.layers import (Add, Conv2D, Dense, GlobalAveragePooling2D, Input, Reshape,
                                     multiply)


def squeeze_excite(x, ratio=4):
    channels = x.shape[-1]
    s = GlobalAveragePooling2D()(x)
    s = Reshape((1, 1, channels))(s)
    s = Dense(channels // ratio, activation='relu', use_bias=False)(s)
    s = Dense(channels, activation='sigmoid', use_bias=False)(s)
    return multiply([x, s])


def block(x, filters, ratio=None):
    shortcut = x if x.shape[-1] == filters else Conv2D(filters, 1, padding='same')(x)
    y = Conv2D(filters, 3, padding='same', activation='relu')(x)
    y = squeeze_excite(y, ratio or 4)
    return Add()([shortcut, y])


img = Input((32, 32, 3))
x = img
sizes = {'first': 16, 'second': 16, 'third': 32}
for name, size in sizes.items():
    x = block(x, size, 8 if name == 'third' else None)
out = Dense(10, activation='softmax')(GlobalAveragePooling2D()(x))
model = Model(inputs=img, outputs=out)
(x_train, y_train), test = cifar10.load_data()
model.compile(loss='sparse_categorical_crossentropy', optimizer='Adam')
model.fit(x_train / 255., y_train, epochs=4, validation_split=0.1)
