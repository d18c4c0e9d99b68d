// How many bytes does a visitor load? `npm run size` after `npm run build`.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT_BYTES = 40 * 1024;
const root = new URL("../voicestack/server/site/widget/", import.meta.url).pathname;
let total = 0;
for (const name of readdirSync(root, { recursive: true }).map(String).sort()) {
  if (!/\.(js|css)$/.test(name)) continue;
  const bytes = gzipSync(readFileSync(join(root, name)), { level: 9 }).length;
  total += bytes;
  console.log(`${String(bytes).padStart(7)}  ${name}`);
}
console.log(`${String(total).padStart(7)}  in total, gzipped; at most ${LIMIT_BYTES}`);
process.exitCode = total > 0 && total <= LIMIT_BYTES ? 0 : 1;
