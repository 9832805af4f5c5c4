import tensorflow as tf
from tensorflow.keras import layers

config = dict(filters=[8, 16], dense=32, dropout=None, activation='swish', lr=5e-4)
config.update({'kernel': (3, 3), 'epochs': 13})
IMG_SIZE = (48, 48)
conv = dict(kernel_size=config['kernel'], padding='same')
act = lambda: layers.Activation(config['activation'])
square = lambda n: n * n


def make(cfg, size=IMG_SIZE + (3,), *, classes):
    inputs = layers.Input(size)
    x = layers.Rescaling(1. / 255)(inputs)
    for i, f in enumerate(cfg['filters'], start=1):
        x = layers.Conv2D(filters=f * square(i), **conv)(x)
        x = act()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(cfg.get('dense', 10))(x)
    x = act()(x)
    if cfg['dropout'] is not None:
        x = layers.Dropout(cfg['dropout'])(x)
    return tf.keras.Model(inputs, layers.Dense(classes, activation='softmax')(x))


model = make(config, classes=3)
ds = tf.keras.preprocessing.image_dataset_from_directory('data3/train', image_size=IMG_SIZE, batch_size=12, label_mode='categorical')
model.compile(tf.keras.optimizers.Adam(config['lr']), tf.keras.losses.CategoricalCrossentropy(), ['accuracy'])
model.fit(ds, epochs=config['epochs'])
