"""Finders: third-party models that detect people in a photo. Each needs a package that is not installed by default.

A finder imports its package inside the function that uses it, takes the file of its weights as a path, downloads
nothing, and gives `Found` people. Those that need ComfyUI's memory manager are in `comfy/find/`.
"""
