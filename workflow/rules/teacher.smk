"""The teacher: train or adopt an encoder, embed every image once, label from text."""

ENCODER_FILES = ("open_clip_config.json", "open_clip_model.safetensors", "provenance.json")
PRETRAINED_ON = [name for name in PHANTOMS if not is_volumetric(name)]

if PARAMS.teacher.source == "pretrain":

    rule pretrain:
        input:
            archives=collect("<data>/phantoms/{kind}.npz", kind=PRETRAINED_ON),
            captions=collect("<data>/phantoms/{kind}.captions.parquet", kind=PRETRAINED_ON),
            code=code("pretrain"),
        output:
            encoders=collect(
                "<data>/encoders/{encoder}/{file}", encoder=PARAMS.encoders, file=ENCODER_FILES
            ),
        log:
            f"<logs>/pretrain/{PARAMS.teacher.name}.log",
        benchmark:
            f"<benchmarks>/pretrain/{PARAMS.teacher.name}.tsv"
        conda:
            "../../environment.yml"
        threads: 2
        resources:
            mem_mb=4000,
        params:
            encoders="<data>/encoders",
            overlays=overlays,
            phantoms="<data>/phantoms",
            resume="<data>/cache/pretrain",
            settings=triggers("pretrain"),
        shell:
            "medlabel {params.overlays} pretrain --phantoms {params.phantoms} "
            "--encoders {params.encoders} --resume {params.resume} --threads {threads} 2> {log}"

else:

    rule adopt:
        input:
            code=code("adopt"),
        output:
            encoder=collect(
                "<data>/encoders/{encoder}/{file}", encoder=PARAMS.encoders, file=ENCODER_FILES
            ),
        log:
            f"<logs>/adopt/{PARAMS.teacher.name}.log",
        benchmark:
            f"<benchmarks>/adopt/{PARAMS.teacher.name}.tsv"
        conda:
            "../../environment.yml"
        resources:
            mem_mb=8000,
        params:
            encoder=f"<data>/encoders/{PARAMS.teacher.name}",
            overlays=overlays,
            settings=triggers("adopt"),
        shell:
            "medlabel {params.overlays} adopt --encoder {params.encoder} 2> {log}"


rule embed:
    input:
        archives=archives(),
        pool=rules.pool.output.pool,
        encoders=collect(
            "<data>/encoders/{encoder}/{file}", encoder=PARAMS.encoders, file=ENCODER_FILES
        ),
        code=code("embed"),
    output:
        collect(f"<data>/embeddings/{MIXTURE}/{{encoder}}.parquet", encoder=PARAMS.encoders),
    log:
        f"<logs>/embed/{MIXTURE}.log",
    benchmark:
        f"<benchmarks>/embed/{MIXTURE}.tsv"
    conda:
        "../../environment.yml"
    threads: workflow.cores or 1
    resources:
        mem_mb=4000,
    params:
        archives=archive_options,
        cache="<data>/cache/embeddings",
        embeddings=f"<data>/embeddings/{MIXTURE}",
        encoders="<data>/encoders",
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
        embeddings=rules.embed.output,
        code=code("pseudolabel"),
    output:
        collect(f"<data>/pseudolabels/{MIXTURE}/{{encoder}}.parquet", encoder=PARAMS.encoders),
    log:
        f"<logs>/pseudolabel/{MIXTURE}.log",
    benchmark:
        f"<benchmarks>/pseudolabel/{MIXTURE}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
    params:
        embeddings=f"<data>/embeddings/{MIXTURE}",
        encoders="<data>/encoders",
        overlays=overlays,
        pseudolabels=f"<data>/pseudolabels/{MIXTURE}",
        settings=triggers("pseudolabel"),
    shell:
        "medlabel {params.overlays} pseudolabel --pool {input.pool} --encoders {params.encoders} "
        "--embeddings {params.embeddings} --pseudolabels {params.pseudolabels} "
        "--threads {threads} 2> {log}"
