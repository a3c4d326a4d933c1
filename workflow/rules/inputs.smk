"""What jobs need and what they depend on, found by their wildcards."""


def drawing_of(counts):
    """Give how phantoms are drawn, and how many of one sort; the size is a file's."""
    return PARAMS.phantoms.model_dump(mode="json", include={"artefacts", counts})


def archives_of_mixture(wildcards):
    """Give the image files of a part of `mixtures`."""
    mixture = PARAMS.mixtures.get(wildcards.mixture)
    return [] if mixture is None else list(LAYOUT.archives(mixture).values())


def mixture_reads(wildcards):
    """Give the mixture and the root of its random streams."""
    return reads(
        "seed", mixture=part("mixtures", wildcards.mixture, without=("published",))
    )


def pretraining_reads(encoder):
    """Give what a pretraining depends on: not how many there are, nor how it embeds."""
    settings = PARAMS.encoders[encoder]
    locked = settings.kind == "locked"
    without = () if locked else ("batch_size", "precision", "pretrainings", "runtime")
    # What came later is left out where it is usual, so that trainings of before need not run again.
    if not locked and settings.image_tower == "vit":
        without += ("image_tower",)
    if locked and settings.tuned is None:
        without += ("tuned",)
    return reads(
        "seed", size=PARAMS.phantoms.size, encoder=part("encoders", encoder, without)
    )


def phantoms_of(encoder, files):
    """Give images or captions of the phantoms that a locked tower learns words from."""
    return [files(*drawn) for drawn in PARAMS.phantoms_of(PARAMS.encoders[encoder])]


def captioned_phantoms(settings):
    """Give the phantoms, with their captions, that a CLIP learns from."""
    size = PARAMS.phantoms.size
    kinds = catalogue.FLAT_PHANTOMS if settings.phantoms else ()
    return [
        path
        for kind in kinds
        for path in (LAYOUT.phantoms(kind, size), LAYOUT.captions(kind, size))
    ]


def start_of_encoder(settings):
    """Give the weights that the pretraining of the wildcard `run` goes on from."""

    def found(wildcards):
        start = settings.start_of(int(wildcards.run.removeprefix(".") or 0))
        return [] if start is None else LAYOUT.encoder_files([start])

    return found


def captioned_of(settings):
    """Give a locked encoder's table of one's own images, so that a new one is noticed."""
    return [settings.captioned] if Path(settings.captioned or "").is_file() else []


def reader_of(settings):
    """Give the modules that read what a locked encoder learns from."""
    own = [] if settings.captioned is None else ["teacher.own_tables"]
    return ["teacher.captioned", *own]


def labelled_of(settings):
    """Give the official files, with their captions, that a locked tower learns words from."""
    stems = [one.images for one in settings.datasets]
    return [path for stem in stems for path in (LAYOUT.raw(stem), LAYOUT.said(stem))]


def weights_of_tower(settings):
    """Give the local files of a locked tower, so that new weights are noticed."""
    if settings.source == "folder":
        return LAYOUT.files_of(settings.model)
    return [settings.weights] if Path(settings.weights or "").is_file() else []


def local_weights(settings):
    """Give the local files of a published encoder, so that new weights are noticed."""
    given = [settings.model.removeprefix("local-dir:"), settings.pretrained or ""]
    return [path for path in given if path and Path(path).exists()]


def encoders_of_mixture(wildcards):
    """Give the weights of an encoder that studies use on a mixture."""
    return LAYOUT.encoder_files(PARAMS.teachers(wildcards.encoder, wildcards.mixture))


def encoders_in_use(wildcards):
    """Give the weights of an encoder that studies use anywhere."""
    return LAYOUT.encoder_files(PARAMS.teachers(wildcards.encoder))


def threads_of_encoder(wildcards):
    """Give the threads that an encoder embeds with."""
    return PARAMS.encoders[wildcards.encoder].threads


def embedding_reads(wildcards):
    """Give the arithmetic of an encoder."""
    encoder = PARAMS.encoders[wildcards.encoder]
    return arithmetic_of(encoder, PARAMS.mixtures[wildcards.mixture].projection)


def arithmetic_of(encoder, projection):
    """Give what embeddings depend on beside weights, images and code."""
    return {
        "precision": encoder.precision,
        "threads": encoder.threads,
        "runtime": encoder.runtime,
        "projection": projection,
    }


@cache
def taught(labels):
    """Give the encoder, prompts and labelling that labels name."""
    return parameters.Trained("", labels, "", "").taught


