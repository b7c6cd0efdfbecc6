// A complete receiver of Popsee webhooks for Node.js, with nothing but its
// standard library. Run it:  WEBHOOK_SECRET=... PORT=8000 node receiver.mjs
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = process.env.WEBHOOK_SECRET;
const maxBody = 8 * 1024 * 1024; // more than any event

// Deliveries already handled. Keep this where it survives a restart: in the same
// database, and the same transaction, as what you do with the event.
const seen = new Set();

// The signature covers the raw bytes. Verify before parsing: JSON that is parsed
// and written again is not the same bytes.
function genuine(body, header) {
  const expected = Buffer.from("sha256=" + createHmac("sha256", secret).update(body).digest("hex"));
  const given = Buffer.from(header ?? "");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > maxBody) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function handle(event) {
  // Your work goes here, after the answer: the sender waits five seconds at most.
}

const server = createServer(async (request, response) => {
  const answer = (status) => response.writeHead(status).end();
  if (request.method !== "POST") return answer(405);
  const body = await read(request);
  if (body === null) return answer(413);
  if (!genuine(body, request.headers["x-popsee-signature"])) return answer(401);

  let event;
  try {
    event = JSON.parse(body);
  } catch {
    return answer(400);
  }
  const id = request.headers["x-popsee-delivery"];
  if (seen.has(id)) {
    console.log(`duplicate ${id}`);
    return answer(200); // it was accepted before: say so again
  }
  seen.add(id);
  answer(200);
  console.log(`accepted ${id}`);
  setImmediate(handle, event);
});

server.listen(Number(process.env.PORT ?? 8000), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
