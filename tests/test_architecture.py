"""The rules of the layout, read from the import statements of the source."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rmjax"
MODULES = sorted(PACKAGE.rglob("*.py"))
# A package imports only itself and those before it.
ORDER = ("preferences", "labeling", "datasets", "batches", "models", "training", "evaluation", "scoring")
SHARED = {
    "config", "config_json", "labels_config", "model_config", "tuning_config", "errors", "files", "hub", "arrays",
    "intervals", "listening", "pictures", "report_page",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """Full names of the modules a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules_of(package: str) -> list[Path]:
    return [path for path in MODULES if path.relative_to(PACKAGE).parts[0] == package]


def test_every_package_of_the_order_exists_and_holds_modules():
    assert all(len(modules_of(package)) > 1 for package in ORDER)


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_those_before_it(package):
    allowed = set(ORDER[: ORDER.index(package) + 1]) | SHARED
    for path in modules_of(package):
        parts = {name.split(".")[1] for name in imported(path) if name.startswith("rmjax.")}
        assert parts <= allowed, f"{path.relative_to(ROOT)} imports {sorted(parts - allowed)}"


@pytest.mark.parametrize("folder", ["people", "judge", "simulated", "report"])
def test_who_judges_is_known_to_no_other_who_does(folder):
    """Nor to the report on judgments, nor this to them: each has what lies in labeling/ itself, and its own."""
    inside = sorted((PACKAGE / "labeling" / folder).glob("*.py"))
    assert len(inside) > 3
    shared = {path.stem for path in (PACKAGE / "labeling").glob("*.py")} - {"jobs"}
    for path in inside:
        parts = {name.split(".")[2] for name in imported(path) if name.startswith("rmjax.labeling.")}
        assert parts <= shared | {folder}, f"{path.relative_to(ROOT)} imports {sorted(parts - shared)}"


@pytest.mark.parametrize(
    ("library", "where"),
    [
        ("orbax", ["training/checkpoint.py"]),
        ("tensorflow_datasets", ["datasets"]),
        ("tensorflow", []),
        ("torch", []),
        ("fastapi", [*(f"scoring/{name}.py" for name in
                       ("server", "serving", "serving_body", "serving_errors", "serving_gate")),
                     "labeling/people/page.py", "labeling/people/page_guard.py"]),
        ("pydantic", [f"scoring/{name}.py" for name in
                      ("server", "serving_errors", "serving_protocols", "serving_rewards")]),
        ("uvicorn", ["scoring/serving_process.py", "labeling/people/page_process.py"]),
        ("jinja2", ["batches/jinja_template.py", "labeling/people/page.py"]),
        ("markdown_it", ["labeling/people/rendering.py"]),
        ("nh3", ["labeling/people/rendering.py"]),
        ("sqlite3", ["labeling/sqlite_file.py",
                     *(f"labeling/people/{name}.py" for name in ("store", "handing", "judged"))]),
        ("prometheus_client", ["scoring/serving_metrics.py"]),
        ("openai", ["labeling/judge/client.py"]),
        ("httpx2", ["labeling/judge/client.py"]),
        ("safetensors", ["models/huggingface.py", "models/huggingface_export.py", "models/peft_format.py"]),
    ],
)  # fmt: skip
def test_a_library_is_imported_only_where_it_belongs(library, where):
    for path in MODULES:
        place = path.relative_to(PACKAGE)
        if str(place) not in where and place.parts[0] not in where:
            assert not any(name.split(".")[0] == library for name in imported(path)), place


def test_only_one_module_asks_for_devices():
    asking = [path for path in MODULES if re.search(r"\bjax\.(local_)?devices\(", path.read_text())]
    assert [path.relative_to(PACKAGE).as_posix() for path in asking] == ["training/parallel.py"]


