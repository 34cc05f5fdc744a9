import type { ReactNode } from "react";
import { useEffect, useState } from "react";
import { Icon } from "./icons";
import { useWords } from "./words";

/** A button that copies a text and shows for a moment that it did. */
export function CopyButton({ text }: { text: string }): ReactNode {
  const words = useWords();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1_500);
    return () => clearTimeout(timer);
  }, [copied]);
  const label = copied ? words.copied : words.copy;
  const copy = () => void navigator.clipboard.writeText(text).then(() => setCopied(true));
  return (
    <button type="button" className="icon-button" title={label} aria-label={label} onClick={copy}>
      <Icon name={copied ? "check" : "copy"} />
    </button>
  );
}
