// Renders on the server, hydrates in the page. PORT, else 3000.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const client = new URL("./dist/client/", import.meta.url).pathname;
const template = await readFile(join(client, "index.html"), "utf8");
const { render } = await import("./dist/server/entry-server.js");
const types = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? "/", "http://localhost");
  if (url.pathname === "/") {
    const app = render(url.searchParams.get("run") ?? "demo", url.searchParams.get("relay") ?? "");
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    response.end(template.replace("<!--app-->", () => app));
    return;
  }
  try {
    const body = await readFile(join(client, normalize(url.pathname)));
    response.writeHead(200, { "content-type": types[extname(url.pathname)] ?? "application/octet-stream" });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
});
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  process.stdout.write(`listening on ${server.address().port}\n`);
});
