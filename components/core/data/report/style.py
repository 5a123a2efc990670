"""The look of the report page, light and dark."""

STYLE = """
:root{color-scheme:light dark;
  --ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--paper:#fff;--card:#f5f7fa;--bar:#3b6fb6;--bad:#b3261e;
  --warn:#8a5a00;--good:#1b6e3c}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;
  --soft:#9aa5b4;--line:#3a4350;--paper:#14181e;--card:#1d232b;--bar:#7aa7e8;--bad:#ff8a80;--warn:#ffcc66;
  --good:#7fd6a0}}
body{font:15px/1.5 system-ui,sans-serif;
  color:var(--ink);background:var(--paper);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}
h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin-bottom:.3rem}
.soft{color:var(--soft)}
.tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}
.tile{background:var(--card);border-radius:.5rem;padding:.6rem 1rem;min-width:7rem}
.tile b{display:block;font-size:1.5rem}
table{border-collapse:collapse;width:100%;margin:.6rem 0}
th,td{text-align:left;
  padding:.3rem .7rem;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.error{color:var(--bad);font-weight:600}
.warning{color:var(--warn);font-weight:600}
.good{color:var(--good);font-weight:600}
code{font-size:.9em}
details{margin:.2rem 0}
summary{cursor:pointer}
.charts{display:flex;flex-wrap:wrap;gap:1.2rem}
figure{margin:0}
figcaption{font-size:.85rem;color:var(--soft)}
svg rect{fill:var(--bar)}
svg text{fill:var(--soft);font-size:11px}
svg line{stroke:var(--line)}
.scroll{overflow-x:auto}
"""
