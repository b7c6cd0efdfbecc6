package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/popsee/webhooks/delivery"
)

type verifyCommand struct {
	SecretFile string `name:"secret-file" required:"" placeholder:"FILE" help:"File with the endpoint's secret, or - for the standard input."`
	Signature  string `name:"signature" required:"" placeholder:"VALUE" help:"The X-Popsee-Signature header as received; or webhook-signature, with --id and --timestamp."`
	ID         string `name:"id" placeholder:"VALUE" help:"The webhook-id header, as received."`
	Timestamp  string `name:"timestamp" placeholder:"VALUE" help:"The webhook-timestamp header, as received."`
	JSON       bool   `name:"json" help:"Print JSON."`
	Body       string `arg:"" name:"body" help:"File with the request's raw body, or - for the standard input."`
}

// maxVerified bounds what is read of a body: the largest event there can be.
const maxVerified = 8 << 20

// Run verifies a signature, and says why when it does not.
func (c *verifyCommand) Run(w *world) error {
	if c.SecretFile == "-" && c.Body == "-" {
		return usage{fmt.Errorf("--secret-file and the body cannot both be the standard input")}
	}
	secret, ended, err := w.readSecretAsIs(c.SecretFile)
	if err != nil {
		return err
	}
	body, err := c.read(w)
	if err != nil {
		return err
	}
	d, note := c.diagnose(secret, body), ""
	if ended {
		note = "the secret file ends in a line end, which was left out here: a receiver that reads the file must leave it out too"
	}
	if c.JSON {
		said := map[string]any{"verifies": d.Problem == "", "problem": d.Problem, "advice": d.Advice, "bytes": len(body), "note": note}
		if err := w.printJSON(said); err != nil {
			return err
		}
	}
	switch {
	case d.Problem != "" && c.JSON:
		return errSilent
	case d.Problem != "":
		return withHint(d.Advice, "the signature of these %d bytes does not verify: %s", len(body), d.Problem)
	case !c.JSON:
		w.printf("the signature of these %d bytes verifies\n", len(body))
		if note != "" {
			w.printf("note: %s\n", note)
		}
	}
	return nil
}

// diagnose takes a signature for what it says it is. With the id or the time given
// it must be a webhook-signature.
func (c *verifyCommand) diagnose(secret delivery.Secret, body []byte) delivery.Diagnosis {
	if c.ID != "" || c.Timestamp != "" || strings.HasPrefix(strings.TrimSpace(c.Signature), "v1,") {
		return delivery.DiagnoseStandard(secret, c.ID, c.Timestamp, c.Signature, body)
	}
	return delivery.Diagnose(secret, c.Signature, body)
}

func (c *verifyCommand) read(w *world) ([]byte, error) {
	in := w.in
	if c.Body != "-" {
		f, err := os.Open(c.Body)
		if err != nil {
			return nil, usage{withHint("name the file that holds the request's raw body", "read the body: %w", err)}
		}
		defer f.Close()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, maxVerified))
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return body, nil
}
