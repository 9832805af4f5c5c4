"""The three architectures and the LightningModule they share."""

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.happy import HappySequential
from signs_lightning.models.resnet50 import SignsResNet50
from signs_lightning.models.signs import SignsFunctional

__all__ = ["HappySequential", "ImageClassifier", "SignsFunctional", "SignsResNet50"]
