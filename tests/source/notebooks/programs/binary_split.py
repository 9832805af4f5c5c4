import h5py
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers, metrics, optimizers

f = h5py.File('datasets/train_happy.h5', 'r')
images, smiles = f['train_set_x'][:], f['train_set_y'][:]
f.close()
images = images.astype('float32') / 127.5 - 1

model = tf.keras.Sequential()
model.add(layers.Conv2D(16, (3, 3), (2, 2), 'same', activation='relu', input_shape=images.shape[1:]))
model.add(layers.BatchNormalization())
model.add(layers.Conv2D(32, (3, 3), 2, 'same', activation='relu'))
model.add(layers.GlobalMaxPool2D())
model.add(layers.Dense(1, 'sigmoid'))
model.compile(optimizer=optimizers.Adam(learning_rate=2e-3, epsilon=1e-6),
              loss=tf.keras.losses.BinaryCrossentropy(label_smoothing=0.1),
              metrics=[metrics.BinaryAccuracy(name='accuracy'), metrics.AUC()])
model.fit(images, smiles, validation_split=0.2, batch_size=25, epochs=14)
