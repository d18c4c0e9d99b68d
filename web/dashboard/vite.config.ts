// The dashboard at `/dashboard`: one page, its files under `/dashboard/assets/`, the charts in a chunk of their own.
import { resolve } from "node:path";
import { defineConfig } from "vite";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;

export default defineConfig({
  root: here,
  base: "/dashboard/", // the page is served with and without the slash at its end
  publicDir: false,
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  server: { proxy: { "/dashboard/api": process.env.VOICESTACK_URL ?? "http://127.0.0.1:8080" } },
  build: {
    target: "es2022",
    outDir: resolve(here, "../../voicestack/server/site/dashboard"),
    emptyOutDir: true,
    modulePreload: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700, // the charts, which are loaded when one is shown
    rollupOptions: { input: resolve(here, "index.html") },
  },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
});
