"""The labels of parsing: what every label set is mapped onto.

Label sets: ATR (Liang et al. 2015), LIP (Gong et al. 2017) and CIHP (Gong et al. 2018) name garments and bare limbs,
BodyPix names limbs whatever they wear, MediaPipe's multiclass segmenter skin, hair and clothes. PARTS holds them all,
so that nothing is lost on the way. Left and right are the person's own.
"""

PARTS = (
    "background",
    "hat",
    "hair",
    "glove",
    "glasses",
    "upper clothes",
    "dress",
    "coat",
    "socks",
    "trousers",
    "jumpsuit",
    "scarf",
    "skirt",
    "face",
    "left arm",
    "right arm",
    "left leg",
    "right leg",
    "left shoe",
    "right shoe",
    "torso skin",
    "belt",
    "bag",
    "skin",
    "clothes",
    "accessory",
    "torso",
    "left upper arm",
    "right upper arm",
    "left lower arm",
    "right lower arm",
    "left hand",
    "right hand",
    "left upper leg",
    "right upper leg",
    "left lower leg",
    "right lower leg",
)
"""A label is the place of its name here. The first 20 are LIP's own. "skin" and "clothes" say no limb."""

SEGMENTS = ("unknown", "head", "torso", "upper arm", "lower arm", "hand", "upper leg", "lower leg", "foot", "thing")
"""Body segments without sides: the left sleeve may be copied from the right one."""
