"""PolSESS: Polish speech in scenes with events and reverb. All that is particular to it stands here.

- `variants`: the tasks ES, EB and SB, the variants SER, SR ... C, and the parts that each keeps: `num_sources(task)`,
  `variants_for(indoor)`, `in_improvement_mean(task, variant)`;
- `mmipc`: input and targets of a row for a task and a variant (`render`, `render_parts`), and the choice of the
  variant (`draw_variant` in training, `fixed_variant` in valid and test);
- `curriculum`: which variants training may draw in which epoch;
- `remix`: new mixtures from the stored layers of several rows, and changes of speed;
- `manifest`, `layout`: the columns of manifests, and the format of the corpus folder;
- `corpus`: a synthesiser of corpora in this format, `make_corpus`.

Example
-------
>>> from lobes.polsess.variants import num_sources, variants_for
>>> num_sources("SB"), variants_for(indoor=False)
(2, ('SE', 'S', 'E', 'C'))
"""
