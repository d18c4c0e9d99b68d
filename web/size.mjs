// How many bytes does a visitor load, of the widget and of the dashboard? `npm run size` after `npm run build`.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const SITE = new URL("../voicestack/server/site/", import.meta.url).pathname;
const PARTS = [
  { name: "widget", folder: "widget", of: () => true, limit: 40 * 1024 },
  { name: "dashboard", folder: "dashboard", of: (name) => !name.includes("echarts"), limit: 50 * 1024 },
  { name: "the dashboard's charts, loaded when one is shown", folder: "dashboard", of: (name) => name.includes("echarts"), limit: 210 * 1024 },
];
let fine = true;
for (const { name, folder, of, limit } of PARTS) {
  const root = join(SITE, folder);
  let total = 0;
  for (const file of readdirSync(root, { recursive: true }).map(String).sort()) {
    if (!/\.(js|css)$/.test(file) || !of(file)) continue;
    const bytes = gzipSync(readFileSync(join(root, file)), { level: 9 }).length;
    total += bytes;
    console.log(`${String(bytes).padStart(7)}  ${folder}/${file}`);
  }
  console.log(`${String(total).padStart(7)}  ${name}: in total, gzipped; at most ${limit}`);
  fine &&= total > 0 && total <= limit;
}
process.exitCode = fine ? 0 : 1;
