// Publishes one completed response, read from the standard input, and waits until
// the stream has stored it:
//
//   node publish.mjs < response.json
//
// NATS_URL says where NATS is. The bytes that are published are the bytes that
// receivers get, so they are never parsed and written again.
import { readFileSync } from 'node:fs';
import { connect } from '@nats-io/transport-node';
import { jetstream } from '@nats-io/jetstream';

const body = readFileSync(0);
const event = JSON.parse(body);

const nc = await connect({ servers: process.env.NATS_URL ?? '127.0.0.1:4222' });
try {
  // The response's id as the message's id: whoever does not hear the
  // acknowledgement publishes the same again, and it is stored once.
  const ack = await jetstream(nc).publish(`responses.completed.${event.survey.id}`, body, {
    msgID: event.response.id,
    timeout: 5000,
  });
  console.log(`stored in ${ack.stream} at sequence ${ack.seq}${ack.duplicate ? ', as a duplicate' : ''}`);
} finally {
  await nc.close();
}
