"""A small grammar of captions: modality, organ, finding, style.

A style is a sentence with gaps; a kind of image fills them from its vocabulary. The first style
has the form of the prompts that zero-shot classification commonly uses, the others are how
radiologists and pathologists title an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# {an_image}: the modality with its article; {image}: without; {organ}; {finding}.
STYLES = {
    "photo": (
        "This is a photo of the {organ}, and it's a type of organ",
        "This is a photo of the {organ}",
        "This is {an_image} of the {organ}, and it's a type of organ",
    ),
    "title": ("{image} of the {organ}", "{organ}, {image}", "{an_image} of the {organ}"),
    "sentence": (
        "{an_image} of the {organ} with {finding}",
        "{an_image} showing {finding} of the {organ}",
        "This is {an_image} of the {organ} with {finding}",
    ),
    "report": (
        "{image} of the {organ}, {finding}.",
        "{organ}: {finding} ({image}).",
        "{finding} on {image} of the {organ}.",
    ),
}


@dataclass(frozen=True)
class Vocabulary:
    """Words for one kind of image.

    Attributes
    ----------
    images
        Names of the modality, each with its article.
    organs
        Names of the organ, the commonest first.
    findings
        Phrases for each finding that the kind can show.
    """

    images: tuple[str, ...]
    organs: tuple[str, ...]
    findings: Mapping[str, tuple[str, ...]]


NORMAL = ("no finding", "no abnormality", "normal appearance")

VOCABULARIES = {
    "phantom_chest": Vocabulary(
        ("a chest X-ray", "an X-ray", "a frontal radiograph", "a radiograph"),
        ("chest", "thorax", "lungs"),
        {"normal": NORMAL, "pneumonia": ("pneumonia", "an opacity", "consolidation")},
    ),
    "phantom_breast": Vocabulary(
        ("an ultrasound", "a breast ultrasound", "a sonogram", "an ultrasound image"),
        ("breast", "mammary gland"),
        {
            "malignant mass": ("a malignant mass", "a spiculated mass", "a carcinoma"),
            "benign mass": ("a benign mass", "a cyst", "a fibroadenoma"),
            "normal": NORMAL,
        },
    ),
    "phantom_brain": Vocabulary(
        ("an MR image", "a brain MRI", "an axial MR slice", "a magnetic resonance image"),
        ("brain", "head"),
        {"normal": NORMAL, "tumour": ("a tumour", "a glioma", "a mass with oedema")},
    ),
    "phantom_abdomen": Vocabulary(
        ("a CT image", "an abdominal CT", "an axial CT slice", "a computed tomogram"),
        ("abdomen", "belly"),
        {"normal": NORMAL, "liver lesion": ("a liver lesion", "liver metastases")},
    ),
    "phantom_hand": Vocabulary(
        ("a hand X-ray", "an X-ray", "a radiograph"),
        ("hand", "fingers"),
        {"normal": NORMAL, "fracture": ("a fracture", "a broken bone")},
    ),
    "phantom_retina": Vocabulary(
        ("a fundus photograph", "a fundus image", "a colour photograph"),
        ("retina", "eye"),
        {
            "no retinopathy": (*NORMAL, "no diabetic retinopathy"),
            "mild retinopathy": ("mild diabetic retinopathy", "a few microaneurysms"),
            "moderate retinopathy": ("moderate diabetic retinopathy", "some haemorrhages"),
            "severe retinopathy": ("severe diabetic retinopathy", "many haemorrhages"),
            "proliferative retinopathy": ("proliferative retinopathy", "new vessels"),
        },
    ),
    "phantom_blood": Vocabulary(
        ("a blood smear", "a micrograph", "a microscope image"),
        ("blood", "blood cells"),
        {
            "basophil": ("a basophil",),
            "eosinophil": ("an eosinophil",),
            "erythroblast": ("an erythroblast", "a nucleated red cell"),
            "immature granulocyte": ("an immature granulocyte", "a myelocyte"),
            "lymphocyte": ("a lymphocyte",),
            "monocyte": ("a monocyte",),
            "neutrophil": ("a neutrophil", "a segmented granulocyte"),
            "platelet": ("a platelet", "a thrombocyte"),
        },
    ),
    "phantom_skin": Vocabulary(
        ("a dermatoscopic image", "a dermatoscopy", "a close-up photograph"),
        ("skin",),
        {
            "actinic keratosis": ("actinic keratosis", "intraepithelial carcinoma"),
            "basal cell carcinoma": ("a basal cell carcinoma",),
            "benign keratosis": ("a benign keratosis", "a seborrhoeic keratosis"),
            "dermatofibroma": ("a dermatofibroma",),
            "melanoma": ("a melanoma", "a malignant melanoma"),
            "melanocytic nevus": ("a melanocytic nevus", "a mole"),
            "vascular lesion": ("a vascular lesion", "an angioma"),
        },
    ),
    "phantom_colon": Vocabulary(
        ("a histology slide", "a pathology image", "a stained section"),
        ("colon", "large bowel"),
        {
            "adipose": ("adipose tissue", "fat"),
            "background": ("background", "no tissue"),
            "debris": ("debris", "necrosis"),
            "lymphocytes": ("lymphocytes",),
            "mucus": ("mucus",),
            "smooth muscle": ("smooth muscle",),
            "normal mucosa": ("normal mucosa", "normal glands"),
            "cancer-associated stroma": ("cancer-associated stroma",),
            "adenocarcinoma": ("adenocarcinoma", "colorectal cancer"),
        },
    ),
    "phantom_oct": Vocabulary(
        ("an OCT scan", "an optical coherence tomogram", "an OCT B-scan"),
        ("macula", "layers of the retina"),
        {
            "choroidal neovascularisation": ("choroidal neovascularisation",),
            "diabetic macular oedema": ("diabetic macular oedema", "cystoid oedema"),
            "drusen": ("drusen",),
            "normal": NORMAL,
        },
    ),
    "phantom_vessel3d": Vocabulary(
        ("an MR angiogram", "a segmented angiogram", "a 3-D angiogram"),
        ("brain arteries", "blood vessel", "artery"),
        {"vessel": NORMAL, "aneurysm": ("an aneurysm", "a saccular aneurysm")},
    ),
}


def caption(rng: np.random.Generator, kind: str, finding: str) -> tuple[str, str]:
    """Write a caption for an image of `kind` that shows `finding`.

    Returns
    -------
    tuple of str
        The style, a key of `STYLES`, and the sentence.
    """
    words = VOCABULARIES[kind]
    style = str(rng.choice(list(STYLES)))
    an_image = str(rng.choice(words.images))
    sentence = str(rng.choice(STYLES[style])).format(
        an_image=an_image,
        image=an_image.split(" ", 1)[1],
        organ=rng.choice(words.organs),
        finding=rng.choice(words.findings[finding]),
    )
    return style, sentence
