import type { FormEvent, ReactNode } from "react";
import { useState } from "react";
import { setToken } from "../session";
import { useWords } from "../words";

/** The form for a token: shown when the relay wants one, or does not accept the current one. */
export function SignIn(): ReactNode {
  const words = useWords();
  const [value, setValue] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (value.trim() !== "") setToken(value.trim());
  };
  return (
    <form className="page page-narrow sign-in" onSubmit={submit}>
      <h2 className="panel-title">{words.signIn}</h2>
      <p className="muted">{words.signInHint}</p>
      <div className="sign-in-row">
        <input
          className="input mono"
          type="password"
          autoComplete="off"
          aria-label={words.token}
          placeholder={words.token}
          value={value}
          onChange={(event) => setValue(event.target.value)}
        />
        <button type="submit" className="button button-primary">
          {words.use}
        </button>
      </div>
    </form>
  );
}
