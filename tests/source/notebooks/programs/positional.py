from tensorflow.keras.models import Sequential
from tensorflow.keras import layers, datasets, optimizers

alexnet = Sequential([
    layers.Conv2D(24, 11, 4, 'same', input_shape=(64, 64, 3), activation='relu'),
    layers.MaxPooling2D(3, 2),
    layers.ZeroPadding2D(2),
    layers.Conv2D(32, (5, 5), 1, activation='relu'),
    layers.MaxPool2D((2, 2), (2, 2), 'same'),
    layers.Cropping2D(((0, 1), (0, 1))),
    layers.Conv2DTranspose(16, 2, 2),
    layers.UpSampling2D(2),
    layers.AveragePooling2D(2, 1, 'valid'),
    layers.Activation('relu'),
    layers.Flatten(),
    layers.Dropout(.5),
    layers.Dense(64, 'relu', False),
    layers.BatchNormalization(-1, 0.95),
    layers.Dense(6, 'softmax'),
])

import h5py
train = h5py.File('datasets/train_signs.h5')
X, Y = train['train_set_x'][:] / 255, train['train_set_y'][:]
alexnet.compile(optimizers.RMSprop(1e-3, 0.8, 0.1), 'sparse_categorical_crossentropy', ['accuracy'])
alexnet.fit(X, Y, 24, 16)
