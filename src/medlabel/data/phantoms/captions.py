"""A small grammar of captions: modality, organ, finding, style.

A style is a sentence with gaps; a kind of image fills them from its vocabulary. The first style
has the form of the prompts that zero-shot classification commonly uses, the others are how
radiologists and pathologists title an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# {image} is a modality, {exam} one with its organ ("chest X-ray", "radiograph of the chest");
# {an_image} and {an_exam} have their article.
STYLES = {
    "photo": (
        "This is a photo of the {organ}, and it's a type of organ",
        "This is a photo of the {organ}",
        "This is {an_image} of the {organ}, and it's a type of organ",
    ),
    "title": ("{an_exam}", "{exam}", "{organ}, {image}"),
    "sentence": (
        "{an_exam} with {finding}",
        "{an_exam} showing {finding}",
        "This is {an_exam} with {finding}",
    ),
    "report": ("{exam}, {finding}.", "{organ}: {finding} ({image}).", "{finding} on {exam}."),
}

NAMING_A_FINDING = ("sentence", "report")


@dataclass(frozen=True)
class Vocabulary:
    """Words for one kind of image.

    Attributes
    ----------
    exams
        Names of modality and organ together, each with its article.
    images
        Names of the modality, each with its article.
    organs
        Names of the organ, the commonest first.
    findings
        Phrases for each finding that the kind can show.
    """

    exams: tuple[str, ...]
    images: tuple[str, ...]
    organs: tuple[str, ...]
    findings: Mapping[str, tuple[str, ...]]


NORMAL = ("no finding", "no abnormality", "normal appearance")

VOCABULARIES = {
    "phantom_chest": Vocabulary(
        ("a chest X-ray", "a chest radiograph"),
        ("an X-ray", "a frontal radiograph", "a radiograph"),
        ("chest", "thorax", "lungs"),
        {"normal": NORMAL, "pneumonia": ("pneumonia", "an opacity", "consolidation")},
    ),
    "phantom_breast": Vocabulary(
        ("a breast ultrasound", "a breast sonogram"),
        ("an ultrasound", "a sonogram", "an ultrasound image"),
        ("breast", "mammary gland"),
        {
            "malignant mass": ("a malignant mass", "a spiculated mass", "a carcinoma"),
            "benign mass": ("a benign mass", "a cyst", "a fibroadenoma"),
            "normal": NORMAL,
        },
    ),
    "phantom_brain": Vocabulary(
        ("a brain MRI", "a cranial MR image"),
        ("an MR image", "an MR slice", "a magnetic resonance image"),
        ("brain", "head"),
        {"normal": NORMAL, "tumour": ("a tumour", "a glioma", "a mass with oedema")},
    ),
    "phantom_abdomen": Vocabulary(
        ("an abdominal CT", "an abdominal CT slice"),
        ("a CT image", "a CT slice", "a computed tomogram"),
        ("abdomen", "belly"),
        {"normal": NORMAL, "liver lesion": ("a liver lesion", "liver metastases")},
    ),
    "phantom_hand": Vocabulary(
        ("a hand X-ray", "a hand radiograph"),
        ("an X-ray", "a radiograph"),
        ("hand", "fingers"),
        {"normal": NORMAL, "fracture": ("a fracture", "a broken bone")},
    ),
    "phantom_retina": Vocabulary(
        ("a fundus photograph", "a retinal photograph"),
        ("a fundus image", "a colour photograph"),
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
        ("a blood smear", "a stained blood film"),
        ("a micrograph", "a microscope image"),
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
        ("a skin photograph", "a skin dermatoscopy"),
        ("a dermatoscopic image", "a close-up photograph"),
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
        ("a colon biopsy", "a colon histology slide"),
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
        ("a macular OCT", "a retinal OCT scan"),
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
        ("an arterial angiogram", "a cerebral angiogram"),
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
    return say(rng, VOCABULARIES[kind], [finding])


def say(rng: np.random.Generator, words: Vocabulary, findings: Sequence[str]) -> tuple[str, str]:
    """Write a caption in some words for an image that shows findings, one at least.

    Returns
    -------
    tuple of str
        The style, a key of `STYLES`, and the sentence.
    """
    style = _choose(rng, tuple(STYLES))
    an_image, organ = _choose(rng, words.images), _choose(rng, words.organs)
    an_exam = _choose(rng, (*words.exams, f"{an_image} of the {organ}"))
    sentence = _choose(rng, STYLES[style]).format(
        an_image=an_image,
        image=_without_article(an_image),
        an_exam=an_exam,
        exam=_without_article(an_exam),
        organ=organ,
        finding=_listed([_choose(rng, _phrases(words, finding)) for finding in findings]),
    )
    return style, sentence


def _listed(phrases: Sequence[str]) -> str:
    *first, last = phrases
    return f"{', '.join(first)} and {last}" if first else last


def _phrases(words: Vocabulary, finding: str) -> tuple[str, ...]:
    """Return what may be said of a finding; where there is none, also which ones there are not."""
    said = words.findings[finding]
    if not set(NORMAL) <= set(said):
        return said
    absent = [
        phrase
        for other, phrases in words.findings.items()
        if other != finding
        for phrase in phrases
    ]
    return (*said, *(f"no {_bare(phrase)}" for phrase in absent))


def _bare(phrase: str) -> str:
    return phrase.removeprefix("a ").removeprefix("an ")


def _choose(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _without_article(phrase: str) -> str:
    return phrase.split(" ", 1)[1]
