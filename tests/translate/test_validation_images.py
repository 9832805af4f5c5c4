"""What of the images to validate on is other in Keras is said."""

from __future__ import annotations

import pytest
from reading_data import fit_of

TURNED = "ImageDataGenerator(rescale=1 / 255, rotation_range=20, validation_split=0.25)"
PLAIN = "ImageDataGenerator(rescale=1 / 255, validation_split=0.25)"
FIT = """
train = {}.flow_from_directory('pets', (64, 64), class_mode='sparse', subset='training')
val = {}.flow_from_directory('pets', (64, 64), class_mode='sparse', subset='validation')
model.fit(train, validation_data=val)
"""


@pytest.mark.parametrize(("made", "is_said"), [(TURNED, True), (PLAIN, False)])
def test_images_to_validate_on_that_keras_augments_are_said(made: str, is_said: bool) -> None:
    fit = fit_of(FIT.format(TURNED, made))
    assert any("validate on by chance" in note for _, note in fit.all_notes) is is_said
