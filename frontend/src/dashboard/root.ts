/**
 * The path of the dashboard's root, which ends with a slash. The relay writes it into the page, relative to the page's
 * address: it does not know under which path a proxy serves it.
 */

export const ROOT: string = rootOf(
  typeof document === "undefined"
    ? null
    : document.querySelector<HTMLMetaElement>(`meta[name="runrelay-root"]`),
);

function rootOf(meta: HTMLMetaElement | null): string {
  return meta === null ? "/" : new URL(meta.content, location.href).pathname;
}
