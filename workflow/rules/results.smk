"""What a reader sees: statistics, figures, tables, one page."""


rule study:
    input:
        draws=collect(rules.mix.output, block=PARAMS.draw_blocks),
        pseudolabels=rules.pseudolabel.output.pseudolabels,
        predictions=[
            path
            for arm, blocks in PARAMS.arms.items()
            for path in collect(
                rules.students.output.predictions, arm=arm, block=blocks
            )
        ],
        code=code("study"),
    output:
        study=f"{RESULTS}/{MIXTURE}_study.json",
        scores=f"{RESULTS}/{MIXTURE}_scores.csv",
        curve=f"{RESULTS}/{MIXTURE}_curve.csv",
    log:
        f"{LOGS}/study/{MIXTURE}.log",
    benchmark:
        f"{BENCHMARKS}/study/{MIXTURE}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
    params:
        draws=folder_of("draws"),
        overlays=overlays,
        pseudolabels=folder_of("pseudolabels"),
        settings=triggers("study"),
        students=folder_of("predictions", up=3),
    shell:
        "medlabel {params.overlays} study --draws {params.draws} "
        "--pseudolabels {params.pseudolabels} --students {params.students} "
        "--target {output.study} --scores {output.scores} --curve {output.curve} 2> {log}"


rule report:
    input:
        archives=archives(),
        facts=facts(),
        phantoms=rules.phantoms.output.archives,
        pool=rules.pool.output.pool,
        provenance=f"{DATA}/encoders/{PARAMS.study_encoder}/provenance.json",
        pseudolabels=f"{DATA}/pseudolabels/{MIXTURE}/{PARAMS.study_encoder}.parquet",
        students=collect(
            [rules.students.output.curves, rules.students.output.predictions],
            arm=f"teacher_{PARAMS.study_encoder}",
            block=PARAMS.seed_blocks,
        ),
        study=rules.study.output.study,
        scores=rules.study.output.scores,
        published="resources/published_results.csv",
        code=code("report"),
    output:
        samples=figure("samples"),
        curves=figure("curves"),
        corrections=figure("corrections"),
        boxplots=figure("boxplots"),
        quality=figure("quality"),
        confusion=figure("confusion"),
        phantoms=figure("phantoms"),
        tables=f"{RESULTS}/{MIXTURE}_tables.md",
        page=report(f"{RESULTS}/{MIXTURE}_report.html", category="Page"),
    log:
        f"{LOGS}/report/{MIXTURE}.log",
    benchmark:
        f"{BENCHMARKS}/report/{MIXTURE}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
    params:
        archives=archive_options,
        encoders=folder_of("provenance", up=2),
        figures=folder_of("samples"),
        overlays=overlays,
        phantoms=folder_of("phantoms"),
        pseudolabels=folder_of("pseudolabels"),
        settings=triggers("report"),
        students=folder_of("students", up=3),
    shell:
        "medlabel {params.overlays} report {params.archives} --phantoms {params.phantoms} "
        "--pool {input.pool} --encoders {params.encoders} "
        "--pseudolabels {params.pseudolabels} --students {params.students} "
        "--study {input.study} --scores {input.scores} --published {input.published} "
        "--figures {params.figures} --tables {output.tables} --page {output.page} 2> {log}"
