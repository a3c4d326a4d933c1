"""Parameters: every number of the project, its type, unit, bounds and meaning.

These models are the only place that says what `params.yaml` may hold. The JSON schema under
`workflow/schemas/` is generated from them (`medlabel schema`), so an editor completes and checks
the file while it is typed.
"""

from medlabel.params.agreement import Agreement
from medlabel.params.base import names_phantoms
from medlabel.params.compared import Compared
from medlabel.params.concepts import Concepts
from medlabel.params.data import Counts, Download, Phantoms
from medlabel.params.encoders import (
    AnyEncoder,
    Contrastive,
    EncoderReference,
    Labelled,
    Locked,
    Prompts,
    Published,
    Runtime,
    Tower,
    Tuned,
)
from medlabel.params.few_labels import FewLabels
from medlabel.params.generation import Generation
from medlabel.params.labellings import (
    Anchored,
    AnyLabelling,
    Balanced,
    Clusters,
    Confident,
    Consensus,
    Head,
    Labelling,
    Mixed,
    Propagation,
    TransClip,
    Turtle,
    Vote,
    ZeroShot,
)
from medlabel.params.many_sets import Learner, ManySets
from medlabel.params.mixtures import ClassRole, Mixture, MixtureClass
from medlabel.params.model import Params, TrainingSettings, pool_name
from medlabel.params.networks import Network
from medlabel.params.reading import check, overlay, read, read_yaml, retyped, schema, validate
from medlabel.params.recipes import Augmentation, Distillation, Recipe, Start
from medlabel.params.retrieval import Retrieval
from medlabel.params.segmentation import Segmentation
from medlabel.params.studies import TRUE, Cell, Trained, blocks, varying
from medlabel.params.without_labels import WithoutLabels

__all__ = [
    "TRUE",
    "Agreement",
    "Anchored",
    "AnyEncoder",
    "AnyLabelling",
    "Augmentation",
    "Balanced",
    "Cell",
    "ClassRole",
    "Clusters",
    "Compared",
    "Concepts",
    "Confident",
    "Consensus",
    "Contrastive",
    "Counts",
    "Distillation",
    "Download",
    "EncoderReference",
    "FewLabels",
    "Generation",
    "Head",
    "Labelled",
    "Labelling",
    "Learner",
    "Locked",
    "ManySets",
    "Mixed",
    "Mixture",
    "MixtureClass",
    "Network",
    "Params",
    "Phantoms",
    "Prompts",
    "Propagation",
    "Published",
    "Recipe",
    "Retrieval",
    "Runtime",
    "Segmentation",
    "Start",
    "Tower",
    "Trained",
    "TrainingSettings",
    "TransClip",
    "Tuned",
    "Turtle",
    "Vote",
    "WithoutLabels",
    "ZeroShot",
    "blocks",
    "check",
    "names_phantoms",
    "overlay",
    "pool_name",
    "read",
    "read_yaml",
    "retyped",
    "schema",
    "validate",
    "varying",
]
