"""Imports ComfyUI before the test modules of this folder, which may then import its modules on top."""

import mild.tests.helpers.in_process  # noqa: F401
