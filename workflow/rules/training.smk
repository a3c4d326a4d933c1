"""Trainings: one job trains a network once for each seed of a block, on whatever labels."""


rule train:
    input:
        unpack(inputs_of_training),
    output:
        **{
            name.partition(".")[
                0
            ]: f"{LAYOUT.training(TRAINED.name, '{block}')}/{name}"
            for name in layout.TRAINING_FILES
        },
    log:
        LAYOUT.log("train", f"{TRAINED.name}/{{block}}"),
    benchmark:
        LAYOUT.timing("train", f"{TRAINED.name}/{{block}}")
    conda:
        ENVIRONMENT
    threads: threads_of_training
    resources:
        mem_mb=memory_of_training,
        runtime=720,
        gpu=int(HAS_GPU),
    params:
        overlays=overlays,
        reads=training_reads,
        training=TRAINED.name,
    shell:
        "medlabel {params.overlays} train {params.training} --block {wildcards.block} "
        "--threads {threads} 2> {log:q}"


# The longest trainings, of which one goes on from another: they begin before all others.
use rule train as train_volumes with:
    wildcard_constraints:
        images=r"\w+3d(_\d+)?",
    priority: 5


ruleorder: train_volumes > train
