package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTypingMistakesAreAnsweredWithWhatIsMeant holds suggestions for commands, flags
// and values.
func TestTypingMistakesAreAnsweredWithWhatIsMeant(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	must(t, os.WriteFile(file, []byte("log-levl: info\n"), 0o600))
	for line, want := range map[string]string{
		"enpoint list":                `did you mean "endpoint"\?`,
		"endpoint lst":                `did you mean one of .*"list"`,
		"dead-leters list":            `did you mean "dead-letters"\?`,
		"endpoint list --jsn":         `did you mean "--json"\?`,
		"replay start --sinc 1h":      `did you mean "--since"\?`,
		"run --log-level inof":        `"inof" is not one of trace, debug, info, warn, error\nhint: did you mean "info"\?`,
		"run --log-format jsn":        `hint: did you mean "json"\?`,
		"run --config " + file:        `hint: did you mean "log-level"\?`,
		"completion bsh":              `hint: did you mean "bash"\?`,
		"attempts --reason tiemout":   `hint: did you mean "timeout"\?`,
		"attempts --reason nonsense!": `"nonsense!" is not one of 2xx, .*timeout`,
		"attempts --since":            `error: --since needs a value\nhint: see: webhooks attempts --help; for example: webhooks attempts --survey s1`,
		"endpoint get":                `hint: see: webhooks endpoint get --help; for example: webhooks endpoint get s1\n`,
		"audit --since -1h":           `hint: leave the minus away: --since 1h is so long ago`,
	} {
		var errw bytes.Buffer
		if code := run(t.Context(), strings.Fields(line), noEnv, strings.NewReader(""), io.Discard, &errw); code != exitUsage {
			t.Errorf("webhooks %s ends with %d", line, code)
		}
		if !regexp.MustCompile(want).MatchString(errw.String()) {
			t.Errorf("webhooks %s says\n%s\nwant %s", line, errw.String(), want)
		}
	}
}

// TestHelpIsFoundHoweverItIsAskedFor asks in the ways of other programs.
func TestHelpIsFoundHoweverItIsAskedFor(t *testing.T) {
	for line, want := range map[string]string{
		"":                    "Usage: webhooks <command>",
		"help":                "Usage: webhooks <command>",
		"--help":              "Usage: webhooks <command>",
		"-h":                  "Usage: webhooks <command>",
		"endpoint":            "Usage: webhooks endpoint <command>",
		"help endpoint":       "Usage: webhooks endpoint <command>",
		"help endpoint set":   "Usage: webhooks endpoint set",
		"endpoint set --help": "Usage: webhooks endpoint set",
		"endpoint set -h":     "Usage: webhooks endpoint set",
		"version":             "webhooks " + programVersion(),
		"--version":           "webhooks " + programVersion(),
	} {
		var out, errw bytes.Buffer
		code := run(t.Context(), strings.Fields(line), noEnv, strings.NewReader(""), &out, &errw)
		if code != 0 || !strings.HasPrefix(out.String(), want) || errw.Len() > 0 {
			t.Errorf("webhooks %s ends with %d and prints\n%s%s", line, code, out.String(), errw.String())
		}
	}
}
