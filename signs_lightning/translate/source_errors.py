"""Exceptions that the source itself would raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from signs_lightning.translate.limits import LimitError
from signs_lightning.translate.values import NeedsFactError, NotUnderstoodError, Value


class SourceError(Exception):
    """The source itself raises an exception at this statement.

    Attributes:
        name: of its class, such as "KeyError".
        value: the exception object of the source, if it made one.
    """

    def __init__(self, name: str, message: str = "", value: Value = None) -> None:
        super().__init__(f"{name}: {message}" if message else name)
        self.name = name
        self.message = message
        self.value = value


def perform_safely(perform: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what an operation on plain values returns.

    Raises:
        SourceError: if it raises.
    """
    try:
        return perform(*args, **kwargs)
    except (NotUnderstoodError, NeedsFactError, LimitError, SourceError):
        raise
    except (MemoryError, RecursionError) as error:
        raise NotUnderstoodError(type(error).__name__) from None
    except Exception as error:
        raise SourceError(type(error).__name__, str(error)[:200]) from None
