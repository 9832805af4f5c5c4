"""Moved to `signs_lightning.atomic`."""

from signs_lightning.atomic import written_whole

__all__ = ["written_whole"]
