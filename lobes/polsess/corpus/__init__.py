"""A synthesiser of corpora in the PolSESS format, from recordings or from synthesised sound."""

from lobes.polsess.corpus.build import COUNTS, INDOOR_SHARE, make_corpus

__all__ = ["COUNTS", "INDOOR_SHARE", "make_corpus"]
