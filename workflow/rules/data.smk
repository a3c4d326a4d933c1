"""Images: download, draw, mix."""


rule fetch:
    input:
        code=code("fetch"),
    output:
        archive="<data>/raw/{dataset}{suffix}.npz",
        sidecar="<data>/raw/{dataset}{suffix}.json",
    log:
        "<logs>/fetch/{dataset}{suffix}.log",
    benchmark:
        "<benchmarks>/fetch/{dataset}{suffix}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
    params:
        overlays=overlays,
        settings=triggers("fetch"),
    shell:
        "medlabel {params.overlays} fetch {wildcards.dataset} --target {output.archive} 2> {log}"


rule phantoms:
    input:
        code=code("phantoms"),
    output:
        archive="<data>/phantoms/{phantom}.npz",
        captions="<data>/phantoms/{phantom}.captions.parquet",
    log:
        "<logs>/phantoms/{phantom}.log",
    benchmark:
        "<benchmarks>/phantoms/{phantom}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
    params:
        overlays=overlays,
        settings=triggers("phantoms"),
    shell:
        "medlabel {params.overlays} phantoms {wildcards.phantom} --target {output.archive} "
        "--captions {output.captions} 2> {log}"


rule pool:
    input:
        archives=archives(),
        code=code("pool"),
    output:
        pool=f"<data>/mixtures/{MIXTURE}/pool.parquet",
        audit=f"<data>/mixtures/{MIXTURE}/duplicates.json",
    log:
        f"<logs>/pool/{MIXTURE}.log",
    benchmark:
        f"<benchmarks>/pool/{MIXTURE}.tsv"
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
        f"<data>/mixtures/{MIXTURE}/{{block}}.parquet",
    log:
        f"<logs>/mix/{MIXTURE}/{{block}}.log",
    benchmark:
        f"<benchmarks>/mix/{MIXTURE}/{{block}}.tsv"
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
