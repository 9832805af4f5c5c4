import tensorflow as tf

L = tf.keras.layers
WIDTHS = [8, 16, 32]

features = [L.InputLayer(input_shape=(32, 32, 3))]
for depth, width in enumerate(WIDTHS):
    features.append(L.Conv2D(width, 3, padding="same", name="conv_" + str(depth)))
    features += [L.BatchNormalization(), L.ReLU()]
    if depth < len(WIDTHS) - 1:
        features.append(L.MaxPool2D())

head = [L.Dense(n, activation="relu") for n in (64, 32)]
model = tf.keras.Sequential([*features, L.GlobalAveragePooling2D(), *head, L.Dense(10, "softmax")])

(x_train, y_train), (x_test, y_test) = tf.keras.datasets.cifar10.load_data()
x_train, x_test = x_train / 255.0, x_test / 255.0
model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
model.fit(x_train, y_train, 50, 7, validation_data=(x_test, y_test))
