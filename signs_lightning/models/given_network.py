"""A network that `ImageClassifier` is given: a module, or what makes one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from signs_lightning.errors import InputError
from signs_lightning.runtime.own_code import import_object, is_own_error, object_path


class NamedFunction:
    """What makes a network, by the path that the user gave for it.

    Args:
        path: of a function or class, such as timm.create_model; imported when it is called.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @functools.cached_property
    def function(self) -> Callable[..., nn.Module]:
        """The function or class itself."""
        function: Callable[..., nn.Module] = import_object(self.path)
        if not callable(function):
            raise InputError(f"{self.path} cannot be called, expected what makes a network.")
        return function


if TYPE_CHECKING:
    from signs_lightning.models.model_with_preprocessing import ImageModel

    Network = nn.Module | Callable[..., nn.Module] | NamedFunction
else:
    Network = NamedFunction  # all that a command line or a configuration can say


class GivenNetwork:
    """A network that is there, or that is made for the classes of the data.

    Args:
        network: as `ImageClassifier` takes it; a text, which only a checkpoint gives, is not
            imported.
        arguments: by which `network` is called.

    Attributes:
        name: the path of what makes the network, or its class in angle brackets where it has none.
        arguments: by name.

    Raises:
        InputError: a text is given, or arguments for a network that is there.
    """

    def __init__(self, network: Network | str, arguments: dict[str, Any] | None) -> None:
        if isinstance(network, str):
            given = "make_network" if network.startswith("<") else network
            raise InputError(
                f"network is the text {network}, which is not imported: a checkpoint may say "
                f"anything. Give what makes the network: network={given}, also in "
                "`load_from_checkpoint(path, network=…)`."
            )
        self.arguments = dict(arguments or {})
        self.function: Any = network
        if isinstance(network, NamedFunction):
            self.function, self.name = network.function, network.path
            return
        if isinstance(network, functools.partial):
            self.function = network.func
            names = inspect.signature(network.func).parameters
            by_place = dict(zip(names, network.args, strict=False))
            self.arguments = {**by_place, **network.keywords, **self.arguments}
        kind = type(network) if self.is_made else self.function
        path = None if self.is_made else object_path(kind)
        own_name = getattr(kind, "__name__", type(kind).__name__).strip("<>")
        self.name = path or f"<{own_name}>"
        if self.arguments and self.is_made:
            raise InputError(
                f"network is a {kind.__name__} that is made already, and network_args are given. "
                "Leave these out, or give what makes it."
            )

    @property
    def is_made(self) -> bool:
        """Whether the network is there, and not to be made."""
        return isinstance(self.function, nn.Module)

    def build(self, num_classes: int) -> nn.Module:
        """Return the network for so many classes.

        Raises:
            InputError: its arguments are not those of what makes it, or no network results. What
                the user's own code raises passes through.
        """
        if self.is_made:
            made: nn.Module = self.function
            return made
        arguments = dict(self.arguments)
        if "num_classes" not in arguments and self._takes_num_classes():
            arguments["num_classes"] = num_classes
        try:
            inspect.signature(self.function).bind(**arguments)
        except TypeError as error:
            raise InputError(
                f"{self.name} cannot be called: {error}. Give its arguments in network_args, or "
                "with --model.network.NAME VALUE."
            ) from error
        try:
            network = self.function(**arguments)
        except Exception as error:
            if is_own_error(error):
                raise
            given = ", ".join(f"{key}={value}" for key, value in arguments.items())
            raise InputError(f"{self.name}({given}) fails: {error}.") from error
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise InputError(f"{self.name} makes a {kind}, expected a network (torch.nn.Module).")
        return network

    def _takes_num_classes(self) -> bool:
        names = inspect.signature(self.function).parameters
        return "num_classes" in names or any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in names.values()
        )


def take_network(
    model: ImageModel, network: Network | None, arguments: dict[str, Any] | None
) -> GivenNetwork | None:
    """Return the network that a model is given, and note in its `hparams` what makes it.

    Raises:
        InputError: the model makes its own, or a network cannot be told by these.
    """
    if network is None:
        return None
    if model.has_build:
        raise InputError(
            f"{type(model).__name__} makes its own network. Leave network out, or take "
            "ImageClassifier instead."
        )
    given = GivenNetwork(network, arguments)
    model.hparams.update(network=given.name, network_args=given.arguments)
    return given
