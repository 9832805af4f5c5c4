"""`globals`, `locals`, `vars`, `exec`, `eval`, `get_ipython`: they see the names around a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from signs_lightning.translate.code_texts import CallSite
from signs_lightning.translate.ipython_shell import Shell
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.values import Value

Scoped = Callable[[CallSite, list[Value], dict[str, Value]], Value]


def _globals(site: CallSite, args: list[Value], kwargs: dict[str, Value]) -> Value:
    return site.scope.module.variables


def _locals(site: CallSite, args: list[Value], kwargs: dict[str, Value]) -> Value:
    scope = site.scope
    if args or kwargs:
        return NotImplemented  # vars(object)
    if scope.parent is None or scope.is_class:
        return scope.variables
    site.interpreter.budget.make(len(scope.variables))
    return dict(scope.variables)  # what is set in it does not reach the function


def _execute(site: CallSite, args: list[Value], kwargs: dict[str, Value]) -> Value:
    _where(site, args).run(_text(site, args, kwargs))
    return None


def _evaluate(site: CallSite, args: list[Value], kwargs: dict[str, Value]) -> Value:
    return _where(site, args).evaluate(_text(site, args, kwargs))


def _text(site: CallSite, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """Return the text that is run, None where it is run with other names."""
    others = [arg for arg in args[1:] if arg is not site.scope.module.variables]
    return args[0] if args and not others and not kwargs else None


def _where(site: CallSite, args: list[Value]) -> CallSite:
    """Return where a text is run: outside a function if it is given the global names."""
    is_outside = len(args) > 1
    return replace(site, scope=Scope(site.scope.module)) if is_outside else site


def _shell(site: CallSite, args: list[Value], kwargs: dict[str, Value]) -> Value:
    return Shell(site)


SCOPED: dict[str, Scoped] = {
    "builtins.globals": _globals,
    "builtins.locals": _locals,
    "builtins.vars": _locals,
    "builtins.exec": _execute,
    "builtins.eval": _evaluate,
    "builtins.get_ipython": _shell,
    "IPython.get_ipython": _shell,
    "IPython.core.getipython.get_ipython": _shell,
}
