"""Tracing a module with torch.fx without changing it or running it on data."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from mapper.errors import Finding, NetworkError
from mapper.frontends.from_torch.leaves import replacing_own_neurons
from mapper.frontends.from_torch.values import RefusalError
from mapper.wording import join_names, titled

__all__ = ["FAILURES", "Trace", "known_class", "trace", "unchanged", "unwrapped"]

# Every condition costs a trace.
_CONDITIONS_MAX = 200
_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
# Wrappers by class name: the attribute that holds the module they wrap.
_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
# Modules of other packages that only call others: traced through, as the user's own containers are.
_OTHER_CONTAINERS = {"sinabs": ("Network", "Repeat"), "norse": ("SequentialState",)}
# Their neurons hide their dynamics in control flow: taken as leaves, they can be refused by name.
_FOREIGN = ("snntorch", "spikingjelly", "norse", "rockpool", "lava", "slayer", "brevitas")
# The user's forward runs while it is traced, and may raise anything. One that leaves with sys.exit is at
# fault like any other: its status would pass for a verdict. Ctrl-C is none of it.
FAILURES = (Exception, SystemExit, GeneratorExit)


# Steps that tell a potential beyond a threshold from one below.
_COMPARES = frozenset(("gt", "ge", "lt", "le", "heaviside", "sign"))


class _KeywordError(Exception):
    """forward wants what no frame gives."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__()


class Trace:
    """A traced module: the graph, and tensors that came up while tracing, by name."""

    def __init__(self, root: nn.Module, graph: fx.Graph, constants: dict[str, torch.Tensor]) -> None:
        self.root, self.graph, self.constants = root, graph, constants

    def constant(self, path: str) -> Any:
        """A tensor that the graph reads, by its path in the module."""
        value: Any = self.constants.get(path)
        if value is None:
            value = self.root
            for part in path.split("."):
                value = getattr(value, part)
        return value

    def finding(self, node: fx.Node, error: RefusalError) -> Finding:
        """What a refusal of a node says; of neurons of the user's own class the same for all their steps."""
        if where := self.own_neurons(node):
            step = replacing_own_neurons()
            return Finding(where, "has neurons that only its own code knows", next_step=step)
        where = self.place(node, error.problem)
        return Finding(where, error.problem, error.value, error.limit, next_step=error.next_step)

    def own_neurons(self, node: fx.Node) -> str:
        """The layer of neurons of the user's own class that a node is a step of; "" where it is of none.

        Neurons compare a potential with a threshold, which no other layer does.
        """
        path = _innermost(node)
        steps = (entry for entry in self.graph.nodes if _innermost(entry) == path)
        if not path or not any(_name_of(entry) in _COMPARES for entry in steps):
            return ""
        return f"layer {path} ({type(self.root.get_submodule(path)).__name__})"

    def place(self, node: fx.Node, problem: str) -> str:
        """What a message about a node calls it."""
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            kind = (known_class(module) or type(module)).__name__
            path = str(node.target)
            return f"layer {titled(path, kind)}" if problem.startswith(kind) else f"layer {path} ({kind})"
        return f"{node.name} in {_innermost(node) or type(self.root).__name__}"


