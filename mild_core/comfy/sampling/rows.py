"""Names the layer of each row of a batch in transformer_options, for every patch on the model.

ComfyUI itself does not: `uuids` name entries of the conditioning, `cond_or_uncond` is the guider's list index. So
whoever samples layers writes into transformer_options

    mild_rows      one layer id for each row of x
    mild_positive  the uuids of the positive conditioning's entries
    mild_notes     a function that takes a sentence for the artist: what a patch could not do

A patch sees batch = chunks x rows, chunk by chunk: row b is layer mild_rows[b % len(mild_rows)], and its chunk is
uuids[b // len(mild_rows)].
"""

from collections.abc import Sequence

import comfy.model_patcher
import comfy.samplers

ROWS = "mild_rows"
POSITIVE = "mild_positive"
NOTES = "mild_notes"


def name_rows(guider: comfy.samplers.CFGGuider, layer_ids: Sequence[str], notes: list[str]) -> None:
    """Write all of them into a copy of the guider's model_options: the MODEL's own stay as they are. Set conds first.

    A guider of another pack may call its conds otherwise: then none is positive, as where nobody writes these keys.
    notes: gets the patches' sentences, each once.
    """
    options = comfy.model_patcher.create_model_options_clone(guider.model_options)
    # Tuples: ComfyUI merges lists of two transformer_options by joining them.
    options["transformer_options"][ROWS] = tuple(layer_ids)
    options["transformer_options"][POSITIVE] = tuple(cond["uuid"] for cond in guider.original_conds.get("positive", ()))
    # A function: a list would be copied with the options.
    options["transformer_options"][NOTES] = lambda note: notes.append(note) if note not in notes else None
    guider.model_options = options
