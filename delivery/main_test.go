package delivery

import (
	"io"
	"log"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// net/http prints what hostile receivers send unasked through the standard logger; it can be told nothing else.
	log.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}
