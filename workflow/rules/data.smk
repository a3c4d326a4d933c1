"""Images: download, draw, list."""


# No code or parameter decides what is in an official file: its name does, and its MD5.
rule fetch:
    output:
        archive=LAYOUT.raw("{stem}"),
        facts=LAYOUT.raw("{stem}").replace(".npz", ".json"),
    log:
        LAYOUT.log("fetch", "{stem}"),
    benchmark:
        LAYOUT.timing("fetch", "{stem}")
    priority: EARLY
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        overlays=overlays,
    shell:
        "medlabel {params.overlays} fetch {wildcards.stem} 2> {log:q}"


rule phantoms:
    output:
        archives=[LAYOUT.phantoms(kind, "{size}") for kind in catalogue.FLAT_PHANTOMS],
        captions=[LAYOUT.captions(kind, "{size}") for kind in catalogue.FLAT_PHANTOMS],
    log:
        LAYOUT.log("phantoms", "{size}"),
    benchmark:
        LAYOUT.timing("phantoms", "{size}")
    priority: FIRST
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code("data.phantoms"),
        overlays=overlays,
        reads=reads("seed", phantoms=drawing_of("counts")),
    shell:
        "medlabel {params.overlays} phantoms --size {wildcards.size} --threads {threads} "
        "2> {log:q}"


rule vessels:
    output:
        archive=LAYOUT.phantoms("phantom_vessel3d", "{size}"),
        captions=LAYOUT.captions("phantom_vessel3d", "{size}"),
    log:
        LAYOUT.log("vessels", "{size}"),
    benchmark:
        LAYOUT.timing("vessels", "{size}")
    priority: SECOND
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code("data.phantoms"),
        overlays=overlays,
        reads=reads("seed", phantoms=drawing_of("volumes")),
    shell:
        "medlabel {params.overlays} vessels --size {wildcards.size} 2> {log:q}"


rule captions:
    input:
        archive=LAYOUT.raw("{stem}"),
    output:
        LAYOUT.said("{stem}"),
    log:
        LAYOUT.log("captions", "{stem}"),
    benchmark:
        LAYOUT.timing("captions", "{stem}")
    priority: EARLY
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code("data.captions"),
        overlays=overlays,
        reads=reads("seed"),
    shell:
        "medlabel {params.overlays} captions {wildcards.stem} 2> {log:q}"


rule pool:
    input:
        archives=archives_of_mixture,
    output:
        pool=LAYOUT.pool("{mixture}"),
        duplicates=LAYOUT.duplicates("{mixture}"),
    log:
        LAYOUT.log("pool", "{mixture}"),
    benchmark:
        LAYOUT.timing("pool", "{mixture}")
    priority: EARLY
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        code=code("data.mixtures"),
        overlays=overlays,
        reads=mixture_reads,
    shell:
        "medlabel {params.overlays} pool {wildcards.mixture} 2> {log:q}"
