"""How many features of torchvision's models are wrong when all nodes are asked for at once: here, and in torchvision.

    python -m benchmarks.fidelity                    every model below 100 million parameters, then the table
    python -m benchmarks.fidelity resnet50 swin_t    these only, and no table

One model a process, one thread. What is measured is written to a file of JSON lines at once, so that a run that was
stopped goes on from there; `--again` starts over. The table is fidelity.md beside this file.

A feature is wrong if it is not, bit for bit, what the node computed at that moment. What that was, three witnesses
say, none of whom knows what a node writes to: an interpreter runs the whole graph, nothing pruned and nothing copied,
and each value is compared at the moment at which it is made; forward hooks of the eager model do the same for each
module call, containers included; and the model's own output is compared with that of the graph.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import fx, nn
from torch.utils import _pytree as pytree
from torchvision.models import feature_extraction as theirs

import fxpasses
from fxpasses.graph.meta import qualified_name
from fxpasses.graph.values import NamedValues

LIMIT = 100_000_000
_HERE = Path(__file__).parent
_DETECTION = ("fasterrcnn", "fcos", "keypointrcnn", "maskrcnn", "retinanet", "ssd", "raft")  # not traceable
_SIZES = {
    "googlenet": 96, "inception": 299, "maxvit": 224, "mc3": (4, 48, 48), "mvit": (16, 224, 224), "r2plus1d": (4, 48, 48),
    "r3d": (4, 48, 48), "s3d": (16, 224, 224), "swin3d": (4, 64, 64), "vit_b": 224,
}  # fmt: skip
"""The sides of an input; a model that is not here takes 64 pixels. Those of mvit and vit cannot be chosen."""


def model_and_input(name: str, training: bool) -> tuple[nn.Module, torch.Tensor]:
    """Builds a model in the given mode, and its input: one image or clip, in training mode two where it has batch norm."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, **_options(name)).train(training)
    size = next((size for start, size in _SIZES.items() if start in name), 64)
    sides = (size, size) if isinstance(size, int) else size
    has_batch_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return model, torch.randn(1 + (training and has_batch_norm), 3, *sides)


def _options(name: str) -> dict[str, Any]:
    if name.startswith(("deeplab", "fcn", "lraspp")):
        return {"weights_backbone": None}
    return {"init_weights": False} if name.endswith(("googlenet", "inception_v3")) else {}


def models() -> list[str]:
    """Returns the names of torchvision's models that can be traced and have fewer parameters than the limit."""
    traceable = [name for name in torchvision.models.list_models() if not name.startswith(_DETECTION)]
    return [name for name in traceable if _parameters(name) < LIMIT]


def _parameters(name: str) -> int:
    weights = next(iter(torchvision.models.get_model_weights(name)))
    return weights.meta["num_params"]


class Wrong:
    """Compares features with what the witnesses see, at the moment at which they see it."""

    def __init__(self, features: Mapping[str, Any]) -> None:
        self.features = features
        self.compared: set[str] = set()
        self.names: list[str] = []

    def see(self, name: str, value: Any) -> None:
        """Compares the feature `name` with `value`; a name that was not asked for does not count."""
        if name not in self.features:
            return
        self.compared.add(name)
        if not same_bits(self.features[name], value):
            self.names.append(name)


class Witness(fx.Interpreter):
    """Runs a whole graph and shows each value, under its qualified name, when it is made."""

    def __init__(self, graph_module: fx.GraphModule, names: Mapping[str, str], see: Callable[[str, Any], None]) -> None:
        super().__init__(graph_module)
        self._names, self._see = names, see

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[Any, Any]:
        """Gives each call lists and dicts of its own: a function of swin3d writes into one."""
        return self._values(n.args), self._values(n.kwargs)

    def _values(self, part: Any) -> Any:
        if isinstance(part, fx.Node):
            return self.env[part]
        if isinstance(part, dict):
            return {key: self._values(value) for key, value in part.items()}
        if isinstance(part, slice):
            return slice(*map(self._values, (part.start, part.stop, part.step)))
        if isinstance(part, (list, tuple)):
            return (list if isinstance(part, list) else tuple)(map(self._values, part))
        return part

    def run_node(self, n: fx.Node) -> Any:
        """Runs one node."""
        value = super().run_node(n)
        if n.name in self._names:
            self._see(self._names[n.name], value)
        return value


def run_with_hooks(model: nn.Module, x: torch.Tensor, see: Callable[[str, Any], None]) -> Any:
    """Runs the eager model and shows what each module call returns, under `path@k`, when it returns."""
    counts: Counter[str] = Counter()

    def hook(path: str) -> Callable[..., None]:
        def shown(_module: nn.Module, _args: Any, output: Any) -> None:
            see(f"{path}@{counts[path]}", output)
            counts[path] += 1

        return shown

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules() if path]
    try:
        return model(x)
    finally:
        for handle in handles:
            handle.remove()


