"""A miniature PolSESS corpus: Polish speech, scenes, events and rooms, from recordings or from nothing."""

from lobes.polsess.corpus.build import COUNTS, INDOOR_SHARE, make_corpus

__all__ = ["COUNTS", "INDOOR_SHARE", "make_corpus"]
