"""The only place that touches ComfyUI's model API."""