def _innermost(node: fx.Node) -> str:
    """Path of the module whose forward a node is a step of; "" for the root, and for whole modules."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack and node.op != "call_module" else ""


def _name_of(node: fx.Node) -> str:
    target: Any = node.target
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))


def _package(name: str) -> str:
    return name.partition(".")[0]


def known_class(module: nn.Module) -> type | None:
    """The class of torch, sinabs or a related package whose forward the module runs, or None."""
    own = type(module)
    for entry in own.__mro__:
        home = str(entry.__module__)
        if home.startswith(("torch.nn.modules.", "torch.ao.")) or _package(home) in ("sinabs", *_FOREIGN):
            # A subclass that computes something else is no longer what its base is: it is traced through.
            same = all(
                getattr(own, name, None) is getattr(entry, name, None)
                for name in ("forward", "_conv_forward", "__call__")
            )
            return entry if same else None
    return None


def _is_leaf(module: nn.Module) -> bool:
    known = known_class(module)
    if known is None:
        return False
    return known.__name__ not in _OTHER_CONTAINERS.get(_package(str(known.__module__)), _CONTAINERS)


def unwrapped(module: nn.Module) -> tuple[nn.Module, Any]:
    """The module inside wrappers, and the input shape that a wrapper states (None if none does).

    Raises
    ------
    NetworkError
        A sinabs network without a spiking model, a wrapper that was given hooks or a forward, or what torch
        compiled.
    """
    stated: Any = None
    _require_python(module)
    while True:
        kind, package = type(module).__name__, _package(str(type(module).__module__))
        if kind == "Network" and package == "sinabs":
            stated = stated or getattr(module, "input_shape", None)
            inner = getattr(module, "spiking_model", None)
        elif kind in _WRAPPERS and package == "torch":
            inner = getattr(module, _WRAPPERS[kind], None)
        else:
            return (nn.Sequential(module) if _is_leaf(module) else module), stated
        # torch.compile puts its own forward on the object.
        has_forward = "forward" in vars(module) and kind != "OptimizedModule"
        if module._forward_hooks or module._forward_pre_hooks or has_forward:
            problem = "has hooks or a forward of its own, and only the module inside is read"
            raise NetworkError(Finding(kind, problem, next_step="Give the module inside, with the hooks"))
        if not isinstance(inner, nn.Module) or inner is module:
            step = "Give it one: sinabs.from_torch.from_model makes such networks"
            raise NetworkError(Finding(kind, "has no spiking model", next_step=step))
        module = inner


def _require_python(module: nn.Module) -> None:
    """Refuse modules that torch.jit compiled, and parts that torch.compile did: their code is not followed.

    Raises
    ------
    NetworkError
        All of them.
    """
    findings = []
    for path, entry in module.named_modules():
        where = f"layer {titled(path)}" if path else f"module {type(entry).__name__}"
        if isinstance(entry, torch.jit.ScriptModule):
            problem, step = (
                "is compiled by torch.jit",
                "Give the module before torch.jit.script or torch.jit.trace",
            )
            findings.append(Finding(where, problem, next_step=step))
            break
        if path and type(entry).__name__ == "OptimizedModule":
            problem, step = "is compiled by torch.compile", "Give the network before its parts were compiled"
            findings.append(Finding(where, problem, next_step=step))
    if findings:
        raise NetworkError(*findings)


def _containers(fields: dict[str, Any]) -> Iterator[Any]:
    """Lists, dictionaries and sets in a module's fields, those inside others too, each once."""
    waiting, seen = [*fields.values()], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | dict | set) and id(value) not in seen:
            seen.add(id(value))
            yield value
            waiting += value.values() if isinstance(value, dict) else value


