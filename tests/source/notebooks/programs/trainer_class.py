import tensorflow as tf


class Trainer:
    """Keep data, model and settings together."""

    def __init__(self, epochs: int = 5, batch_size: int = 64) -> None:
        self.epochs, self.batch_size = epochs, batch_size
        self.load()
        self.model = self.make_model()

    def load(self):
        (self.x, self.y), self.test = tf.keras.datasets.mnist.load_data()
        self.x = self.x.reshape(-1, 28, 28, 1) / 255.0

    @staticmethod
    def make_model():
        model = tf.keras.models.Sequential()
        model.add(tf.keras.layers.Conv2D(12, 3, activation="relu", input_shape=(28, 28, 1)))
        model.add(tf.keras.layers.Flatten())
        model.add(tf.keras.layers.Dense(10, activation="softmax"))
        return model

    def train(self):
        self.model.compile(optimizer="adamax", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return self.model.fit(self.x, self.y, epochs=self.epochs, batch_size=self.batch_size)


def main():
    trainer = Trainer(epochs=3)
    history = trainer.train()
    print(history.history)


if __name__ == "__main__":
    main()
