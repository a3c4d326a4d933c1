"""One model for many sets: stand-ins drawn, sets pooled, models trained, scored and drawn."""


rule stand_in:
    output:
        archive=LAYOUT.stand_in("{dataset}", "{size}"),
        facts=LAYOUT.stand_in("{dataset}", "{size}").replace(".npz", ".json"),
    log:
        LAYOUT.log("stand_in", "{dataset}_{size}"),
    benchmark:
        LAYOUT.timing("stand_in", "{dataset}_{size}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code(module_of_stand_ins()),
        overlays=overlays,
        reads=reads("seed", phantoms=stand_ins_drawn()),
    shell:
        "medlabel {params.overlays} stand_in {wildcards.dataset} --size {wildcards.size} "
        "2> {log:q}"


rule pool_sets:
    input:
        archives=files_of_sets,
    output:
        LAYOUT.many_sets_data("{sets}", "pool.parquet"),
    log:
        LAYOUT.log("pool_sets", "{sets}"),
    benchmark:
        LAYOUT.timing("pool_sets", "{sets}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        code=code("data.mixtures"),
        overlays=overlays,
        reads=sets_read,
    shell:
        "medlabel {params.overlays} pool_sets {wildcards.sets} 2> {log:q}"


rule embed_sets:
    input:
        archives=files_of_sets,
        pool=rules.pool_sets.output,
        encoder=lambda wildcards: LAYOUT.encoder_files([wildcards.reference]),
    output:
        LAYOUT.many_sets_data("{sets}", "embeddings/{reference}.parquet"),
    log:
        LAYOUT.log("embed_sets", "{sets}/{reference}"),
    benchmark:
        LAYOUT.timing("embed_sets", "{sets}/{reference}")
    conda:
        ENVIRONMENT
    threads: lambda wildcards: encoder_of(wildcards.reference).threads
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=int(HAS_GPU),
    params:
        code=code("teacher.embed"),
        overlays=overlays,
        reads=lambda wildcards: arithmetic_of(
            encoder_of(wildcards.reference),
            PARAMS.many_sets[wildcards.sets].projection,
        ),
    shell:
        "medlabel {params.overlays} embed_sets {wildcards.sets} {wildcards.reference} "
        "2> {log:q}"


rule train_sets:
    input:
        archives=files_of_sets,
        pool=rules.pool_sets.output,
        embeddings=embeddings_of_learner,
    output:
        [
            LAYOUT.many_sets_data("{sets}", f"models/{{model}}/{file}")
            for file in layout.TRAINING_FILES
        ],
    log:
        LAYOUT.log("train_sets", "{sets}/{model}"),
    benchmark:
        LAYOUT.timing("train_sets", "{sets}/{model}")
    conda:
        ENVIRONMENT
    threads: lambda wildcards: PARAMS.recipes[learner(wildcards).recipe].threads
    resources:
        mem_mb=memory_of_learner,
        runtime=720,
        gpu=int(HAS_GPU),
    params:
        overlays=overlays,
        reads=learner_reads,
    shell:
        "medlabel {params.overlays} train_sets {wildcards.sets} {wildcards.model} "
        "2> {log:q}"


rule many_sets:
    input:
        models=lambda wildcards: [
            LAYOUT.many_sets_data(wildcards.sets, f"models/{model}/{file}")
            for model in PARAMS.many_sets[wildcards.sets].models
            for file in ("predictions.parquet", "run.json")
        ],
        published=PUBLISHED,
    output:
        [LAYOUT.many_sets("{sets}", file) for file in MANY_SETS_FILES],
    log:
        LAYOUT.log("many_sets", "{sets}"),
    benchmark:
        LAYOUT.timing("many_sets", "{sets}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code("evaluate.many_sets", "report.many_sets"),
        overlays=overlays,
        reads=lambda wildcards: reads(
            "seed", "statistics", asked=part("many_sets", wildcards.sets)
        ),
    shell:
        "medlabel {params.overlays} many_sets {wildcards.sets} 2> {log:q}"
