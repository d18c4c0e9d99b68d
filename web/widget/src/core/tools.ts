// Which functions of the page may the agent call, and when is it told what came of them?
import type { FunctionTool } from "../wire";
import { newName, type Received, type Sent } from "./events";

export type ToolFunction = (args: unknown) => unknown;

/** A JSON Schema of the arguments, or that with a description of what the function does. */
export type ToolSchema = { description?: string; parameters?: object } | object;

const TIMEOUT_MS = 30_000;

interface Tool {
  shown: FunctionTool;
  run: ToolFunction;
}

/** Runs the calls of responses. The agent goes on when the response is done and all of its calls are answered. */
export class ToolDesk {
  private tools = new Map<string, Tool>();
  private waiting = new Map<string, { open: number; called: boolean; done: boolean }>(); // by response
  onAnswer: (callId: string, output: string) => void = () => {};

  constructor(private readonly send: (event: Sent) => void) {}

  register(name: string, schema: ToolSchema, run: ToolFunction): void {
    const given = schema as { type?: unknown; description?: string; parameters?: object };
    const parameters = given.parameters ?? (given.type === "object" ? schema : { type: "object", properties: {} });
    const shown: FunctionTool = { type: "function", name, parameters };
    if (given.description !== undefined) shown.description = given.description;
    this.tools.set(name, { shown, run });
  }

  get isEmpty(): boolean {
    return this.tools.size === 0;
  }

  /** These, and those that the session has from elsewhere. */
  beside<T extends { type: string; name?: string }>(others: readonly T[]): (T | FunctionTool)[] {
    const kept = others.filter((tool) => tool.type !== "function" || !this.tools.has(tool.name ?? ""));
    return [...kept, ...Array.from(this.tools.values(), (tool) => tool.shown)];
  }

  /** Take note of an event. */
  hear(event: Received): void {
    if (event.type === "response.function_call_arguments.done") {
      const tool = this.tools.get(event.name);
      if (tool) void this.call(tool, event.response_id, event.call_id, event.arguments);
    } else if (event.type === "response.done") {
      const waiting = this.waiting.get(event.response.id);
      if (!waiting) return;
      waiting.done = true;
      this.goOn(event.response.id);
    }
  }

  /** Calls of a connection that is gone are answered by nobody. */
  reset(): void {
    this.waiting.clear();
  }

  private async call(tool: Tool, response: string, callId: string, args: string): Promise<void> {
    const waiting = this.waiting.get(response) ?? { open: 0, called: true, done: false };
    this.waiting.set(response, waiting);
    waiting.open += 1;
    const output = await outcome(tool, args);
    this.onAnswer(callId, output);
    if (this.waiting.get(response) !== waiting) return;
    waiting.open -= 1;
    this.send({
      type: "conversation.item.create",
      item: { type: "function_call_output", id: newName("item"), call_id: callId, output },
    });
    this.goOn(response);
  }

  private goOn(response: string): void {
    const waiting = this.waiting.get(response);
    if (!waiting?.done || waiting.open > 0) return;
    this.waiting.delete(response);
    this.send({ type: "response.create" });
  }
}

async function outcome(tool: Tool, args: string): Promise<string> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it took too long")), TIMEOUT_MS);
  });
  try {
    const result = await Promise.race([(async () => tool.run(args.trim() ? JSON.parse(args) : {}))(), late]);
    return typeof result === "string" ? result : (JSON.stringify(result) ?? "done");
  } catch (error) {
    return JSON.stringify({ error: error instanceof Error ? error.message : String(error) });
  } finally {
    clearTimeout(timer);
  }
}
