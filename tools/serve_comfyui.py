"""Runs ComfyUI's main.py and ends it with the parent process: `python serve_comfyui.py COMFYUI_FOLDER args...`

tools/comfyui.py holds the other end of this process's standard input. When that end closes, be it by stop(), by an
exception, by Ctrl+C or because the parent was killed, the server ends. So no server outlives its parent on any system.
"""

import os
import runpy
import sys
import threading
from pathlib import Path


def end_with_parent():
    """Block until standard input closes, then end this process at once, whatever the other threads do."""
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    folder = Path(sys.argv[1])
    sys.argv = [str(folder / "main.py"), *sys.argv[2:]]
    sys.path[0] = str(folder)  # as if main.py itself had been started: our tools folder must not shadow its modules
    os.chdir(folder)
    runpy.run_path(sys.argv[0], run_name="__main__")
