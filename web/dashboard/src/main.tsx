// The page at `/dashboard`.
import { render } from "preact";
import { applyTheme, heldTheme } from "./ui/theme";
import { App } from "./ui/app";

applyTheme(heldTheme());
const root = document.getElementById("app")!;
root.textContent = "";
render(<App />, root);
