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
        teacher=benchmark_teacher,
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
        teacher=teacher_option,
    shell:
        "medlabel {params.overlays} benchmark --row {wildcards.dataset}/{wildcards.model}/{wildcards.recipe} --repeat {wildcards.repeat} "
        "--archive {input.archive} {params.start} {params.teacher} --folder {params.folder} "
        "--resume {params.resume} --threads {threads} 2> {log}"


rule compare:
    input:
        runs=benchmark_runs(),
        published="resources/published_results.csv",
        code=code("compare"),
    output:
        comparison=f"{RESULTS}/benchmarks/{PARAMS.benchmark.name}.json",
        table=f"{RESULTS}/benchmarks/{PARAMS.benchmark.name}.csv",
    log:
        f"{LOGS}/compare/{PARAMS.benchmark.name}.log",
    benchmark:
        f"{BENCHMARKS}/compare/{PARAMS.benchmark.name}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
    params:
        overlays=overlays,
        runs=folder_of("runs", up=5),
        settings=triggers("compare"),
    shell:
        "medlabel {params.overlays} compare --runs {params.runs} --published {input.published} "
        "--target {output.comparison} --table {output.table} 2> {log}"


rule benchmark_report:
    input:
        comparison=rules.compare.output.comparison,
        runs=rules.compare.input.runs,
        archives=shown_archives(),
        code=code("benchmark_report"),
    output:
        scores=benchmark_figure("scores"),
        roc=benchmark_figure("roc"),
        curves=benchmark_figure("curves"),
        slices=benchmark_figure("slices"),
        tables=f"{RESULTS}/benchmarks/{PARAMS.benchmark.name}_tables.md",
        page=report(
            f"{RESULTS}/benchmarks/{PARAMS.benchmark.name}_report.html",
            category="Page",
        ),
    log:
        f"{LOGS}/benchmark_report/{PARAMS.benchmark.name}.log",
    benchmark:
        f"{BENCHMARKS}/benchmark_report/{PARAMS.benchmark.name}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
    params:
        archives=archive_options,
        figures=folder_of("scores"),
        overlays=overlays,
        runs=folder_of("runs", up=5),
        settings=triggers("benchmark_report"),
    shell:
        "medlabel {params.overlays} benchmark_report --comparison {input.comparison} "
        "--runs {params.runs} {params.archives} --figures {params.figures} "
        "--tables {output.tables} --page {output.page} 2> {log}"


rule benchmarks:
    input:
        rules.compare.output,
        rules.benchmark_report.output,
