// How it looks. Every colour and measure is a variable that the page may set: `--voicestack-...`.

const LIGHT = `
  --accent: var(--voicestack-accent, #3f4ce0);
  --on-accent: var(--voicestack-on-accent, #ffffff);
  --surface: var(--voicestack-surface, #ffffff);
  --raised: var(--voicestack-raised, #f3f4f8);
  --text: var(--voicestack-text, #14161d);
  --muted: var(--voicestack-muted, #565d70);
  --line: var(--voicestack-line, #e2e4ec);
  --edge: var(--voicestack-edge, #80869a);
  --mine: var(--voicestack-mine, #e6e9ff);
  --danger: var(--voicestack-danger, #bf1e3a);
  --on-danger: var(--voicestack-on-danger, #ffffff);
  --warm: var(--voicestack-warm, #fff4e0);
  --listening: #0d8a5f;
  --shadow: 0 1px 2px rgb(16 20 40 / .06), 0 12px 32px -8px rgb(16 20 40 / .16);
  color-scheme: light;
`;
const DARK = `
  --accent: var(--voicestack-accent, #a3acff);
  --on-accent: var(--voicestack-on-accent, #11132b);
  --surface: var(--voicestack-surface, #15171e);
  --raised: var(--voicestack-raised, #20232d);
  --text: var(--voicestack-text, #eef0f7);
  --muted: var(--voicestack-muted, #a8afc1);
  --line: var(--voicestack-line, #2d313d);
  --edge: var(--voicestack-edge, #747b90);
  --mine: var(--voicestack-mine, #2b3060);
  --danger: var(--voicestack-danger, #ff8c98);
  --on-danger: var(--voicestack-on-danger, #2d060c);
  --warm: var(--voicestack-warm, #2f2818);
  --listening: #4fd6a4;
  --shadow: 0 1px 2px rgb(0 0 0 / .4), 0 12px 32px -8px rgb(0 0 0 / .6);
  color-scheme: dark;
`;

