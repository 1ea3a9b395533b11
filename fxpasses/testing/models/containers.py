"""Containers that are being filled, and the statements that open blocks and containers.

What follows an opening statement is written inside, until a closing one or the end of the spec.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from fxpasses.testing.models.joins import join_all
from fxpasses.testing.models.ops_modules import BATCH_NORM, CHAINABLE, DROPOUT, IDENTITY
from fxpasses.testing.models.ops_pointwise import ACTIVATIONS, IN_PLACE_MODULES
from fxpasses.testing.models.program import Block, Constructor, Container, ContainerKind, Local, Parameter
from fxpasses.testing.models.scope import Instance, Scope, Story, all_reasonable
from fxpasses.testing.models.types import TensorType, Value

# How many children a container may have; most have four if nothing closes it before.
LENGTHS = (1, 2, 3, 4, 4, 4)
LINKS = (*CHAINABLE, *ACTIVATIONS, *IN_PLACE_MODULES, *BATCH_NORM, *BATCH_NORM, *DROPOUT, IDENTITY)
KEYS = ("left", "right", "top", "bottom")


class Link(NamedTuple):
    """A child of a container: what it takes and gives, and whether it writes or returns its argument."""

    key: str
    constructor: Constructor
    argument: TensorType
    result: TensorType
    writes: bool
    aliases: bool
    leaf: bool
    writable: bool = True


@dataclass
class Chain:
    """A container that is being filled: each child takes what the one before it returned."""

    story: Story
    kind: ContainerKind
    depth: int
    opened_by: bytes
    argument: Value
    current: TensorType
    nodes_before: int
    locked_before: frozenset[int]
    links: list[Link] = field(default_factory=list[Link])

    @property
    def full(self) -> bool:
        """Whether it has as many children as the statement that opened it allows."""
        return len(self.links) >= LENGTHS[self.opened_by[1] % len(LENGTHS)]

    @property
    def aliases(self) -> bool:
        """Whether what was returned so far may be the argument itself."""
        return all(link.aliases for link in self.links)

    @property
    def writes(self) -> bool:
        """Whether the argument is written."""
        for link in self.links:
            if link.writes:
                return True
            if not link.aliases:
                return False
        return False

    def append(self, byte: int, link: Link) -> None:
        """Add a child that turns the current type into another; a byte chooses its key in a ModuleDict."""
        key = str(len(self.links)) if self.kind != "ModuleDict" else self._new_key(byte)
        self.links.append(link._replace(key=key))
        self.current = link.result

    @property
    def running(self) -> Value:
        """The value that the next child is called with."""
        writable = all(link.writable for link in self.links)
        if self.aliases:
            writable = writable and self.argument.writable
            return self.argument._replace(name="x", type=self.current, writable=writable)
        return Value("x", self.current, self.story.new_root(), writable)

    @property
    def locks(self) -> tuple[bool, ...]:
        """Whether the argument must not be written any more, as a tuple of one."""
        return (bool(self.argument.roots & (self.story.locked - self.locked_before)),)

    def _new_key(self, byte: int) -> str:
        pool = self.story.pool
        start = byte % len(pool)
        taken = {link.key for link in self.links}
        return next(name for name in (*pool[start:], *pool[:start], *KEYS) if name not in taken)


def _open(scope: Scope, s: bytes, kind: ContainerKind, feature: str) -> None:
    value = scope.find(s[2], lambda value: value.type.is_float and value.type.ndim >= 1)
    if value is None or scope.depth >= scope.story.max_depth:
        return
    story = scope.story
    locked = frozenset(story.locked)
    story.stack.append(Chain(story, kind, scope.depth + 1, s, value, rounded(value.type), story.nodes, locked))
    story.features.add(feature)


def open_sequential(scope: Scope, s: bytes) -> None:
    """`self.sequential = nn.Sequential(…)`."""
    _open(scope, s, "Sequential", "sequential")


def open_module_list(scope: Scope, s: bytes) -> None:
    """`for layer in self.layers: h = layer(h)`."""
    _open(scope, s, "ModuleList", "module_list")


def open_module_dict(scope: Scope, s: bytes) -> None:
    """`self.heads["conv"](h)`."""
    _open(scope, s, "ModuleDict", "module_dict")


def open_block(scope: Scope, s: bytes) -> None:
    """A class of its own, with one or two arguments."""
    first = scope.find(s[2], lambda _value: True)
    if first is None or scope.depth >= scope.story.max_depth:
        return
    arguments = [first]
    if s[4] % 3 == 2:
        second = scope.find_unused(s[3], lambda value: not value.roots & first.roots)
        arguments += [second] if second is not None else []
    push_block(scope.story, scope.depth + 1, s, arguments)


def push_block(story: Story, depth: int, s: bytes, arguments: list[Value]) -> None:
    """Start a block that is called with these values of what encloses it."""
    story.features.add("block")
    names = ("x", "y")[: len(arguments)]
    inner = [value._replace(name=name, type=rounded(value.type)) for name, value in zip(names, arguments, strict=True)]
    block = Block("", [Parameter(name) for name in names])
    scope = Scope(story, block, depth, s, values=inner, arguments=tuple(arguments), nodes_before=story.nodes)
    scope.made_for = tuple(value.type for value in inner)
    scope.locked_before = frozenset(story.locked)
    story.stack.append(scope)


def rounded(kind: TensorType) -> TensorType:
    """A wider range, so that what is made for it can be called with other values too."""
    if not kind.is_float:
        return kind
    bound = 4.0
    while bound < kind.bound:
        bound *= 4
    low = -bound if kind.low < 0 else (0.05 if kind.low >= 0.05 else 0.0)
    return kind.within(low, bound)._replace(gradient=True)


def read_in_chain(chain: Chain, s: bytes, opens: str | None) -> None:
    """A statement inside a container: open a block or a Sequential in it, or add a layer."""
    if opens is None or chain.depth >= chain.story.max_depth:
        add_layer(chain, s)
        return
    story, depth, inner = chain.story, chain.depth + 1, chain.running
    if opens == "block":
        push_block(story, depth, s, [inner])
        return
    locked = frozenset(story.locked)
    story.stack.append(Chain(story, "Sequential", depth, s, inner, chain.current, story.nodes, locked))


def add_layer(chain: Chain, s: bytes) -> None:
    """The layer that a statement names, or the next that applies to the running value."""
    value = chain.running
    writable = value.writable and not value.roots & chain.story.locked
    for attempt in range(len(LINKS)):
        spec = LINKS[(s[1] + attempt) % len(LINKS)]
        writes = "write" in spec.effects
        if not spec.accepts(chain.current) or (writes and not writable) or not _allows(chain.story, spec.name, writes):
            continue
        options = spec.options(s[4], chain.current)
        result = spec.infer(chain.current, **options)
        constructor, _call = spec.write((), options)
        if isinstance(result, TensorType) and all_reasonable(result) and constructor is not None:
            aliases = bool(spec.effects & {"write", "view"})
            chain.append(s[5], Link("", constructor, chain.current, result, writes, aliases, leaf=True))
            chain.story.nodes += 1
            _note_features(chain.story, spec.name, spec.effects)
            return


def _allows(story: Story, name: str, writes: bool) -> bool:
    if writes and not story.allows("inplace_module"):
        return False
    if "Dropout" in name and not (story.allows("dropout_module") and story.allows("random")):
        return False
    if name == "nn.Identity" and not story.allows("identity"):
        return False
    return "BatchNorm" not in name or story.allows("batch_norm")


def _note_features(story: Story, name: str, effects: frozenset[str]) -> None:
    if "random" in effects:
        story.features |= {"random", "dropout_module"}
    if "write" in effects:
        story.features.add("inplace_module")
    if name.startswith("nn.BatchNorm"):
        story.features.add("batch_norm")
    if name == "nn.Identity":
        story.features.add("identity")


def close_chain(chain: Chain) -> None:
    """Hand a full container to what encloses it, and call it there."""
    chain.story.stack.pop()
    parent = chain.story.stack[-1]
    container = Container(chain.kind, tuple((link.key, link.constructor) for link in chain.links))
    if isinstance(parent, Chain):
        parent.append(chain.opened_by[5], _as_link(chain, container, parent.current))
        return
    plain = {"Sequential": "sequential", "ModuleList": "layers", "ModuleDict": "heads"}[chain.kind]
    path = parent.add_child(container, chain.opened_by[5], plain)
    argument = next(value for value in parent.values if value.name == chain.argument.name)
    if chain.kind == "ModuleDict":
        _call_links(parent, chain, path, argument)
        return
    instance = _chain_instance(chain, path, container)
    parent.instances.append(instance)
    chain.story.nodes = chain.nodes_before
    parent.invoke(instance, [argument], 0)
    parent.instances += [_link_instance(link, path) for link in chain.links if link.leaf and chain.kind == "ModuleList"]


def _as_link(chain: Chain, container: Container, argument: TensorType) -> Link:
    writable = chain.running.writable
    return Link("", container, argument, chain.current, chain.writes, chain.aliases, leaf=False, writable=writable)


def _chain_instance(chain: Chain, path: str, container: Container) -> Instance:
    links = chain.links
    kind = links[0].argument if links else chain.current
    looped = chain.kind == "ModuleList"
    residual = looped and chain.opened_by[4] % 2 == 1 and all(_keeps_type(link) for link in links) and bool(links)
    bound = 1 + sum(link.result.bound for link in links) + kind.bound
    return Instance(
        path,
        (kind,),
        chain.current.within(-bound, bound)._replace(gradient=True) if residual else chain.current,
        frozenset(),
        (chain.writes,),
        chain.aliases and not residual,
        leaf=False,
        cost=chain.story.nodes - chain.nodes_before,
        length=len(links) if looped else None,
        residual=residual,
        constructor=container,
        after=(kind.within(-bound, bound),),
        writable=residual or chain.running.writable,
        locks=chain.locks,
    )


def _keeps_type(link: Link) -> bool:
    return link.argument.shape == link.result.shape and link.argument.dtype is link.result.dtype


def _link_instance(link: Link, path: str) -> Instance:
    bound = link.argument.bound + link.result.bound
    return Instance(
        f"{path}.{link.key}",
        (link.argument,),
        link.result,
        frozenset(),
        (link.writes,),
        link.aliases,
        link.leaf,
        cost=1,
        after=(link.argument.within(-bound, bound),),
        writable=link.writable,
        locks=(not link.leaf,),
    )


def _call_links(parent: Scope, chain: Chain, path: str, argument: Value) -> None:
    for link in chain.links:
        instance = _link_instance(link, path)
        (argument,) = parent.invoke(instance, [argument], 0)
        parent.story.nodes -= 1
        if link.leaf:
            parent.instances.append(instance)


def close(scope: Scope, s: bytes) -> None:
    """End the block; at the root there is nothing to end."""
    if scope.depth > 0:
        close_block(scope, s)


def close_all(story: Story) -> Scope:
    """End everything that is open but the root, and return the root."""
    while len(story.stack) > 1:
        top = story.stack[-1]
        if isinstance(top, Chain):
            close_chain(top)
        else:
            close_block(top, bytes(6))
    return story.stack[0]


def close_block(scope: Scope, s: bytes) -> None:
    """Give a block its result, and hand it to what encloses it."""
    story = scope.story
    if s[3] < 192:
        join_all(scope)
    story.stack.pop()
    parent = story.stack[-1]
    outputs, shape = _choose_result(scope, s[4] % 2 if isinstance(parent, Chain) else s[4] % 8)
    scope.block.result = _structure(outputs, shape)
    scope.block.name = f"Block{len(story.blocks) + 1}"
    story.blocks.append(scope.block)
    writes = tuple(bool(argument.roots & scope.written) for argument in scope.arguments)
    roots = frozenset[int]().union(*(value.roots for value in outputs))
    aliases = bool(roots & frozenset[int]().union(*(argument.roots for argument in scope.arguments)))
    if isinstance(parent, Chain):
        writable = outputs[0].writable and not outputs[0].roots & story.locked
        link = Link("", scope.block, parent.current, outputs[0].type, writes[0], aliases, False, writable)
        parent.append(scope.opened_by[5], link)
        return
    path = parent.add_child(scope.block, scope.opened_by[5], "block")
    types = tuple(value.type for value in outputs)
    names = [parameter.name for parameter in scope.block.parameters]
    after = tuple(value.type for name in names for value in scope.values if value.name == name)
    cost = story.nodes - scope.nodes_before
    results = types[0] if shape == "tensor" else types
    instance = Instance(path, scope.made_for, results, roots, writes, aliases, False, cost, after=after)
    keys = _dict_keys(outputs) if shape == "dict" else None
    locked = story.locked - scope.locked_before
    instance = instance._replace(
        constructor=scope.block,
        keys=keys,
        writable=all(value.writable for value in outputs),
        locks=tuple(bool(argument.roots & locked) for argument in scope.arguments),
    )
    parent.instances.append(instance)
    story.nodes = scope.nodes_before
    parent.invoke(instance, scope.arguments, s[5])


def _choose_result(scope: Scope, style: int) -> tuple[list[Value], str]:
    """The values that a block returns, and whether as a tensor, a tuple or a dict."""
    latest, first = scope.values[-1], scope.values[0]
    if style == 5 and scope.story.allows("identity"):
        scope.story.features.add("identity")
        return [first], "tensor"
    shape = "tuple" if style == 6 else "dict"
    if style <= 5 or len(scope.values) == 1 or not scope.story.allows(f"{shape}_io"):
        return [latest], "tensor"
    scope.story.features.add(f"{shape}_io")
    return [scope.values[-2], latest], shape


def _dict_keys(outputs: list[Value]) -> tuple[str, ...]:
    return tuple(f"out{index}" for index in range(len(outputs)))


def _structure(outputs: list[Value], shape: str) -> object:
    names = [Local(value.name) for value in outputs]
    if shape == "tensor":
        return names[0]
    return tuple(names) if shape == "tuple" else dict(zip(_dict_keys(outputs), names, strict=True))
