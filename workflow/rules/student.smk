"""The students: one job trains a block of seeds on one arm's labels."""


def labels_of(wildcards):
    """Give the pseudo-labels that an arm trains on; the arm of true labels has none."""
    _, _, encoder = wildcards.arm.partition("_")
    return f"<data>/pseudolabels/{MIXTURE}/{encoder}.parquet" if encoder else []


rule students:
    input:
        archives=archives(),
        draw=rules.mix.output,
        pseudolabels=labels_of,
        code=code("students"),
    output:
        predictions=f"<data>/students/{MIXTURE}/{{arm}}/{{block}}/predictions.parquet",
        curves=f"<data>/students/{MIXTURE}/{{arm}}/{{block}}/curves.parquet",
        weights=f"<data>/students/{MIXTURE}/{{arm}}/{{block}}/weights.safetensors",
    log:
        f"<logs>/students/{MIXTURE}/{{arm}}/{{block}}.log",
    benchmark:
        f"<benchmarks>/students/{MIXTURE}/{{arm}}/{{block}}.tsv"
    conda:
        "../../environment.yml"
    # Two small trainings at one thread each beat one at two.
    threads: 1
    resources:
        mem_mb=2000,
    params:
        archives=archive_options,
        overlays=overlays,
        pseudolabels=f"<data>/pseudolabels/{MIXTURE}",
        settings=triggers("students"),
    shell:
        "medlabel {params.overlays} students {params.archives} --draw {input.draw} "
        "--block {wildcards.block} --arm {wildcards.arm} --pseudolabels {params.pseudolabels} "
        "--predictions {output.predictions} --curves {output.curves} --weights {output.weights} "
        "--threads {threads} 2> {log}"
