"""Pictures that a loop reads into arrays."""
import glob
import os

import cv2
import numpy as np
from sklearn.model_selection import train_test_split
from tensorflow.keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from tensorflow.keras.models import Sequential
from tensorflow.keras.utils import to_categorical

IMG_HEIGHT, IMG_WIDTH, CHANNELS = 32, 40, 3
CLASSES = ['cats', 'dogs']

X, y = [], []
for label, name in enumerate(CLASSES):
    for file in glob.glob(os.path.join('data', 'train', name, '*.png')):
        img = cv2.imread(file)
        img = cv2.resize(img, (IMG_WIDTH, IMG_HEIGHT))
        X.append(img)
        y.append(label)
X = np.array(X) / 255.0
y = to_categorical(np.array(y), len(CLASSES))
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, random_state=1, stratify=y)

model = Sequential([
    Conv2D(8, (3, 3), activation='relu', input_shape=(IMG_HEIGHT, IMG_WIDTH, CHANNELS)),
    MaxPooling2D((2, 2)),
    Flatten(),
    Dense(len(CLASSES), activation='softmax'),
])
model.compile(optimizer='rmsprop', loss='categorical_crossentropy', metrics=['accuracy'])
model.fit(X_train, y_train, epochs=20, batch_size=8, validation_data=(X_val, y_val))
