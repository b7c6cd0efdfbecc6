package main

import (
	"fmt"
	"io"
	"os"

	"github.com/popsee/webhooks/delivery"
)

type verifyCommand struct {
	SecretFile string `name:"secret-file" required:"" placeholder:"FILE" help:"File with the endpoint's secret, or - for the standard input."`
	Signature  string `name:"signature" required:"" placeholder:"VALUE" help:"The X-Popsee-Signature header, as received."`
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
	secret, err := w.readSecret(c.SecretFile)
	if err != nil {
		return err
	}
	body, err := c.read(w)
	if err != nil {
		return err
	}
	d := delivery.Diagnose(secret, c.Signature, body)
	if c.JSON {
		if err := w.printJSON(map[string]any{"verifies": d.Problem == "", "problem": d.Problem, "advice": d.Advice, "bytes": len(body)}); err != nil {
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
	}
	return nil
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
