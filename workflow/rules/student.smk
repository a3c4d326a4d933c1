"""The students: one job trains a block of seeds on one arm's labels."""


rule students:
    input:
        archives=archives(),
        draw=rules.mix.output,
        pseudolabels=labels_of,
        code=code("students"),
    output:
        predictions=f"{DATA}/students/{MIXTURE}/{{arm}}/{{block}}/predictions.parquet",
        curves=f"{DATA}/students/{MIXTURE}/{{arm}}/{{block}}/curves.parquet",
        weights=f"{DATA}/students/{MIXTURE}/{{arm}}/{{block}}/weights.safetensors",
    log:
        f"{LOGS}/students/{MIXTURE}/{{arm}}/{{block}}.log",
    benchmark:
        f"{BENCHMARKS}/students/{MIXTURE}/{{arm}}/{{block}}.tsv"
    conda:
        "../../environment.yml"
    # Two small trainings at one thread each beat one at two.
    threads: 1
    resources:
        mem_mb=2000,
    params:
        archives=archive_options,
        overlays=overlays,
        pseudolabels=pseudolabels_option,
        settings=triggers("students"),
    shell:
        "medlabel {params.overlays} students {params.archives} --draw {input.draw} "
        "--block {wildcards.block} --arm {wildcards.arm} {params.pseudolabels} "
        "--predictions {output.predictions} --curves {output.curves} --weights {output.weights} "
        "--threads {threads} 2> {log}"
