"""What a call of an unknown module or function may do, as far as its source tells.

The policy for callees that no rule knows. First their source is read (`statements`), nothing is run:
`Conv2dNormActivation(inplace=True)` writes into a convolution's result, which is its own; an `MLP` that begins
with an in-place dropout writes into its input. Where the source cannot be read (an extension, a scripted
module, a generator, more code than is reasonable), the callee may write, return and store every argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import fx, nn

from fxpasses.graph.effects.behaviour import STATE, Behaviour, Key, Kind, opaque
from fxpasses.graph.effects.source.calls import Arguments
from fxpasses.graph.effects.source.memory import (
    STATE_REGION,
    Memory,
    Region,
    Value,
    ValueKind,
    value_of_constant,
)
from fxpasses.graph.effects.source.statements import Reader
from fxpasses.graph.effects.source.watched import Decisions

_ATTEMPTS = 4

KindOf = Callable[[fx.Node], Kind]


def behaviour_from_source(
    callee: nn.Module | Callable[..., Any],
    training: bool | None,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    kind_of: KindOf = lambda _node: "any",
    decisions: Decisions | None = None,
) -> Behaviour:
    """Returns what calling `callee` may do.

    Args:
        callee: The module or function that is called.
        training: The `training` flag to assume for every module; None for either.
        args: The arguments by position: nodes of a graph, constants, or containers of them.
        kwargs: The arguments by keyword.
        kind_of: What the value of a node is.
        decisions: Watches the constants that it has by the keys of the arguments, and by the names of attributes of
            `callee`.

    Example:
        >>> from torchvision.ops import Conv2dNormActivation
        >>> node = fx.Graph().placeholder("x")
        >>> behaviour_from_source(Conv2dNormActivation(3, 4), False, (node,), {}).writes
        frozenset()
        >>> behaviour_from_source(nn.Sequential(nn.ReLU(inplace=True)), None, (node,), {}).writes
        frozenset({0})
    """
    assigned: set[str] = set()
    for _ in range(_ATTEMPTS):
        memory = Memory(assigned=set(assigned))
        try:
            behaviour = _read(callee, Reader(memory, training, decisions, callee), args, kwargs, kind_of)
        except Exception:  # reading runs none of the code, but looks at objects of any kind: what fails is not read
            break
        if memory.assigned == assigned:
            return behaviour
        # An attribute that the code assigns is not, on the next call, what it is now.
        assigned = set(memory.assigned)
    return opaque(args, kwargs)


def _read(
    callee: nn.Module | Callable[..., Any],
    reader: Reader,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    kind_of: KindOf,
) -> Behaviour:
    regions: dict[Key, Region] = {}
    values: dict[Key, Value] = {}
    for key, argument in [*enumerate(args), *kwargs.items()]:
        regions[key] = reader.memory.new_region()
        watched = reader.watched_constant(key)
        values[key] = watched or _value_of_argument(argument, regions[key], kind_of)
    passed = Arguments(tuple(values[position] for position in range(len(args))), {key: values[key] for key in kwargs})
    result = reader.call(value_of_constant(callee), passed, "call", 0)
    return _summary(reader.memory, {**regions, STATE: STATE_REGION}, result)


def _value_of_argument(argument: object, region: Region, kind_of: KindOf) -> Value:
    if isinstance(argument, fx.Node):
        kind: ValueKind = kind_of(argument)
        return Value(frozenset() if kind == "none" else frozenset([region]), kind)
    nodes: list[fx.Node] = []
    fx.map_arg(cast("Any", argument), nodes.append)
    if nodes:
        return Value(frozenset([region]))
    known = value_of_constant(argument)
    # Numbers, and tuples of them, are not shared with anything; a list, a tensor or an object that was passed in is.
    if not known.is_constant:
        return Value(frozenset([region]))
    return known


def _summary(memory: Memory, regions: Mapping[Key, Region], result: Value) -> Behaviour:
    written = memory.reach(memory.written) | memory.rebuilt
    returned = memory.reach(result.regions)
    owned = set(regions.values())
    links = any(memory.reach(memory.holds.get(region, ())) & (owned - {region}) for region in owned)
    return Behaviour(
        writes=frozenset(key for key, region in regions.items() if region in written),
        returns=frozenset(key for key, region in regions.items() if region in returned),
        kind="any" if result.kind == "container" else result.kind,
        links=links,
        random=memory.random,
    )
