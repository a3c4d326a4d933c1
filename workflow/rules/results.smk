"""What a reader sees: statistics, figures, tables, one page a study."""


rule evaluate:
    input:
        pools=lambda wildcards: pools_of(wildcards.study),
        labels=lambda wildcards: labels_of_study(wildcards.study),
        trainings=lambda wildcards: files_of_trainings(
            wildcards.study, "predictions.parquet", "run.json"
        ),
        published=PUBLISHED,
    output:
        study=LAYOUT.study("{study}", "study.json"),
        scores=LAYOUT.study("{study}", "scores.csv"),
    log:
        LAYOUT.log("evaluate", "{study}"),
    benchmark:
        LAYOUT.timing("evaluate", "{study}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("evaluate.study"),
        overlays=overlays,
        reads=study_reads,
    shell:
        "medlabel {params.overlays} evaluate {wildcards.study} 2> {log:q}"


rule report:
    input:
        study=rules.evaluate.output.study,
        scores=rules.evaluate.output.scores,
        archives=lambda wildcards: archives_of_study(wildcards.study),
        facts=lambda wildcards: facts_of_study(wildcards.study),
        provenance=lambda wildcards: provenance_of_study(wildcards.study),
        words=lambda wildcards: words_of_study(wildcards.study),
        pools=rules.evaluate.input.pools,
        labels=rules.evaluate.input.labels,
        trainings=lambda wildcards: files_of_trainings(
            wildcards.study, "predictions.parquet", "curves.parquet", "run.json"
        ),
        published=PUBLISHED,
    output:
        figures=directory(LAYOUT.study("{study}", "figures")),
        tables=LAYOUT.study("{study}", "tables.md"),
        page=report(
            LAYOUT.study("{study}", "report.html"),
            category="Studies",
            labels={"study": "{study}"},
        ),
    log:
        LAYOUT.log("report", "{study}"),
    benchmark:
        LAYOUT.timing("report", "{study}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("report.report"),
        overlays=overlays,
        reads=study_reads,
    shell:
        "medlabel {params.overlays} report {wildcards.study} 2> {log:q}"


rule metrics:
    input:
        [LAYOUT.study(name, "study.json") for name in PARAMS.default_studies],
    output:
        LAYOUT.metrics,
    log:
        LAYOUT.log("metrics", "all"),
    benchmark:
        LAYOUT.timing("metrics", "all")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        code=code("evaluate.metrics"),
        overlays=overlays,
        reads=PARAMS.default_studies,
    shell:
        "medlabel {params.overlays} metrics 2> {log:q}"


rule few_labels:
    input:
        pool=lambda wildcards: LAYOUT.pool_of(PARAMS.few_labels[wildcards.curve].images),
        embeddings=embeddings_of_curve,
        words=lambda wildcards: words_of_curve(wildcards.curve),
        labels=labels_of_curve,
    output:
        [LAYOUT.curve("{curve}", file) for file in CURVE_FILES],
    log:
        LAYOUT.log("few_labels", "{curve}"),
    benchmark:
        LAYOUT.timing("few_labels", "{curve}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("evaluate.few_labels", "report.few_labels"),
        overlays=overlays,
        reads=curve_reads,
    shell:
        "medlabel {params.overlays} few_labels {wildcards.curve} 2> {log:q}"


rule without_labels:
    input:
        unpack(inputs_of_without_labels),
    output:
        [LAYOUT.without_labels("{folders}", file) for file in WITHOUT_LABELS_FILES],
    log:
        LAYOUT.log("without_labels", "{folders}"),
    benchmark:
        LAYOUT.timing("without_labels", "{folders}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        code=code("evaluate.without_labels", "report.without_labels"),
        overlays=overlays,
        reads=without_labels_reads,
    shell:
        "medlabel {params.overlays} without_labels {wildcards.folders} 2> {log:q}"


rule retrieval:
    input:
        unpack(inputs_of_search("retrieval")),
    output:
        [LAYOUT.retrieval("{search}", file) for file in RETRIEVAL_FILES],
    log:
        LAYOUT.log("retrieval", "{search}"),
    benchmark:
        LAYOUT.timing("retrieval", "{search}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("evaluate.retrieval", "report.retrieval"),
        overlays=overlays,
        reads=search_reads("retrieval"),
    shell:
        "medlabel {params.overlays} retrieval {wildcards.search} 2> {log:q}"


rule concepts:
    input:
        unpack(inputs_of_search("concepts")),
    output:
        [LAYOUT.concepts("{search}", file) for file in CONCEPT_FILES],
    log:
        LAYOUT.log("concepts", "{search}"),
    benchmark:
        LAYOUT.timing("concepts", "{search}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("evaluate.concepts", "report.concepts"),
        overlays=overlays,
        reads=search_reads("concepts"),
    shell:
        "medlabel {params.overlays} concepts {wildcards.search} 2> {log:q}"


rule agreement:
    input:
        pool=lambda wildcards: LAYOUT.pool_of(
            PARAMS.agreement[wildcards.comparison].images
        ),
        labels=lambda wildcards: labellers_of(wildcards.comparison),
    output:
        [LAYOUT.agreement("{comparison}", file) for file in AGREEMENT_FILES],
    log:
        LAYOUT.log("agreement", "{comparison}"),
    benchmark:
        LAYOUT.timing("agreement", "{comparison}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("evaluate.agreement", "report.agreement"),
        overlays=overlays,
        reads=agreement_reads,
    shell:
        "medlabel {params.overlays} agreement {wildcards.comparison} 2> {log:q}"


rule compared:
    input:
        study=lambda wildcards: LAYOUT.study(
            PARAMS.compared[wildcards.comparison].study, "study.json"
        ),
        costs=lambda wildcards: PARAMS.compared[wildcards.comparison].costs,
    output:
        [LAYOUT.compared("{comparison}", file) for file in COMPARED_FILES],
    log:
        LAYOUT.log("compared", "{comparison}"),
    benchmark:
        LAYOUT.timing("compared", "{comparison}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("report.compared"),
        overlays=overlays,
        reads=lambda wildcards: part("compared", wildcards.comparison),
    shell:
        "medlabel {params.overlays} compared {wildcards.comparison} 2> {log:q}"


rule segmentation:
    input:
        unpack(inputs_of_segmentation),
    output:
        [LAYOUT.segmentation("{search}", file) for file in SEGMENTATION_FILES],
    log:
        LAYOUT.log("segmentation", "{search}"),
    benchmark:
        LAYOUT.timing("segmentation", "{search}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("evaluate.segmentation", "report.segmentation"),
        overlays=overlays,
        reads=segmentation_reads,
    shell:
        "medlabel {params.overlays} segmentation {wildcards.search} 2> {log:q}"


rule generate:
    input:
        unpack(images_of_generator),
        captions=captions_of_generator,
        encoder=encoder_of_generator,
    output:
        [LAYOUT.generated("{generator}", file) for file in GENERATED_FILES],
    log:
        LAYOUT.log("generate", "{generator}"),
    benchmark:
        LAYOUT.timing("generate", "{generator}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("generation.run"),
        overlays=overlays,
        reads=generator_reads,
    shell:
        "medlabel {params.overlays} generate {wildcards.generator} 2> {log:q}"


rule generation:
    input:
        unpack(images_of_generator),
        generated=rules.generate.output,
    output:
        [LAYOUT.generation("{generator}", file) for file in GENERATION_FILES],
    log:
        LAYOUT.log("generation", "{generator}"),
    benchmark:
        LAYOUT.timing("generation", "{generator}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("generation.classifiers", "report.generation", "networks.small"),
        overlays=overlays,
        reads=classifier_reads,
    shell:
        "medlabel {params.overlays} generation {wildcards.generator} 2> {log:q}"


rule contact_sheet:
    input:
        [LAYOUT.phantoms(kind, PARAMS.phantoms.size) for kind in catalogue.PHANTOMS],
    output:
        report(CONTACT_SHEET, category="Phantoms"),
    log:
        LAYOUT.log("contact_sheet", "phantoms"),
    benchmark:
        LAYOUT.timing("contact_sheet", "phantoms")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=5,
    params:
        code=code("report.contact_sheet"),
        overlays=overlays,
    shell:
        "medlabel {params.overlays} contact_sheet 2> {log:q}"
