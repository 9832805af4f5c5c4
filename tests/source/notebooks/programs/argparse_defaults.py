import argparse

from tensorflow.keras import datasets, layers, models, optimizers


def get_args():
    parser = argparse.ArgumentParser(description='train')
    parser.add_argument('--epochs', type=int, default=18)
    parser.add_argument('--batch-size', type=int, default=48)
    parser.add_argument('--lr', type=float, default=0.02)
    parser.add_argument('--arch', choices=['small', 'large'], default='large')
    parser.add_argument('--no-dropout', action='store_true')
    return parser.parse_args()


def build(args):
    model = models.Sequential()
    model.add(layers.Conv2D(32 if args.arch == 'large' else 8, (3, 3), activation='relu', input_shape=(32, 32, 3)))
    model.add(layers.MaxPooling2D((2, 2)))
    if not args.no_dropout:
        model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    if args.arch == 'large':
        model.add(layers.Dense(64, activation='relu'))
    elif args.arch == 'small':
        model.add(layers.Dense(16, activation='relu'))
    else:
        raise ValueError('unknown: %s' % args.arch)
    model.add(layers.Dense(10, activation='softmax'))
    return model


args = get_args()
model = build(args)
model.compile(optimizers.SGD(learning_rate=args.lr), 'sparse_categorical_crossentropy', metrics=['accuracy'])
(x_train, y_train), (x_test, y_test) = datasets.cifar10.load_data()
assert x_train.shape[1:] == (32, 32, 3)
model.fit(x_train / 255., y_train, epochs=args.epochs, batch_size=args.batch_size)
