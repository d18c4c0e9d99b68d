// Reads events, one JSON a line, with the zod schemas of agents-realtime, and prints what they refuse. The client
// itself passes such events on unread. The module is not exported by the package, so it is named by its file.
import { createInterface } from "node:readline";

const file = new URL("../node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.mjs", import.meta.url);
const { realtimeServerEventSchema } = await import(file.href);
const known = new Set(realtimeServerEventSchema.options.map((option) => option.shape.type.value));

for await (const line of createInterface({ input: process.stdin })) {
  const event = JSON.parse(line);
  const { success, error } = realtimeServerEventSchema.safeParse(event);
  if (!success && known.has(event.type)) console.log(`${line}: ${error}`.replaceAll(/\s+/g, " "));
}
console.log(known.size > 30 ? "end" : "the schemas are not where they were");
