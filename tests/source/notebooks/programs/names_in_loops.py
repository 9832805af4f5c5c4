from keras.layers import Activation, BatchNormalization, Conv2D, Dense, GlobalMaxPooling2D, Input
from keras.models import Model
from keras.optimizers import Adam
from keras.datasets import cifar10

n_blocks, base = 3, 'block'
image = Input(shape=(32, 32, 3), name='%s_input' % base)
x = image
k = 0
while k < n_blocks:
    k += 1
    for part in ('a', 'b'):
        name = '{}{}{}'.format(base, k, part)
        x = Conv2D(2 ** (k + 2), (3, 3), padding='same', use_bias=False, name=name + '_conv')(x)
        x = BatchNormalization(name='%s_bn' % name)(x)
        x = Activation('relu', name=f'{name}_relu')(x)
    if k == 2:
        continue
    x = Conv2D(2 ** (k + 2), 2, strides=2, name='_'.join([base, str(k), 'down']))(x)
x = GlobalMaxPooling2D()(x)
model = Model(image, Dense(10, activation='softmax')(x))

(train_x, train_y), (test_x, test_y) = cifar10.load_data()
model.compile(optimizer=Adam(lr=3e-4), loss='sparse_categorical_crossentropy', metrics=['acc'])
model.fit(train_x / 255., train_y, batch_size=100, epochs=9, validation_split=0.1)
