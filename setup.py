"""Which packages the wheel holds: every one below signs_lightning, and the configurations. The rest
is in pyproject.toml.
"""

from setuptools import find_packages, setup

# The configurations lie at the top level, where their only copy is, so nothing below the package
# could find them.
setup(packages=[*find_packages(include=["signs_lightning*"]), "signs_lightning.configs"])
