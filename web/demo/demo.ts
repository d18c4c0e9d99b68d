// The page around the widget: how the server is, how to embed it, and a key where one is wanted.
import type { VoicestackWidget } from "../widget/src/voicestack";

const READY_EVERY_MS = 1_500;
const COPIED_MS = 2_000;

function find<E extends HTMLElement>(id: string): E {
  return document.getElementById(id) as E;
}

const widget = find<VoicestackWidget>("voice");
const server = new URL(".", location.href).href.replace(/\/$/, "");

async function watchServer(): Promise<void> {
  const said = find("server");
  try {
    const answer = await fetch("./readyz");
    const { ready, profile } = (await answer.json()) as { ready: boolean; profile?: string };
    if (profile && profile !== "embedded") find("tiny").hidden = true;
    said.textContent = ready ? `Your server is ready${profile ? `, profile ${profile}` : ""}.` : "Your server is warming up…";
    if (ready) return;
  } catch {
    said.textContent = "Your server does not answer. Is it running?";
  }
  setTimeout(() => void watchServer(), READY_EVERY_MS);
}

function showSnippet(): void {
  const snippet = `<script type="module" src="${server}/widget/voicestack.js"></script>\n<voicestack-widget></voicestack-widget>`;
  find("snippet").textContent = snippet;
  const copy = find<HTMLButtonElement>("copy");
  copy.addEventListener("click", () => {
    void navigator.clipboard?.writeText(snippet).then(
      () => say("Copied"),
      () => say("Select it, and copy"),
    );
  });
  const say = (words: string) => {
    copy.textContent = words;
    setTimeout(() => (copy.textContent = "Copy"), COPIED_MS);
  };
}

/** A server with keys gives none to this page: whoever looks at it brings a secret. */
function askForKey(): void {
  const form = find<HTMLFormElement>("key");
  widget.addEventListener("voicestack-state", ({ detail }: CustomEventInit<{ code: string | null }>) => {
    if (detail?.code === "no-secret" || detail?.code === "refused" || detail?.code === "bad-secret") form.hidden = false;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const secret = find<HTMLInputElement>("secret").value.trim();
    widget.options.getToken = () => secret;
    void widget.start();
  });
}

showSnippet();
askForKey();
void watchServer();
