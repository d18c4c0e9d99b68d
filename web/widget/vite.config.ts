// The widget: one module with a stable name, and beside it what is loaded when it is needed.
import { resolve } from "node:path";
import { defineConfig } from "vite";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;

export default defineConfig(({ mode }) => ({
  root: here,
  base: "./", // every file is found beside the script, from whatever origin that came
  publicDir: false,
  worker: { format: "es", rollupOptions: { output: { entryFileNames: "assets/[name]-[hash].js" } } },
  build: {
    target: "es2022",
    outDir: mode === "site" ? resolve(here, "../../voicestack/server/site/widget") : resolve(here, "dist"),
    emptyOutDir: true,
    modulePreload: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      input: { voicestack: resolve(here, "src/voicestack.ts") },
      preserveEntrySignatures: "strict",
      output: {
        entryFileNames: "[name].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
}));
