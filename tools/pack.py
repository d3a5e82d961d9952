"""Loads the pack once as the package `mild`, outside of ComfyUI: for tests, tools and benchmarks.

Running this file is all it takes (`import pack` from a script in tools/, `runpy.run_path` from benchmarks and from
tests/conftest.py); afterwards `from mild.mild_core import people` works. The root is never put on sys.path: it holds a
package called `nodes`, and ComfyUI, whose own module has the same name, would import the wrong one.
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
