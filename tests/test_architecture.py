"""Imports run one way, help is instant, and the package holds what it says."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "ferbench"

LAYERS = [
    # values: plain data and rules
    {"_version", "errors", "sharding", "remote", "storage", "tables", "labels", "faces", "inputspec", "recipe", "manifest",
     "sampling", "protocol", "metrics", "resampling", "intervals", "predictions", "comparisons", "report", "settings",
     "findings", "textfiles", "splitting", "validation"},
    # parts: each does one thing
    {"media", "detection", "alignment", "models", "engines", "rendering", "progress", "device", "cards", "datasets",
     "dialects", "protocols", "checks", "sources", "clips", "windows", "audits", "score_files", "explaining", "profiling",
     "training", "feeding"},
    {"jobs"},
    {"commands"},
    {"__main__"},
]  # fmt: skip
"""A module may import from its own layer and from those before it. docs/architecture.md draws it."""

VALUE_ORDER = [
    "_version", "errors", "sharding", "remote", "storage", "tables", "labels", "findings", "textfiles", "faces", "sampling",
    "inputspec", "recipe", "settings", "manifest", "protocol", "splitting", "validation", "metrics", "resampling",
    "intervals", "predictions", "comparisons", "report",
]  # fmt: skip
"""Within the values, each imports only those before it."""

HEAVY = {"torch", "torchvision", "facenet_pytorch", "decord", "matplotlib", "sklearn", "ray"}
"""Never imported at the top of a module that can be needed for help, planning or scoring."""

MAY_IMPORT_TORCH = {
    "ferbench/models/loading.py", "ferbench/models/checkpoints.py", "ferbench/models/factories.py",
    "ferbench/profiling.py", "ferbench/models/forward.py", "ferbench/models/mini_xception.py", "ferbench/models/keys.py",
    "ferbench/models/files.py", "ferbench/models/own_checkpoint.py", "ferbench/models/exporting.py",
    "ferbench/models/onnx.py", "ferbench/models/timm.py", "ferbench/models/sources.py", "ferbench/models/exported.py",
    "ferbench/explaining/cams.py", "ferbench/explaining/features.py", "ferbench/explaining/layers.py",
    "ferbench/explaining/maps.py", "ferbench/models/constant.py", "ferbench/detection/mtcnn.py",
    "ferbench/detection/boxes.py", "ferbench/detection/nms.py", "ferbench/detection/near.py",
    "ferbench/models/conversion.py", "ferbench/models/residual.py", "ferbench/models/transformer.py",
    "ferbench/models/former_dfer.py", "ferbench/models/crf.py", "ferbench/models/ms.py",
    "ferbench/models/vggface2_resnet.py", "ferbench/models/abaw_cnn.py", "ferbench/models/abaw_cnn_rnn.py",
    "ferbench/models/abaw_cnn_transformer.py", "ferbench/models/abaw_ensemble.py",
    "ferbench/models/convnext.py", "ferbench/models/heads.py", "ferbench/models/mfer.py",
    "ferbench/models/efea_blocks.py", "ferbench/models/efea_msm.py",
    "ferbench/detection/pyramid.py", "ferbench/detection/area.py", "ferbench/detection/facenet.py",
    "ferbench/training/losses.py", "ferbench/training/dsf.py", "ferbench/training/optimizers.py",
    "ferbench/training/schedules.py",
    "ferbench/training/loop.py", "ferbench/training/state.py", "ferbench/training/network.py",
    "ferbench/training/ranks.py", "ferbench/training/mixing.py", "ferbench/training/statistics.py",
}  # fmt: skip


def module_name(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Full names of modules that a file imports, TYPE_CHECKING blocks left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(nodes) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.update({node.module} | {f"{node.module}.{alias.name}" for alias in node.names})
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                visit(node.orelse)
            elif not (top_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
                visit(child for child in ast.iter_child_nodes(node))

    visit(tree.body)
    return found


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


def layer_of(name: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_one_way(path):
    own = module_name(path)
    for imported in imports_of(path):
        parts = imported.split(".")
        if parts[0] != "ferbench" or len(parts) < 2 or parts[1] == own:
            continue
        assert layer_of(parts[1]) <= layer_of(own), f"{own} imports {imported}, which is above it"
        if own in VALUE_ORDER:
            assert VALUE_ORDER.index(parts[1]) < VALUE_ORDER.index(own), f"{own} imports {imported}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_heavy_packages_are_imported_where_they_are_used(path):
    if path.relative_to(REPOSITORY).as_posix() in MAY_IMPORT_TORCH:
        return
    heavy = {name.split(".")[0] for name in imports_of(path, top_level_only=True)} & HEAVY
    assert not heavy, f"{path.name} imports {heavy} at its top"


def test_every_module_has_a_layer():
    known = set().union(*LAYERS)
    assert {module_name(path) for path in sources()} <= known


def loaded_by(statement: str) -> set[str]:
    """Modules in sys.modules after a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return set(done.stdout.split("\n")[-2].split())


def test_help_loads_nothing_heavy():
    loaded = loaded_by("from ferbench.commands import run\nassert run(['--help']) == 0")
    assert not loaded & {"torch", "numpy", "pyarrow", "pandas", "cv2", "rich", "matplotlib", "PIL"}


def test_the_values_and_scoring_load_no_torch():
    loaded = loaded_by(
        "import ferbench.manifest, ferbench.sampling, ferbench.protocol, ferbench.metrics, ferbench.predictions\n"
        "import ferbench.report, ferbench.jobs.score, ferbench.jobs.splits, ferbench.jobs.align, ferbench.jobs.explain"
    )
    assert not loaded & {"torch", "facenet_pytorch", "decord"}


def test_every_public_name_can_be_used():
    import ferbench

    for name in ferbench.__all__:
        assert getattr(ferbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ferbench.nothing


def test_setup_cfg_lists_every_package():
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {".".join(path.parent.relative_to(REPOSITORY).parts) for path in PACKAGE.rglob("__init__.py")} | {
        "ferbench.manifests"
    }
    assert listed == found


def test_modules_stay_small():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
