"""A model inside a model, and a layer that is used twice."""
import keras
from keras.layers import Average, Conv2D, Dense, Flatten, Input, MaxPooling2D
from keras.models import Model, Sequential

shared = Conv2D(6, (3, 3), padding='same', activation='relu', name='shared')
encoder = Sequential([
    Conv2D(8, (3, 3), activation='relu', input_shape=(30, 30, 6)),
    MaxPooling2D(3, 2),
], name='encoder')
picture = Input(shape=(30, 30, 3))
first = shared(picture)
reduce = Conv2D(3, 1)(first)
second = shared(reduce)
both = Average()([encoder(first), encoder(second)])
answer = Dense(4, activation='softmax')(Flatten()(both))
model = Model(picture, answer)

import numpy as np
x, y = np.random.rand(40, 30, 30, 3), np.random.randint(0, 4, (40,))
model.compile(optimizer=keras.optimizers.Adam(lr=0.003), loss='sparse_categorical_crossentropy')
model.fit(x, y, batch_size=10, epochs=2)
