"""One sentence for a finder that is not there yet: what to install, or which file to put where."""

import importlib
from types import ModuleType

INSTEAD = "choose another way to find people"


def optional_module(name: str, package: str, finder: str, instead: str = INSTEAD) -> ModuleType:
    """The module `name`, which `package` (as pip calls it) brings. Raises ValueError, in one sentence, if it is absent
    or does not load. instead: what else the artist can do.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != name.split(".")[0]:
            raise ValueError(
                f"{finder}: the package {package} is there but misses another one, '{error.name}': run "
                f"`pip install {error.name}` in ComfyUI's Python and start ComfyUI again."
            ) from error
        raise ValueError(
            f"{finder}: the package {package} is not installed: run `pip install {package}` in ComfyUI's Python and "
            f"start ComfyUI again, or {instead}."
        ) from error
    except Exception as error:
        # A package of somebody else may fail in any way while it loads; the artist needs to know which one it was.
        raise ValueError(
            f"{finder}: the package {package} does not load ({type(error).__name__}: {error}): it may not fit the "
            f"versions of other packages here, so update it or {instead}."
        ) from error