def pool_of_images(wildcards):
    """Give the pool of a mixture; official files have none."""
    return (
        LAYOUT.pool_of(wildcards.images)
        if wildcards.images in PARAMS.every_mixture
        else []
    )


def embeddings_of_labels(wildcards):
    """Give the embeddings that labels are made of."""
    encoder, _, labelling = taught(wildcards.labels)
    used = [encoder, PARAMS.space_of(labelling)]
    images = parameters.pool_name(wildcards.images)
    return [LAYOUT.embeddings(images, one.name) for one in used if one is not None]


def words_of_labels(wildcards):
    """Give the words that labels are made of."""
    encoder, prompts, _ = taught(wildcards.labels)
    return LAYOUT.words(encoder.name, prompts)


def labelling_reads(wildcards):
    """Give the labelling and the classes in their order."""
    _, _, labelling = taught(wildcards.labels)
    return {
        "classes": PARAMS.every_mixture[wildcards.images].class_names,
        "labelling": part("labellings", labelling, without=("top_k", "targets")),
    }


def training_named(name):
    """Give the training of a name; anything else is no job."""
    if name not in PARAMS.trainings:
        raise WorkflowError(
            f"{name}: no study of the parameters asks for this training"
        )
    return PARAMS.trainings[name]


def training(wildcards):
    """Give the training that wildcards name."""
    return training_named(
        f"{wildcards.images}/{wildcards.labels}/{wildcards.network}/{wildcards.recipe}"
    )


def weights_of(source, block):
    """Give the weights of the seeds of a block of another training."""
    return [str(path) for path in source_weights(PARAMS, LAYOUT, source, block)]


def towers_of(trained):
    """Give the encoders whose image towers a network has, and the one that it learns from."""
    both = filter(None, (trained, PARAMS.distilled(trained)))
    found = (tower_weights(LAYOUT, PARAMS.training(one)) for one in both)
    return [str(path) for paths in found for path in paths]


def inputs_of_training(wildcards):
    """Give the images, the labels that are learnt from, and the weights of other trainings.

    One function for all: Snakemake spends more on each than it takes to run. Labels of official
    files are in the image files.
    """
    trained = training(wildcards)
    path = PARAMS.recipes[trained.recipe].start.path
    needed = {
        "archives": list(archives_of(trained.images).values()),
        "start": weights_of(PARAMS.start_of(trained), wildcards.block)
        + ([path] if path else []),
        "teacher": weights_of(PARAMS.distilled(trained), wildcards.block),
        "towers": towers_of(trained),
    }
    if trained.images in PARAMS.every_mixture:
        needed["pool"] = LAYOUT.pool_of(trained.images)
    if trained.pseudolabels is not None:
        needed["labels"] = LAYOUT.labels(trained.images, trained.pseudolabels)
    return needed


def threads_of_training(wildcards):
    """Give the threads that a recipe asks for."""
    return PARAMS.recipes[wildcards.recipe].threads


@cache
def memory_of(name):
    """Give the MiB that a training needs."""
    settings = PARAMS.training(training_named(name))
    return memory_mb(
        settings.network,
        edge=settings.edge,
        volumetric=settings.volumetric,
        stem=settings.recipe.stem,
        batch_size=settings.recipe.batch_size,
    )


def memory_of_training(wildcards):
    """Give the MiB that the training that wildcards name needs."""
    return memory_of(training(wildcards).name)


@cache
def code_of(modules):
    """Give the checksum of all code that a training runs."""
    return code(*modules)


@cache
def trigger_of(name):
    """Give what a change of makes a training run again, its code among it."""
    settings = PARAMS.training(training_named(name))
    return settings.trigger() | {"code": code_of(settings.modules)}


def training_reads(wildcards):
    """Give what the training that wildcards name depends on."""
    return trigger_of(training(wildcards).name)


def study_reads(wildcards):
    """Give a study, and how its intervals are made."""
    return reads("seed", "statistics", study=part("studies", wildcards.study))


def stand_ins_drawn():
    """Give how many images a stand-in has, and of how many drawings where that is said."""
    counts = PARAMS.phantoms.stand_ins.model_dump(mode="json")
    drawings = PARAMS.phantoms.stand_in_drawings
    return counts if drawings is None else counts | {"drawings": drawings}


def module_of_stand_ins():
    """Give the module that draws stand-ins."""
    each = PARAMS.phantoms.stand_in_drawings is None
    return "data.stand_ins" if each else "data.stand_ins.repeated"


