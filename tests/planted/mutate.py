"""Mutation testing: `python tests/planted/mutate.py [MINUTES] [PASS ...]`, all passes unless some are named.

Changes one thing at a time in `fxpasses/passes/<pass>.py` (a comparison, a constant, a statement, …) and runs the tests
of that pass: unit tests and printed graphs first, then the laws on a few models. A module of the graph or the manager can
be named too, such as `graph.digraph` or `manager.contract`: it is tried with the unit tests that mirror it, those of its
package, and the laws of that package.

What has run is remembered in `mutants.jsonl` until the function changes, so that a run that was stopped goes on where it
was; each line there says which change it was and what found it. With `--survivors`, what nothing found is tried again.
`mutants.md` is the summary: the score, and each change that nothing found.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from planted.forked import preload, run_tests, source_of

HERE = Path(__file__).parent
RESULTS, SUMMARY, CLASSES = HERE / "mutants.jsonl", HERE / "mutants.md", HERE / "survivors.json"
EXAMPLES = 12
# By pass: the tests that are quick, and the laws.
TESTS: dict[str, tuple[list[str], list[str]]] = {
    "name_nodes": (["unit/passes/test_name_nodes.py", "golden/name_nodes"], ["laws/test_name_laws.py", "laws/test_naming_laws.py"]),
    "collapse_leaves": (["unit/passes/test_collapse_leaves.py", "golden/collapse_leaves"], ["laws/test_collapse_laws.py"]),
    "diff_modes": (["unit/passes/test_diff_modes.py", "golden/diff_modes"], ["laws/test_diff_laws.py"]),
    "protect_outputs": (["unit/passes/test_protect_outputs.py", "golden/protect_outputs"], ["laws/test_protect_laws.py"]),
    "prune_to_outputs": (
        ["unit/passes/test_prune_to_outputs.py", "golden/prune_to_outputs"],
        ["laws/test_prune_laws.py", "unit/feature_extraction/test_extractor.py", "unit/feature_extraction/test_bad_input.py"],
    ),
}  # fmt: skip

# By package: the laws of its modules.
LAWS = {
    "graph": ["laws/test_prune_laws.py", "laws/test_diff_laws.py", "laws/test_collapse_laws.py", "laws/test_effects_laws.py"],
    "manager": ["laws/test_manager_laws.py", "laws/test_manager_pipeline_laws.py"],
}  # fmt: skip

_COMPARISONS = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change of one pass."""

    name: str
    line: int
    what: str
    source: str
    part: str

    @property
    def key(self) -> str:
        """What identifies the change; another one once the function or class that it is in changes."""
        return hashlib.sha256(f"{self.name}\n{self.part}".encode()).hexdigest()[:12]


def module_of(name: str) -> str:
    """The module that a name means: a pass, or one that is named with its package."""
    return f"fxpasses.{name}" if "." in name else f"fxpasses.passes.{name}"


def tests_of(name: str) -> tuple[list[str], list[str]]:
    """The tests of a pass or module: those that are quick, and the laws."""
    if name in TESTS:
        return TESTS[name]
    package, _, module = name.replace(".", "/").rpartition("/")
    own = f"unit/{package}/test_{module}.py"
    mirror = [own] if (HERE.parent / own).exists() else []
    return [*mirror, f"unit/{package}"], LAWS[package.split("/")[0]]


def mutants_of(name: str) -> list[Mutant]:
    """Every change of a pass or module, in the order of its lines."""
    source = source_of(module_of(name)).read_text(encoding="utf-8")
    tree = ast.parse(source)
    places = list(_places(tree))
    found: list[Mutant] = []
    for index, place in enumerate(places):
        for number in range(len(list(_changes(place)))):
            changed = copy.deepcopy(tree)
            node = list(_places(changed))[index]
            line, before = getattr(node, "lineno", 0), ast.unparse(node).split("\n")[0]
            after = _put(changed, node, list(_changes(node))[number])
            (part,) = [ast.unparse(new) for new, old in zip(changed.body, tree.body, strict=True) if _differ(new, old)]
            found.append(Mutant(name, line, f"{before[:80]} → {after[:80]}", ast.unparse(changed), part))
    return found


def _differ(one: ast.AST, other: ast.AST) -> bool:
    return ast.dump(one) != ast.dump(other)


def _places(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that may be changed: what runs, but for texts of messages, documentation and annotations."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop(0)
        yield node
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "bases") or isinstance(
                node, (ast.Raise, ast.JoinedStr)
            ):
                continue
            children = value if isinstance(value, list) else [value]
            waiting += [child for child in children if isinstance(child, ast.AST) and not _is_idle(child)]


def _is_idle(node: ast.AST) -> bool:
    documentation = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    cast = (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("fx.", "type[", "nn.", "Mapping[", "Iterable[", "int", "str"))
    )
    alias = isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(("Literal", "type["))
    return documentation or typing or cast or alias or isinstance(node, (ast.Import, ast.ImportFrom))


