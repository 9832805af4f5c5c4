import tensorflow as tf
from tensorflow.keras.layers import Dense, Dropout, Flatten
from tensorflow.keras.models import Sequential
from tensorflow.keras.optimizers import Adamax
from tensorflow.keras.metrics import Precision, Recall

img_shape = (72, 72, 3)


def load(folder):
    ds = tf.keras.utils.image_dataset_from_directory(folder, image_size=img_shape[:2], batch_size=32, label_mode='categorical')
    return ds.cache().shuffle(500).prefetch(tf.data.AUTOTUNE), ds.class_names


def build_model(num_classes=4, img_shape=img_shape, learning_rate=0.001):
    base_model = tf.keras.applications.Xception(include_top=False, weights=None, input_shape=img_shape, pooling='max')
    base_model.trainable = False
    model = Sequential([base_model, Flatten(), Dropout(rate=0.3), Dense(128, activation='relu'),
                        Dropout(rate=0.25), Dense(num_classes, activation='softmax')])
    model.compile(Adamax(learning_rate=learning_rate), loss='categorical_crossentropy',
                  metrics=['accuracy', Precision(), Recall()])
    return model


if __name__ == "__main__":
    train_ds, names = load('data3/train')
    model = build_model(num_classes=len(names))
    history = model.fit(train_ds, epochs=10)
