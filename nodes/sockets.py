"""The socket types that only this pack knows. Everything else on our nodes is ComfyUI's own type."""

from comfy_api.latest import io

People = io.Custom("MILD_PEOPLE")  # list[mild_core.scene.Person]
Layers = io.Custom("MILD_LAYERS")  # list[mild_core.scene.Scene], one for each photo of the batch
Bodies = io.Custom("MILD_MORPHOLOGY")  # list[mild_core.scene.Morphology], one for each photo of the batch
Poses = io.Custom("POSE_KEYPOINT")  # ComfyUI's own: list of OpenPose frames, one per photo
Gap = io.Custom("MILD_GAP")  # mild_core.comfy.attention.recorder.Recorder: filled whenever its MODEL samples
