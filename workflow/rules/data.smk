"""Images: download, draw, mix."""


rule fetch:
    input:
        code=code("fetch"),
    output:
        archive=f"{DATA}/raw/{{dataset}}{{suffix}}.npz",
        sidecar=f"{DATA}/raw/{{dataset}}{{suffix}}.json",
    log:
        f"{LOGS}/fetch/{{dataset}}{{suffix}}.log",
    benchmark:
        f"{BENCHMARKS}/fetch/{{dataset}}{{suffix}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
    params:
        overlays=overlays,
        settings=triggers("fetch"),
        size=edge_of_suffix,
    shell:
        "medlabel {params.overlays} fetch {wildcards.dataset} --size {params.size} --target {output.archive} 2> {log}"


rule phantoms:
    input:
        code=code("phantoms"),
    output:
        archives=collect(f"{DATA}/phantoms/{{kind}}.npz", kind=PHANTOMS),
        captions=collect(f"{DATA}/phantoms/{{kind}}.captions.parquet", kind=PHANTOMS),
    log:
        f"{LOGS}/phantoms/all.log",
    benchmark:
        f"{BENCHMARKS}/phantoms/all.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
    params:
        folder=folder_of("archives"),
        overlays=overlays,
        settings=triggers("phantoms"),
    shell:
        "medlabel {params.overlays} phantoms --folder {params.folder} 2> {log}"


rule pool:
    input:
        archives=archives(),
        code=code("pool"),
    output:
        pool=f"{DATA}/mixtures/{MIXTURE}/pool.parquet",
        audit=f"{DATA}/mixtures/{MIXTURE}/duplicates.json",
    log:
        f"{LOGS}/pool/{MIXTURE}.log",
    benchmark:
        f"{BENCHMARKS}/pool/{MIXTURE}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
    params:
        archives=archive_options,
        overlays=overlays,
        settings=triggers("pool"),
    shell:
        "medlabel {params.overlays} pool {params.archives} --target {output.pool} "
        "--audit {output.audit} 2> {log}"


rule mix:
    input:
        pool=rules.pool.output.pool,
        code=code("mix"),
    output:
        f"{DATA}/mixtures/{MIXTURE}/draws/{{block}}.parquet",
    log:
        f"{LOGS}/mix/{MIXTURE}/{{block}}.log",
    benchmark:
        f"{BENCHMARKS}/mix/{MIXTURE}/{{block}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
    params:
        overlays=overlays,
        settings=triggers("mix"),
    shell:
        "medlabel {params.overlays} mix --pool {input.pool} --block {wildcards.block} "
        "--target {output} 2> {log}"