def same_bits(one: Any, other: Any) -> bool:
    """Whether two values have the same structure, types, shapes and bits."""
    left, right = (pytree.tree_flatten(value)[0] for value in (one, other))
    return len(left) == len(right) and all(map(_same_leaf, left, right))


def _same_leaf(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return type(one) is type(other) and one == other
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(*(tensor.detach().reshape(-1).view(torch.uint8) for tensor in (one, other)))


class Subject:
    """A model in one mode, whose every run starts from the same state and the same seed."""

    def __init__(self, name: str, training: bool) -> None:
        self.model, self._input = model_and_input(name, training)
        self.training = training
        self._state = copy.deepcopy(self.model.state_dict())  # with the versions that some modules ask for

    def run(self, function: Callable[[torch.Tensor], Any]) -> Any:
        """Calls `function` with the input."""
        self.model.load_state_dict(self._state)
        torch.manual_seed(1)
        with torch.no_grad():
            return function(self._input.clone())

    def extractor(self, create: Callable[..., fx.GraphModule], names: Iterable[str]) -> fx.GraphModule:
        """Makes an extractor of some names in the model's mode; the other mode returns its input."""
        asked = list(names)
        other = asked[:1]
        by_mode = (asked, other) if self.training else (other, asked)
        return create(self.model, None, *by_mode, suppress_diff_warning=True).train(self.training)


def ours_wrong(subject: Subject) -> dict[str, Any]:
    """Measures fxpasses."""
    whole = fxpasses.NameNodes()(fxpasses.capture_symbolic(subject.model, training=subject.training)).graph_module
    nodes = {node.name: qualified_name(node) or "" for node in whole.graph.nodes if node.op != "output"}
    values = NamedValues(whole)
    calls = [key for path, _ in subject.model.named_modules() if path for key in _calls_of(path, values)]
    extractor = subject.extractor(fxpasses.create_feature_extractor, [*nodes.values(), *calls])
    comparison = Wrong(subject.run(extractor))
    output = subject.run(lambda x: Witness(whole, nodes, comparison.see).run(x))
    wrong_nodes, compared = len(comparison.names), len(comparison.compared)
    expected = subject.run(lambda x: run_with_hooks(subject.model, x, comparison.see))
    del comparison.features
    return {
        "nodes": len(nodes),
        "lost": len(nodes) - compared,
        "wrong": wrong_nodes,
        "calls": len(comparison.compared) - compared,
        "wrong_calls": len(comparison.names) - wrong_nodes,
        "copies": sum(node.target == "clone" or "clone_" in str(node.target) for node in extractor.graph.nodes),
        "output": same_bits(output, expected)
        and (subject.training or _output_alone(subject, fxpasses.create_feature_extractor, whole, nodes)),
        "which": comparison.names[:20],
    }


def theirs_wrong(subject: Subject) -> dict[str, Any]:
    """Measures torchvision."""
    tracer = theirs.NodePathTracer(**theirs._set_default_tracer_kwargs(None))
    whole = fx.GraphModule(subject.model, tracer.trace(subject.model))
    nodes = {node.name: name for node, name in tracer.node_to_qualname.items() if node.op != "output"}
    extractor = subject.extractor(theirs.create_feature_extractor, list(nodes.values()))
    comparison = Wrong(subject.run(extractor))
    subject.run(lambda x: Witness(whole, nodes, comparison.see).run(x))
    del comparison.features
    return {
        "nodes": len(nodes),
        "lost": len(nodes) - len(comparison.compared),
        "wrong": len(comparison.names),
        "output": subject.training or _output_alone(subject, theirs.create_feature_extractor, whole, nodes),
        "which": comparison.names[:20],
    }


def _calls_of(path: str, values: NamedValues) -> Iterator[str]:
    count = 0
    while (key := f"{path}@{count}") in values:
        yield key
        count += 1


def _output_alone(
    subject: Subject, create: Callable[..., fx.GraphModule], whole: fx.GraphModule, nodes: Mapping[str, str]
) -> bool:
    """Whether the model's output is right when nothing else is asked for."""
    names = list(_named(whole.graph.output_node().all_input_nodes, nodes))
    found = subject.run(subject.extractor(create, names))
    expected = pytree.tree_leaves(subject.run(subject.model))
    values = [found[name] for name in names]
    return all(any(same_bits(value, each) for each in expected) for value in values)


def _named(nodes: Iterable[fx.Node], names: Mapping[str, str]) -> Iterator[str]:
    """Yields the names of nodes; in place of one without a name, which only builds a container, those of its parts."""
    for node in nodes:
        if node.name in names:
            yield names[node.name]
        else:
            yield from _named(node.all_input_nodes, names)


def measure(name: str) -> dict[str, Any]:
    """Measures one model in both modes."""
    start = time.perf_counter()
    record: dict[str, Any] = {"model": name}
    for training in (False, True):
        subject = Subject(name, training)
        mode = "train" if training else "eval"
        record[mode] = {
            "input": list(subject._input.shape),
            "ours": ours_wrong(subject),
            "theirs": theirs_wrong(subject),
        }
    record["seconds"] = round(time.perf_counter() - start, 1)
    record["peak_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)
    return record


def table(records: Iterable[dict[str, Any]], missing: Sequence[str] = ()) -> str:
    """Renders the records as a page of Markdown; `missing` are models that have none."""
    rows = sorted(records, key=lambda record: record["model"])
    modes = ("eval", "train")
    total = {
        (mode, side, key): sum(row[mode][side].get(key, 0) for row in rows)
        for mode in modes
        for side in ("ours", "theirs")
        for key in ("nodes", "lost", "wrong", "calls", "wrong_calls", "copies", "output")
    }
    lines = [
        "# Features that are wrong when all nodes are asked for at once",
        "",
        f"{len(rows)} models, torch {torch.__version__}, torchvision {torchvision.__version__}.",
        *([f"Not measured yet: {', '.join(missing)}."] if missing else []),
        "Made by `python -m benchmarks.fidelity`; its first lines say what counts as wrong and who says so.",
        "",
        "| | eval: fxpasses | eval: torchvision | train: fxpasses | train: torchvision |",
        "|---|---|---|---|---|",
    ]
    for words, key in (
        ("nodes asked for", "nodes"), ("not returned", "lost"), ("wrong", "wrong"), ("module calls compared with hooks", "calls"),
        ("of them wrong", "wrong_calls"), ("copies made", "copies"), ("models with a right output", "output"),
    ):  # fmt: skip
        cells = [
            "" if side == "theirs" and key in ("calls", "wrong_calls", "copies") else str(total[mode, side, key])
            for mode in modes
            for side in ("ours", "theirs")
        ]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    affected = [sum(row[mode][side]["wrong"] > 0 for row in rows) for mode in modes for side in ("ours", "theirs")]
    lines.append(f"| models with a wrong feature | {' | '.join(map(str, affected))} |")
    lines += [
        "",
        "Each cell: wrong features of the nodes asked for, `+ n` for n that were not returned at all, `!` for a wrong output.",
        "",
        "| model | eval: fxpasses | eval: torchvision | train: fxpasses | train: torchvision | copies | module calls |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [_cell(row[mode][side]) for mode in modes for side in ("ours", "theirs")]
        ours = row["eval"]["ours"]
        lines.append(f"| {row['model']} | {' | '.join(cells)} | {ours['copies']} | {ours['calls']} |")
    return "\n".join(lines) + "\n"


def _cell(side: Mapping[str, Any]) -> str:
    wrong = side["wrong"] + side.get("wrong_calls", 0)
    return (
        f"{wrong} of {side['nodes']}"
        + (f" + {side['lost']}" if side["lost"] else "")
        + ("" if side["output"] else " !")
    )


def run_all(names: list[str], records: Path, again: bool) -> dict[str, dict[str, Any]]:
    """Measures what is not in the file yet, one process a model, and returns what is in it, by model."""
    records.parent.mkdir(exist_ok=True)
    if again:
        records.unlink(missing_ok=True)
    known = _read(records)
    for position, name in enumerate(names):
        if name in known:
            continue
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-m", "benchmarks.fidelity", "--one", name]
        result = subprocess.run(command, env=environment, cwd=_HERE.parent, capture_output=True, text=True, check=False)
        if result.returncode:
            print(f"{name}: failed\n{result.stderr[-2000:]}", flush=True)
            continue
        with records.open("a", encoding="utf-8") as file:
            file.write(result.stdout)
        record = known[name] = json.loads(result.stdout)
        shown = {mode: (_cell(record[mode]["ours"]), _cell(record[mode]["theirs"])) for mode in ("eval", "train")}
        print(f"{position + 1}/{len(names)} {name}: {shown} {record['seconds']} s {record['peak_gib']} GiB", flush=True)
    return known


def _read(records: Path) -> dict[str, dict[str, Any]]:
    if not records.exists():
        return {}
    lines = map(json.loads, records.read_text(encoding="utf-8").splitlines())
    return {record["model"]: record for record in lines}


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="models to measure; all below 100 million parameters if none")
    parser.add_argument(
        "--records", type=Path, default=_HERE.parent / "build" / "fidelity.jsonl", help="the file of JSON lines"
    )
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    parser.add_argument(
        "--table", action="store_true", help="write the table of what was measured, and measure nothing"
    )
    parser.add_argument("--one", metavar="MODEL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.one:
        warnings.simplefilter("ignore")
        print(json.dumps(measure(arguments.one)))
        return
    names = arguments.models or models()
    known = _read(arguments.records) if arguments.table else run_all(names, arguments.records, arguments.again)
    if not arguments.models:
        missing = [name for name in names if name not in known]
        (_HERE / "fidelity.md").write_text(table(known.values(), missing), encoding="utf-8")


if __name__ == "__main__":
    main()
