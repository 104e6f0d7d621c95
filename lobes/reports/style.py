"""Frame and looks of an HTML page: light and dark, wide and narrow, no script and nothing to fetch."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

STYLE = """
:root { --back: #fdfdfc; --card: #fff; --text: #1c1d1f; --soft: #5b5f66; --line: #dcdfe3;
  --s0: #0068a8; --s1: #b84a00; --s2: #00735a; --s3: #8a3a78; }
@media (prefers-color-scheme: dark) { :root {
  --back: #15171a; --card: #1d2024; --text: #e8e9eb; --soft: #a5abb3; --line: #363b42;
  --s0: #63b7ee; --s1: #f0994a; --s2: #43c59e; --s3: #d58fc4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2rem 1.25rem 4rem;
  background: var(--back); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; max-width: 46rem; }
.note, caption, figcaption, dt { color: var(--soft); }
.note { font-size: .9rem; }
.scroll { overflow-x: auto; margin-top: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .5rem; font-size: .9rem; }
th, td { padding: .4rem .75rem; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { font-size: .9rem; color: var(--soft); vertical-align: bottom; }
th:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .75rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem; }
figcaption { font-size: .9rem; margin-bottom: .4rem; }
svg text { fill: currentColor; font: 11px system-ui, "DejaVu Sans", sans-serif; }
.spectrogram { width: 100%; height: auto; color: var(--soft); }
audio { width: 100%; height: 2.5rem; margin-top: .4rem; }
.chart { width: 100%; max-width: 44rem; height: auto; color: var(--soft); }
.rule { stroke: var(--line); }
polyline { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.series-0 { stroke: var(--s0); fill: var(--s0); } .series-1 { stroke: var(--s1); fill: var(--s1); }
.series-2 { stroke: var(--s2); fill: var(--s2); } .series-3 { stroke: var(--s3); fill: var(--s3); }
.series-1 polyline { stroke-dasharray: 7 4; } .series-2 polyline { stroke-dasharray: 2 4; }
.series-3 polyline { stroke-dasharray: 9 3 2 3; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem;
  padding: 0; margin: 0 0 .5rem; }
.legend svg { width: 2.1rem; height: .65rem; margin-right: .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.5rem; font-size: .9rem; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .4rem; } }
"""
