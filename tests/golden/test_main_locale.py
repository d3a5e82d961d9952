"""What the front end calls our categories and sockets, in every language."""

import json
from pathlib import Path

import pytest

from mild import __file__ as init_file

ROOT = Path(init_file).parent
SCHEMAS = json.loads((ROOT / "tests" / "golden" / "schemas.json").read_text(encoding="utf-8"))


def written(text: str) -> set[str]:
    return set(text.replace('"', " ").replace("[", " ").replace("]", " ").replace(",", " ").split())


@pytest.mark.parametrize("language", sorted(path.name for path in (ROOT / "locales").iterdir()))
def test_categories_and_socket_types_have_names(language):
    names = json.loads((ROOT / "locales" / language / "main.json").read_text(encoding="utf-8"))
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "nodes").glob("*.py")]
    categories = {
        part
        for source in sources
        for line in source.splitlines()
        if line.strip().startswith('category="')
        for part in line.split('"')[1].split("/")
    }
    assert len(categories) > 3 and set(names["nodeCategories"]) == categories
    types = {word for word in written(json.dumps(SCHEMAS)) if word.startswith("MILD_") and word.isupper()}
    assert len(types) > 3 and set(names["dataTypes"]) == types
    assert all(text.strip() for group in names.values() for text in group.values())
