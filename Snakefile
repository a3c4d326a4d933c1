"""The study as a graph: parameters, rules, and what `snakemake` makes without a target."""


configfile: "params.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/teacher.smk"
include: "workflow/rules/student.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/benchmark.smk"


localrules:
    all,
    benchmarks,


onsuccess:
    record_in_dvc()


rule all:
    default_target: True
    input:
        rules.study.output,
        rules.report.output,
