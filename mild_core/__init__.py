"""The method, in plain torch and numpy. Nothing here imports ComfyUI, except inside `mild_core.comfy`."""
