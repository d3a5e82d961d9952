"""The records of weights are fit to be fetched, and stand in the help pages."""

from pathlib import Path

import pytest

import mild
from mild.mild_core.find import weight_sources
from mild.mild_core.find.weight_sources import WeightFile

PAGES = Path(mild.__file__).parent / "web" / "docs"
ON_NODES = {
    "MILD_FindPeople": [
        *(file for _, _, file in weight_sources.CORE),
        *(choice.file for choice in (*weight_sources.FINDERS, *weight_sources.SEGMENTERS)),
    ],
    "MILD_Morphology": [choice.file for choice in weight_sources.PARSERS],
}
CHOICES = (*weight_sources.FINDERS, *weight_sources.SEGMENTERS, *weight_sources.PARSERS)
FILES = [file for files in ON_NODES.values() for file in files]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_record_names_one_file_and_guards_it(file: WeightFile):
    for name in (file.name, file.folder):
        assert name == Path(name).name and not set(name) & set('\\/:*?"<>|') and not name.startswith(".")
    assert len(file.sha256) in (0, 64) and set(file.sha256) <= set("0123456789abcdef")
    assert not file.addresses or (len(file.sha256) == 64 and file.size > 0)
    assert all(address.startswith("https://") for address in (file.page, *file.addresses))
    assert file.licence and file.maker


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.label)
def test_the_fetched_file_is_offered_where_it_was_fetched(choice):
    assert choice.fits(choice.file.name.lower())
    others = [one.label for one in CHOICES if one is not choice and one.fits(choice.file.name.lower())]
    assert others == []


@pytest.mark.parametrize("page", ["{}.md", "{}/zh.md"])
@pytest.mark.parametrize("node", ON_NODES)
def test_help_pages_say_where_each_file_comes_from(node, page):
    page = (PAGES / page.format(node)).read_text(encoding="utf-8")
    for file in ON_NODES[node]:
        size = f"{file.size / 1e6:,.1f} MB" if file.size else ""
        missing = [
            fact for fact in (file.name, size, file.licence, file.page, file.folder, file.sha256) if fact not in page
        ]
        assert missing == [], file.name
    places = [page.index(f"[{file.name}]({file.page})") for file in ON_NODES[node]]
    assert places == sorted(places)
