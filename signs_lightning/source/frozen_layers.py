"""The lines of a network that freeze layers, or keep them in eval mode."""

from __future__ import annotations

from typing import Any

from signs_lightning.models.layers import KerasBatchNorm2d
from signs_lightning.source.expressions import Code, Ref
from signs_lightning.source.layout import lines_of
from signs_lightning.source.program import Module
from signs_lightning.source.references import reference


class FrozenLayers:
    """Writes what is frozen in a network.

    Args:
        leaves: the modules that are no blocks or stages, by their keys.
        paths: where each module is, such as `conv2.0.conv_1`.

    Attributes:
        nodes: expressions in the lines.
    """

    def __init__(self, leaves: dict[str, Module], paths: dict[str, str]) -> None:
        self.leaves, self.paths = leaves, paths
        self.nodes: list[Any] = []

    def _frozen(self) -> list[str]:
        """Return the keys of modules whose parameters are frozen."""
        return [
            key
            for key, module in self.leaves.items()
            if not any(gradients := _gradients(module)) and gradients
        ]

    def freezing_lines(self) -> list[str]:
        """Return the lines that freeze layers."""
        frozen = self._frozen()
        trained = [key for key, module in self.leaves.items() if any(_gradients(module))]
        if not frozen:
            return []
        if len(frozen) <= len(trained):
            return self._set_gradients(frozen, False)
        lines = ["        self.requires_grad_(False)  # as they were frozen in Keras, all but:"]
        return lines + (self._set_gradients(trained, True) if trained else [])

    def _set_gradients(self, keys: list[str], value: bool) -> list[str]:
        names = list(dict.fromkeys(self._common(key, set(keys)) for key in keys))
        if len(names) == 1:
            return [f"        {names[0]}.requires_grad_({value})"]
        lines = lines_of(tuple(map(Code, names)), 2, "for layer in ", ":")
        return [*lines, f"            layer.requires_grad_({value})"]

    def _common(self, key: str, keys: set[str]) -> str:
        """Return the code of a module, or of the whole block or stage if all of it is meant."""
        top = self.paths[key].partition(".")[0]
        others = {k for k, path in self.paths.items() if path.partition(".")[0] == top}
        with_weights = {k for k in others if k in self.leaves and _gradients(self.leaves[k])}
        return f"self.{top}" if with_weights <= keys else code_of(f"self.{self.paths[key]}")

    def _resting(self) -> list[str]:
        """Return the keys of modules that stay in eval mode."""
        return [key for key, module in self.leaves.items() if module.is_at_rest]

    def mode_lines(self) -> list[str]:
        """Return the line that sets the modes of a new network, where layers stay in eval mode."""
        return ["        self.train()"] if self._resting() else []

    def resting_lines(self) -> list[str]:
        """Return `train`, where layers stay in eval mode."""
        if not (resting := self._resting()):
            return []
        self.nodes.append(Ref("typing", "Self"))
        lines = ["", "    def train(self, mode: bool = True) -> Self:"]
        lines.append('        """Keep layers in eval mode that Keras keeps so."""')
        lines.append("        super().train(mode)")
        frozen_norms = [
            key
            for key, module in self.leaves.items()
            if isinstance(module.module, KerasBatchNorm2d) and not any(_gradients(module))
        ]
        if len(resting) > 3 and resting == frozen_norms:
            self.nodes.append(reference(KerasBatchNorm2d))
            lines += [
                "        for layer in self.modules():",
                "            weights = list(layer.parameters())",
                "            is_frozen = not any(weight.requires_grad for weight in weights)",
                "            if isinstance(layer, KerasBatchNorm2d) and is_frozen:",
                "                layer.eval()",
            ]
        else:
            names = [code_of(f"self.{self.paths[key]}") for key in resting]
            if len(names) == 1:
                lines.append(f"        {names[0]}.eval()")
            else:
                lines += lines_of(tuple(map(Code, names)), 2, "for layer in ", ":")
                lines.append("            layer.eval()")
        return [*lines, "        return self"]


def code_of(path: str) -> str:
    """Return the code of an attribute: `self.conv2[0].conv_1` for `self.conv2.0.conv_1`."""
    first, *parts = path.split(".")
    return first + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in parts)


def _gradients(module: Module) -> list[bool]:
    """Return for each parameter of a module whether it is trained."""
    return [p.requires_grad for p in module.module.parameters()] if module.module else []
