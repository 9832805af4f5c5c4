from tensorflow.keras.applications import VGG16
from tensorflow.keras import layers, models, optimizers
from tensorflow.keras.preprocessing.image import ImageDataGenerator

conv_base = VGG16(weights=None, include_top=False, input_shape=(48, 48, 3))

model = models.Sequential()
model.add(conv_base)
model.add(layers.Flatten())
model.add(layers.Dense(256, activation='relu'))
model.add(layers.Dense(1, activation='sigmoid'))

print('This is the number of trainable weights before freezing:', len(model.trainable_weights))
conv_base.trainable = False
print('This is the number of trainable weights after freezing:', len(model.trainable_weights))

train_datagen = ImageDataGenerator(rescale=1./255, horizontal_flip=True, fill_mode='nearest')
test_datagen = ImageDataGenerator(rescale=1./255)
train_generator = train_datagen.flow_from_directory('data/train', target_size=(48, 48), batch_size=20, class_mode='binary')
validation_generator = test_datagen.flow_from_directory('data/validation', target_size=(48, 48), batch_size=20, class_mode='binary')

model.compile(loss='binary_crossentropy', optimizer=optimizers.RMSprop(learning_rate=2e-5), metrics=['acc'])
history = model.fit(train_generator, epochs=30, validation_data=validation_generator)