def _changes(node: ast.AST) -> Iterator[ast.AST | None]:  # noqa: C901 - one branch a kind of node
    """What may stand in a node's place; None for nothing at all."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        yield ast.Compare(node.left, [_COMPARISONS[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for index in range(len(node.values)):
            rest = [value for place, value in enumerate(node.values) if place != index]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, (ast.If, ast.While)):
        yield (
            type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse) if isinstance(node, ast.If) else None
        )
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield ast.comprehension(node.target, node.iter, node.ifs[1:], node.is_async)
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.Expr, ast.AugAssign, ast.Delete)) or (isinstance(node, ast.Assign) and _is_place(node)):
        yield None
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("reversed", "sorted"):
        yield ast.Call(ast.Name("list", ast.Load()), node.args[:1], [])


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_place(node: ast.Assign) -> bool:
    """Whether an assignment changes something that exists; one of a new name would be missed at once."""
    return any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets)


def _constants(value: object) -> Iterator[ast.Constant]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, str):
        yield ast.Constant(f"{value}_")


def _put(tree: ast.Module, node: ast.AST, new: ast.AST | None) -> str:
    """Puts `new` in the place of a node; returns how it reads."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, field, new)
            elif isinstance(value, list) and any(item is node for item in value):
                index = next(index for index, item in enumerate(value) if item is node)
                value[index] = new if new is not None else ast.Pass()
    ast.fix_missing_locations(tree)
    return "nothing" if new is None else ast.unparse(new).split("\n")[0]


def found_by(mutant: Mutant) -> tuple[str, float]:
    """What finds a change, and how much processor time that took."""
    module, spent = module_of(mutant.name), 0.0
    quick, laws = tests_of(mutant.name)
    for tests, limit in ((quick, 0), (laws, EXAMPLES)):
        run = run_tests(module, mutant.source, [f"tests/{each}" for each in tests], limit=limit, timeout=120)
        spent += run.seconds
        if run.found:
            failed = [
                line.split("::")[-1].split(" ")[0]
                for line in run.text.splitlines()
                if line.startswith(("FAILED", "ERROR"))
            ]
            return (failed or ["it does not end, or does not import"])[0], spent
    return "", spent


def known() -> dict[str, dict[str, Any]]:
    """What has run already, by the mutant's key."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def summarise(mutants: list[Mutant]) -> None:
    """Writes the summary of what has run of these, and forgets what was changed since."""
    results = known()
    current = {mutant.key: mutant for mutant in mutants}
    kept = [entry for key, entry in results.items() if key in current]
    kept.sort(key=lambda entry: (entry["pass"], entry["line"], entry["what"]))
    RESULTS.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept), encoding="utf-8")
    classes: dict[str, str] = json.loads(CLASSES.read_text(encoding="utf-8")) if CLASSES.exists() else {}
    lines = ["# Changes of the source, and what finds them", "", "Made by `python tests/planted/mutate.py`.", ""]
    lines += ["| pass | changes | tried | found | same behaviour | score |", "|---|---|---|---|---|---|"]
    others = sorted({mutant.name for mutant in mutants} - {*TESTS})
    rows = {**{each: {each} for each in TESTS}, "all passes": {*TESTS}, **{each: {each} for each in others}}
    for name, parts in rows.items():
        mine = [entry for entry in kept if entry["pass"] in parts]
        total = sum(mutant.name in parts for mutant in mutants)
        found = sum(bool(entry["found_by"]) for entry in mine)
        same = sum(not entry["found_by"] and classes.get(_label(entry), "").startswith("same") for entry in mine)
        score = f"{100 * found / max(1, len(mine) - same):.1f} %"
        lines.append(f"| {name} | {total} | {len(mine)} | {found} | {same} | {score} |")
    survivors = [entry for entry in kept if not entry["found_by"]]
    lines += ["", "## What nothing finds", "", "| change | why |", "|---|---|"]
    lines += [
        f"| `{_label(entry).replace('|', '¦')}` | {classes.get(_label(entry), 'not classified')} |"
        for entry in survivors
    ]
    SUMMARY.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _label(entry: dict[str, Any]) -> str:
    return f"{entry['pass']}: {entry['what']}"


def main() -> None:
    options = [each for each in sys.argv[1:] if each != "--survivors"]
    minutes = float(options[0]) if options else 60.0
    names = options[1:] or list(TESTS)
    done = known()
    tried = [entry["pass"] for entry in done.values()]
    mutants = {name: mutants_of(name) for name in dict.fromkeys([*TESTS, *names, *tried])}
    # From each pass in turn, so that a run that is stopped has looked at all of them.
    order = [each for row in itertools.zip_longest(*(mutants[name] for name in names)) for each in row if each]
    if "--survivors" in sys.argv:
        order = [each for each in order if each.key in done and not done.pop(each.key)["found_by"]]
    end = time.monotonic() + 60 * minutes
    preload()
    for mutant in order:
        if mutant.key in done or time.monotonic() > end:
            continue
        test, seconds = found_by(mutant)
        entry = {"key": mutant.key, "pass": mutant.name, "line": mutant.line, "what": mutant.what, "found_by": test}
        print(f"{seconds:5.1f} s  {mutant.name}:{mutant.line}: {mutant.what}: {test or 'NOT FOUND'}", flush=True)  # noqa: T201 - a command
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    summarise([mutant for each in mutants.values() for mutant in each])


if __name__ == "__main__":
    main()
