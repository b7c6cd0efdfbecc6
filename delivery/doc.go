// Package delivery makes one attempt at one webhook: sign the event's bytes, guard the address, POST them, and judge
// the answer. It knows nothing of where events come from or what becomes of those that fail.
//
// [NewTarget] compiles an endpoint's settings once; [Client.Send] then makes attempts with them. Send is total: every
// end, a refused address and a stalled body included, is an [Attempt] with a [Verdict] and a [Reason]. Errors are for
// settings that cannot work, and appear before anything is sent.
//
// # What a receiver sees
//
// The body is the event's bytes exactly as published. Header names are the Header constants of this package. An
// endpoint with a secret gets two signatures in tandem: X-Popsee-Signature, made by [Sign] and checked by [Verify], and
// the Standard Webhooks set. While a secret is being rotated, X-Popsee-Signature is made with the newest live one alone
// and webhook-signature holds one value for each that is live.
//
// # The way out
//
//	Send ─► route known to speak HTTP/2? ── yes ─► http.Transport, one connection for many attempts
//	                │ no
//	                ▼
//	        a kept connection, or dial ─► guard ─► TLS ── agreed on h2 ─► http.Transport goes on with it
//	                │ HTTP/1.1
//	                ▼
//	        write the request ─► read the answer ─► keep the connection
//
// Over HTTP/1.1 whoever makes the attempt does all of it: no other goroutine sees the request, save that of a long event,
// which is written while its answer is waited for. A connection serves one attempt at a time, and is used again only when its answer was read to the end and nothing has come on it since.
// Over HTTP/2 net/http does; the headers of a request wait for its body, so that both are one write.
//
// # Time
//
// An attempt has five seconds for everything: DNS, connect, TLS, headers and body. The status alone decides. A 2xx
// whose body never ends is delivered all the same; the attempt then ends when its five seconds do.
package delivery