export const CSS = `
:host { ${LIGHT}
  display: block; width: 100%; max-width: 26rem; margin-inline: auto; box-sizing: border-box;
  font: 400 1rem/1.5 var(--voicestack-font, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif);
  color: var(--text); text-align: start;
}
@media (prefers-color-scheme: dark) { :host(:not([theme="light"])) { ${DARK} } }
:host([theme="dark"]) { ${DARK} }
:host([hidden]) { display: none }
*, *::before, *::after { box-sizing: border-box }
[hidden] { display: none !important }

.card { background: var(--surface); border: 1px solid var(--line); border-radius: var(--voicestack-radius, 1.25rem);
  box-shadow: var(--voicestack-shadow, var(--shadow)); overflow: clip; display: flex; flex-direction: column }
button, input, select { font: inherit; color: inherit }
button { cursor: pointer; touch-action: manipulation }
button:disabled { cursor: default; opacity: .5 }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
.icon { width: 1.25em; height: 1.25em; flex: none; fill: none; stroke: currentColor; stroke-width: 1.9;
  stroke-linecap: round; stroke-linejoin: round }
.seen-not { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }

.top { display: flex; align-items: center; gap: .875rem; padding: 1rem 1rem .875rem 1.125rem }
.orb { position: relative; width: 2.75rem; height: 2.75rem; flex: none; border-radius: 50%; display: grid; place-items: center;
  background: radial-gradient(circle at 32% 28%, color-mix(in oklab, var(--accent) 55%, white), var(--accent) 70%);
  color: var(--on-accent) }
.orb::before { content: ""; position: absolute; inset: 0; border-radius: inherit; border: 2px solid var(--accent); opacity: 0;
  transform: scale(calc(1 + var(--loud, 0) * .45)) }
.orb[data-live]::before { opacity: .55 }
.orb[data-dim] { background: var(--raised); color: var(--muted) }
.names { min-width: 0; flex: 1 }
.title { font-weight: 650; letter-spacing: -.01em; line-height: 1.3; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.status { margin: 0; font-size: .875rem; color: var(--muted); display: flex; align-items: center; gap: .4rem; line-height: 1.4 }
.dot { width: .5rem; height: .5rem; border-radius: 50%; background: var(--edge); flex: none }
.card[data-state="listening"] .dot { background: var(--listening) }
.card[data-state="speaking"] .dot, .card[data-state="thinking"] .dot { background: var(--accent) }
.card[data-state="reconnecting"] .dot, .card[data-state="error"] .dot { background: var(--danger) }

.plain { border: 0; background: none; border-radius: .75rem; min-width: 2.5rem; height: 2.5rem; display: grid; place-items: center;
  color: var(--muted); padding: 0 }
.plain:hover, .plain[aria-expanded="true"] { background: var(--raised); color: var(--text) }

.panel { display: grid; gap: .75rem; padding: .25rem 1.125rem 1rem; border-bottom: 1px solid var(--line) }
.panel label { display: grid; gap: .25rem; font-size: .875rem; color: var(--muted) }
.panel label.row { display: flex; align-items: center; gap: .625rem; color: var(--text); min-height: 1.75rem }
.panel input[type="checkbox"] { width: 1.25rem; height: 1.25rem; accent-color: var(--accent); margin: 0 }
select, .text { width: 100%; min-width: 0; height: 2.75rem; border: 1px solid var(--edge); border-radius: .75rem; padding: 0 .75rem;
  background: var(--surface); color: var(--text); text-overflow: ellipsis }
.text::placeholder { color: var(--muted); opacity: 1 }

.notice { margin: 0 1.125rem .875rem; padding: .75rem .875rem; border-radius: .875rem; background: var(--warm); font-size: .9375rem;
  display: grid; gap: .375rem; justify-items: start }
.notice strong { font-weight: 650 }
.notice p { margin: 0 }

.captions { overflow-y: auto; overscroll-behavior: contain; padding: .25rem 1.125rem .75rem; display: flex; flex-direction: column;
  gap: .5rem; height: var(--voicestack-captions-height, 17rem); scrollbar-width: thin; outline-offset: -3px !important }
.captions > :first-child { margin-top: auto }
.line { margin: 0; max-width: 88%; padding: .5rem .8125rem; border-radius: 1.125rem; overflow-wrap: anywhere; white-space: pre-wrap;
  align-self: flex-start; background: var(--raised); border-end-start-radius: .3rem }
.line[data-role="user"] { align-self: flex-end; background: var(--mine); border-end-start-radius: 1.125rem; border-end-end-radius: .3rem }
.line[data-live][data-role="user"] { color: var(--muted); font-style: italic }
.line[data-interrupted]::after { content: " \\2014"; color: var(--muted) }
.empty { margin: auto; color: var(--muted); font-size: .9375rem; text-align: center; max-width: 18rem; text-wrap: balance }

.begin { padding: .25rem 1.125rem 1.125rem; display: grid; gap: .75rem; justify-items: stretch; text-align: center }
.begin p { margin: 0; font-size: .875rem; color: var(--muted); text-wrap: pretty }
.start { border: 0; border-radius: 999px; min-height: 3.25rem; padding: .5rem 1.5rem; background: var(--accent); color: var(--on-accent);
  font-weight: 600; font-size: 1.0625rem; display: inline-flex; gap: .625rem; align-items: center; justify-content: center }
.start:hover, .big:hover { filter: brightness(1.08) }
.link { border: 0; background: none; color: var(--accent); font-size: .9375rem; min-height: 2rem; padding: 0 .5rem; border-radius: .5rem;
  text-decoration: underline; text-underline-offset: .2em; justify-self: center }

.meters { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; padding: .5rem 1.125rem; border-top: 1px solid var(--line) }
.meter { display: flex; align-items: center; gap: .5rem; font-size: .8125rem; color: var(--muted); min-width: 0 }
.meter + .meter { flex-direction: row-reverse }
.bars { flex: 1; height: 1.5rem; display: flex; align-items: center; gap: 2px; min-width: 0 }
.bars i { flex: 1; height: 100%; border-radius: 2px; background: var(--listening); transform: scaleY(.08) }
.meter + .meter .bars i { background: var(--accent) }
.still .bars { background: var(--raised); border-radius: .25rem; height: .5rem; gap: 0; overflow: clip }
.still .bars i { display: none }
.still .bars i:first-child { display: block; flex: none; width: 100%; transform: scaleX(0); transform-origin: left }
.still .meter + .meter .bars i { transform-origin: right }

.write { display: flex; gap: .5rem; padding: .25rem 1.125rem .75rem }
.write .plain { border: 1px solid var(--edge); height: 2.75rem; min-width: 2.75rem }
.controls { display: flex; gap: .5rem; padding: 0 1.125rem 1.125rem }
.control { flex: 1; min-height: 2.75rem; border: 1px solid var(--edge); border-radius: 999px; background: none; padding: 0 .875rem;
  display: inline-flex; gap: .5rem; align-items: center; justify-content: center; font-weight: 550; white-space: nowrap }
.control:hover { background: var(--raised) }
.control[aria-pressed="true"] { background: var(--text); color: var(--surface); border-color: var(--text) }
.control.hang { background: var(--danger); border-color: var(--danger); color: var(--on-danger) }
.control.hang:hover { filter: brightness(1.08) }
.big { flex: 2; background: var(--accent); border-color: var(--accent); color: var(--on-accent); user-select: none;
  -webkit-user-select: none; touch-action: none }
.big:hover { background: var(--accent) }
.big[data-held] { box-shadow: inset 0 0 0 3px var(--on-accent); }

.badge { border-top: 1px solid var(--line); background: var(--raised); padding: .75rem 1.125rem 1rem; font-size: .8125rem; color: var(--muted) }
.badge p { margin: 0 }
.badge b { color: var(--text); font-weight: 650; font-variant-numeric: tabular-nums }
.fall { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; gap: .2rem .625rem; margin: .5rem 0 0; align-items: center }
.fall dt, .fall dd { margin: 0; line-height: 1.35 }
.fall dd:last-of-type, .fall .ms { text-align: end; font-variant-numeric: tabular-nums; color: var(--text) }
.track { position: relative; height: .5rem }
.track i { position: absolute; inset-block: 0; border-radius: 2px; background: var(--accent); min-width: 2px }
.track i.free { background: none; box-shadow: inset 0 0 0 1px var(--edge);
  background-image: repeating-linear-gradient(135deg, var(--edge) 0 1px, transparent 1px 4px) }

@media (max-width: 24rem) {
  .control { padding: 0 .5rem } .control:not(.big) .icon { display: none } .top { padding-inline: .875rem .625rem }
}
@media (prefers-reduced-motion: no-preference) {
  .start, .control, .plain, .orb { transition: background-color .15s, filter .15s, color .15s }
  .orb::before { transition: transform .12s ease-out }
  .line { animation: rise .18s ease-out }
  .card[data-state="thinking"] .orb, .card[data-state="connecting"] .orb { animation: breathe 1.6s ease-in-out infinite }
  @keyframes rise { from { opacity: 0; transform: translateY(.375rem) } }
  @keyframes breathe { 50% { transform: scale(.9); filter: saturate(.7) } }
}
@media (forced-colors: active) {
  .start, .control, .plain, .card, .line { border: 1px solid ButtonText }
  .bars i, .track i, .dot { background: CanvasText; forced-color-adjust: none }
}
`;
