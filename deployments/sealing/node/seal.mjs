// Seals an endpoint's secret, as the survey platform does before it writes an
// endpoint to webhook_endpoints. It needs the public ring alone:
//
//   webhooks keys public > public.json
//   node seal.mjs public.json SURVEY < secret.txt
//
// and prints one element of the endpoint's "secrets". With --check VECTORS it
// opens the test vectors instead, which needs their private ring.
import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";

const suite = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const info = new TextEncoder().encode("popsee-webhooks endpoint secret v1");
const encapsulated = 32; // bytes of X25519's encapsulated key, which come first

const bytes = (base64) => new Uint8Array(Buffer.from(base64, "base64")).buffer;

// seal returns what stands in an endpoint's "secrets". The survey's id is the
// additional data: sealed for one survey, the secret opens for no other.
export async function seal(ring, survey, secret) {
  const newest = ring.keys[0];
  const id = createHash("sha256").update(Buffer.from(newest.public, "base64")).digest("hex").slice(0, 16);
  if (id !== newest.id) throw new Error(`key ${newest.id} is not the key it says it is`);
  const sender = await suite.createSenderContext({ recipientPublicKey: await suite.kem.importKey("raw", bytes(newest.public), true), info });
  const ciphertext = await sender.seal(new TextEncoder().encode(secret), new TextEncoder().encode(survey));
  return { key_id: newest.id, sealed: Buffer.concat([Buffer.from(sender.enc), Buffer.from(ciphertext)]).toString("base64") };
}

// open is the service's part. Here it proves the test vectors.
export async function open(ring, survey, { key_id, sealed }) {
  const key = ring.keys.find((k) => k.id === key_id);
  const recipient = await suite.createRecipientContext({
    recipientKey: await suite.kem.importKey("raw", bytes(key.private), false), enc: bytes(sealed).slice(0, encapsulated), info,
  });
  return new TextDecoder().decode(await recipient.open(bytes(sealed).slice(encapsulated), new TextEncoder().encode(survey)));
}

const [file, survey, vectors] = process.argv.slice(2);
const ring = JSON.parse(readFileSync(file, "utf8"));
if (survey === "--check") {
  for (const v of JSON.parse(readFileSync(vectors, "utf8"))) {
    if ((await open(ring, v.survey, v.sealed)) !== v.plain) throw new Error(`the vector of survey ${v.survey} opens to something else`);
  }
  console.log("all vectors open");
} else {
  console.log(JSON.stringify(await seal(ring, survey, readFileSync(0, "utf8").replace(/\r?\n$/, ""))));
}
