"""Who may import whom (DESIGN: an import never runs up), read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "components" / "core"

# Floors of the core from the ground up; a room may import its own floor's room and everything below.
FLOORS = [
    {"errors", "progress"},
    {"recipe", "metrics", "settings", "image_names"},
    {"registry", "service_llm"},
    {"tasks"},
    {"data", "training", "evaluation", "deployment"},
    {"preflight", "tables"},
    {"catalogue", "responses", "judging", "synthesis"},
    {"heads", "loop"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
STEPS = sorted(path for path in (ROOT / "components").glob("*_*.py") if not path.name.startswith("_"))
SOURCES = sorted(
    path
    for folder in ("components", "llm-pipelines", "llm-endpoint", "ui", "images", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
ENDPOINT_FILES = [path for path in SOURCES if ROOT / "llm-endpoint" in path.parents]
UI_FILES = [path for path in SOURCES if ROOT / "ui" in path.parents]
ROOMS = {"components", "llm_endpoint", "ui", "images", "benchmarks", "tests", "support"}


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Dotted names that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from modules(node)


def modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Dotted names in one import statement."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return ["." * node.level + (node.module or "")]


def core_room(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if parts[:2] == ["components", "core"] and len(parts) > 2 else None


def room_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


CORE_FILES = [path for path in SOURCES if CORE in path.parents and path != CORE / "__init__.py"]


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_a_core_file_imports_no_kfp_no_step_and_nothing_above_its_floor(path):
    room = room_of(path)
    for module in imports(path):
        assert module.split(".")[0] not in {"kfp", "streamlit", "kserve", "langchain"}, f"{path} imports {module}"
        if module.startswith("components"):
            other = core_room(module)
            assert other, f"{path} imports {module}, which is not of the core"
            allowed = other == room or FLOOR_OF[other] < FLOOR_OF[room] or FLOOR_OF[other] == FLOOR_OF[room] <= 1
            assert allowed, f"{room} must not import {other} ({path.name})"


@pytest.mark.parametrize("path", ENDPOINT_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_endpoint_imports_no_other_room(path):
    found = {module.split(".")[0] for module in imports(path)}
    assert not found & (ROOMS - {"llm_endpoint"})
    assert not found & {"kfp", "streamlit", "trl", "datasets", "deepspeed"}


@pytest.mark.parametrize("path", UI_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_page_knows_the_endpoint_by_http_only(path):
    found = {module.split(".")[0] for module in imports(path)}
    assert not found & (ROOMS - {"ui"})
    assert not found & {"torch", "transformers", "langchain_core", "kserve", "kfp", "openvino"}


def test_only_the_engines_know_a_backend():
    backends = {"torch", "openvino", "openvino_genai", "peft", "openai", "onnxruntime"}
    for path in ENDPOINT_FILES:
        if "engines" not in path.parts:
            assert not {module.split(".")[0] for module in imports(path)} & backends, path


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_a_step_imports_only_kfp_and_the_decorator_at_the_top(path):
    found = {module.split(".")[0] if module != "components._step" else module for module in imports(path, True)}
    assert found <= {"kfp", "typing", "components._step"}
    assert "from __future__ import annotations" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_a_step_is_one_function_named_like_its_file(path):
    functions = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == [path.stem]


def test_every_room_of_the_core_has_a_floor():
    rooms = {path.name.removesuffix(".py") for path in CORE.iterdir() if not path.name.startswith("_")}
    assert rooms == set(FLOOR_OF)


def test_llm_pipelines_and_tests_have_no_init_files():
    assert not list((ROOT / "llm-pipelines").rglob("__init__.py"))
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_grows_past_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles_or_trusts_remote_code(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {name.split(".")[0] for name in modules(node)}
            assert not names & {"pickle", "cloudpickle", "dill", "joblib"}
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert options.get("weights_only") == "True", f"{path}:{node.lineno}"