def facts_of_study(study):
    """Give the licences and checksums of a study's official files, and of STAND-INS for them."""
    told = (f"{DATA}/raw/", f"{DATA}/stand_ins/")
    archives = (path for path in archives_of_study(study) if path.startswith(told))
    return [path.replace(".npz", ".json") for path in archives]


def provenance_of_study(study):
    """Give where the weights of a study's teachers come from."""
    teachers = dict.fromkeys(t for cell in PARAMS.grids[study] for t in cell.teachers)
    return [f"{LAYOUT.encoder(teacher)}/provenance.json" for teacher in teachers]


def words_of_study(study):
    """Give the words of a study's teachers, with a record of those that they do not know."""
    taught = (cell for cell in PARAMS.grids[study] if cell.encoder is not None)
    return sorted(
        {
            LAYOUT.words(teacher.name, cell.prompts)
            for cell in taught
            for teacher in cell.teachers
        }
    )


def embeddings_of_curve(wildcards):
    """Give the embeddings that a learning curve is computed on."""
    curve = PARAMS.few_labels[wildcards.curve]
    return LAYOUT.embeddings(parameters.pool_name(curve.images), curve.reference.name)


def words_of_curve(curve):
    """Give the words of a learning curve's classes."""
    asked = PARAMS.few_labels[curve]
    return LAYOUT.words(asked.reference.name, asked.prompts)


def labels_of_curve(wildcards):
    """Give the labels without a label that stand beside a learning curve."""
    curve = PARAMS.few_labels[wildcards.curve]
    return [LAYOUT.labels(curve.images, curve.labels(one)) for one in curve.labellings]


def curve_reads(wildcards):
    """Give a learning curve, its images, and how its intervals are made."""
    curve = PARAMS.few_labels[wildcards.curve]
    return reads(
        "seed",
        "statistics",
        curve=part("few_labels", wildcards.curve),
        mixture=PARAMS.every_mixture[curve.images].model_dump(mode="json"),
    )


def inputs_of_without_labels(wildcards):
    """Give what labellings of folders are computed from."""
    asked = PARAMS.without_labels[wildcards.folders]
    encoders = dict.fromkeys(one.name for one in asked.references)
    prompts = dict.fromkeys(one.prompts for one in asked.contents.values())
    return {
        "pools": [LAYOUT.pool(one) for one in asked.mixtures],
        "embeddings": [
            LAYOUT.embeddings(images, encoder)
            for images in asked.mixtures
            for encoder in encoders
        ],
        "words": [
            LAYOUT.words(encoder, one) for encoder in encoders for one in prompts
        ],
        "costs": asked.costs,
    }


def without_labels_reads(wildcards):
    """Give what folders hold, and how they are labelled."""
    asked = PARAMS.without_labels[wildcards.folders]
    return reads(
        "seed",
        asked=part("without_labels", wildcards.folders),
        labellings={one: part("labellings", one) for one in asked.labellings},
    )


def searched(section, name):
    """Give an entry of retrieval or concepts, and its images."""
    asked = getattr(PARAMS, section)[name]
    return asked, PARAMS.every_mixture[asked.images]


def inputs_of_search(section):
    """Give what captioned images of an entry are read from, by the wildcard `search`."""

    def found(wildcards):
        asked, mixture = searched(section, wildcards.search)
        pool = parameters.pool_name(asked.images)
        names = dict.fromkeys(one.name for one in asked.references)
        return {
            "pool": LAYOUT.pool(pool),
            "archives": list(LAYOUT.archives(mixture).values()),
            "captions": list(LAYOUT.captions_of(mixture).values()),
            "embeddings": [LAYOUT.embeddings(pool, name) for name in names],
            "encoders": LAYOUT.encoder_files(asked.references),
        }

    return found


def search_reads(section):
    """Give an entry of a section, its images, and how its intervals are made."""

    def found(wildcards):
        _, mixture = searched(section, wildcards.search)
        return reads(
            "seed",
            "statistics",
            asked=part(section, wildcards.search),
            mixture=mixture.model_dump(mode="json"),
        )

    return found


def labellers_of(comparison):
    """Give the labels that two labellers gave."""
    asked = PARAMS.agreement[comparison]
    return [
        one if is_table(one) else LAYOUT.labels(asked.images, one)
        for one in asked.labellers
    ]


def agreement_reads(wildcards):
    """Give two labellers, their classes, and how intervals are made."""
    asked = PARAMS.agreement[wildcards.comparison]
    return reads(
        "seed",
        "statistics",
        comparison=part("agreement", wildcards.comparison),
        classes=PARAMS.every_mixture[asked.images].class_names,
    )


