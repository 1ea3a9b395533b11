"""`DualGraphModule`: a train and an eval graph behind one module."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import fx, nn

from fxpasses.errors import ArgumentTypeError, ModeError
from fxpasses.feature_extraction.selection import Selection
from fxpasses.graph.lazy_graph_module import COMPILED, ForwardOnDemand, LazyGraphModule, forward_on_demand
from fxpasses.graph.mode_flags import ModeFlags
from fxpasses.graph.modules import attribute, copy_targets
from fxpasses.graph.reachable import make_reachable


class DualGraphModule(LazyGraphModule):
    """A graph module with one graph for training mode and one for evaluation mode.

    `train()` and `eval()` switch between them; each is compiled when it is first needed, and never again. Submodules,
    parameters and buffers are those of `root`, in the order in which the train graph and then the eval graph first use
    them; what neither uses is not there, nor in the state dict. The mode at the start is that of `root`.

    Args:
        root: The module in which the targets of both graphs are found.
        train_graph: The graph of training mode.
        eval_graph: The graph of evaluation mode; may be the same object.
        class_name: What the module calls itself when printed.
        selection: What was asked for, in each mode; kept for whoever wants to know what a key stands for.
        only_mode: The one mode that the module has, where it has not both; both graphs are that mode's then.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> graph = fx.symbolic_trace(model).graph
        >>> dual = DualGraphModule(model, graph, graph).eval()
        >>> dual.training, dual.graph is dual.eval_graph
        (False, True)
    """

    __jit_unused_properties__ = (
        *LazyGraphModule.__jit_unused_properties__,
        "train_graph",
        "eval_graph",
        "selection",
        "only_mode",
    )

    def __init__(
        self,
        root: nn.Module,
        train_graph: fx.Graph,
        eval_graph: fx.Graph,
        class_name: str = "GraphModule",
        selection: Selection | None = None,
        only_mode: Literal["train", "eval"] | None = None,
    ) -> None:
        super().__init__(root, train_graph, class_name)
        if eval_graph is not train_graph:
            copy_targets(root, self, eval_graph)
            make_reachable(self, eval_graph)
        eval_graph.owning_module = self
        # What `fx.GraphModule` calls the current graph is `_graph`; the other mode's waits here.
        self._waiting_graph = eval_graph
        self._waiting_code = dict[str, Any]()
        self._selection = selection
        self._mode_flags: ModeFlags | None = None
        self._only_mode: Literal["train", "eval"] | None = None
        if not root.training:
            self._switch()
        self._only_mode = only_mode

    @property
    def selection(self) -> Selection | None:
        """What was asked for: pairs of a qualified name and an output key, in each mode."""
        return self._selection

    @property
    def only_mode(self) -> Literal["train", "eval"] | None:
        """The one mode that the module has; None if it has both."""
        return self._only_mode

    @property
    def train_graph(self) -> fx.Graph:
        """The graph that runs in training mode."""
        return self._graph if self.training else self._other_graph()

    @property
    def eval_graph(self) -> fx.Graph:
        """The graph that runs in evaluation mode."""
        return self._other_graph() if self.training else self._graph

    def _other_graph(self) -> fx.Graph:
        if self._only_mode is not None:
            raise _other_mode(self._only_mode)
        return self._waiting_graph

    def graphs(self) -> dict[str, fx.Graph]:
        """Returns the graphs of both modes, by the name of the attribute that holds it."""
        return {"_graph": self._graph, "_waiting_graph": self._waiting_graph}

    def train(self, mode: bool = True) -> DualGraphModule:
        """Sets the mode of the module and of its submodules, and makes the mode's graph the current one.

        Raises:
            ModeError: The module was made for the other mode alone.
        """
        if not isinstance(mode, bool):
            raise ArgumentTypeError(f"train(mode) takes True or False, got {mode!r}.")
        attributes = self.__dict__
        if mode is not attributes["training"]:
            self._switch()
            attributes["training"] = mode
        flags = attributes["_mode_flags"]
        if flags is None or not flags.still_hold():
            flags = attributes["_mode_flags"] = ModeFlags(self)
        flags.set(mode)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        # Not `train`: hosts that wrap a module, such as torch.compile, set the flag itself before they call it.
        if name == "training" and "_waiting_graph" in self.__dict__ and bool(value) != self.training:
            self._switch()
        super().__setattr__(name, value)

    def _switch(self) -> None:
        """Exchanges the current graph and its compiled code with the waiting ones."""
        # Not through `nn.Module.__setattr__`: a switch takes microseconds, as many as an assignment through it.
        attributes = self.__dict__
        graph, waiting_graph = attributes["_graph"], attributes["_waiting_graph"]
        if graph is waiting_graph:
            if self._only_mode is not None:
                raise _other_mode(self._only_mode)
            return
        waiting_code = attributes["_waiting_code"]
        own_class = self._own_class()
        code = {name: attributes.pop(name) for name in COMPILED if name in attributes}
        forward = vars(own_class)["forward"]
        if not isinstance(forward, ForwardOnDemand):
            code["forward"] = forward
        waiting_forward = waiting_code.pop("forward", None)
        own_class.forward = waiting_forward or forward_on_demand()
        attributes.update(waiting_code, _graph=waiting_graph, _waiting_graph=graph, _waiting_code=code)
        if code and waiting_forward is None:
            # It runs, and will in this mode too. A compiler that watches the call must not see its code being made.
            self.compile_now()

    def _attributes(self) -> dict[str, Any]:
        return {**super()._attributes(), "_waiting_code": {}, "_mode_flags": None}


def _other_mode(only: str) -> ModeError:
    other = "eval" if only == "train" else "train"
    return ModeError(
        f"This extractor was made with mode={only!r}, so it has no graph of {other} mode. Without mode=, "
        f"create_feature_extractor(model, return_nodes) makes one of both modes; with mode={other!r}, one of {other} mode."
    )


def common_root(train: fx.GraphModule, eval: fx.GraphModule) -> nn.Module:  # noqa: A002 - the mode's name in torch
    """Makes `train` a module in which the targets of both graphs are found, for `DualGraphModule`, and returns it.

    Both modes call the constants that the forward makes by the same names. Where their values differ, the constant
    of `eval` gets another name there, and in its graph.
    """
    if train is eval:
        return train
    for path in dict.fromkeys(str(node.target) for node in train.graph.find_nodes(op="get_attr")):
        ours, theirs = attribute(train, path), attribute(eval, path)
        if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor) and not _is_same(ours, theirs):
            _rename(eval, path, f"{path}_of_eval", theirs)
    copy_targets(eval, train, eval.graph)
    return train


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    try:
        return one is other or (one.dtype == other.dtype and torch.equal(one, other))
    except RuntimeError:
        return False  # on two devices, or without values: meta and fake tensors


def _rename(graph_module: fx.GraphModule, path: str, name: str, tensor: torch.Tensor) -> None:
    while hasattr(graph_module, name):
        name += "_"
    graph_module.register_buffer(name, tensor, persistent=False)
    for node in graph_module.graph.nodes:
        if node.op == "get_attr" and node.target == path:
            node.target = name
