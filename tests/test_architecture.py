"""The shape of the package: which way imports point, what is public, what is kept out.

The rules are functions of a tree (path -> source), so that the last tests can show, on made-up trees, that
each rule is able to fail.
"""

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import twinlatent as tl

# Ground first. A module imports only from its own floor or from those above it in this table (the lower ones).
# "name" is that one module, "name.*" a package with all that is in it. A new module goes on the lowest floor that
# has everything it needs; one that needs a higher floor than its users does not belong where it is.
FLOORS = (
    (
        "arguments",
        "errors",
        "failures",
        "files",
        "claims",
        "interrupts",
        "progress",
        "terminal",
        "provenance",
        "code_digest",
        "digest",
        "outputs",
        "normalised",
        "settings",
        "torch_state",
        "lazy",
        "loading",
        "memory",
        "cells",
        "showing",
        "drawing.*",
        "running.*",
    ),
    (
        "data.*",
        "method.densities",
        "method.notation",
        "method.plans",
        "method.networks",
        "method.fourier",
        "method.convolutions",
        "method.calibration",
        "method.checkpoints",
        "method.file_header",
        "method.calibrated",
        "method.verdicts",
        "method.scores",
        "method.training",
        "method.batches",
    ),
    ("criteria", "method.class_vaes", "method.few_classes", "method.benign", "testing.*"),
    (
        "method.losses",
        "method.bounds",
        "method.linear_bounds",
        "attacks.*",
        "method.detector",
        "method.certificate",
    ),
    (
        "method.game",
        "method.game_state",
        "method.one_batch",
        "method.radii",
        "method.binary",
        "method.adversaries.*",
        "method.negatives.*",
        "baselines.methods",
        "baselines.settings",
        "evaluation.learners",
        "motivation.settings",
    ),
    ("recipes.*",),
    ("baselines.*", "evaluation.*", "motivation.*"),
    ("method.fit", "method.recalibrate", "method", "guards.*", "bridges.*", "export.*", "zoo.*"),
    ("report.*",),
    ("demo", "reproduce", "reproduce_motivation", "serve.*", "monitor"),
    ("twinlatent",),  # __init__.py: the public names; inside the package only the command line may use it
    ("cli.*",),
    ("__main__",),
)
NEVER = (  # (importer, imported): true whatever the floors say
    ("attacks.*", "method.*"),  # attacks see Outputs, never a model
    ("*", "cli.*"),  # but for __main__ and itself
)
QUICK = {"typer", "rich"}
"""What the command line may import before it knows what it is asked; `twinlatent --help` needs no more."""
ROOMS = (  # of the evaluation, ground first: a file imports only from its own room or from those above it here
    ("metrics", "learners"),
    ("results.*",),
    ("protocol.*",),
    ("judges.*", "black_box.*"),
    ("white_box.*",),
    ("checks.*",),
    ("shift.*",),
    ("settings",),
    ("judged",),
    ("whole",),
    ("units",),
    ("evaluate",),
)
MOST_SIBLINGS = 6  # files or doors of the evaluation that one file of it may import
IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL"}  # where it is not the distribution's own name
SIDE_EFFECTS = {
    *("manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state", "set_default_dtype", "set_default_device"),
    *("set_num_threads", "set_num_interop_threads", "set_grad_enabled", "set_printoptions", "set_flush_denormal"),
    *("use_deterministic_algorithms", "set_float32_matmul_precision", "set_start_method", "set_sharing_strategy"),
    *("simplefilter", "filterwarnings", "basicConfig", "switch_backend", "chdir", "putenv", "setdefault"),
    *("setrecursionlimit", "setlocale", "seterr"),
}

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

Tree = dict[str, str]  # path below the project root, with slashes -> source


