"""Parameters: what is allowed, what parts stand for, and what a person is told otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from medlabel import layout
from medlabel import params as parameters
from medlabel.errors import MedlabelError

ROOT = Path(__file__).parent.parent
DEFAULT = ROOT / "params.yaml"
OVERLAYS = sorted((ROOT / "config").glob("*.yaml"))
ONTO = {"capstone_stand_in": [ROOT / "config" / "capstone.yaml"]}  # others stand alone


def changed(*overrides: str) -> parameters.Params:
    """The committed parameters with some values changed."""
    return parameters.read([DEFAULT], overrides)


def study(**keys: Any) -> parameters.Params:
    """The committed parameters and a study `tried` that extends `main`."""
    content = {"title": "Tried", "extends": "main"} | keys
    return changed(f"studies.tried={json.dumps(content)}")


def test_capstone_numbers_are_the_defaults(default_params: parameters.Params) -> None:
    chest, breast = default_params.mixtures["breast_pneumonia"].classes
    assert (chest.train.count, breast.train.count) == (546, 546)
    assert (chest.test.count, breast.test.count) == (234, 234)
    assert breast.test.splits == ["val", "test"]
    recipe = default_params.recipes["capstone"]
    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum) == ("sgd", 0.001, 0.9)
    assert (recipe.epochs, recipe.patience, recipe.validation_fraction) == (20, 10, 0.2)
    assert default_params.studies["main"].seeds == 30


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_overlays_are_valid(overlay: Path) -> None:
    found = parameters.read([DEFAULT, *ONTO.get(overlay.stem, []), overlay])
    assert all(found.grids[name] for name in found.default_studies)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "recipes.capstone.learning_rates=1",
            "recipes.capstone.learning_rates: unknown key (value 1); did you mean learning_rate?",
        ),
        (
            "encoders.phantom_clip.widht=1",
            "encoders.phantom_clip.widht: unknown key (value 1); di",
        ),
        (
            "recipes.capstone.learning_rate=-1",
            "recipes.capstone.learning_rate: -1 given, allowed: input should be greater than 0",
        ),
        ("recipes.capstone.learning_rate=fast", "recipes.capstone.learning_rate: 'fast' given"),
        (
            "recipes.capstone.extends=officia",
            "recipes.capstone.extends: 'officia' given, one of official, ",
        ),
        (
            "recipes.official.extends=capstone",
            "recipes.official.extends: 'official' given, a circle",
        ),
        ("mixtures.real_pairs.size=29", "mixtures.real_pairs.size: 29 given, one of (28, 64"),
        ("studies.main.seeds=0", "studies.main.seeds: 0 given"),
        ("seed={a: 1}", "seed: {'a': 1} given"),
        ("studies.main.encoder=phantom_clip@7", "studies.main.encoder: 'phantom_clip@7' given, o"),
        ("studies.main.encoder=phantom_clap", "studies.main.encoder: 'phantom_clap' given, one of"),
        ("studies.quality.pretrainings=6", "studies.quality.encoder: pretraining 5 of phantom_cli"),
        ("studies.main.prompts=null", "studies.main.prompts: missing; a teacher needs"),
        ("studies.main.images=breastmnist", "studies.main.images: 'breastmnist' given with an enc"),
        ("studies.vessel.images=vesselmnist", "studies.vessel.images: 'vesselmnist' given, which"),
        ("studies.vessel.network=resnet18", None),  # its rows name networks of their own
        ("studies.main.network=vit3d", "studies.main.network: network 'vit3d' does not fit images"),
        ("studies.main.network=alexnet", "studies.main.network: network 'alexnet' is not known"),
        ("studies.main.recipe=offical", "studies.main.recipe: 'offical' given, one of official, "),
        ("studies.main.network=[]", "studies.main: an empty list given, names allowed"),
        (
            "recipes.capstone.start={source: training, images: breast_pneumonia, recipe: none}",
            "recipes.capstone.start.recipe: 'none' given, one of official, ",
        ),
        ("studies.vessel.controls=[permuted]", "studies.vessel.controls, pretrainings: given wit"),
        (
            "studies.vessel.rows=[{encoder: clip}, {prompts: plain, labelling: zeroshot}]",
            "studies.vessel.prompts, labelling: missing; a teacher needs encoder, prompts, labelli",
        ),
        ("studies.main.recipe=official", "studies.main: recipe official for breast_pneumonia: re"),
        (
            "encoders.phantom_clip.checkpoints=[20, 10]",
            "encoders.phantom_clip.checkpoints: [20, 10] given, rising steps",
        ),
        (
            "encoders.captioned_clip.image_tower=cnn",
            "encoders.captioned_clip.start: phantom_clip@60 given, an encoder of kind contrastive "
            "of the same architecture",
        ),
        (
            "encoders.phantom_clip.patch_size=5",
            "encoders.phantom_clip.patch_size: 5 given, a divisor of phantoms.size (28)",
        ),
        (
            "encoders.locked.edges=[224, 100]",
            "encoders.locked.edges: [224, 100] given, divisors of",
        ),
        (
            "encoders.locked.edges=[112, 224]",
            "encoders.locked.edges: [112, 224] given, divisors of",
        ),
        (
            "encoders.locked.edges=[]",
            "encoders.locked.edges: [] given, allowed: list should have at",
        ),
        ("encoders.locked.edges=[224, 112, 56]", None),
        (
            "segmentation.phantoms.encoder=phantom_clip@6",
            "segmentation.phantoms.encoder: 'phantom_clip@6' given, an encoder of kind locked",
        ),
        (
            "segmentation.phantoms.images.train=500",
            "segmentation.phantoms.images.train: 500 given, at most phantoms.counts.train (400)",
        ),
        (
            "segmentation.phantoms.shown=[{images: vesselmnist3d, words: [a, b, c]}]",
            "segmentation.phantoms.shown.0.images: 'vesselmnist3d' given, which are volumes",
        ),
        ("encoders.locked.precision=int8", None),
        (
            "encoders.phantom_clip.precision=int8",
            "encoders.phantom_clip.runtime: 'torch' given, 'openvino' allowed for int8",
        ),
        (
            "encoders.locked.tower={source: open_clip, model: ViT-B-32, weights: null}",
            "encoders.locked.tower.weights: null given, a tag or a file allowed for open_clip",
        ),
        ("encoders.locked.tower={source: open_clip, model: ViT-B-32, weights: openai}", None),
        (
            "encoders.locked.tower.weights=a.pth",
            "encoders.locked.tower.weights: 'a.pth' given, null allowed for package",
        ),
        (
            "encoders.locked.tower={source: folder, model: data/encoders/mine, weights: a.pth}",
            "encoders.locked.tower.weights: 'a.pth' given, null allowed for folder",
        ),
        (
            "encoders.locked_random.tower={source: random, model: resnet18, weights: a.pth}",
            "encoders.locked_random.tower.weights: 'a.pth' given, null allowed for random",
        ),
        ("encoders.locked.tower={source: timm, model: resnet18, weights: a.pth}", None),
        ("encoders.locked.tower={source: timm, model: resnet18, weights: null}", None),
        (
            "encoders.locked.tower.source=hub",
            "encoders.locked.tower.source: 'hub' given, allowed: ",
        ),
        (
            "encoders.locked.tower.modle=x",
            "encoders.locked.tower.modle: unknown key (value 'x'); did you mean model?",
        ),
        ("encoders.locked.runtime=fast", "encoders.locked.runtime: 'fast' given, allowed: input "),
        ("studies.weak.encoder=locked.2", None),
        (
            "studies.weak.encoder=locked.9",
            "studies.weak.encoder: pretraining 9 of locked given, of which there are 5: "
            "encoders.locked.pretrainings allows 0 to 4",
        ),
        (
            "studies.weak.encoder=locked@5",
            "studies.weak.encoder: locked@5 given, locked has no checkpoints",
        ),
        ("encoders.phantom_clip.width=100", "encoders.phantom_clip.width: 100 given, a multiple"),
        (
            "encoders.phantom_clip.kind=clip",
            "encoders.phantom_clip.kind: one of 'open_clip', 'transformers'",
        ),
        (
            "recipes.quick_3d.start.source=package",
            "studies.vessel.network: 'resnet18_acs' given, of which no package holds",
        ),
        ("studies.main.network=encoder:locked", None),
        ("studies.main.network=frozen:phantom_clip.2@60", None),
        (
            "studies.main.network=frozen:eye",
            "studies.main.network: 'eye' given, one of locked, ",
        ),
        (
            "studies.main.network=encoder:a@b@c",
            "studies.main.network: 'encoder:a@b@c': 'a@b@c' given, such as phantom_clip@6",
        ),
        (
            "studies.main.network=encoder:phantom_clip@7",
            "studies.main.network: 'phantom_clip@7' given, one of phantom_clip@4",
        ),
        ("recipes.pneumonia.augmentations=[augmix]", None),
        (
            "recipes.quick_3d.augmentations=[flip, augmix]",
            "studies.vessel: recipes.quick_3d.augmentations: augmix given for volumes (vess",
        ),
        ("labellings.vote.method=votes", "labellings.vote.method: one of 'zeroshot', 'clusters', "),
        (
            "labellings.vote_in_locked.space=eye",
            "labellings.vote_in_locked.space: 'eye' given, one",
        ),
        ("few_labels.kinds.encoder=eye", "few_labels.kinds.encoder: 'eye' given, one of locked, "),
        ("few_labels.kinds.encoder=a@b@c", "few_labels.kinds.encoder: 'a@b@c' given, such as phan"),
        (
            "without_labels.real.encoders=[eye]",
            "without_labels.real.encoders: 'eye' given, one of locked, ",
        ),
        (
            "without_labels.real.labellings=[zeroshot]",
            "without_labels.real.labellings: estimates take their view: 'clusters' given, one of",
        ),
        (
            "without_labels.real.labellings=[zeroshot, weighed, clusters]",
            "without_labels.real.labellings: weighed given, one without space and weigh allowed",
        ),
        (
            "without_labels.real.contents.chest_breast.classes={chest: [brain], breast: [benign]}",
            "without_labels.real.contents.chest_breast.classes: 'brain' given, one of normal, ",
        ),
        (
            "without_labels.real.source=phantom_kinds",
            "without_labels.real.source: phantom_kinds lacks a class: 'normal' given, one of",
        ),
        (
            "without_labels.real.contents.chest_breast.images=phantom_sets",
            "without_labels.real: a name that begins with phantom_ is required for entries whose",
        ),
        (
            "generation.real.images=phantom_kinds",
            "generation.real.images: phantom_kinds given, a mixture of the classes and the size of",
        ),
        (
            "generation.real.filled=['kinds']",
            "generation.real.filled: 'kinds' given, a question of two groups of one class each",
        ),
        (
            "generation.real.questions={'a': [['normal'], ['cat']]}",
            "generation.real.questions: 'cat' given, one of normal, pneumonia, ",
        ),
        (
            "generation.real.questions={'a': [['normal'], ['normal']]}",
            "generation.real.questions.a: [['normal'], ['normal']] given, two groups of different",
        ),
        (
            "few_labels.kinds.labellings=['weighed']",
            "labellings.weighed.weigh: true given with prompts capstone (few_labels.kinds)",
        ),
        ("labellings.zeroshot.weigh=true", "labellings.zeroshot.weigh: true given with prompts"),
        ("labellings.vote_in_locked.space=locked.7", "labellings.vote_in_locked.space: pretraini"),
        ("labellings.vote.count=0", "labellings.vote.count: 0 given, allowed: input should be"),
        (
            "labellings.clusters.count=8",
            "labellings.clusters.count: unknown key (value 8); did you mean counts?",
        ),
        (
            "labellings.balanced.totals={chest: -1.0}",
            "labellings.balanced.totals.chest: -1.0 given, allowed: input should be",
        ),
        ("prompts.capstone.templates=['no slot']", "prompts.capstone.templates: 'no slot' given"),
        ("networks.wider.kernels=[3]", "networks.wider.kernels: [3] given, one for each of"),
        (
            "many_sets.real.sets=[breastmnist, breastmnist]",
            "many_sets.real.sets: breastmnist, breastmnist given, each once allowed",
        ),
        (
            "many_sets.real.sets=[breastmnist, phantom_chest]",
            "many_sets.real.sets: phantom_chest given, official sets allowed",
        ),
        (
            "many_sets.real.images=stand_in",
            "many_sets.real.sets: vesselmnist3d given with images: stand_in, sets of images",
        ),
        (
            "many_sets.phantom_eleven.images=official",
            "many_sets.phantom_eleven: a name that begins with phantom_ is reserved to",
        ),
        (
            "many_sets.real.models.head.network=capstone",
            "many_sets.real.models.head.network, encoder: one of the two allowed",
        ),
        (
            "many_sets.real.models.head_loss.weights={pathmnist: 2}",
            "many_sets.real.models.head_loss.weights: pathmnist given, which is none of sets",
        ),
        (
            "many_sets.real.models.head.recipe=mixed",
            "many_sets.real.models.head: recipes.mixed.validation_fraction: 0.2 given",
        ),
        (
            "many_sets.real.models.small_cnn.network=vit3d",
            "many_sets.real.models.small_cnn.network: network 'vit3d' does not fit images",
        ),
        ("many_sets.real.models.small_cnn.balance=loss", None),
        (
            "mixtures.normal_pneumonia.stand_ins=[chestmnist]",
            "mixtures.normal_pneumonia.stand_ins: chestmnist given, official 2-D sets of the",
        ),
        (
            "mixtures.normal_pneumonia.stand_ins=[pneumoniamnist]",
            "mixtures.normal_pneumonia: a name that begins with phantom_ is required for",
        ),
        ("default_studies=[mian]", "default_studies: 'mian' given, one of main, "),
        ("colour=blue", "colour: unknown key (value 'blue'); allowed here: seed, device"),
        ("student={model: wide_cnn}", "student: replaced in version 0.2.0 by networks and recipes"),
        ("benchmark={name: mine}", "benchmark: replaced in version 0.2.0 by studies"),
    ],
)
def test_a_wrong_value_is_told_in_one_line(override: str, expected: str | None) -> None:
    if expected is None:
        changed(override)
        return
    with pytest.raises(MedlabelError) as caught:
        changed(override)
    message = str(caught.value)
    assert message.startswith(f"{DEFAULT}: {expected}")
    assert "\n" not in message


def mixture(**entry: Any) -> str:
    """An override by which the second class of the main mixture is another one."""
    content = parameters.read_yaml(DEFAULT)["mixtures"]["breast_pneumonia"]["classes"]
    content[1] |= entry
    return f"mixtures.breast_pneumonia.classes={json.dumps(content)}"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"dataset": "brestmnist"}, r"classes\.1\.dataset: 'brestmnist' given"),
        ({"dataset": "vesselmnist3d"}, r"vesselmnist3d given, 2-D datasets allowed; projection"),
        ({"dataset": "phantom_breast"}, r"breast_pneumonia: a name that begins with phantom_ is"),
        ({"name": "chest"}, r"the names chest, chest are not all different"),
        (
            {"train": {"splits": ["train", "test"], "count": 1}},
            r"classes\.1\.train\.splits and test\.splits",
        ),
    ],
    ids=["unknown", "volumes", "phantom", "twice", "roles"],
)
def test_a_mixture_that_cannot_be_is_told(entry: dict, expected: str) -> None:
    with pytest.raises(MedlabelError, match=expected):
        changed(mixture(**entry))


def test_stand_ins_take_the_place_of_official_files() -> None:
    drawn = {"extends": "breast_pneumonia", "published": None, "stand_ins": ["breastmnist"]}
    overlay = {"mixtures": {"phantom_drawn": drawn}}
    found = parameters.read([DEFAULT], given=overlay)
    assert found.mixtures["phantom_drawn"].phantom
    assert layout.of(found).archives(found.mixtures["phantom_drawn"]) == {
        "pneumoniamnist": "data/raw/pneumoniamnist.npz",
        "breastmnist": "data/stand_ins/28/breastmnist.npz",
    }
    for section, key in (("retrieval", "images"), ("concepts", "images"), ("generation", "images")):
        name = next(iter(getattr(found, section)))
        with pytest.raises(MedlabelError, match=r"'phantom_drawn' given, images with captions"):
            parameters.read([DEFAULT], given={**overlay, section: {name: {key: "phantom_drawn"}}})


def test_what_has_no_stand_ins_is_written_as_before_there_were_any() -> None:
    """What a job depends on would differ otherwise, and it would run again."""
    found = parameters.read([DEFAULT])
    assert "stand_ins" not in found.mixtures["breast_pneumonia"].model_dump()
    assert "stand_in_drawings" not in found.phantoms.model_dump()


def test_a_missing_key_is_named() -> None:
    content = parameters.read_yaml(DEFAULT)
    del content["recipes"]["official"]["epochs"]
    content["recipes"] = {"official": content["recipes"]["official"]}
    with pytest.raises(MedlabelError, match=r"params: recipes\.official\.epochs: missing"):
        parameters.validate(content, "params")


def test_words_that_cannot_tell_classes_apart_are_refused() -> None:
    """F25: both classes described alike gave every image the first label at 0.5."""
    with pytest.raises(MedlabelError, match=r"words: chest and breast .* have the same words"):
        changed("prompts.capstone.words={chest: [organ], breast: [' Organ']}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"- a\n- b\n", "expected a YAML mapping, found list"),
        (b"a: [", "found a syntax error"),
        ("words: r\xf6ntgen".encode("latin-1"), "expected UTF-8, found byte 0xf6 at position 8"),
        (b"seed: 1\nseed: 2\n", "the key 'seed' stands twice"),
        (b"data: {retries: 1, retries: 2}\n", "the key 'retries' stands twice"),
    ],
    ids=["list", "syntax", "F28 Latin-1", "F29 twice", "twice within"],
)
def test_a_file_that_is_no_good_mapping_is_told(tmp_path: Path, text: bytes, expected: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(text)
    with pytest.raises(MedlabelError, match=expected) as caught:
        parameters.read([path])
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(MedlabelError, match="no such parameter file"):
        parameters.read([tmp_path / "absent.yaml"])
    with pytest.raises(MedlabelError, match="cannot be read: Is a directory"):
        parameters.read([tmp_path])


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "notepad.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 7\r\n")
    assert parameters.read([DEFAULT, path]).seed == 7


@pytest.mark.parametrize("override", ["seed", "=1", "seed=["])
def test_a_malformed_override_is_told(override: str) -> None:
    with pytest.raises(MedlabelError, match=r"^--set "):
        changed(override)


def test_numbers_that_snakemake_hands_over_as_text_are_numbers() -> None:
    """F55: `snakemake --config recipes='{capstone: {learning_rate: 0.01}}'` was refused."""
    given_ = {"recipes": {"capstone": {"learning_rate": "0.01", "patience": "null"}}, "seed": 3}
    found = parameters.read([DEFAULT], given=given_)
    assert found.recipes["capstone"].learning_rate == 0.01
    assert found.recipes["capstone"].patience is None
    assert found.seed == 3
    with pytest.raises(MedlabelError, match="learning_rate: -1 given, allowed: input should be g"):
        parameters.read([DEFAULT], given={"recipes": {"capstone": {"learning_rate": "-1"}}})


@given(
    st.recursive(
        st.integers()
        | st.booleans()
        | st.none()
        | st.text("abc ", min_size=1)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.dictionaries(st.sampled_from("xyz"), inner),
        max_leaves=6,
    )
)
def test_texts_that_are_no_numbers_stay_texts(content: Any) -> None:
    assert parameters.retyped(content) == content


def test_a_study_is_the_product_of_its_lists() -> None:
    found = study(network=["capstone", "wider"], recipe=["capstone", "capstone_adam"], seeds=2)
    cells = found.grids["tried"]
    assert [(cell.network, cell.recipe) for cell in cells] == [
        ("capstone", "capstone"),
        ("capstone", "capstone_adam"),
        ("wider", "capstone"),
        ("wider", "capstone_adam"),
    ]
    assert parameters.varying(cells) == ("network", "recipe")
    assert {cell.seeds for cell in cells} == {2}


def test_rows_stand_in_place_of_the_product_and_take_what_they_leave_out() -> None:
    rows = [{"recipe": "capstone_adam", "seeds": 4}, {"network": "wider"}]
    cells = study(rows=rows, seeds=2).grids["tried"]
    assert [(cell.network, cell.recipe, cell.seeds) for cell in cells] == [
        ("capstone", "capstone_adam", 4),
        ("wider", "capstone", 2),
    ]


def test_a_combination_stands_once() -> None:
    with pytest.raises(MedlabelError, match=r"studies\.tried: .* given twice"):
        study(rows=[{}, {}])


def test_an_extended_study_keeps_what_it_does_not_change(
    default_params: parameters.Params,
) -> None:
    main, quality = (default_params.studies[name] for name in ("main", "quality"))
    assert quality.images == main.images
    assert quality.recipe == main.recipe
    assert quality.title != main.title


def test_a_protocol_is_never_inherited(default_params: parameters.Params) -> None:
    assert default_params.recipes["official_3d"].protocol == "official"
    assert default_params.recipes["quick_3d"].protocol is None


def test_pairs_are_every_two_of_the_classes(default_params: parameters.Params) -> None:
    images = [cell.images for cell in default_params.grids["pairs"]]
    assert len(images) == 45 + 3
    assert images[0] == "phantom_pairs.chest.breast"
    member = default_params.every_mixture["real_pairs.breast.vessel"]
    assert member.class_names == ["breast", "vessel"]
    assert parameters.pool_name("real_pairs.breast.vessel") == "real_pairs"


def test_arms_and_pretrainings_of_a_cell(default_params: parameters.Params) -> None:
    (main,) = default_params.grids["main"]
    arms = default_params.students(main, "main")
    assert [[one.labels for one in trainings] for trainings in arms.values()] == [
        ["locked+capstone+zeroshot"],
        ["permuted+locked+capstone+zeroshot"],
        ["true"],
    ]
    quality = default_params.students(default_params.grids["quality"][2], "quality")
    assert [one.labels.partition("+")[0] for one in quality["student"]] == [
        "phantom_clip@6",
        *(f"phantom_clip.{run}@6" for run in range(1, 5)),
    ]
    (vessel, *_) = default_params.grids["vessel"]
    assert list(default_params.students(vessel, "vessel")) == ["true"]


@pytest.mark.parametrize(
    ("text", "name", "run", "step"),
    [("a_b@6", "a_b", 0, 6), ("a.12@60", "a", 12, 60), ("openai", "openai", 0, None)],
)
def test_references_to_encoders_are_read_as_written(
    text: str, name: str, run: int, step: int | None
) -> None:
    found = parameters.EncoderReference.parse(text)
    assert (found.name, found.run, found.step) == (name, run, step)
    assert str(found) == text


ACS = {"images": "vesselmnist3d", "network": "resnet18_acs", "recipe": "official_3d"}


def recipe_of_vit3d(**keys: Any) -> parameters.Params:
    """ViT3D on vessels by a recipe with these changes."""
    recipe = {"extends": "quick_vit3d"} | keys
    tried = {"title": "t", "images": "vesselmnist3d", "network": "vit3d", "recipe": "changed"}
    return changed(
        f"recipes.changed={json.dumps(recipe)}",
        "recipes.grey={extends: quick_vit3d, channels: 1}",
        f"studies.tried={json.dumps(tried | {'seeds': 2})}",
    )


def test_what_a_training_needs_comes_before_it_once() -> None:
    start = {"source": "training", **ACS, "network": "vit3d"}
    found = recipe_of_vit3d(start=start, distillation={**ACS, "part": 0.5})
    names = [one.name for one in found.with_sources(found.grids["tried"][0].student())]
    assert names == [
        "vesselmnist3d/true/vit3d/official_3d",
        "vesselmnist3d/true/resnet18_acs/official_3d",
        "vesselmnist3d/true/vit3d/changed",
    ]


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({**ACS, "recipe": "none"}, r"changed\.distillation\.recipe: 'none' given, one of"),
        ({**ACS, "images": "none"}, r"changed\.distillation\.images: 'none' given, which is no"),
        ({**ACS, "network": "resnet18"}, "does not fit volumes"),
        ({**ACS, "network": "vit3d", "recipe": "changed"}, "needs itself"),
        ({**ACS, "images": "pneumoniamnist"}, "whose edge"),
        ({**ACS, "images": "organmnist3d"}, "whose classes"),
        ({**ACS, "recipe": "grey"}, r"whose channels \(1\) differ from those of .* \(3\)"),
    ],
    ids=["recipe", "images", "dimension", "itself", "other images", "other classes", "channels"],
)
def test_a_teacher_that_cannot_be_is_told(teacher: dict, message: str) -> None:
    with pytest.raises(MedlabelError, match=message):
        recipe_of_vit3d(distillation={**teacher, "part": 0.5})


def test_how_to_work_is_no_part_of_what_a_training_depends_on(
    default_params: parameters.Params,
) -> None:
    student = default_params.grids["main"][0].student()
    trigger = default_params.training(student).trigger()
    assert "seeds_per_job" not in trigger["recipe"]
    assert trigger["recipe"]["threads"] == 1
    assert set(trigger["labelling"]) == {"top_k", "targets"}
    json.dumps(trigger)


def test_the_committed_schema_is_current_and_accepts_the_parameters() -> None:
    committed = (ROOT / "workflow" / "schemas" / "params.schema.json").read_text()
    assert committed == parameters.schema(), "run: medlabel schema --target workflow/schemas/..."
    jsonschema.validate(yaml.safe_load(DEFAULT.read_text()), json.loads(committed))


def test_every_key_has_a_description() -> None:
    definitions = json.loads(parameters.schema())["$defs"]
    passed_over = {"Row"}  # its keys are the study's
    missing = [
        f"{model}.{key}"
        for model, entry in definitions.items()
        for key, spec in entry["properties"].items()
        if "description" not in spec and "$ref" not in spec and model not in passed_over
    ]
    assert not missing


@given(seeds=st.integers(1, 200), more=st.integers(0, 200), size=st.integers(1, 50))
def test_more_seeds_leave_full_blocks_as_they_are(seeds: int, more: int, size: int) -> None:
    blocks = [parameters.blocks(seeds, size), parameters.blocks(seeds + more, size)]
    full = seeds // size
    assert blocks[0][:full] == blocks[1][:full]
    covered = [
        seed
        for block in blocks[1]
        for first, last in [map(int, block.split("-"))]
        for seed in range(first, last + 1)
    ]
    assert covered == list(range(seeds + more))


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.just({"x": 1})),
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.just({"y": 2})),
)
def test_overlays_merge_as_snakemake_merges(base: dict, upper: dict) -> None:
    from snakemake.utils import update_config

    ours, theirs = json.loads(json.dumps(base)), json.loads(json.dumps(base))
    parameters.overlay(ours, upper)
    update_config(theirs, upper)
    assert ours == theirs
