"""The columns that PolSESS adds to a manifest, and their types.

- `s1_wav`, `s2_wav`: the dry speakers, `scene_wav`: the background, `event_wav`: one short sound;
- `sp1_reverb_wav`, `sp2_reverb_wav`, `ev_reverb_wav`: what the room adds to each of them; empty in outdoor rows;
- `has_reverb`: whether the row is indoors; `same_speaker`: whether one speaker speaks twice, empty where unknown;
- `speaker1`, `speaker2`: names read out of the paths of the recordings, empty where the path has none;
- `SSR`: level of speaker 1 over speaker 2 (dB); `sceneOffsetDB`: level of the scene relative to speech (dB);
  `sceneVolumeGain`: the scene's gain; the last two are empty in tables of 31 columns;
- `sceneClass`, `eventClass`: names such as home and dog.

Example
-------
>>> from tempfile import TemporaryDirectory
>>> from lobes.data.manifest import read_manifest, write_manifest
>>> row = {"ID": "a", "duration": 4.0, "mix_wav": "m.wav", "s1_wav": "s.wav", "has_reverb": True, "SSR": -3}
>>> with TemporaryDirectory() as folder:
...     write_manifest(f"{folder}/train.csv", [row])
...     row = read_manifest(f"{folder}/train.csv", types=TYPES)[0]
>>> row["has_reverb"], row["SSR"]
(True, -3.0)
"""

from __future__ import annotations

# for `lobes.data.manifest.read_manifest` and `lobes.data.datasets.read_rows`; all other columns are text
TYPES = {"has_reverb": bool, "same_speaker": bool, "SSR": float, "sceneOffsetDB": float, "sceneVolumeGain": float}