@pytest.fixture(scope="module")
def package() -> Tree:
    """Every source file of twinlatent."""
    paths = sorted((ROOT / "twinlatent").rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


# --- the rules ------------------------------------------------------------------------------------------------


def module_of(path: str) -> str:
    """`twinlatent/attacks/__init__.py` -> `attacks`; the root package is called `twinlatent`."""
    parts = path.removesuffix(".py").split("/")[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "twinlatent"


def matches(module: str, entry: str) -> bool:
    package = entry.removesuffix(".*")
    return entry == "*" or module == package or (package != entry and module.startswith(f"{package}."))


def floor_of(module: str) -> int | None:
    return next((number for number, floor in enumerate(FLOORS) if any(matches(module, e) for e in floor)), None)


def imported(path: str, nodes: Iterable[ast.AST], modules: set[str]) -> set[str]:
    """The modules of the package that `nodes` import."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(absolute(path, node), alias.name) for alias in node.names]
        else:
            continue
        for base, name in names:
            if base.split(".")[0] == "twinlatent":
                inside = base.removeprefix("twinlatent").removeprefix(".")
                whole = ".".join(part for part in (inside, name) if part)
                found.add(whole if whole in modules else inside or "twinlatent")
    return found


def absolute(path: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    above = path.split("/")[: -node.level]
    return ".".join([*above, node.module] if node.module else above)


@cache
def parsed_once(source: str) -> ast.Module:
    return ast.parse(source)


def import_graph(tree: Tree, nodes: Callable[[ast.AST], Iterable[ast.AST]] = ast.walk) -> dict[str, set[str]]:
    """Module -> what it imports: anywhere, in functions and for type checking too, or in some `nodes` alone."""
    modules = {module_of(path) for path in tree}
    return {module_of(path): imported(path, nodes(parsed_once(source)), modules) for path, source in tree.items()}


def unplaced(tree: Tree) -> list[str]:
    return [
        f"{path}: has no floor; place {module_of(path)!r} in FLOORS of tests/test_architecture.py"
        for path in tree
        if floor_of(module_of(path)) is None
    ]


def wrong_arrows(tree: Tree) -> list[str]:
    """Imports of a higher floor, of what `NEVER` forbids, or of a module that is not there."""
    wrong = []
    for module, targets in import_graph(tree).items():
        own = floor_of(module)
        for target in sorted(targets):
            floor = floor_of(target)
            if own is None or floor is None:
                continue  # `unplaced` speaks of these
            if floor > own:
                wrong.append(f"{module} (floor {own}) imports {target} (floor {floor}): an arrow upwards")
            elif any(matches(module, a) and matches(target, b) for a, b in NEVER) and not (
                module == "__main__" or matches(module, "cli.*")
            ):
                wrong.append(f"{module} must never import {target}")
    return wrong


def evaluation_of(module: str) -> str:
    return module.removeprefix("evaluation.")


def room_of(module: str) -> int | None:
    return next((n for n, room in enumerate(ROOMS) if any(matches(evaluation_of(module), e) for e in room)), None)


def wrong_rooms(tree: Tree) -> list[str]:
    """Files of the evaluation that are in no room, import from a higher one, or from too many files."""
    wrong = []
    inside = {module: targets for module, targets in import_graph(tree).items() if module.startswith("evaluation.")}
    for module, targets in inside.items():
        own, siblings = room_of(module), {target for target in targets if target.startswith("evaluation.")}
        if own is None:
            wrong.append(f"{module} is in no room; place {evaluation_of(module)!r} in ROOMS")
            continue
        wrong += [f"{module} imports {target}, of a higher room" for target in siblings if (room_of(target) or 0) > own]
        if len(siblings) > MOST_SIBLINGS and not is_door(module, siblings):
            wrong.append(f"{module} imports {len(siblings)} files of the evaluation: {', '.join(sorted(siblings))}")
    return wrong


def is_door(module: str, siblings: set[str]) -> bool:
    """Whether the module is a room's `__init__`, which names what others may take of its own files."""
    return all(target.startswith(f"{module}.") for target in siblings)


def dangling(tree: Tree) -> list[str]:
    graph = import_graph(tree)
    packages = {module.rpartition(".")[0] for module in graph} | {"twinlatent"}
    return [
        f"{module} imports {target}, which is not there"
        for module, targets in graph.items()
        for target in sorted(targets - set(graph) - packages)
    ]


def circles(tree: Tree) -> list[str]:
    try:
        TopologicalSorter(import_graph(tree)).prepare()
    except CycleError as error:
        return [" imports ".join(reversed(error.args[1]))]
    return []


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """All that runs when the module is imported: not the bodies of functions, not `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from at_import(ast.Module(child.orelse, []))
            continue
        if isinstance(child, ast.If) and "__main__" in ast.dump(child.test):
            continue
        yield child
        yield from at_import(child)


def foreign_roots(source: str, allowed: set[str]) -> list[tuple[int, str]]:
    """Line and name of what a module imports at its top beyond the standard library and what is allowed."""
    found = []
    for node in at_import(parsed_once(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        roots = {name.split(".")[0] for name in names} - allowed - {"twinlatent"} - set(sys.stdlib_module_names)
        found += [(node.lineno, root) for root in roots]
    return found


def foreign_imports(tree: Tree, allowed: set[str]) -> list[str]:
    """Imports, at the top of a module, of anything but the standard library and the core dependencies."""
    return [
        f"{path}:{line}: {root} is no core dependency: import it where used"
        for path, source in tree.items()
        for line, root in foreign_roots(source, allowed)
    ]


def slow_commands(tree: Tree) -> list[str]:
    """Imports at the top of the command line, its own or those of modules that it imports there, of what is slow."""
    graph = import_graph(tree, at_import)
    slow = {module_of(path): sorted({root for _, root in foreign_roots(s, QUICK)}) for path, s in tree.items()}
    wrong = []
    for command in sorted(module for module in graph if matches(module, "cli.*")):
        chains, seen = [[command]], {command}
        while chains:
            chain = chains.pop()
            wrong += [f"{' imports '.join([*chain, root])}: import it in the function" for root in slow[chain[-1]]]
            above = [target.rpartition(".")[0] for target in graph[chain[-1]] if "." in target]
            for target in sorted({*graph[chain[-1]], *above} & graph.keys() - seen):
                if not matches(target, "cli.*"):
                    seen.add(target)
                    chains.append([*chain, target])
    return wrong


def lazy_tables(tree: Tree) -> list[str]:
    """Lazy packages whose table for `lazily` is not what they import for type checkers."""
    wrong = []
    for path, source in tree.items():
        for node in parsed_once(source).body:
            calls = [call for call in ast.walk(node) if isinstance(call, ast.Call) and called(call) == "lazily"]
            if calls and isinstance(node, ast.If):
                shown = {i.module: {a.name for a in i.names} for i in node.body if isinstance(i, ast.ImportFrom)}
                told = {home: set(names) for home, names in ast.literal_eval(calls[0].args[1]).items()}
                if shown != told:
                    wrong.append(f"{path}: type checkers are told {shown}, `lazily` is told {told}")
    return wrong


def side_effects(tree: Tree) -> list[str]:
    """Calls and assignments at import that change something outside the module."""
    wrong = []
    for path, source in tree.items():
        parsed = list(at_import(parsed_once(source)))
        imports = [node for node in parsed if isinstance(node, ast.Import | ast.ImportFrom)]
        others = {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}
        for node in parsed:
            if isinstance(node, ast.Call) and called(node) in SIDE_EFFECTS:
                wrong.append(f"{path}:{node.lineno}: {ast.unparse(node)} at import")
            wrong += [
                f"{path}:{target.lineno}: {ast.unparse(target)} is changed at import"
                for target in targets_of(node)
                if not isinstance(target, ast.Name) and root_of(target) in others
            ]
    return wrong


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def targets_of(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign | ast.Delete):
        return node.targets
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def root_of(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", line.strip())[0].lower() for line in requirements}


def core_import_names() -> set[str]:
    return {IMPORT_NAMES.get(name, name) for name in requirement_names(PROJECT["dependencies"])} | {"twinlatent"}


# --- the package ----------------------------------------------------------------------------------------------


def test_the_package_is_found(package: Tree) -> None:
    assert "twinlatent/__init__.py" in package
    assert len(package) > 10


@pytest.mark.parametrize(
    "rule", [unplaced, wrong_arrows, wrong_rooms, dangling, circles, side_effects, slow_commands, lazy_tables]
)
def test_every_module_keeps_the(rule, package: Tree) -> None:
    assert rule(package) == []


def test_only_core_dependencies_are_imported_at_the_top(package: Tree) -> None:
    assert foreign_imports(package, core_import_names()) == []


def test_floors_name_each_module_once() -> None:
    entries = [entry for floor in FLOORS for entry in floor]
    assert len(entries) == len(set(entries))


def test_public_names_are_sorted_and_there() -> None:
    assert list(tl.__all__) == sorted(set(tl.__all__))
    missing = [name for name in tl.__all__ if not hasattr(tl, name)]
    assert missing == []


def test_public_functions_and_classes_have_a_docstring() -> None:
    public = {name: getattr(tl, name) for name in tl.__all__}
    code = {name: thing for name, thing in public.items() if inspect.isclass(thing) or inspect.isroutine(thing)}
    assert [name for name, thing in code.items() if not inspect.getdoc(thing)] == []


def test_the_version_is_said_once() -> None:
    assert tl.__version__ == PROJECT["version"]


def test_torchvision_stays_out() -> None:
    extras = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = requirement_names([*PROJECT["dependencies"], *extras, *pins])
    assert {"torch", "ruff", "foolbox", "scipy"} <= names, "the requirements were not read"
    assert not [name for name in names if name.startswith("torchvision")]
    assert importlib.util.find_spec("torchvision") is None


def test_importing_the_package_changes_nothing_in_torch() -> None:
    program = """
import random, sys, numpy, torch
def state():
    return (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.initial_seed(),
            torch.random.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist(),
            torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)
before = state()
import twinlatent
for name in twinlatent.__all__:
    getattr(twinlatent, name)
assert [i for i, (a, b) in enumerate(zip(before, state())) if a != b] == []
assert "torchvision" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- the rules can fail ---------------------------------------------------------------------------------------

LAZY = (
    "from typing import TYPE_CHECKING\nfrom twinlatent.lazy import lazily\n"
    "if TYPE_CHECKING:\n    from twinlatent.attacks import attack\n"
    "else:\n    __getattr__, __dir__ = lazily(__name__, {{'twinlatent.attacks': {}}})\n"
)
GOOD = {
    "twinlatent/lazy.py": "",
    "twinlatent/__init__.py": LAZY.format("('attack',)"),
    "twinlatent/outputs.py": "import math\nimport torch\n",
    "twinlatent/criteria.py": "from twinlatent import outputs\n",
    "twinlatent/attacks/__init__.py": "from .iterative import attack\n",
    "twinlatent/attacks/iterative.py": "from twinlatent.outputs import Outputs\n",
    "twinlatent/evaluation/metrics.py": "import math\n",
    "twinlatent/evaluation/checks/run.py": "from twinlatent.evaluation.metrics import rate\n",
    "twinlatent/cli/__init__.py": "def main():\n    from twinlatent.cli.detect import detect\n",
    "twinlatent/cli/detect.py": "import typer\nimport twinlatent as tl\ndef detect():\n    import torch\n",
    "twinlatent/__main__.py": "from twinlatent.cli import main\n",
}


MANY = "\n".join(f"from twinlatent.evaluation.{room} import a" for room in
                 ("metrics", "results", "protocol", "judges", "black_box", "checks.run", "settings"))  # fmt: skip


def foreign(tree: Tree) -> list[str]:
    return foreign_imports(tree, {"torch", "typer"})


@pytest.mark.parametrize(
    "rule", [unplaced, wrong_arrows, wrong_rooms, dangling, circles, side_effects, foreign, slow_commands, lazy_tables]
)
def test_a_good_tree_passes(rule) -> None:
    assert rule(GOOD) == []


@pytest.mark.parametrize(
    ("rule", "path", "source", "complaint"),
    [
        (unplaced, "new", "", "place 'new' in FLOORS"),
        (unplaced, "method/new", "", "place 'method.new' in FLOORS"),
        (wrong_arrows, "outputs", "import twinlatent.criteria", "outputs (floor 0) imports criteria (floor 2)"),
        (wrong_arrows, "outputs", "from twinlatent import criteria", "imports criteria"),
        (wrong_arrows, "outputs", "from . import criteria", "imports criteria"),
        (wrong_arrows, "outputs", "from .criteria import something", "imports criteria"),
        (wrong_arrows, "outputs", "def f():\n    from twinlatent.criteria import g", "imports criteria"),
        (wrong_arrows, "outputs", "from twinlatent import anything", "imports twinlatent"),
        (wrong_arrows, "data/idx", "from ..attacks.iterative import attack", "imports attacks.iterative"),
        (wrong_arrows, "data/__init__", "from ..attacks.iterative import attack", "imports attacks.iterative"),
        (wrong_arrows, "attacks/steps", "from twinlatent.method.densities import f", "never import method.densities"),
        (wrong_arrows, "attacks/steps", "from twinlatent.method import fit", "imports method"),
        (wrong_arrows, "cli/train", "import twinlatent.__main__", "an arrow upwards"),
        (wrong_arrows, "demo", "from twinlatent.cli import main", "an arrow upwards"),
        (wrong_arrows, "demo", "def f():\n    from twinlatent.cli.detect import detect", "an arrow upwards"),
        (slow_commands, "cli/train", "import torch", "cli.train imports torch: import it in the function"),
        (slow_commands, "cli/train", "import twinlatent.attacks", "attacks.iterative imports outputs imports torch"),
        (slow_commands, "cli/train", "from twinlatent.attacks.new import f", "cli.train imports attacks imports"),
        (slow_commands, "lazy", "import numpy", "cli.detect imports twinlatent imports lazy imports numpy"),
        (lazy_tables, "__init__", LAZY.format("()"), "lazily` is told {'twinlatent.attacks': set()}"),
        (wrong_rooms, "evaluation/metrics", "from twinlatent.evaluation.checks import run", "of a higher room"),
        (wrong_rooms, "evaluation/hall", "", "place 'hall' in ROOMS"),
        (wrong_rooms, "evaluation/whole", MANY, "imports 7 files of the evaluation"),
        (dangling, "criteria", "from twinlatent.nowhere import f", "nowhere, which is not there"),
        (circles, "attacks/iterative", "from twinlatent.attacks import attack", "imports attacks"),
        (foreign, "criteria", "import pandas.io", "pandas is no core dependency"),
        (foreign, "criteria", "try:\n    from onnx import load\nexcept ImportError:\n    pass", "onnx is no core"),
        (side_effects, "criteria", "import torch\ntorch.manual_seed(0)", "torch.manual_seed(0) at import"),
        (side_effects, "criteria", "from torch import set_num_threads\nset_num_threads(1)", "at import"),
        (side_effects, "criteria", "class A:\n    import numpy as np\n    np.random.seed(0)", "at import"),
        (side_effects, "criteria", "import os\nos.environ['A'] = '1'", "os.environ['A'] is changed"),
        (side_effects, "criteria", "import os\nos.environ.setdefault('A', '1')", "at import"),
        (side_effects, "criteria", "import torch\ntorch.backends.cudnn.benchmark = True", "benchmark is changed"),
    ],
)  # fmt: skip
def test_a_bad_module_is_found(rule, path: str, source: str, complaint: str) -> None:
    found = rule({**GOOD, f"twinlatent/{path}.py": source})
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (side_effects, "import torch\ndef f():\n    torch.manual_seed(0)"),
        (side_effects, "TABLE = {}\nTABLE['a'] = 1"),
        (foreign, "def f():\n    import onnx"),
        (slow_commands, "import torch"),
        (foreign, "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import onnx"),
    ],
)  # fmt: skip
def test_what_does_not_run_at_import_is_left_alone(rule, source: str) -> None:
    assert rule({**GOOD, "twinlatent/criteria.py": source}) == []
