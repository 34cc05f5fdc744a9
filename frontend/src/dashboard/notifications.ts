/** Desktop notifications, if the reader wants them: for runs that end while the page is hidden. */

import { preferences, setPreferences } from "./preferences";
import { ROOT } from "./root";

export function canNotify(): boolean {
  return "Notification" in globalThis;
}

/** Turn notifications on or off. Resolves with false when the browser does not allow them. */
export async function setNotify(wanted: boolean): Promise<boolean> {
  const allowed = !wanted || (canNotify() && (await Notification.requestPermission()) === "granted");
  setPreferences({ notify: wanted && allowed });
  return allowed;
}

export function notifyEnd(title: string, body: string): void {
  if (!preferences().notify || !canNotify() || Notification.permission !== "granted") return;
  if (document.visibilityState === "visible") return;
  const notification = new Notification(title, { body, icon: `${ROOT}favicon.svg`, tag: title });
  notification.onclick = () => {
    window.focus();
    notification.close();
  };
}
