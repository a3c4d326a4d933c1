"""The teacher: train or adopt an encoder, embed images and words once, label from both."""

# One rule for each encoder, because the number of its checkpoints is a matter of parameters.
for ENCODER, SETTINGS_OF_ENCODER in PARAMS.encoders.items():
    if SETTINGS_OF_ENCODER.kind == "contrastive":

        rule:
            name:
                f"pretrain_{ENCODER}"
            input:
                drawn=captioned_phantoms(SETTINGS_OF_ENCODER),
                labelled=labelled_of(SETTINGS_OF_ENCODER),
                start=start_of_encoder(SETTINGS_OF_ENCODER),
            output:
                LAYOUT.encoder_files(
                    [
                        f"{ENCODER}{{run}}@{step}"
                        for step in SETTINGS_OF_ENCODER.checkpoints
                    ]
                ),
            log:
                LAYOUT.log("pretrain", f"{ENCODER}{{run}}"),
            benchmark:
                LAYOUT.timing("pretrain", f"{ENCODER}{{run}}")
            priority: EARLY
            conda:
                ENVIRONMENT
            threads: SETTINGS_OF_ENCODER.threads
            resources:
                mem_mb=4000,
                runtime=60,
                gpu=int(HAS_GPU),
            params:
                code=code(SETTINGS_OF_ENCODER.module),
                encoder=ENCODER,
                overlays=overlays,
                reads=pretraining_reads(ENCODER),
                run=lambda wildcards: wildcards.run.removeprefix(".") or "0",
            shell:
                "medlabel {params.overlays} pretrain {params.encoder} --run {params.run} "
                "--threads {threads} 2> {log:q}"

    elif SETTINGS_OF_ENCODER.kind == "locked":

        # All pretrainings in one job: they share what the tower says of the phantoms.
        rule:
            name:
                f"heads_{ENCODER}"
            input:
                archives=phantoms_of(ENCODER, LAYOUT.phantoms),
                captions=phantoms_of(ENCODER, LAYOUT.captions),
                weights=weights_of_tower(SETTINGS_OF_ENCODER.tower),
                own=captioned_of(SETTINGS_OF_ENCODER),
                labelled=labelled_of(SETTINGS_OF_ENCODER),
            output:
                LAYOUT.encoder_files(
                    [
                        parameters.EncoderReference(ENCODER, run)
                        for run in range(SETTINGS_OF_ENCODER.pretrainings)
                    ]
                ),
            log:
                LAYOUT.log("pretrain", ENCODER),
            benchmark:
                LAYOUT.timing("pretrain", ENCODER)
            priority: EARLY
            conda:
                ENVIRONMENT
            threads: SETTINGS_OF_ENCODER.threads
            resources:
                mem_mb=4000,
                runtime=60,
                gpu=int(HAS_GPU),
            params:
                code=code(SETTINGS_OF_ENCODER.module, *reader_of(SETTINGS_OF_ENCODER)),
                encoder=ENCODER,
                overlays=overlays,
                reads=pretraining_reads(ENCODER),
            shell:
                "medlabel {params.overlays} pretrain {params.encoder} "
                "--threads {threads} 2> {log:q}"

    else:

        rule:
            name:
                f"adopt_{ENCODER}"
            input:
                weights=local_weights(SETTINGS_OF_ENCODER),
            output:
                LAYOUT.encoder_files([ENCODER]),
            log:
                LAYOUT.log("adopt", ENCODER),
            benchmark:
                LAYOUT.timing("adopt", ENCODER)
            conda:
                ENVIRONMENT
            resources:
                mem_mb=8000,
                runtime=120,
            params:
                code=code(SETTINGS_OF_ENCODER.module),
                encoder=ENCODER,
                overlays=overlays,
                reads=part(
                    "encoders",
                    ENCODER,
                    without=("batch_size", "threads", "precision", "runtime"),
                ),
            shell:
                "medlabel {params.overlays} adopt {params.encoder} 2> {log:q}"


rule embed:
    input:
        archives=archives_of_mixture,
        pool=LAYOUT.pool("{mixture}"),
        encoders=encoders_of_mixture,
    output:
        LAYOUT.embeddings("{mixture}", "{encoder}"),
    log:
        LAYOUT.log("embed", "{mixture}/{encoder}"),
    benchmark:
        LAYOUT.timing("embed", "{mixture}/{encoder}")
    priority: EARLY
    conda:
        ENVIRONMENT
    # Not the machine's number of cores: sums of floats, and so bytes, would depend on it.
    threads: threads_of_encoder
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=int(HAS_GPU),
    params:
        code=code("teacher.embed"),
        overlays=overlays,
        reads=embedding_reads,
    shell:
        "medlabel {params.overlays} embed {wildcards.mixture} {wildcards.encoder} "
        "--threads {threads} 2> {log:q}"


rule words:
    input:
        encoders=encoders_in_use,
    output:
        LAYOUT.words("{encoder}", "{prompts}"),
    log:
        LAYOUT.log("words", "{encoder}/{prompts}"),
    benchmark:
        LAYOUT.timing("words", "{encoder}/{prompts}")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    params:
        code=code("teacher.words"),
        overlays=overlays,
        reads=lambda wildcards: PARAMS.labels_wanted(wildcards.prompts),
    shell:
        "medlabel {params.overlays} words {wildcards.encoder} {wildcards.prompts} "
        "--threads {threads} 2> {log:q}"


rule pseudolabel:
    input:
        pool=pool_of_images,
        embeddings=embeddings_of_labels,
        words=words_of_labels,
    output:
        LAYOUT.labels("{images}", "{labels}"),
    log:
        LAYOUT.log("pseudolabel", "{images}/{labels}"),
    benchmark:
        LAYOUT.timing("pseudolabel", "{images}/{labels}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("labels.label"),
        overlays=overlays,
        reads=labelling_reads,
    shell:
        "medlabel {params.overlays} pseudolabel {wildcards.images} {wildcards.labels} 2> {log:q}"
