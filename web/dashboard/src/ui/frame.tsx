// The head of the page and the way to its views.
import { useEffect, useRef } from "preact/hooks";
import { VIEWS, type View } from "../data/place";
import type { FeedState } from "../net/feed";
import { useDesk } from "./desk";
import { Choice, Go } from "./parts";
import { THEMES, type Theme } from "./theme";

export const VIEW_NAMES: Record<View, string> = {
  overview: "Overview",
  turns: "Turns",
  live: "Live",
  heat: "Heat map",
  interruptions: "Interruptions",
  replicas: "Replicas",
  capacity: "Capacity",
  compare: "Compare",
};
const ICONS: Record<View, string> = {
  overview: "M3 13h4v5H3zM8.5 8h4v10h-4zM14 3h4v15h-4z",
  turns: "M3 5h9M6 10h11M9 15h6",
  live: "M3 10h3l2-6 4 12 2-6h4",
  heat: "M3 3h4v4H3zM8.5 3h4v4h-4zM14 8.5h4v4h-4zM3 14h4v4H3zM8.5 8.5h4v4h-4zM14 14h4v4h-4z",
  interruptions: "M4 4h12v9H9l-4 4v-4H4zM8 8.5h4",
  replicas: "M4 3h12v5H4zM4 11h12v5H4zM7 5.5h.01M7 13.5h.01",
  capacity: "M3 15a7.5 7.5 0 1 1 14 0M10 14l4-5",
  compare: "M6 4v13M14 4v13M3 8l3-4 3 4M11 13l3 4 3-4",
};
const FEED: Record<FeedState, readonly [name: string, what: string]> = {
  live: ["Live", "Turns appear as they happen."],
  connecting: ["Connecting", "Connecting to the live feed."],
  lost: ["Reconnecting", "The live feed was lost; trying again."],
  resting: ["Resting", "Paused while this tab is hidden."],
  refused: ["Not live", "The server refuses the live feed."],
};
const FOR_OPERATORS: View[] = ["replicas", "capacity"];

export function Header(props: { theme: Theme; onTheme(theme: Theme): void; onSignOut: (() => void) | null }) {
  const { me, feed, place } = useDesk();
  const [name, what] = FEED[feed];
  return (
    <header class="top">
      <p class="brand">
        <Go to={{ ...place, view: "overview", turn: null }}>
          <svg viewBox="0 0 32 32" aria-hidden="true"><circle cx="16" cy="16" r="15" /><path d="M9 13v6M13 9v14M17.5 12v8M22 14.5v3" /></svg>
          voicestack
        </Go>
      </p>
      <p class="feed" data-feed={feed} title={what}>
        <span class="dot" aria-hidden="true" />
        <span role="status">{name}</span>
      </p>
      <p class="who">
        {me && (
          <>
            <span title={me.is_operator ? "You see all tenants." : "You see your own tenant's turns."}>
              {me.is_operator ? "Operator" : `Tenant ${me.tenant}`}
            </span>
            <span class="wide" title="Profile, region and release of this server"> · {me.profile} · {me.region}{me.release && ` · ${me.release}`}</span>
          </>
        )}
      </p>
      <Choice
        {...{ label: "Colours", quiet: true, value: props.theme, onChoose: (value) => props.onTheme(value as Theme) }}
        options={THEMES.map((one) => [one, { auto: "Auto", light: "Light", dark: "Dark" }[one]] as const)}
      />
      {props.onSignOut && <button type="button" class="quiet" onClick={props.onSignOut}>Sign out</button>}
    </header>
  );
}

export function Nav() {
  const { place, me } = useDesk();
  const bar = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a phone the views are a row that is wider than the screen: the one that is shown comes into sight.
    const current = bar.current?.querySelector<HTMLElement>("[aria-current]");
    if (current) bar.current!.scrollLeft = current.offsetLeft - (bar.current!.clientWidth - current.offsetWidth) / 2;
  }, [place.view, me]);
  return (
    <nav class="views" aria-label="Views" ref={bar}>
      <ul>
        {VIEWS.filter((view) => !FOR_OPERATORS.includes(view) || me?.is_operator !== false).map((view) => (
          <li key={view}>
            <Go to={{ ...place, view, turn: null }} current={place.view === view}>
              <svg viewBox="0 0 20 20" aria-hidden="true"><path d={ICONS[view]} /></svg>
              {VIEW_NAMES[view]}
            </Go>
          </li>
        ))}
      </ul>
    </nav>
  );
}
