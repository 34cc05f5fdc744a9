import type { ReactNode } from "react";
import { useState } from "react";
import { Icon } from "../icons";
import { canNotify, setNotify } from "../notifications";
import { setPreferences, usePreferences } from "../preferences";
import { useWords } from "../words";
import { Menu } from "./Menu";

const THEMES = ["auto", "light", "dark"] as const;
const LANGUAGES = { en: "English", ko: "한국어" } as const;

/** The menu of the preferences: theme, language, notifications. */
export function OptionsMenu(): ReactNode {
  const words = useWords();
  const { theme, language, notify } = usePreferences();
  const [blocked, setBlocked] = useState(false);
  return (
    <Menu label={words.options} button={<Icon name="gear" />}>
      <p className="menu-label">{words.theme}</p>
      <div className="segments" role="group" aria-label={words.theme}>
        {THEMES.map((name) => (
          <button
            key={name}
            type="button"
            className="segment"
            aria-pressed={theme === name}
            onClick={() => setPreferences({ theme: name })}
          >
            {words.themes[name]}
          </button>
        ))}
      </div>
      <p className="menu-label">{words.language}</p>
      <div className="segments" role="group" aria-label={words.language}>
        {(["en", "ko"] as const).map((name) => (
          <button
            key={name}
            type="button"
            className="segment"
            lang={name}
            aria-pressed={language === name}
            onClick={() => setPreferences({ language: name })}
          >
            {LANGUAGES[name]}
          </button>
        ))}
      </div>
      {canNotify() && (
        <label className="menu-switch">
          <span>{blocked ? words.notifyOff : words.notify}</span>
          <input
            type="checkbox"
            className="switch"
            role="switch"
            checked={notify}
            onChange={(event) => void setNotify(event.target.checked).then((allowed) => setBlocked(!allowed))}
          />
        </label>
      )}
    </Menu>
  );
}
