import tensorflow as tf
from tensorflow.keras.callbacks import CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard

(x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()
x_train, x_test = x_train / 255.0, x_test / 255.0

model = tf.keras.models.Sequential([
    tf.keras.layers.Flatten(input_shape=(28, 28)),
    tf.keras.layers.Dense(128, activation='relu'),
    tf.keras.layers.Dropout(0.2),
    tf.keras.layers.Dense(10, activation='softmax')
])

early = EarlyStopping(monitor='val_loss', patience=3, restore_best_weights=True)
callbacks = [early,
             ModelCheckpoint(filepath='best.h5', monitor='val_accuracy', save_best_only=True, mode='max', verbose=1),
             ReduceLROnPlateau(monitor='val_loss', factor=0.2, patience=2, min_lr=1e-6)]
callbacks.append(CSVLogger('log.csv'))
callbacks += [TensorBoard(log_dir='./logs')]

model.compile(optimizer='adam', loss='sparse_categorical_crossentropy', metrics=['accuracy'])
model.fit(x_train, y_train, validation_data=(x_test, y_test), epochs=30, callbacks=callbacks)
model.save('mnist.h5')
