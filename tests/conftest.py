"""Loads the pack once as the package `mild`, for every test. The root is never put on sys.path (see CONTRIBUTING)."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if "mild" not in sys.modules:
    spec = importlib.util.spec_from_file_location("mild", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    module = importlib.util.module_from_spec(spec)
    sys.modules["mild"] = module
    spec.loader.exec_module(module)
