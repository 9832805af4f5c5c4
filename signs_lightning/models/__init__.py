"""The three architectures, a pretrained one, and the LightningModule they share."""

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.happy_sequential import HappySequential
from signs_lightning.models.pretrained_resnet50 import PretrainedResNet50
from signs_lightning.models.signs_functional import SignsFunctional
from signs_lightning.models.signs_resnet50 import SignsResNet50

__all__ = [
    "HappySequential",
    "ImageClassifier",
    "PretrainedResNet50",
    "SignsFunctional",
    "SignsResNet50",
]
