"""The project as one graph: parameters, rules, and what `snakemake` makes without a target."""

from snakemake.utils import min_version

min_version("9.27")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/teacher.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/many_sets.smk"


localrules:
    all,


onstart:
    let_scheduler_sleep()


onsuccess:
    record_in_dvc()


rule all:
    default_target: True
    input:
        [reports_of(name) for name in PARAMS.default_studies],
        LAYOUT.metrics,
        CONTACT_SHEET,


# `snakemake study_NAME` makes one study, whether or not it is made by default.
for STUDY in PARAMS.studies:

    rule:
        name:
            f"study_{STUDY}"
        input:
            reports_of(STUDY),
        localrule: True


rule few_labels_all:
    input:
        [LAYOUT.curve(name, file) for name in PARAMS.few_labels for file in CURVE_FILES],
    localrule: True


rule without_labels_all:
    input:
        [
            LAYOUT.without_labels(name, file)
            for name in PARAMS.without_labels
            for file in WITHOUT_LABELS_FILES
        ],
    localrule: True


rule retrieval_all:
    input:
        [
            LAYOUT.retrieval(name, file)
            for name in PARAMS.retrieval
            for file in RETRIEVAL_FILES
        ],
    localrule: True


rule concepts_all:
    input:
        [
            LAYOUT.concepts(name, file)
            for name in PARAMS.concepts
            for file in CONCEPT_FILES
        ],
    localrule: True


rule agreement_all:
    input:
        [
            LAYOUT.agreement(name, file)
            for name in PARAMS.agreement
            for file in AGREEMENT_FILES
        ],
    localrule: True


rule compared_all:
    input:
        [
            LAYOUT.compared(name, file)
            for name in PARAMS.compared
            for file in COMPARED_FILES
        ],
    localrule: True


rule segmentation_all:
    input:
        [
            LAYOUT.segmentation(name, file)
            for name in PARAMS.segmentation
            for file in SEGMENTATION_FILES
        ],
    localrule: True


rule many_sets_all:
    input:
        [
            LAYOUT.many_sets(name, file)
            for name in PARAMS.many_sets
            for file in MANY_SETS_FILES
        ],
    localrule: True


rule generation_all:
    input:
        [
            LAYOUT.generation(name, file)
            for name in PARAMS.generation
            for file in GENERATION_FILES
        ],
    localrule: True


rule studies:
    input:
        [reports_of(name) for name in PARAMS.studies],
    localrule: True


# What version 0.1.0 called the supervised networks.
rule benchmarks:
    input:
        [reports_of(name) for name in supervised_studies()],
    localrule: True


# DVC's stage of that name: the weights that the default studies use.
rule encoders:
    input:
        all_encoder_files(),
    localrule: True
