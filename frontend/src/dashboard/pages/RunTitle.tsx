import type { ReactNode } from "react";
import { useLayoutEffect, useRef, useState } from "react";
import { useWords } from "../words";

/** The run's title: two lines of a long one, and a button that shows all of it. */
export function RunTitle({ name }: { name: string }): ReactNode {
  const words = useWords();
  const heading = useRef<HTMLHeadingElement>(null);
  const [whole, setWhole] = useState(false);
  const [isCut, setCut] = useState(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another name has another height
  useLayoutEffect(() => {
    const element = heading.current;
    if (element === null || whole) return;
    const measure = () => setCut(element.scrollHeight > element.clientHeight + 1);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [name, whole]);
  return (
    <>
      <h1 ref={heading} className="run-heading" data-whole={whole || undefined} title={name}>
        {name}
      </h1>
      {(isCut || whole) && (
        <button type="button" className="run-heading-more" onClick={() => setWhole(!whole)}>
          {whole ? words.shortTitle : words.wholeTitle}
        </button>
      )}
    </>
  );
}
