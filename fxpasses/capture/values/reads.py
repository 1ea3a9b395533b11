"""`AttributeReads`: the dtypes and devices that traced code read from values.

The code gets them as what they are. Plain tracing hands out a proxy, which becomes a node where it is first used;
here the node is made at the same place, so that graphs have the same nodes and names.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import fx

from fxpasses.capture.values.decisions import current_place
from fxpasses.capture.values.proxies import ValueAttribute, ValueProxy

if TYPE_CHECKING:
    from fxpasses.capture.value_tracer import ValueTracer


class _DeviceRead(NamedTuple):
    device: torch.device
    attribute: ValueAttribute
    before: fx.Node
    stack: OrderedDict[str, Any]


class AttributeReads:
    """What one trace has read.

    Args:
        tracer: The tracer.

    Attributes:
        keeps_tables: Whether what the forward makes of numbers alone, on the device of a value, is a constant of the
            graph, and not made anew by it.
        made_tables: Whether there was such a thing, and it is not.
    """

    def __init__(self, tracer: ValueTracer) -> None:
        self.keeps_tables = False
        self.made_tables = False
        self._tracer = tracer
        self._dtypes: defaultdict[torch.dtype, list[tuple[str, ValueAttribute]]] = defaultdict(list)
        self._devices: dict[int, _DeviceRead] = {}

    def dtype(self, proxy: ValueProxy, dtype: torch.dtype) -> torch.dtype:
        """Takes note of the dtype of `proxy`."""
        self._dtypes[dtype].append((self._path(), ValueAttribute(proxy, "dtype")))
        return dtype

    def device(self, proxy: ValueProxy, device: torch.device) -> torch.device:
        """Takes note of the device of `proxy`, and returns it as an object that can be told from any other."""
        own = torch.device(str(device))
        before = cast("fx.Node", self._tracer.last_node)
        attribute = ValueAttribute(proxy, "device")
        self._devices[id(own)] = _DeviceRead(own, attribute, before, self._tracer.module_stack.copy())
        return own

    def node_of_device(self, device: object) -> fx.Node | None:
        """Returns the node that reads `device` anew in the graph, which can be moved; None if no value has it."""
        read = self._devices.get(id(device)) if isinstance(device, torch.device) else None
        return None if read is None else read.attribute.node

    def uses_dtype(self, dtype: torch.dtype) -> None:
        """Makes a node of the last read of `dtype`, which is an argument now."""
        reads, path = self._dtypes[dtype], self._path()
        while reads and reads[-1][0] and not f"{path}.".startswith(f"{reads[-1][0]}."):
            reads.pop()  # the module that read it has returned
        if reads and str(dtype) not in current_place().source:  # else it is spelled out there
            self._tracer.create_arg(reads.pop()[1])

    def has_device(self, args: Any, kwargs: Mapping[str, Any]) -> bool:
        """Whether a device among the arguments was read from a value: what is made there moves with that value."""
        if not self._devices or self.keeps_tables:
            return False
        found = any(isinstance(each, torch.device) and id(each) in self._devices for each in (*args, *kwargs.values()))
        self.made_tables = self.made_tables or found
        return found

    def name_unused_devices(self, graph: fx.Graph) -> None:
        """Makes nodes of devices that were turned into text, or compared; their places are those of the reads."""
        for read in reversed(self._devices.values()):
            if read.attribute._node is None:
                with graph.inserting_after(read.before):
                    node = graph.call_function(getattr, (read.attribute.root.node, "device"))
                node.meta["nn_module_stack"] = read.stack

    def _path(self) -> str:
        return next(reversed(self._tracer.module_stack.values()), ("", None))[0]