def inputs_of_segmentation(wildcards):
    """Give the tower, the phantoms with their captions, and the images that are only shown."""
    asked = PARAMS.segmentation[wildcards.search]
    return {
        "encoder": LAYOUT.encoder_files([asked.reference]),
        "archives": [LAYOUT.phantoms(*one) for one in asked.series],
        "captions": [LAYOUT.captions(*one) for one in asked.series],
        "shown": [
            path for one in asked.shown for path in LAYOUT.archives(one.images).values()
        ],
    }


def segmentation_reads(wildcards):
    """Give what is looked for, what runs the tower, and how intervals are made."""
    asked = PARAMS.segmentation[wildcards.search]
    return reads(
        "seed",
        "statistics",
        asked=part("segmentation", wildcards.search),
        runtime=PARAMS.encoders[asked.reference.name].runtime,
    )


def files_of_sets(wildcards):
    """Give the image files of the sets that one model learns."""
    return list(LAYOUT.sets_of(PARAMS.many_sets[wildcards.sets]).values())


def sets_read(wildcards):
    """Give the sets that one model learns."""
    mixture = PARAMS.many_sets[wildcards.sets].mixture
    return reads("seed", mixture=mixture.model_dump(mode="json"))


def encoder_of(reference):
    """Give the settings of the encoder that a reference names."""
    return PARAMS.encoders[parameters.EncoderReference.parse(reference).name]


def learner(wildcards):
    """Give the model for many sets that wildcards name."""
    return PARAMS.many_sets[wildcards.sets].models[wildcards.model]


def embeddings_of_learner(wildcards):
    """Give the embeddings that a model for many sets learns from; none of one on pixels."""
    encoder = learner(wildcards).encoder
    if encoder is None:
        return []
    return LAYOUT.many_sets_data(wildcards.sets, f"embeddings/{encoder}.parquet")


def memory_of_learner(wildcards):
    """Give the MiB that training a model for many sets needs."""
    asked, recipe = learner(wildcards), PARAMS.recipes[learner(wildcards).recipe]
    if asked.network is None:
        return 2000
    return memory_mb(
        PARAMS.networks.get(asked.network, asked.network),
        edge=recipe.enlarge_to or PARAMS.many_sets[wildcards.sets].size,
        volumetric=False,
        stem=recipe.stem,
        batch_size=recipe.batch_size,
    )


def learner_reads(wildcards):
    """Give what a model for many sets depends on, its code among it."""
    asked = learner(wildcards)
    apart = [APART[one] for one in PARAMS.recipes[asked.recipe].apart]
    used = ("training.many_sets_job", module_of(asked.network or ""), *apart)
    settings = settings_of(PARAMS, wildcards.sets, wildcards.model)
    return settings | {"code": code(*used)}


def images_of_generator(wildcards):
    """Give the captioned images of a generator, and those that classifiers are judged on."""
    asked = PARAMS.generation[wildcards.generator]
    both = dict.fromkeys((asked.images, asked.judged))
    mixtures = [PARAMS.every_mixture[name] for name in both]
    return {
        "pools": [LAYOUT.pool_of(name) for name in both],
        "archives": list(
            dict.fromkeys(
                path
                for mixture in mixtures
                for path in LAYOUT.archives(mixture).values()
            )
        ),
    }


def captions_of_generator(wildcards):
    """Give the captions that a generator learns from."""
    asked = PARAMS.generation[wildcards.generator]
    return list(LAYOUT.captions_of(PARAMS.every_mixture[asked.images]).values())


def encoder_of_generator(wildcards):
    """Give the encoder whose embeddings of captions a generator learns from."""
    return LAYOUT.encoder_files([PARAMS.generation[wildcards.generator].reference])


# Of an entry of generation: what reaches no image.
OF_CLASSIFIERS = ("title", "network", "classifier_steps", "classifier_batch", "seeds")


def generator_reads(wildcards):
    """Give what the images of a generator depend on."""
    asked = PARAMS.generation[wildcards.generator]
    mixtures = {
        name: PARAMS.every_mixture[name].model_dump(mode="json")
        for name in (asked.images, asked.judged)
    }
    own = part("generation", wildcards.generator, without=OF_CLASSIFIERS)
    return reads("seed", asked=own, mixtures=mixtures)


def classifier_reads(wildcards):
    """Give what judging a generator depends on."""
    asked = PARAMS.generation[wildcards.generator]
    return generator_reads(wildcards) | reads(
        "statistics",
        asked=part("generation", wildcards.generator),
        network=part("networks", asked.network),
    )
