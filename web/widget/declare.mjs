// Declarations as every kind of resolution finds them: relative imports with their extension.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const dist = new URL("dist/", import.meta.url).pathname;
for (const name of readdirSync(dist, { recursive: true }).map(String)) {
  if (!name.endsWith(".d.ts")) continue;
  const path = join(dist, name);
  const text = readFileSync(path, "utf8");
  writeFileSync(path, text.replace(/(from |import\()"(\.[^"]*?)(?<!\.js)"/g, '$1"$2.js"'));
}
