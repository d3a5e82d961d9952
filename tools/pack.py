"""Loads the pack once as the package `mild`, for whoever is not ComfyUI: tests, tools and benchmarks.

Running this file is all it takes (`import pack` from a script in tools/, `runpy.run_path` from benchmarks and from
tests/conftest.py); afterwards `from mild.mild_core import people` works. The root is never put on sys.path: it holds a
package called `nodes`, and so is ComfyUI's own module called, which ComfyUI would then no longer find.
"""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def load_pack():
    """Return the package `mild`, loaded from the root of this checkout (at most once in a process)."""
    if "mild" not in sys.modules:
        where = {"submodule_search_locations": [str(ROOT)]}
        spec = importlib.util.spec_from_file_location("mild", ROOT / "__init__.py", **where)
        module = importlib.util.module_from_spec(spec)
        sys.modules["mild"] = module
        spec.loader.exec_module(module)
    return sys.modules["mild"]


load_pack()
