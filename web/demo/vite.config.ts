// The page at `/`: it loads the widget as any other page would.
import { resolve } from "node:path";
import { defineConfig } from "vite";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;

export default defineConfig({
  root: here,
  base: "./",
  publicDir: false,
  build: {
    target: "es2022",
    outDir: resolve(here, "../../voicestack/server/site"),
    emptyOutDir: false, // the widget is there already
    assetsDir: "demo/assets",
    modulePreload: false,
    assetsInlineLimit: 0,
    rollupOptions: { input: resolve(here, "index.html") },
  },
});
