"""Classes of the source that derive from Keras's Model or Layer: their `call` is run on tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.functional_config import ordered_layers
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.late_names import remember_names
from signs_lightning.translate.layer_arguments import LAYERS, layer_class
from signs_lightning.translate.layer_records import TRAINING, input_layer, make_layer
from signs_lightning.translate.model_records import ModelRecord
from signs_lightning.translate.sequential_records import make_sequential
from signs_lightning.translate.symbolic_tensors import SymbolicTensor, holds_tensor, tensors_in
from signs_lightning.translate.values import (
    Method,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

# Methods of a class that change how Keras trains it, and that nothing here calls.
OF_TRAINING = ("train_step", "compute_loss", "make_train_function", "compute_gradients")
WITHOUT_EFFECT = ("add_metric", "_set_inputs", "_set_save_spec")


@dataclass(eq=False)
class SubclassRecord(ModelRecord):
    """What an instance of a class that derives from Model or Layer is for Keras.

    Attributes:
        instance: of the class, with `call_method`, `has_method`, `attributes` and `cls`.
        is_model: whether it derives from Model.
        is_ready: whether the class's own `build` was called.
    """

    class_name = "Subclass"

    instance: Any = None
    is_model: bool = True
    is_ready: bool = False

    def describe(self) -> str:
        return f"{self.instance.cls.name} '{self.name}'"

    def attribute(self, name: str, place: Place) -> Value:
        if name == "__init__":
            return Method(name, self._initialise)
        if name == "__call__":
            return Method(name, self.call)
        if name in WITHOUT_EFFECT:
            return Method(name, lambda args, kwargs, at: None)
        if name == "layers" and not self.outputs:
            return list(_layers_in(self.instance.attributes))
        return super().attribute(name, place)

    def _initialise(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> None:
        given = dict(zip(("inputs", "outputs", "name"), args, strict=False)) | kwargs
        if isinstance(given.get("name"), str):
            self.name = given["name"]
        if given.get("trainable") is False:
            self.trainable = False
        if holds_tensor(given.get("outputs")):
            inputs, outputs = (list(tensors_in(given[key])) for key in ("inputs", "outputs"))
            self._connect(inputs, outputs)

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        if self.outputs and not self.instance.has_method("call"):
            return super().call(args, kwargs, place)
        if args and (apply := getattr(args[0], "apply_layer", None)) is not None:
            return apply(self, kwargs, place)
        if not holds_tensor([args, kwargs]):
            raise NotUnderstoodError(f"{self.describe()} called on a value")
        result = self._run(args, kwargs, place)
        if self.trainable is False:
            self.set_trainable(False)
        return result

    def _run(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        """Return what the class's `call` gives for tensors."""
        if self.instance.has_method("build") and not self.is_ready:
            shape = next(tensors_in([args, kwargs])).attribute("shape", place)
            self.instance.call_method("build", [shape], {}, place)
        self.is_ready = True
        if not self.instance.has_method("call"):
            raise NotUnderstoodError(f"{self.describe()}, which has no call()")
        function = self.instance.cls.find("call")[1]
        names = function.parameters() if hasattr(function, "parameters") else []
        kwargs = {key: value for key, value in kwargs.items() if key != "training"}
        if "training" in names[2:]:
            kwargs["training"] = Unknown(TRAINING, place)
        kwargs.pop("name", None)
        remember_names(function, f"call() of {self.describe()}", place)
        result = self.instance.call_method("call", args, kwargs, place)
        if not holds_tensor(result):
            why = f": {result.reason}" if isinstance(result, Unknown) else ""
            raise NotUnderstoodError(f"call() of {self.describe()}{why}")
        return result

    def set_input_shape(self, shape: Value, place: Place) -> None:
        if not self.outputs and self.is_model:
            tensor = SymbolicTensor(input_layer(shape, None, place).nodes[0])
            self._connect([tensor], list(tensors_in(self._run([tensor], {}, place))))

    def require_built(self) -> None:
        told = session().facts.get("input_shape")
        if not self.outputs and told is not None:
            self.set_input_shape([None, *told], self.place)
        super().require_built()

    def all_unknowns(self) -> list[tuple[str, Unknown]]:
        found = super().all_unknowns()
        if not self.outputs and session().facts.get("input_shape") is None:
            what = f"the input shape of {self.describe()}"
            found.append((what, Unknown(what, self.place, "input_shape")))
        return found

    def _connect(self, inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]) -> None:
        self.layers, self.calls = ordered_layers(inputs, outputs)
        self.inputs, self.outputs = inputs, outputs
        seen: set[str] = set()
        for layer in self.layers:  # blocks of one class may give the same names
            name, number = layer.name, 1
            while layer.name in seen:
                layer.name, number = f"{name}_{number}", number + 1
            seen.add(layer.name)

    def taint(self, unknown: Unknown) -> None:
        super().taint(unknown)
        for layer in _layers_in(self.instance.attributes):
            layer.taint(unknown)

    def set_trainable(self, value: Value) -> None:
        self.trainable = value
        for layer in self.layers or _layers_in(self.instance.attributes):
            layer.set_attribute("trainable", value, self.place)


