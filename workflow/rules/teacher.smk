"""The teacher: train or adopt an encoder, embed every image once, label from text."""

ENCODER_FILES = (
    "open_clip_config.json",
    "open_clip_model.safetensors",
    "provenance.json",
)


rule pretrain:
    input:
        archives=rules.phantoms.output.archives,
        captions=rules.phantoms.output.captions,
        code=code("pretrain"),
    output:
        encoders=collect(
            f"{DATA}/encoders/{{encoder}}/{{file}}",
            encoder=PARAMS.checkpoints,
            file=ENCODER_FILES,
        ),
    log:
        f"{LOGS}/pretrain/{PARAMS.teacher.name}.log",
    benchmark:
        f"{BENCHMARKS}/pretrain/{PARAMS.teacher.name}.tsv"
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=4000,
    params:
        encoders=folder_of("encoders", up=2),
        overlays=overlays,
        phantoms=folder_of("archives"),
        resume=f"{DATA}/cache/pretrain",
        settings=triggers("pretrain"),
    shell:
        "medlabel {params.overlays} pretrain --phantoms {params.phantoms} "
        "--encoders {params.encoders} --resume {params.resume} --threads {threads} 2> {log}"


rule adopt:
    input:
        weights=local_weights(),
        code=code("adopt"),
    output:
        encoder=collect(
            f"{DATA}/encoders/{PARAMS.teacher.name}/{{file}}",
            file=ENCODER_FILES,
        ),
    log:
        f"{LOGS}/adopt/{PARAMS.teacher.name}.log",
    benchmark:
        f"{BENCHMARKS}/adopt/{PARAMS.teacher.name}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=8000,
    params:
        encoder=folder_of("encoder"),
        overlays=overlays,
        settings=triggers("adopt"),
    shell:
        "medlabel {params.overlays} adopt --encoder {params.encoder} 2> {log}"


rule embed:
    input:
        archives=archives(),
        pool=rules.pool.output.pool,
        encoders=collect(
            f"{DATA}/encoders/{{encoder}}/{{file}}",
            encoder=PARAMS.encoders,
            file=ENCODER_FILES,
        ),
        code=code("embed"),
    output:
        embeddings=collect(
            f"{DATA}/embeddings/{MIXTURE}/{{encoder}}.parquet", encoder=PARAMS.encoders
        ),
    log:
        f"{LOGS}/embed/{MIXTURE}.log",
    benchmark:
        f"{BENCHMARKS}/embed/{MIXTURE}.tsv"
    conda:
        "../../environment.yml"
    threads: workflow.cores or 1
    resources:
        mem_mb=4000,
    params:
        archives=archive_options,
        cache=f"{DATA}/cache/embeddings",
        embeddings=folder_of("embeddings"),
        encoders=folder_of("encoders", up=2),
        overlays=overlays,
        settings=triggers("embed"),
    shell:
        "medlabel {params.overlays} embed {params.archives} --pool {input.pool} "
        "--encoders {params.encoders} --embeddings {params.embeddings} --cache {params.cache} "
        "--threads {threads} 2> {log}"


rule pseudolabel:
    input:
        pool=rules.pool.output.pool,
        encoders=rules.embed.input.encoders,
        embeddings=rules.embed.output.embeddings,
        code=code("pseudolabel"),
    output:
        pseudolabels=collect(
            f"{DATA}/pseudolabels/{MIXTURE}/{{encoder}}.parquet",
            encoder=PARAMS.encoders,
        ),
    log:
        f"{LOGS}/pseudolabel/{MIXTURE}.log",
    benchmark:
        f"{BENCHMARKS}/pseudolabel/{MIXTURE}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
    params:
        embeddings=folder_of("embeddings"),
        encoders=folder_of("encoders", up=2),
        overlays=overlays,
        pseudolabels=folder_of("pseudolabels"),
        settings=triggers("pseudolabel"),
    shell:
        "medlabel {params.overlays} pseudolabel --pool {input.pool} --encoders {params.encoders} "
        "--embeddings {params.embeddings} --pseudolabels {params.pseudolabels} "
        "--threads {threads} 2> {log}"
