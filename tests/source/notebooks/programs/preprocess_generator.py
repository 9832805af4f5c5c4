import numpy as np
from keras.applications.mobilenet import MobileNet, preprocess_input
from keras.layers import Dense, GlobalAveragePooling2D
from keras.models import Model
from keras.optimizers import SGD
from keras.preprocessing.image import ImageDataGenerator

TARGET_SIZE, BATCH_SIZE, EPOCHS = (64, 64), 8, 3
LAYERS_TO_FREEZE = 20


def add_new_last_layer(base_model, nb_classes, fc_size=64):
    x = base_model.output
    x = GlobalAveragePooling2D()(x)
    x = Dense(fc_size, activation='relu')(x)
    predictions = Dense(nb_classes, activation='softmax')(x)
    return Model(inputs=base_model.input, outputs=predictions)


def setup_to_finetune(model):
    for layer in model.layers[:LAYERS_TO_FREEZE]:
        layer.trainable = False
    for layer in model.layers[LAYERS_TO_FREEZE:]:
        layer.trainable = True
    model.compile(optimizer=SGD(lr=0.0001, momentum=0.9), loss='categorical_crossentropy', metrics=['accuracy'])


train_datagen = ImageDataGenerator(preprocessing_function=preprocess_input, rotation_range=30, horizontal_flip=True)
train_generator = train_datagen.flow_from_directory('data3/train', target_size=TARGET_SIZE, batch_size=BATCH_SIZE)

base_model = MobileNet(weights=None, include_top=False, alpha=0.5, input_shape=TARGET_SIZE + (3,))
model = add_new_last_layer(base_model, 3)
setup_to_finetune(model)
history = model.fit_generator(train_generator, steps_per_epoch=int(np.ceil(train_generator.samples / BATCH_SIZE)), epochs=EPOCHS)
