"""What Dagster loads: complete, light, and without science in it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

import entropice_assets
from entropice_assets.build import build_defs
from entropice_assets.jobs import job_name, step_of
from entropice_assets.keys import asset_key
from entropice_core.checks import CHECKS, checks_of
from entropice_core.config import load_study, preset_names
from entropice_core.pipeline.graph import build_graph

GRAPH = build_graph(load_study("demo"))
ROOT = Path(__file__).parents[2]
SOURCES = sorted(Path(entropice_assets.__file__).parent.rglob("*.py"))
HEAVY = ["pandas", "xarray", "zarr", "sklearn", "mlflow", "geopandas", "matplotlib", "torch", "scipy", "shapely"]
HEAVY += ["pyproj", "rasterio", "pyarrow", "PIL", "h3"]


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_defs("demo")


def in_a_fresh_process(code: str, **environment: str) -> str:
    """Run code in a new Python with warnings of our packages as errors; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error:::entropice_assets", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_loading_the_definitions_imports_no_heavy_library() -> None:
    code = "import sys, json, entropice_assets.definitions; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(in_a_fresh_process(code)))
    assert "entropice_assets.assets.factory" in loaded
    assert not loaded & set(HEAVY)


def test_the_definitions_are_of_the_study_that_the_environment_names() -> None:
    code = (
        "from entropice_assets.definitions import defs;"
        "print(len(list(defs.resolve_asset_graph().get_all_asset_keys())), defs.resources['entropice'].study)"
    )
    graph = build_graph(load_study("ne_siberia"))
    assert in_a_fresh_process(code, ENTROPICE_STUDY="ne_siberia").split() == [str(len(graph)), "ne_siberia"]


def test_a_study_that_is_not_there_says_which_there_are() -> None:
    code = "from entropice_core.errors import ConfigError\nfrom entropice_assets.build import build_defs\n"
    code += "try:\n    build_defs('dmeo')\nexcept ConfigError as error:\n    print(error)"
    assert "did you mean 'demo'" in in_a_fresh_process(code)


def test_the_definitions_can_be_loaded_whole(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)


def test_every_product_is_one_asset_with_its_room_code_version_and_inputs(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {n.replace(".", "_") for n in GRAPH}
    for product in GRAPH.values():
        node = graph.get(asset_key(product.dataset))
        assert (node.group_name, node.code_version) == (product.group, product.code_version)
        assert node.parent_keys == {asset_key(need) for need in product.needs}
        assert product.title in (node.description or "")
        assert {check.name for check in node.check_keys} == {check.name for check in checks_of(product)}


def test_every_kind_of_product_has_checks() -> None:
    # Some kinds need two inventories, or probabilities.
    every = [product for name in preset_names() for product in build_graph(load_study(name)).values()]
    assert {product.kind for product in every} == set(CHECKS)
    assert all(checks_of(product) for product in GRAPH.values())


def test_only_checks_that_find_errors_stop_what_comes_after(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    for product in GRAPH.values():
        for check in checks_of(product):
            spec = graph.get_check_spec(dg.AssetCheckKey(asset_key(product.dataset), check.name))
            assert spec.blocking == (check.severity == "error")


def test_years_share_a_run_and_models_have_one_each(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    assert graph.get(asset_key("labels.darts")).backfill_policy == dg.BackfillPolicy.multi_run(10)
    assert graph.get(asset_key("model.espa")).backfill_policy is None


def test_jobs_build_every_product_once_and_after_what_it_needs(defs: dg.Definitions) -> None:
    names = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert names == {job_name(GRAPH, product) for product in GRAPH.values()}
    built = [key for name in names for key in defs.resolve_job_def(name).asset_layer.executable_asset_keys]
    assert len(built) == len(set(built)) == len(GRAPH)
    for product in GRAPH.values():
        assert all(step_of(GRAPH, GRAPH[need]) <= step_of(GRAPH, product) for need in product.needs)


def test_a_resource_can_be_replaced_for_tests_and_scripts() -> None:
    from entropice_assets.resources import EntropiceResource

    mine = EntropiceResource(study="demo", home="elsewhere")
    assert build_defs("demo", {"entropice": mine}).resources == {"entropice": mine}


def decorated(tree: ast.Module, decorator: str) -> list[ast.FunctionDef]:
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [f for f in found if any(decorator in ast.unparse(line) for line in f.decorator_list)]


def test_asset_bodies_have_at_most_fifteen_lines() -> None:
    bodies = [f for path in SOURCES for f in decorated(ast.parse(path.read_text()), "dg.asset(")]
    assert bodies
    for function in bodies:
        assert (function.end_lineno or 0) - function.body[0].lineno + 1 <= 15, function.name


def test_dagster_code_computes_nothing_itself() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name.split(".")[0] for name in imported} & {*HEAVY, "numpy"}, path.name


def test_no_asset_asks_for_the_time_window_which_is_a_calendar_year() -> None:
    assert not [path.name for path in SOURCES if "time_window" in path.read_text().replace("get the time window", "")]


def test_the_science_never_imports_dagster_and_only_tracking_imports_mlflow() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_instance_stays_on_this_machine_and_sends_nothing() -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert settings["telemetry"] == settings["nux"] == {"enabled": False}
    places = [settings["storage"]["sqlite"]["base_dir"]]
    places += [settings[name]["config"]["base_dir"] for name in ("local_artifact_storage", "compute_logs")]
    assert all(place.startswith(".dagster/") for place in places)
    assert ".dagster/" in (ROOT / ".gitignore").read_text().split()


def test_the_workspace_loads_these_definitions_under_the_name_that_dg_uses() -> None:
    (entry,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    module = entry["python_module"]
    project = (ROOT / "pyproject.toml").read_text()
    assert module == {"module_name": "entropice_assets.definitions", "location_name": "entropice"}
    assert f'code_location_name = "{module["location_name"]}"' in project
