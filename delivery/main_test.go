package delivery

import (
	"io"
	"log"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// net/http prints what hostile receivers send unasked through the standard logger; it can be told nothing else.
	log.SetOutput(io.Discard)
	if os.Getenv(envApart) != "" {
		serveApart(os.Stdin, os.Stdout)
		return
	}
	goleak.VerifyTestMain(m)
}