@contextmanager
def unchanged(root: nn.Module) -> Iterator[None]:
    """All modules in eval mode inside, everything as before outside.

    A forward may store values in its module, and a spectral norm computes on every look at its weights
    while it trains: neither may be left behind.
    """
    modules = list(root.modules())
    fields = [dict(vars(module)) for module in modules]
    inner = [(value, value.copy()) for stored in fields for value in _containers(stored)]
    try:
        for module in modules:
            vars(module)["training"] = False
        with torch.no_grad():
            yield
    finally:
        for module, stored in zip(modules, fields, strict=True):
            vars(module).clear()
            vars(module).update(stored)
        for value, before in inner:
            value.clear()
            if isinstance(value, list):
                value.extend(before)
            else:
                value.update(before)


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True

    def __init__(self, decided: Sequence[bool]) -> None:
        super().__init__()
        self.decided, self.decisions_taken = decided, 0
        self.open: fx.Node | None = None
        self.constants: dict[str, torch.Tensor] = {}
        self.failed_in = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module stands in the graph by itself, rather than what its forward does."""
        return _is_leaf(m)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """As the base class; a module in which the trace fails is remembered by its path.

        Raises
        ------
        Exception
            Whatever the module's forward raises.
        """
        try:
            return super().call_module(m, forward, args, kwargs)
        except FAILURES:
            # The innermost module is the one to be named.
            self.failed_in = self.failed_in or self.path_of_module(m)
            raise

    def path_of_module(self, mod: nn.Module) -> str:
        """As the base class; a slice of a Sequential is a container made anew, and its modules have paths.

        Raises
        ------
        NameError
            Any other module that the traced one does not hold.
        """
        try:
            return super().path_of_module(mod)
        except NameError:
            if type(mod) is not nn.Sequential:
                raise
            return ""

    def to_bool(self, obj: fx.Proxy) -> bool:
        """The next of the decisions; behind the last one the condition is left open.

        Raises
        ------
        torch.fx.proxy.TraceError
            No decision is left: `open` is the condition's node.
        """
        if self.decisions_taken < len(self.decided):
            self.decisions_taken += 1
            return self.decided[self.decisions_taken - 1]
        self.open = obj.node
        return super().to_bool(obj)

    def create_arg(self, a: Any) -> Any:
        """What stands in the graph for an argument: a tensor of one number is the number, others are named.

        Raises
        ------
        NotImplementedError
            fx has no node for an argument of this type.
        """
        # The base class would store constants as attributes of the user's module.
        if isinstance(a, torch.Tensor) and not isinstance(a, nn.Parameter):
            if a.numel() == 1 and a.dtype.is_floating_point | (not a.dtype.is_complex):
                return a.item()
            name = f"constant {len(self.constants)}"
            self.constants[name] = a
            return self.create_node("get_attr", name, (), {})
        return super().create_arg(a)


def trace(root: nn.Module, decide: Callable[[Trace, fx.Node], bool | None]) -> Trace:
    """The module's operations in the order they are called.

    Parameters of forward that have a default take it.

    Parameters
    ----------
    decide
        Says whether a condition in forward holds, from the trace up to it; None where that depends on data.

    Raises
    ------
    NetworkError
        The module's forward cannot be followed: it depends on values, or fails.
    """
    decided: list[bool] = []
    while True:
        tracer = _Tracer(decided)
        try:
            with unchanged(root), warnings.catch_warnings():
                # fx says that it cannot guard every default: nobody calls the trace with other values.
                warnings.simplefilter("ignore")
                graph = tracer.trace(root, concrete_args=_defaults(root))
        except _KeywordError as error:
            raise NetworkError(error.finding) from None
        except FAILURES as error:
            # Modules can be read only when the tracer is gone: the trace starts anew, wiser by one answer.
            answer = None
            if tracer.open is not None and len(decided) < _CONDITIONS_MAX:
                answer = decide(Trace(root, tracer.graph, tracer.constants), tracer.open)
            if answer is None:
                raise _failure(root, tracer, error) from None
            decided.append(answer)
        else:
            return Trace(root, graph, tracer.constants)


def _defaults(root: nn.Module) -> dict[str, Any] | None:
    parameters = inspect.signature(type(root).forward).parameters.values()
    needed = [
        entry.name
        for entry in parameters
        if entry.kind is entry.KEYWORD_ONLY and entry.default is inspect.Parameter.empty
    ]
    if needed:
        problem = f"its forward needs {join_names(needed)} by keyword, and a chip gets frames alone"
        step = "Give it a default, or a module around it that passes it on"
        raise _KeywordError(Finding(type(root).__name__, problem, next_step=step))
    defaults = {
        entry.name: entry.default for entry in parameters if entry.default is not inspect.Parameter.empty
    }
    return defaults or None


def _failure(root: nn.Module, tracer: _Tracer, error: BaseException) -> NetworkError:
    where = type(root).__name__ + (f", layer {titled(tracer.failed_in)}" if tracer.failed_in else "")
    text = " ".join(str(error).split())[:300]
    step = (
        "Write forward without branches or loops that depend on values or on the batch, "
        "for one time step, or export the network to NIR"
    )
    problem = f"its forward cannot be traced: {type(error).__name__}: {text}"
    if tracer.failed_in and not [*root.get_submodule(tracer.failed_in).children()]:
        step += f". If these are neurons: {replacing_own_neurons()}"
    if isinstance(error, NameError) and "not installed" in text:
        problem = "its forward calls a module that it does not hold"
        step = "Make it an attribute in __init__, and call that"
    return NetworkError(Finding(where, problem, next_step=step))