def _layers_in(value: Any) -> Iterator[Any]:
    """Yield the layers and models inside the attributes of an instance."""
    base = getattr(value, "base", None)
    if hasattr(value, "nodes") and isinstance(value, Record):
        yield value
    elif isinstance(base, SubclassRecord):
        yield base
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _layers_in(part)


@dataclass(eq=False)
class DerivedLayer(Record):
    """What an instance of a class that derives from one of Keras's own layers is for Keras.

    Attributes:
        name: of Keras's class.
        instance: of the class.
        layer: once `super().__init__` was called.
        taints: code that is not understood and may have changed it.
    """

    name: str
    instance: Any
    layer: Any = None
    taints: list[tuple[str, Unknown]] = field(default_factory=list)

    def describe(self) -> str:
        return str(self.instance.cls.name)

    def taint(self, unknown: Unknown) -> None:
        self.taints.append((self.describe(), unknown))

    def all_unknowns(self) -> list[tuple[str, Unknown]]:
        """Return what is not known of it, each with what it is."""
        return [*self.taints, *([] if self.layer is None else self.layer.all_unknowns())]

    @property
    def trainable(self) -> Value:
        return True if self.layer is None else self.layer.trainable

    @trainable.setter
    def trainable(self, value: Value) -> None:
        self._layer().trainable = value

    def attribute(self, name: str, place: Place) -> Value:
        if name == "__init__":
            return Method(name, self._initialise)
        if name in ("call", "__call__"):
            return Method(name, self._layer().call)
        return self._layer().attribute(name, place)

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        self._layer().set_attribute(name, value, place)

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        if self.instance.has_method("call"):
            return self.instance.call_method("call", args, kwargs, place)
        return self._layer().call(args, kwargs, place)

    def _initialise(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> None:
        self.layer = make_layer(self.name, args, kwargs, place)

    def _layer(self) -> Any:
        if self.layer is None:
            raise NotUnderstoodError(f"{self.describe()} before super().__init__()")
        if self.instance.has_method("build") or self.instance.has_method("add_weight"):
            raise NotUnderstoodError(f"build() of {self.describe()}")
        return self.layer


def subclass(name: str, instance: Any, place: Place) -> Value:
    """Return what an instance is for Keras, NotImplemented where its class is no layer or model.

    Args:
        name: canonical, of the library's class that its class derives from.
        instance: of the class of the source.
        place: where it is made.

    Raises:
        NotUnderstoodError: the class trains in a way of its own.
    """
    prefix, _, last = name.rpartition(".")
    is_model = name in ("keras.models.Model", "keras.models.Sequential")
    for method in OF_TRAINING if is_model else ():
        if instance.has_method(method):
            raise NotUnderstoodError(f"{method}() of class {instance.cls.name}")
    if name == "keras.models.Sequential":
        if instance.has_method("call"):
            raise NotUnderstoodError(f"call() of class {instance.cls.name}")
        return make_sequential([], {}, place)
    if is_model or name in ("keras.layers.Layer", "keras.layers.Wrapper"):
        own = session().auto_name(instance.cls.name)
        record = SubclassRecord(own, place, instance=instance, is_model=is_model)
        if is_model:
            session().models.append(record)
        return record
    if prefix == "keras.layers" and layer_class(last) in LAYERS:
        return DerivedLayer(last, instance)
    return NotImplemented
