"""What artists' saved workflows and the front end rely on: the schema of every node, its help page, its translations.

A change of a schema that is meant: `MILD_RENEW_GOLDEN=1 uv run pytest tests/golden`, then look at the diff of
schemas.json. A workflow stores widget values by position, so an input that moves or goes breaks those of others. The
same command writes locales/en from the schemas; locales/zh and web/docs/NODE/zh.md are written by hand.
"""

import json
import os
from pathlib import Path

import pytest

from mild.tests.helpers.in_process import register_pack

# isort: split
from comfy.samplers import KSampler
from comfy_api.latest import io

from mild import __file__ as init_file
from mild.mild_core.comfy.find import weight_files

ROOT = Path(init_file).parent
DOCS = ROOT / "web" / "docs"
GOLDEN = Path(__file__).with_name("schemas.json")
LANGUAGES = ("en", "zh")
CATEGORIES = {f"MILD/{name}" for name in ("people", "bodies", "layers", "models", "attention")}
# what may be reworded at any time
TEXTS = {"tooltip", "description", "display_name", "search_aliases", "python_module", "output_tooltips"}

classes = {node.GET_SCHEMA().node_id: node for node in register_pack()}
schemas = {key: node.GET_SCHEMA() for key, node in classes.items()}


@pytest.fixture(params=schemas)
def schema(request) -> io.Schema:
    return schemas[request.param]


def widgets(schema) -> list:
    return [one for one in schema.inputs if isinstance(one, io.WidgetInput)]


def translations(language: str) -> dict:
    path = ROOT / "locales" / language / "nodeDefs.json"
    return json.loads(path.read_text(encoding="utf-8"))


def promise(value):
    """The part of a node's description for the front end that must not change unnoticed."""
    if isinstance(value, dict):
        return {key: promise(one) for key, one in value.items() if key not in TEXTS and one is not None}
    if isinstance(value, (list, tuple)):
        for name in ("SAMPLERS", "SCHEDULERS"):  # these grow with ComfyUI, and that is no change of ours
            if list(value) == list(getattr(KSampler, name)):
                return f"ComfyUI's {name}"
        return [promise(one) for one in value]
    return value


def english(schema) -> dict:
    """What locales/en says about a node: the schema's own words."""
    inputs = {one.id: {"name": one.display_name or one.id, "tooltip": one.tooltip} for one in schema.inputs}
    outputs = {str(i): {"name": one.display_name, "tooltip": one.tooltip} for i, one in enumerate(schema.outputs)}
    entry = {"display_name": schema.display_name, "description": schema.description}
    return {**entry, "inputs": inputs, "outputs": outputs}


def compare(path: Path, now: dict) -> None:
    if os.environ.get("MILD_RENEW_GOLDEN"):
        path.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert now == json.loads(path.read_text(encoding="utf-8")), "Meant? MILD_RENEW_GOLDEN=1 uv run pytest tests/golden"


def test_schemas_are_as_saved(monkeypatch):
    # whatever weights lie on this machine
    monkeypatch.setattr(weight_files, "present", lambda choice: [])
    compare(GOLDEN, {key: promise(node.GET_NODE_INFO_V1()) for key, node in sorted(classes.items())})


def test_english_says_what_the_schemas_say():
    compare(ROOT / "locales" / "en" / "nodeDefs.json", {key: english(one) for key, one in sorted(schemas.items())})


def test_ids_are_ours(schema):
    assert schema.node_id.startswith("MILD_")
    assert schema.category in CATEGORIES


def test_an_artist_finds_the_node(schema):
    assert schema.display_name and schema.description and schema.search_aliases


def test_every_input_and_output_is_explained(schema):
    assert [one.id for one in schema.inputs if not one.tooltip] == []
    assert [one.io_type for one in schema.outputs if not one.display_name] == []


def test_few_inputs_are_visible(schema):
    """What must be connected or set, the advanced widgets left out: six at most."""
    visible = [one.id for one in schema.inputs if not one.advanced and (one in widgets(schema) or not one.optional)]
    assert len(visible) <= 6, visible


def test_numbers_have_bounds(schema):
    for one in widgets(schema):
        if isinstance(one, (io.Int.Input, io.Float.Input)):
            assert one.min is not None and one.max is not None and one.min <= one.default <= one.max, one.id


def help_page(node: str, language: str) -> str:
    """The page that the front end shows: it asks for NODE/LANGUAGE.md, and takes NODE.md where there is none."""
    name = f"{node}.md" if language == "en" else f"{node}/{language}.md"
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_page(schema, language):
    page = help_page(schema.node_id, language)
    missing = [one.id for one in schema.inputs if f"**{one.id}**" not in page]
    missing += [one.display_name for one in schema.outputs if f"**{one.display_name}**" not in page]
    assert missing == []


def test_help_pages_have_the_same_parts(schema):
    """The translated page has the headings, tables and lists of the English one, and names the widgets as the
    translated node does."""
    english, chinese = help_page(schema.node_id, "en"), help_page(schema.node_id, "zh")
    for kind in ("# ", "## ", "|", "- ", "1. "):
        counts = [sum(line.startswith(kind) for line in page.splitlines()) for page in (english, chinese)]
        assert counts[0] == counts[1], kind
    entry = translations("zh")[schema.node_id]
    assert chinese.startswith(f"# {entry['display_name']}\n")
    assert [one["name"] for one in entry["inputs"].values() if one["name"] not in chinese] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_translated(schema, language):
    entry = translations(language)[schema.node_id]
    assert entry["display_name"] and entry["description"]
    inputs = entry.get("inputs", {})
    assert [one.id for one in schema.inputs if not inputs.get(one.id, {}).get("name")] == []
    assert [one.id for one in schema.inputs if not inputs.get(one.id, {}).get("tooltip")] == []
    outputs = entry.get("outputs", {})
    assert [i for i in range(len(schema.outputs)) if not outputs.get(str(i), {}).get("name")] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_of_nothing(language):
    """What was renamed or taken away has left the translations and help pages too."""
    entries = translations(language)
    assert set(entries) <= set(schemas)
    left = {key: set(entries[key].get("inputs", {})) - {one.id for one in schemas[key].inputs} for key in entries}
    assert {key: names for key, names in left.items() if names} == {}
    pages = DOCS.glob("*.md") if language == "en" else DOCS.glob(f"*/{language}.md")
    assert {page.stem if language == "en" else page.parent.name for page in pages} == set(schemas)
    assert {page.stem for page in DOCS.glob("*/*")} == set(LANGUAGES) - {"en"}
