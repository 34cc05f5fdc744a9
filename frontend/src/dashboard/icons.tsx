import type { ReactNode } from "react";

const PATHS = {
  back: "M10 3.5 5.5 8l4.5 4.5",
  plus: "M8 3.5v9M3.5 8h9",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM10.4 10.4 13.5 13.5",
  copy: "M5.5 5.5v-2a1 1 0 0 1 1-1h6a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1h-2M3.5 5.5h6a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1h-6a1 1 0 0 1-1-1v-6a1 1 0 0 1 1-1Z",
  check: "m3.5 8.5 3 3 6-7",
  download: "M8 2.5v7.5M4.8 7.2 8 10.4l3.2-3.2M3 13.5h10",
  down: "M8 3v9.5M4 8.8l4 4 4-4",
  up: "m4 10 4-4 4 4",
  next: "m4 6 4 4 4-4",
  bell: "M4 11.5V7a4 4 0 0 1 8 0v4.5l1 1H3l1-1ZM6.8 14.2h2.4",
  gear: "M8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM8 1.8v1.7M8 12.5v1.7M14.2 8h-1.7M3.5 8H1.8M12.4 3.6l-1.2 1.2M4.8 11.2l-1.2 1.2M12.4 12.4l-1.2-1.2M4.8 4.8 3.6 3.6",
  retry: "M12.5 6.3A5 5 0 1 0 13 8.8M12.8 3v3.4H9.4",
  stop: "M4.5 4.5h7v7h-7z",
  trash:
    "M3 4.5h10M6.5 4.5v-1a1 1 0 0 1 1-1h1a1 1 0 0 1 1 1v1M4.5 4.5l.6 8a1 1 0 0 0 1 .9h3.8a1 1 0 0 0 1-.9l.6-8",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  wrap: "M2.5 3.5h11M2.5 8h8.7a2.3 2.3 0 0 1 0 4.6H8M9.6 10.8 7.8 12.6l1.8 1.8M2.5 12.6h2.3",
  close: "m4.5 4.5 7 7M11.5 4.5l-7 7",
  warn: "M8 2.5 14 13H2L8 2.5ZM8 6.5v3M8 11.3h.01",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }): ReactNode {
  return (
    <svg className="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
