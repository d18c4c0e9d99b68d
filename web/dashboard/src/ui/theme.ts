// Light or dark: as the system says, unless the reader has chosen.

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];
const HELD = "voicestack-theme";
const dark = () => matchMedia("(prefers-color-scheme: dark)");

export function heldTheme(): Theme {
  try {
    return THEMES.find((one) => one === localStorage.getItem(HELD)) ?? "auto";
  } catch {
    return "auto"; // storage is switched off
  }
}

export function applyTheme(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(HELD, theme);
  } catch {
    // it holds until the page is left
  }
}

export const shownScheme = (theme: Theme): string => (theme === "auto" ? (dark().matches ? "dark" : "light") : theme);

export function onSystemScheme(run: () => void): () => void {
  const query = dark();
  query.addEventListener("change", run);
  return () => query.removeEventListener("change", run);
}
