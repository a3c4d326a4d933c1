"""Supervised models, 2-D and 3-D: one job trains one repeat of a row of `benchmark.rows`."""


rule vessels:
    input:
        code=code("vessels"),
    output:
        archive=f"{RUNS}/phantom_vessel3d.npz",
        captions=f"{RUNS}/phantom_vessel3d.captions.parquet",
    log:
        f"{LOGS}/vessels/{PARAMS.benchmark.name}.log",
    benchmark:
        f"{BENCHMARKS}/vessels/{PARAMS.benchmark.name}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
    params:
        overlays=overlays,
        settings=triggers("vessels"),
    shell:
        "medlabel {params.overlays} vessels --target {output.archive} 2> {log}"


rule benchmark:
    input:
        archive=benchmark_archive,
        start=benchmark_start,
        code=code("benchmark"),
    output:
        predictions=f"{RUNS}/{{dataset}}/{{model}}/{{recipe}}/{{repeat}}/predictions.parquet",
        curve=f"{RUNS}/{{dataset}}/{{model}}/{{recipe}}/{{repeat}}/curve.parquet",
        record=f"{RUNS}/{{dataset}}/{{model}}/{{recipe}}/{{repeat}}/run.json",
        weights=f"{RUNS}/{{dataset}}/{{model}}/{{recipe}}/{{repeat}}/weights.safetensors",
    log:
        f"{LOGS}/benchmark/{PARAMS.benchmark.name}/{{dataset}}/{{model}}/{{recipe}}/{{repeat}}.log",
    benchmark:
        f"{BENCHMARKS}/benchmark/{PARAMS.benchmark.name}/{{dataset}}/{{model}}/{{recipe}}/{{repeat}}.tsv"
    conda:
        "../../environment.yml"
    threads: PARAMS.benchmark.threads
    resources:
        mem_mb=8000,
    params:
        folder=folder_of("record"),
        overlays=overlays,
        recipe=benchmark_recipe,
        resume=f"{DATA}/cache/benchmarks/{PARAMS.benchmark.name}/{{dataset}}/{{model}}/{{recipe}}/{{repeat}}.pt",
        start=start_option,
    shell:
        "medlabel {params.overlays} benchmark --row {wildcards.dataset}/{wildcards.model}/{wildcards.recipe} --repeat {wildcards.repeat} "
        "--archive {input.archive} {params.start} --folder {params.folder} "
        "--resume {params.resume} --threads {threads} 2> {log}"


rule benchmarks:
    input:
        benchmark_runs(),
