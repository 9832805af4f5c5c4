import tensorflow as tf

base = tf.keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3), pooling='avg')
base.trainable = False
model = tf.keras.Sequential([
    base,
    tf.keras.layers.BatchNormalization(),
    tf.keras.layers.Dropout(0.2),
    tf.keras.layers.Dense(3, activation='softmax', name='pred'),
])
train = tf.keras.utils.image_dataset_from_directory('data3/train', label_mode='categorical', image_size=(64, 64), batch_size=64)
model.compile(optimizer=tf.keras.optimizers.Adam(learning_rate=1e-2), loss='categorical_crossentropy', metrics=['accuracy'])
model.fit(train, epochs=25)
