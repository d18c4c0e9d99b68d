// What happens now: the conversations that are held, and each turn as soon as it is over.
import { useRef, useState } from "preact/hooks";
import { lasting, many, ms } from "../data/format";
import { withEarlier } from "../data/live";
import type { LiveSession, TurnPage, TurnRow } from "../data/wire";
import { rungWord } from "../data/words";
import { useAsk, useDesk, useNow } from "../ui/desk";
import { Chip, Panel, Table, Title } from "../ui/parts";
import { Legend } from "../ui/stack";
import { COLUMNS, scaleOf, TurnCells } from "../ui/turn_row";

const SHOWN = 40;
const LIVE_FILTERS = ["tenant", "route", "region"] as const;
const USER: { [state: string]: string } = { quiet: "quiet", speaking: "speaking", paused: "has paused" };
const REPLY: { [state: string]: readonly [name: string, what: string] } = {
  draft: ["drafting", "Working on an answer, in case the caller has finished."],
  thinking: ["thinking", "The caller is waiting."],
  audible: ["speaking", "The answer can be heard."],
};

export function LiveView() {
  const { live, feed } = useDesk();
  const [held, setHeld] = useState<typeof live | null>(null);
  const shown = held ?? live;
  const side = (
    <button type="button" class="quiet" aria-pressed={held !== null} onClick={() => setHeld(held ? null : live)}>
      {held ? "Go on" : "Hold still"}
    </button>
  );
  return (
    <>
      <Title name="Live" explain="What the server is doing at this moment. Turns appear at the top as soon as they are over." side={side}>Live</Title>
      {feed === "lost" && <p class="notice" data-tone="warn">The live feed was lost; trying again. What you see is from before.</p>}
      {feed === "refused" && <p class="notice" data-tone="bad">The server refuses the live feed.</p>}
      <div class="grid" data-gone={feed === "lost" || undefined}>
        <Sessions sessions={shown.now?.sessions ?? null} at={shown.now?.at ?? 0} />
        <LiveTurns turns={shown.turns} />
      </div>
    </>
  );
}

function Sessions({ sessions, at }: { sessions: LiveSession[] | null; at: number }) {
  const now = useNow(500);
  const arrived = useRef({ at, ms: now }); // on our clock: the server's may differ
  if (arrived.current.at !== at) arrived.current = { at, ms: Date.now() };
  const waited = Math.max(0, now - arrived.current.ms);
  const states = sessions === null ? "" : `${many(sessions.length, "conversation")}; in ${sessions.filter((one) => one.reply === "thinking").length} the caller is waiting.`;
  return (
    <Panel title="Conversations now" class="wide" explain={states || "Who is talking with the server."}>
      {sessions === null && <p class="note loading">Waiting for the first word from the server…</p>}
      {sessions?.length === 0 && <p class="note empty">Nobody is talking with the server at the moment.</p>}
      {!!sessions?.length && (
        <Table
          caption="Conversations now"
          numeric={[3]}
          head={["From", "Caller", "Agent", "for", "Step taken", "Conversation"]}
          rows={sessions.slice(0, 100).map((one) => ({
            key: one.session,
            cells: [
              `${one.tenant} · ${one.route}`,
              <Chip tone={one.user === "speaking" ? "good" : "plain"} glyph={one.user === "speaking" ? "●" : "○"}>{USER[one.user] ?? one.user}</Chip>,
              one.reply === null ? "–" : <Chip tone={one.reply === "thinking" ? "warn" : "plain"} glyph={one.reply === "audible" ? "●" : "…"} title={REPLY[one.reply]?.[1]}>{REPLY[one.reply]?.[0] ?? one.reply}</Chip>,
              one.since_ms + waited < 10_000 ? ms(Math.round((one.since_ms + waited) / 100) * 100) : lasting(one.since_ms + waited),
              one.rung ? rungWord(one.rung).name : "–",
              <code>{one.session}</code>,
            ],
          }))}
        />
      )}
      {sessions && sessions.length > 100 && <p class="note">And {sessions.length - 100} more.</p>}
    </Panel>
  );
}

function LiveTurns({ turns }: { turns: TurnRow[] }) {
  const { live, place, go } = useDesk();
  const query = () => Object.fromEntries([...LIVE_FILTERS.map((name) => [name, place.filters[name] ?? ""] as const), ["limit", "20"] as const].filter(([, value]) => value));
  const before = useAsk<TurnPage>(turns.length < 20 ? "turns" : null, query, JSON.stringify(query()));
  const shown = withEarlier(turns, before.data?.turns ?? []);
  const longestMs = scaleOf(shown);
  return (
    <Panel title="Turns, as they end" class="wide" explain={`${many(live.nSeen, "turn")} since you opened this page, and the last ones before. The line in a bar is the budget.`}>
      <Legend hidden={false} waiting />
      {shown.length === 0 && <p class="note empty">None yet. One appears here as soon as an answer is over.</p>}
      {shown.length > 0 && (
        <div class="turn-list flow" role="grid" aria-label="Turns, newest first">
          <div role="row" class="turn-head">
            <span />
            {COLUMNS.map((name) => <span key={name} role="columnheader">{name}</span>)}
          </div>
          {shown.slice(0, SHOWN).map((turn) => (
            <div
              {...{ key: turn.id, role: "row", class: "turn", tabIndex: 0, "data-id": turn.id }}
              onClick={() => go({ ...place, view: "turns", turn: turn.id })}
              onKeyDown={(event) => event.key === "Enter" && go({ ...place, view: "turns", turn: turn.id })}
            >
              <span />
              <TurnCells turn={turn} longestMs={longestMs} />
            </div>
          ))}
        </div>
      )}
    </Panel>
  );
}
