"""A call of the model beside the one that the sampler asked for: what must not take the one for the other."""

from typing import Any

CACHES = ("easycache",)
"""Keys of wrappers that give back what the model said last where its input has changed little (ComfyUI's EasyCache)."""


def uncached(transformer_options: dict[str, Any]) -> dict[str, Any]:
    """A copy of the options without CACHES: they neither answer such a call nor keep it for the sampler's next one."""
    wrappers = transformer_options.get("wrappers", {})
    return {
        **transformer_options,
        "wrappers": {
            kind: {key: own for key, own in keyed.items() if key not in CACHES} for kind, keyed in wrappers.items()
        },
    }
