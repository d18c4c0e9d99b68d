// Where a key is asked for. It stays in this tab, and goes nowhere but to this server.
import { useEffect, useRef, useState } from "preact/hooks";

export function Login(props: { trouble: string; onKey(key: string): void }) {
  const [shown, setShown] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = "Sign in · voicestack";
    field.current?.focus();
  }, [props.trouble]);
  const onSubmit = (event: Event) => {
    event.preventDefault();
    const key = field.current!.value.trim();
    if (key) props.onKey(key);
  };
  return (
    <main class="login">
      <form onSubmit={onSubmit}>
        <p class="brand">voicestack</p>
        <h1>Sign in to the dashboard</h1>
        <p>
          This server has keys, so it wants to know who is looking. Paste an API key of it. The operator’s key shows everything; any other
          key shows its own tenant’s turns.
        </p>
        <label for="key">API key</label>
        <div class="key-row">
          <input
            id="key"
            ref={field}
            type={(shown ? "text" : "password") as "password"}
            autocomplete="off"
            spellcheck={false}
            required
            aria-describedby={props.trouble ? "key-trouble" : "key-hint"}
            aria-invalid={props.trouble ? "true" : undefined}
          />
          <button type="button" class="quiet" aria-pressed={shown} onClick={() => setShown(!shown)}>Show</button>
        </div>
        {props.trouble && <p id="key-trouble" class="notice" data-tone="bad" role="alert">{props.trouble}</p>}
        <button type="submit" class="main-button">Sign in</button>
        <p id="key-hint" class="explain">
          It is kept in this tab until you close it or sign out. Make one with <code>voicestack keys create</code>.
        </p>
      </form>
    </main>
  );
}
