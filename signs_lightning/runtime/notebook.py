"""Whether the process is the kernel of a notebook."""

from __future__ import annotations

import sys


def is_notebook() -> bool:
    """Whether what is printed goes to a cell of Jupyter, Colab or VS Code."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")