def test_commands_are_short_and_files_fit_on_a_few_screens():
    for path in PACKAGE.glob("*.py"):
        if path.stem not in SHARED | {"command", "command_flags"}:
            assert len(path.read_text().splitlines()) <= 60, path
    folders = ("tests", "experiments", "benchmarks", "studies")
    for path in [*MODULES, *(path for folder in folders for path in ROOT.glob(f"{folder}/*.py"))]:
        assert len(path.read_text().splitlines()) <= 300, path


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first of the signature to the last of the body, the docstring not counted."""
    count = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        count -= function.body[0].end_lineno - function.body[0].lineno + 1
    return count


def test_a_function_fits_on_a_screen():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert lines_of_code(node) <= 40, f"{path.relative_to(ROOT)}: {node.name}"


def run_python(code: str, *options: str) -> str:
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_rmjax_loads_nothing_but_itself():
    """No jax, so no device is touched; no numpy even, so the import takes milliseconds."""
    loaded = run_python("import sys; before = set(sys.modules); import rmjax; print(*(set(sys.modules) - before))")
    standard = set(sys.stdlib_module_names)
    assert {name.split(".")[0] for name in loaded.split()} - standard == {"rmjax"}


def test_best_of_n_by_a_server_loads_no_jax(tmp_path):
    """Nor what else is needed for a model alone: it would start in many seconds."""
    (tmp_path / "in.jsonl").write_text("")
    arguments = ["x", "--url=http://127.0.0.1:1", f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out.jsonl"]
    loaded = run_python(
        "import sys\nfrom rmjax import best_of_n, command\n"
        f"try: command.run(best_of_n.main, {arguments!r})\n"
        "finally: print(*sys.modules)"
    ).split()
    assert (tmp_path / "out.jsonl").exists()
    assert {"rmjax.scoring.remote_scorer", "rmjax.scoring.best"} <= set(loaded)
    heavy = {"jax", "flax", "numpy", "orbax", "tensorflow_datasets", "tokenizers", "transformers", "pyarrow"}
    assert {name.split(".")[0] for name in loaded} & heavy == set()


def test_public_names_resolve():
    run_python("import rmjax\nfor name in rmjax.__all__: assert getattr(rmjax, name).__name__, name")


FORMATS = {  # of files, for which there is safetensors
    "rmjax.models.huggingface",
    "rmjax.models.huggingface_export",
    "rmjax.models.peft_format",
}
MODELS = tuple(f"rmjax.models.{path.stem}" for path in modules_of("models") if path.stem != "__init__")
CORE = ("rmjax.batches.packing", *(name for name in MODELS if name not in FORMATS), "rmjax.training.step")


def file_of(module: str) -> Path | None:
    """The source of a module of rmjax; None where the name is no module (but what one holds)."""
    place = ROOT.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()), None)


def reached(modules: Iterable[str]) -> dict[str, set[str]]:
    """What each of the modules of rmjax imports, and each that these import, and so on."""
    waiting, seen = list(modules), {}
    while waiting:
        module = waiting.pop()
        path = file_of(module)
        if path is not None and module not in seen:
            seen[module] = imported(path)
            waiting += [name for name in seen[module] if name.startswith("rmjax.")]
    return seen


def test_the_core_and_all_that_it_imports_name_only_five_libraries():
    """By the source, since jax, flax and optax load further libraries (etils, absl) that the core must not rely on."""
    allowed = {"jax", "flax", "optax", "jaxtyping", "numpy", "rmjax"} | set(sys.stdlib_module_names)
    seen = reached(CORE)
    for module, names in seen.items():
        roots = {name.split(".")[0] for name in names}
        assert roots <= allowed, f"{module} imports {sorted(roots - allowed)}"
    assert {"rmjax.batches.parts", "rmjax.config", "rmjax.training.loss"} <= seen.keys()


def test_only_the_commands_that_serve_import_what_serves():
    web = {"fastapi", "starlette", "pydantic", "uvicorn", "prometheus_client"}
    served = {"serve": web, "label": {"fastapi", "starlette", "uvicorn"}}
    for path in PACKAGE.glob("*.py"):
        names = set().union(*reached([f"rmjax.{path.stem}"]).values()) if path.stem != "__init__" else set()
        found = {name.split(".")[0] for name in names} & web
        assert found == served.get(path.stem, set()), path


def test_packing_models_and_step_need_only_jax_flax_optax_jaxtyping_and_numpy():
    """The other requirements are made impossible to import, as if they weren't installed."""
    others = [
        "absl",
        "array_record",
        "etils",
        "grain",
        "matplotlib",
        "ml_collections",
        "orbax",
        "pyarrow",
        "scipy.stats",
        "tensorboardX",
        "tensorflow_datasets",
        "tokenizers",
        "tqdm",
    ]
    # jax, flax and optax bring some of these themselves (etils, absl, orbax): only what rmjax adds may count.
    code = (
        "import sys, jax, flax.linen, optax, jaxtyping, numpy\n"
        f"others = {others!r}\n"
        "for name in others:\n"
        "    if name not in sys.modules: sys.modules[name] = None\n"
        f"for module in {CORE!r}: __import__(module)\n"
    )
    run_python(code)
