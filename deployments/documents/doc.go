// Package documents has no code but its tests: they run the fenced commands of the
// README and of every page in deployments/, as whoever pastes them does, and look
// for what the page says comes of it.
//
// What a test must know of a fence stands above it in HTML comments, which readers
// do not see. A fence that nothing is said of fails:
//
//	<!-- prints: TEXT -->              the commands print this; there may be several, and there is at least one
//	<!-- prints soon: TEXT -->         the same, of commands that only ask: they are run until they do
//	<!-- keeps running -->             the last line runs until the page is done; what follows begins when it has printed that
//	<!-- prints by the end: TEXT -->   what keeps running has printed this when the page is done
//	<!-- not run here: REASON -->      it cannot be run by a test; the reasons are listed
//
// The blocks of a page are run one after the other in the page's folder, in a copy
// of the project; what one exports the next one has. `sh` is run, `json` must be
// JSON, `go` must be Go; `sql` and `text` are nothing to run.
package documents
