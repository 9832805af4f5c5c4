"""Which packages the wheel holds: every one below signs_lightning, and the configurations; and the
README as a package index shows it. The rest is in pyproject.toml.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

# The configurations lie at the top level, where their only copy is, so nothing below the package
# could find them.
CONFIGS = ["signs_lightning.configs", "signs_lightning.configs.recipes"]


def describe() -> str:
    """Return the README without what only a checkout has: an index knows no files beside it.

    Pictures are left out, and links to files become their text; links to addresses stay.
    """
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    text = re.sub(r"^!\[[^]]*\]\((?!https?:)[^)]*\)\n\n?", "", text, flags=re.MULTILINE)
    text = re.sub(r"^<!--.*?-->\n\n?", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", text)


setup(
    packages=[*find_packages(include=["signs_lightning*"]), *CONFIGS],
    long_description=describe(),
    long_description_content_type="text/markdown",
)
