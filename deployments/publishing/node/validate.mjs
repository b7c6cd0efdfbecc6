// Validates an AsyncAPI document with the AsyncAPI Initiative's own parser, and
// exits 1 with what is wrong.
import { Parser, fromFile } from '@asyncapi/parser';

const parser = new Parser();
const { document, diagnostics } = await fromFile(parser, process.argv[2]).parse();
const errors = diagnostics.filter((d) => d.severity <= 1); // errors and warnings
for (const d of errors) console.error(`${d.path.join('.')}: ${d.message}`);
if (!document || errors.length > 0) process.exit(1);
console.log(`AsyncAPI ${document.version()}: ${document.operations().length} operations, ${document.allMessages().length} messages, valid`);
