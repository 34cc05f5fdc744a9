import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { apply, preferences } from "./preferences";
import { Root } from "./Root";
import { takeTokenFromAddress } from "./session";
import "./styles/tokens.css";
import "../react/styles.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/controls.css";
import "./styles/components.css";
import "./styles/list.css";
import "./styles/run.css";
import "./styles/log.css";
import "./styles/form.css";

apply(preferences());
takeTokenFromAddress();
const root = document.getElementById("root");
if (root === null) throw new Error("the page has no #root");
createRoot(root).render(
  <StrictMode>
    <Root />
  </StrictMode>,
);
