"""What a reader sees: statistics, figures, tables, one page."""


rule study:
    input:
        pool=rules.pool.output.pool,
        draws=collect(rules.mix.output, block=PARAMS.seed_blocks),
        pseudolabels=rules.pseudolabel.output,
        predictions=collect(
            rules.students.output.predictions, arm=PARAMS.arms, block=PARAMS.seed_blocks
        ),
        code=code("study"),
    output:
        study=f"<results>/{MIXTURE}_study.json",
        scores=f"<results>/{MIXTURE}_scores.csv",
        curve=f"<results>/{MIXTURE}_curve.csv",
    log:
        f"<logs>/study/{MIXTURE}.log",
    benchmark:
        f"<benchmarks>/study/{MIXTURE}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
    params:
        mixtures=f"<data>/mixtures/{MIXTURE}",
        overlays=overlays,
        pseudolabels=f"<data>/pseudolabels/{MIXTURE}",
        settings=triggers("study"),
        students=f"<data>/students/{MIXTURE}",
    shell:
        "medlabel {params.overlays} study --mixtures {params.mixtures} "
        "--pseudolabels {params.pseudolabels} --students {params.students} "
        "--target {output.study} --scores {output.scores} --curve {output.curve} 2> {log}"
